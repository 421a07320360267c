//! `katagami`: everything for people, servers and edge devices. Never links libtorch.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use katagami::cli;

/// Adapts one frozen vision model to many factories by binary masks
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Base(cli::base::BaseArgs),
    #[cfg(feature = "client")]
    Site(cli::site::SiteArgs),
    #[cfg(feature = "client")]
    Images(cli::images::ImagesArgs),
    #[cfg(feature = "client")]
    Validation(cli::validation::ValidationArgs),
    #[cfg(feature = "client")]
    Snapshot(cli::snapshot::SnapshotArgs),
    #[cfg(feature = "client")]
    Job(cli::job::JobArgs),
    #[cfg(feature = "client")]
    Mask(cli::mask::MaskArgs),
    #[cfg(feature = "client")]
    Release(cli::release::ReleaseArgs),
    #[cfg(feature = "client")]
    Device(cli::device::DeviceArgs),
    Artefact(cli::artefact::ArtefactArgs),
    #[cfg(feature = "client")]
    Admin(cli::admin::AdminArgs),
    /// Compute embeddings of pictures (runs `katagami-worker`)
    #[command(disable_help_flag = true)]
    Embed(Handed),
    /// Train a mask from a folder of pictures (runs `katagami-worker`)
    #[command(disable_help_flag = true)]
    Train(Handed),
    /// Compare a mask with its base on labelled pictures (runs `katagami-worker`)
    #[command(disable_help_flag = true)]
    Judge(Handed),
    /// Run any command of `katagami-worker`, the part that links libtorch
    #[command(disable_help_flag = true)]
    Worker(Handed),
}

/// Arguments that go to `katagami-worker` as they are.
#[derive(clap::Args)]
struct Handed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    let hand_over = |command: Option<&str>, handed: Handed| {
        let arguments: Vec<OsString> = command
            .map(OsString::from)
            .into_iter()
            .chain(handed.arguments)
            .collect();
        cli::finish(Err(cli::exec::worker(&arguments)))
    };
    match Arguments::parse().command {
        Command::Base(args) => cli::finish(cli::base::run(args)),
        #[cfg(feature = "client")]
        Command::Site(args) => cli::finish_online(cli::site::run(args)),
        #[cfg(feature = "client")]
        Command::Images(args) => cli::finish_online(cli::images::run(args)),
        #[cfg(feature = "client")]
        Command::Validation(args) => cli::finish_online(cli::validation::run(args)),
        #[cfg(feature = "client")]
        Command::Snapshot(args) => cli::finish_online(cli::snapshot::run(args)),
        #[cfg(feature = "client")]
        Command::Job(args) => cli::finish_online(cli::job::run(args)),
        #[cfg(feature = "client")]
        Command::Mask(args) => cli::finish_online(cli::mask::run(args)),
        #[cfg(feature = "client")]
        Command::Release(args) => cli::finish_online(cli::release::run(args)),
        #[cfg(feature = "client")]
        Command::Device(args) => cli::finish_online(cli::device::run(args)),
        Command::Artefact(args) => cli::finish(cli::artefact::run(args)),
        #[cfg(feature = "client")]
        Command::Admin(args) => cli::finish_online(cli::admin::run(args)),
        Command::Embed(handed) => hand_over(Some("embed"), handed),
        Command::Train(handed) => hand_over(Some("train"), handed),
        Command::Judge(handed) => hand_over(Some("judge"), handed),
        Command::Worker(handed) => hand_over(None, handed),
    }
}
