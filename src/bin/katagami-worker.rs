//! `katagami-worker`: what needs libtorch. `katagami` hands its commands over.
//!
//! `train` and `worker` are modules of this executable and not of the library:
//! were they in the library, the linker would make `katagami` load libtorch,
//! 112 MB of memory and 160 ms before its first line. The imports below give
//! them the same `crate::` paths as the rest of the code.

use std::process::ExitCode;

use clap::Parser;
use katagami::{base, cli, client, domain, evaluate, killpoint, mask, wire};

#[path = "../train/mod.rs"]
mod train;
#[path = "../worker/mod.rs"]
mod worker;

/// Trains masks and computes embeddings; the part of Katagami that links libtorch
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: worker::WorkerCommand,
}

fn main() -> ExitCode {
    cli::finish(worker::run(Arguments::parse().command))
}
