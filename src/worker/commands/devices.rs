//! `katagami worker devices`: what can compute here. The server asks it, too, since it loads no libtorch.

use clap::Args;
use serde_json::json;

use crate::cli::printer;
use crate::train::device::{cards, describe};

/// Arguments of `devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the devices that training can use: NVIDIA cards, then the CPU.
pub fn devices(args: &DevicesArgs) {
    let found = (0..cards()).map(tch::Device::Cuda).chain([tch::Device::Cpu]);
    let found: Vec<(String, u64)> = found.map(describe).collect();
    if args.json {
        let rows = found
            .iter()
            .map(|(device, memory)| json!({ "device": device, "memory_bytes": memory }));
        printer::json(&rows.collect::<Vec<_>>());
    } else {
        for (device, memory) in &found {
            printer::line(&format!("{device}  {}", printer::bytes(*memory)));
        }
    }
}
