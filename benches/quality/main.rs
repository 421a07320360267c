//! `make bench NAME=quality`: are masks worth pulling? Trains without labels on all
//! images of a set, judges with their labels, and prints one table a set: the base,
//! the mask, the same training of the weights themselves, of BatchNorm's statistics
//! alone, and a random mask of equal density; then size against KPI.
//!
//! Arguments, as `scripts/bench.sh` gives them: the folder of the executables, the
//! base's file, the cache, and sets as `NAME=FOLDER` (a folder of pictures for each
//! class; `textures` alone is generated). Environment: `SEEDS` (default "0 1 2"),
//! `RIVALS` (default "finetune norms", the first seed only), `CURVE=1` for the
//! trade-off of size, `RECIPE` (a file in place of the default recipe).
//! What was trained lies in the cache, so an interrupted run goes on where it was.

mod runs;
mod table;
mod textures;

use std::path::PathBuf;
use std::process::ExitCode;

use runs::{Outcome, Runs, Variant};

fn main() -> ExitCode {
    // Cargo adds `--bench` of its own.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Outcome<()> {
    let [bin, base, cache, sets @ ..] = arguments else {
        return Err("give BIN BASE CACHE SET…; use: make bench NAME=quality".into());
    };
    let words = |name: &str, default: &str| -> Vec<String> {
        let text = std::env::var(name).unwrap_or_default();
        let text = if text.trim().is_empty() {
            default.to_owned()
        } else {
            text
        };
        text.split_whitespace().map(str::to_owned).collect()
    };
    let seeds: Vec<u64> = (words("SEEDS", "0 1 2").iter())
        .map(|seed| {
            seed.parse()
                .map_err(|_| format!("the seed `{seed}` is no number"))
        })
        .collect::<Result<_, _>>()?;
    let rivals = (words("RIVALS", "finetune norms").iter())
        .map(|name| Variant::named(name))
        .collect::<Outcome<Vec<_>>>()?;
    let runs = Runs::new(PathBuf::from(bin), PathBuf::from(base), PathBuf::from(cache))?;
    for set in sets {
        let (name, folder) = match set.split_once('=') {
            Some((name, folder)) => (name, PathBuf::from(folder)),
            None if set == "textures" => ("textures", textures::generated(&runs.cache)?),
            None => return Err(format!("`{set}` is no set; use NAME=FOLDER or textures").into()),
        };
        let mut rows = Vec::new();
        for seed in &seeds {
            rows.push(runs.judged(&folder, &Variant::Mask, *seed)?);
        }
        let mut others = Vec::new();
        for rival in &rivals {
            others.push((rival.clone(), runs.judged(&folder, rival, seeds[0])?));
        }
        table::print(name, &seeds, &rows, &others);
        if std::env::var("CURVE").is_ok_and(|curve| curve == "1") {
            for variant in Variant::curve() {
                let row = runs.judged(&folder, &variant, seeds[0])?;
                table::point(name, &variant, &row);
            }
        }
    }
    Ok(())
}
