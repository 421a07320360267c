//! `make bench NAME=gate`: whom does the gate let through? Trains masks that should not
//! pass and masks that should, each on a few small pictures, and asks the gate twice: with
//! the labels of a small validation set, and without any. The truth is the difference of the
//! probe on a larger labelled split that neither training nor gate has read.
//!
//! `scripts/bench.sh` gives the arguments. What was trained lies in the cache, and the gate's
//! rules are applied to it anew: an interrupted study goes on where it was, and other
//! thresholds cost nothing to try.

mod bound;
mod sites;
mod study;
mod table;
#[path = "../trainings/mod.rs"]
mod trainings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sites::Site;
use study::{Kind, Study};
use trainings::Outcome;

/// What is studied.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of the executables
    #[arg(long)]
    bin: PathBuf,
    /// The base's file
    #[arg(long)]
    base: PathBuf,
    /// Where trainings are kept
    #[arg(long)]
    cache: PathBuf,
    /// How often all is done, each time with other pictures and seeds; in one round a
    /// site has one training of each bad kind and two good ones
    #[arg(long, env = "ROUNDS", default_value_t = 5)]
    rounds: u64,
    /// What is trained: good, shuffled, foreign, fast, random
    #[arg(long, env = "KINDS", value_delimiter = ' ', default_value = "good shuffled foreign fast random", value_parser = Kind::named)]
    kinds: Vec<Kind>,
    /// At most so many trainings this time; the figures are of those that are done. 0 reads the cache
    #[arg(long, env = "RUNS")]
    runs: Option<usize>,
    /// NAME=FOLDER, a folder of pictures for each class; or `textures`, which are generated
    #[arg(required = true, num_args = 2..)]
    sets: Vec<String>,
    /// Cargo adds this
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    trainings::ended(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let mut sites = Vec::new();
    for set in &arguments.sets {
        let (name, folder) = trainings::named(set, &arguments.cache)?;
        sites.push(Site::new(name, folder));
    }
    let study = Study::new(&arguments.bin, &arguments.base, &arguments.cache, sites)?;
    let planned = study.plan(arguments.rounds, &arguments.kinds);
    let mut left = arguments.runs.unwrap_or(usize::MAX);
    let (mut judged, mut failed) = (Vec::new(), 0);
    for run in &planned {
        if !study.is_done(run)? {
            if left == 0 {
                continue;
            }
            left -= 1;
        }
        // A training that fails leaves no mask that a gate could let through: it counts nowhere.
        match study.judged(run) {
            Ok(found) => judged.push(found),
            Err(error) => {
                failed += 1;
                eprintln!("failed: {error}");
            }
        }
    }
    table::print(planned.len(), failed, &judged);
    Ok(())
}
