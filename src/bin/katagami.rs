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
    #[command(flatten)]
    Online(cli::online::Online),
    #[cfg(feature = "server")]
    Serve(cli::serve::ServeArgs),
    #[cfg(feature = "server")]
    Config(cli::config::ConfigArgs),
    Artefact(cli::artefact::ArtefactArgs),
    #[cfg(feature = "edge")]
    Edge(cli::edge::EdgeArgs),
    #[cfg(all(feature = "server", feature = "edge"))]
    Demo(cli::demo::DemoArgs),
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
        let typed = command.map_or("katagami worker", |_| "katagami");
        cli::finish(Err(cli::exec::worker(typed, &arguments)))
    };
    match Arguments::parse().command {
        Command::Base(args) => cli::finish(cli::base::run(args)),
        #[cfg(feature = "client")]
        Command::Online(command) => cli::finish_online(command.run()),
        #[cfg(feature = "server")]
        Command::Serve(args) => cli::finish(cli::serve::run(&args)),
        #[cfg(feature = "server")]
        Command::Config(args) => cli::finish(cli::config::run(&args)),
        Command::Artefact(args) => cli::finish(cli::artefact::run(args)),
        #[cfg(feature = "edge")]
        Command::Edge(args) => cli::finish(cli::edge::run(args)),
        #[cfg(all(feature = "server", feature = "edge"))]
        Command::Demo(args) => cli::finish_online(cli::demo::run(args)),
        Command::Embed(handed) => hand_over(Some("embed"), handed),
        Command::Train(handed) => hand_over(Some("train"), handed),
        Command::Judge(handed) => hand_over(Some("judge"), handed),
        Command::Worker(handed) => hand_over(None, handed),
    }
}
