//! `make bench NAME=codec`: how small masks get and how fast, beside what
//! others make of the same masks in the same run.
//!
//! The argument is a list that `scripts/codec-masks.sh` prints: a line is
//! `NETWORK-SITE-RECIPE[-warm|-cold] ARTEFACT BASE`. Payloads are compared with
//! payloads: neither header nor frame counts, but where a figure says artefact.

mod artefacts;
mod contexts;
mod input;
mod memory;
mod peers;
mod report;
mod sizes;
mod speed;
mod synthetic;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo adds `--bench` of its own.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [memory::CHILD, base, artefact] => memory::child(Path::new(base), Path::new(artefact)),
        [list] => run(Path::new(list), 1),
        [list, seed] => match seed.parse() {
            Ok(seed) => run(Path::new(list), seed),
            Err(_) => Err(format!("the seed `{seed}` is no number").into()),
        },
        _ => Err("give a list of masks: cargo bench --bench codec -- LIST [SEED]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(list: &Path, seed: u64) -> input::Outcome<()> {
    let input = input::read(list)?;
    let (synthetic, bound) = synthetic::resnet50(seed);
    let mut results = sizes::Results::default();
    for trained in input.trained.iter().chain([&synthetic]) {
        results.add(sizes::measure(trained)?);
    }
    report::figure(
        &format!("peer/bound/{}/bytes", synthetic.name),
        bound.ceil(),
        "bytes",
    );
    sizes::incompressible(seed)?;
    sizes::deltas(&input)?;
    sizes::priors(&input, &mut results)?;
    artefacts::measure(&input, seed)?;
    artefacts::against_finetuned(&input)?;
    results.summarise();
    contexts::measure(&input, seed)?;
    speed::measure(
        &synthetic,
        input.first().find(|trained| trained.recipe == "sparse"),
    )?;
    memory::measure(&synthetic)?;
    Ok(())
}
