//! What needs libtorch: the engine of an attempt, and the commands of `katagami-worker`.
//!
//! Part of that executable, not of the library: see `src/bin/katagami-worker.rs`.
//!
//! - [`attempt`]: pictures in, a judged mask out. Knows no server and no files' names;
//! - [`pictures`], [`experts`], [`evidence`], [`signals`], [`control`]: its parts;
//! - [`finetune`](mod@finetune): the same training of the weights themselves, to compare;
//!   [`trace`](mod@trace): its numbers, for another implementation to follow;
//! - [`commands`]: `embed`, `train`, `judge` and `devices`, for people;
//! - [`run`](mod@run): the process that works for a server; [`work`]: what it does;
//!   [`lease`], [`fetch`], [`input`], [`progress`], [`patience`], [`failure`]: its parts.

pub mod attempt;
mod commands;
mod control;
mod error;
mod evidence;
mod experts;
mod failure;
pub mod fetch;
mod finetune;
mod health;
mod images;
mod input;
pub mod lease;
pub mod lists;
pub mod patience;
pub mod pictures;
pub mod progress;
pub mod run;
mod signals;
mod trace;
mod work;

use clap::Subcommand;

pub use error::WorkerCommandError;

/// The commands of `katagami-worker`.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Compute embeddings of pictures, by a base or by a masked model
    Embed(commands::EmbedArgs),
    /// Train a mask from a folder of unlabeled pictures, and judge it; or fine-tune, to compare
    Train(Box<commands::TrainArgs>),
    /// Compare a mask with its base, on labelled pictures or without labels, and say whether it may be released
    Judge(commands::JudgeArgs),
    /// List what can compute here: NVIDIA cards and the CPU
    Devices(commands::DevicesArgs),
    /// Work for a server: lease jobs, train, publish; until it is told to end
    Run(run::RunArgs),
}

/// Runs a command.
pub fn run(command: WorkerCommand) -> Result<(), WorkerCommandError> {
    match command {
        WorkerCommand::Embed(args) => commands::embed(&args),
        WorkerCommand::Train(args) => commands::train(&args),
        WorkerCommand::Judge(args) => commands::judge(&args),
        WorkerCommand::Devices(args) => {
            commands::devices(&args);
            Ok(())
        }
        WorkerCommand::Run(args) => Ok(run::run(&args)?),
    }
}
