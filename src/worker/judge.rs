//! `judge`: does a mask help? Base and mask on the same labelled pictures.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use rayon::prelude::*;
use serde_json::json;

use super::control::random_mask;
use super::{ModelArgs, WorkerCommandError, at, files, picture};
use crate::base::Weights;
use crate::cli::printer;
use crate::domain::gate::GateSettings;
use crate::domain::report::{Figure, ImageCounts, Kpi, Report, TrainingFigures};
use crate::evaluate::knn::KnnSettings;
use crate::evaluate::{self, Embeddings, Settings};
use crate::mask::{Limits, apply, apply_artefact, decode};
use crate::train::Embedder;

/// Arguments of `judge`.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The mask
    #[arg(long)]
    mask: PathBuf,
    /// A folder with one folder of pictures for each class; best of pictures that training never saw
    #[arg(long)]
    labelled: PathBuf,
    /// The figure that decides: probe, knn or few-shot
    #[arg(long, default_value = "probe", value_parser = kpi)]
    kpi: Kpi,
    /// Neighbours that vote on a picture's class
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    neighbours: u16,
    /// How much worse than the base still counts as no worse
    #[arg(long, default_value_t = 0.01, value_parser = margin)]
    margin: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn kpi(text: &str) -> Result<Kpi, String> {
    serde_json::from_value(json!(text)).map_err(|_| "use probe, knn or few-shot".to_owned())
}

fn margin(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(margin) if (0.0..1.0).contains(&margin) => Ok(margin),
        _ => Err("use a number from 0 to 1".to_owned()),
    }
}

/// Judges a mask and prints the verdict with its evidence, beside a random mask of the same density.
pub(super) fn run(args: &JudgeArgs) -> Result<(), WorkerCommandError> {
    let base = args.model.weights()?;
    let artefact = decode(&fs::read(&args.mask).map_err(at(&args.mask))?, Limits::default())?;
    let masked = apply_artefact(&artefact, base.clone())?;
    let control = apply(&random_mask(&artefact.mask, 0), base.clone())?;
    let Labelled {
        classes,
        paths,
        labels,
    } = labelled(args)?;
    let preprocessing = args.model.preprocessing();
    let inputs = paths
        .par_iter()
        .map(|path| Ok(preprocessing.normalise(&picture(path, &preprocessing)?.1)))
        .collect::<Result<Vec<_>, WorkerCommandError>>()?;
    let device = args.model.device.open(args.model.threads)?;
    let dim = base.architecture.embedding_dim;
    let embedded = |weights: &Weights| Embedder::new(weights, device)?.embed(&inputs, preprocessing.size);
    let of_base = embedded(&base)?;
    let settings = Settings {
        knn: KnnSettings {
            neighbours: usize::from(args.neighbours),
            ..KnnSettings::default()
        },
        ..Settings::default()
    };
    let against_base = |weights: &Weights| -> Result<_, WorkerCommandError> {
        let other = embedded(weights)?;
        let (base, other) = (Embeddings::new(&of_base, dim)?, Embeddings::new(&other, dim)?);
        Ok(evaluate::labelled(&base, &other, &labels, &settings)?)
    };
    let training = TrainingFigures {
        flips: artefact.mask.dropped() as u64,
        ..TrainingFigures::default()
    };
    let gate = GateSettings {
        margin: args.margin,
        ..GateSettings::default()
    };
    let figures = against_base(&masked)?;
    let mut report = Report::judged(
        args.kpi,
        Some(figures),
        None,
        training,
        ImageCounts::default(),
        gate,
    );
    report.random_mask = Some(against_base(&control)?);
    if args.json {
        printer::json(&json!({
            "images": labels.len(), "classes": classes, "neighbours": args.neighbours, "kpi": report.kpi,
            "mask": report.validation, "random_mask": report.random_mask, "gate": report.gate.verdict,
        }));
    } else {
        print(args, &report, labels.len(), classes.len());
    }
    Ok(())
}

fn print(args: &JudgeArgs, report: &Report, images: usize, classes: usize) {
    let verdict = &report.gate.verdict;
    let reasons: Vec<String> = verdict.reasons().iter().map(ToString::to_string).collect();
    let reason = if reasons.is_empty() {
        "no worse, and a shown benefit".to_owned()
    } else {
        reasons.join("; ")
    };
    printer::line(&format!(
        "{}: {reason}\n\nbalanced accuracy on {images} pictures of {classes} classes, each with its 95 % interval",
        verdict.word()
    ));
    let (Some(mask), Some(random)) = (&report.validation, &report.random_mask) else {
        return;
    };
    let row = |name: String, mask: &Figure, random: &Figure| {
        let interval = |figure: &Figure| {
            let difference = &figure.difference;
            format!(
                "{:+.3} ({:+.3} to {:+.3})",
                difference.value, difference.lower, difference.upper
            )
        };
        [
            name,
            format!("{:.3}", mask.base.value),
            format!("{:.3}", mask.mask.value),
            interval(mask),
            interval(random),
        ]
    };
    let mut rows = vec![
        row("linear probe".to_owned(), &mask.probe, &random.probe),
        row(format!("{} neighbours", args.neighbours), &mask.knn, &random.knn),
    ];
    if let (Some(mask), Some(random)) = (&mask.few_shot, &random.few_shot) {
        rows.push(row("few-shot probe".to_owned(), mask, random));
    }
    printer::table(
        ["", "base", "mask", "difference", "random mask, difference"],
        &rows,
    );
}

/// Pictures, each with its class.
struct Labelled {
    /// The names of the classes.
    classes: Vec<String>,
    /// The pictures.
    paths: Vec<PathBuf>,
    /// The number of each picture's class.
    labels: Vec<usize>,
}

/// Finds the pictures below a folder with one folder for each class.
fn labelled(args: &JudgeArgs) -> Result<Labelled, WorkerCommandError> {
    let folder = &args.labelled;
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    let unusable = |reason| WorkerCommandError::Labelled {
        folder: folder.clone(),
        reason,
    };
    if folders.len() < 2 {
        return Err(unusable("it needs at least two folders, one for each class"));
    }
    let (mut classes, mut paths, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for (class, folder) in folders.iter().enumerate() {
        let mut found = Vec::new();
        files(folder, &mut found)?;
        if found.is_empty() {
            return Err(unusable("one of its folders has no pictures"));
        }
        found.sort();
        classes.push(
            folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        );
        labels.extend(std::iter::repeat_n(class, found.len()));
        paths.extend(found);
    }
    Ok(Labelled {
        classes,
        paths,
        labels,
    })
}
