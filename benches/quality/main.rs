//! `make bench NAME=quality`: are masks worth pulling? Trains without labels on all
//! images of a set, judges with their labels, and prints one table a set: the base,
//! the mask, the same training of the weights themselves, of BatchNorm's statistics
//! alone, and a random mask of equal density; then size against KPI.
//!
//! `scripts/bench.sh` gives the arguments. What was trained and judged lies in the cache, by recipe,
//! seed, base and pictures, so an interrupted run goes on where it was.

mod runs;
mod table;
#[path = "../trainings/mod.rs"]
mod trainings;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use runs::{Runs, Variant};
use table::Table;
use trainings::Outcome;

/// What is measured.
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
    /// Seeds of the masks; rivals are trained with the first
    #[arg(long, env = "SEEDS", value_delimiter = ' ', default_value = "0 1 2")]
    seeds: Vec<u64>,
    /// What else is trained: finetune, norms, or nothing
    #[arg(long, env = "RIVALS", default_value = "finetune norms")]
    rivals: String,
    /// Also five points of size against KPI
    #[arg(long, env = "CURVE")]
    curve: bool,
    /// A file in place of the default recipe
    #[arg(long, env = "RECIPE")]
    recipe: Option<PathBuf>,
    /// A few steps on small crops of a few pictures, to see that each part works; no figures
    #[arg(long, env = "TRIAL")]
    trial: bool,
    /// NAME=FOLDER, a folder of pictures for each class; or `textures`, which are generated
    #[arg(required = true)]
    sets: Vec<String>,
    /// Cargo adds this
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    trainings::ended(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let Arguments {
        bin,
        base,
        cache,
        seeds,
        ..
    } = arguments;
    let rivals = arguments.rivals.split_whitespace().map(Variant::named);
    let rivals = &rivals.collect::<Result<Vec<_>, _>>()?;
    let first = *seeds.first().ok_or("give at least one seed: SEEDS=\"0 1 2\"")?;
    let runs = Runs::new(bin, base, cache, arguments.recipe.as_deref(), arguments.trial)?;
    let mut sets = Vec::new();
    for set in &arguments.sets {
        let (name, folder) = trainings::named(set, cache)?;
        let folder = if arguments.trial {
            trial::pictures(&folder, cache)?
        } else {
            folder
        };
        sets.push((name, folder));
    }
    let wanted: Vec<(Variant, u64)> = (seeds.iter().map(|seed| (Variant::Mask, *seed)))
        .chain(rivals.iter().map(|rival| (rival.clone(), first)))
        .chain((Variant::curve().into_iter().filter(|_| arguments.curve)).map(|point| (point, first)))
        .collect();
    runs.announce(&sets, &wanted)?;
    let table = Table {
        trial: arguments.trial,
    };
    for (name, folder) in sets {
        let mut masks = Vec::new();
        for seed in seeds {
            masks.push(runs.judged(&folder, &Variant::Mask, *seed)?);
        }
        let mut others = Vec::new();
        for rival in rivals {
            others.push((rival.clone(), runs.judged(&folder, rival, first)?));
        }
        table.print(name, seeds, &masks, &others);
        if arguments.curve {
            for variant in Variant::curve() {
                let point = runs.judged(&folder, &variant, first)?;
                table.point(name, &variant, &point);
            }
        }
    }
    Ok(())
}
