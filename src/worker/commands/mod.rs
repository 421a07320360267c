//! The commands of `katagami-worker`, one file each, and what they share.

mod embed;
mod files;
mod input;
mod judge;
mod shown;
mod train;

use std::path::PathBuf;

use clap::Args;

use super::error::WorkerCommandError;
use crate::base::{Architecture, Preprocessing, Weights, architecture, import};
use crate::train::TrainError;
use crate::train::device::DeviceChoice;

pub(super) use embed::{EmbedArgs, embed};
pub(super) use judge::{JudgeArgs, judge};
pub(super) use train::{TrainArgs, train};

/// Which model, and where it computes.
#[derive(Debug, Args)]
struct ModelArgs {
    /// The base's weights (safetensors, .pth)
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// The base's architecture; `katagami base import --help` lists them
    #[arg(long, default_value = "efficientnet_lite0")]
    arch: String,
    /// Edge length of the network's input in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 96, value_parser = clap::value_parser!(u32).range(32..=1024))]
    size: u32,
    /// What to compute on: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads within one operation; the bits of a training depend on it (0: all cores)
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl ModelArgs {
    fn weights(&self) -> Result<Weights, WorkerCommandError> {
        let architecture: &'static Architecture = architecture(&self.arch)
            .ok_or_else(|| WorkerCommandError::UnknownArchitecture(self.arch.clone()))?;
        architecture.check_size(self.size).map_err(TrainError::from)?;
        Ok(import(architecture, &self.base)?)
    }

    fn preprocessing(&self) -> Preprocessing {
        Preprocessing {
            size: self.size,
            ..Preprocessing::of_architecture(&self.arch)
        }
    }

    fn open(&self) -> Result<tch::Device, WorkerCommandError> {
        Ok(self.device.open(self.threads)?)
    }
}

/// A number from 0 to below 1, such as a margin.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("use a number from 0 to 1".to_owned()),
    }
}
