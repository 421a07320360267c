//! Base and mask on labelled pictures.

use std::path::{Path, PathBuf};

use image::RgbImage;
use rayon::prelude::*;
use serde_json::json;

use super::{JudgeArgs, Rival, files, tiles, verdict};
use crate::base::Weights;
use crate::cli::printer;
use crate::domain::gate::GateSettings;
use crate::domain::report::{Figure, ImageCounts, Report};
use crate::evaluate::knn::KnnSettings;
use crate::evaluate::sample::{Sample, sample};
use crate::evaluate::{self, Asked, Embeddings, Heard, Settings, confusion};
use crate::mask::apply;
use crate::train::experts::embed::Model;
use crate::train::{Embedder, TrainError};
use crate::worker::control::random_mask;
use crate::worker::error::WorkerCommandError;
use crate::worker::images::most_labelled;

/// Compares a rival with the base on labelled pictures, beside a random mask of the same density.
pub(super) fn judge(
    args: &JudgeArgs,
    folder: &Path,
    base: &Weights,
    rival: &Rival,
    device: tch::Device,
) -> Result<(), WorkerCommandError> {
    let view = rival.view;
    let control = match &rival.mask {
        Some(mask) => Some(apply(&random_mask(mask, 0), base.clone())?),
        None => None,
    };
    let classes = files::classes(folder)?;
    let preprocessing = args.model.preprocessing();
    let labelled: Vec<(usize, &PathBuf)> = (classes.iter().enumerate())
        .flat_map(|(label, (_, paths))| paths.iter().map(move |path| (label, path)))
        .collect();
    let labels: Vec<usize> = labelled.iter().map(|(label, _)| *label).collect();
    let Sample { judging, whole } = sample(
        &labels,
        most_labelled(view.tiles.count(), preprocessing.seen(&view).size),
    );
    if judging.len() < labelled.len() {
        printer::note(&format!(
            "{} of the {} pictures judge: more take too much memory",
            judging.len(),
            labelled.len()
        ));
    }
    let chosen: Vec<(usize, &PathBuf)> = judging.into_iter().map(|at| labelled[at]).collect();
    let decoded: Vec<_> = (chosen.par_iter())
        .map(|(_, path)| tiles(path, &preprocessing, &view))
        .collect();
    let (mut labelled, mut shown) = (Vec::new(), Vec::<RgbImage>::new());
    for (chosen, decoded) in chosen.into_iter().zip(decoded) {
        match decoded {
            Ok(tiles) => {
                labelled.push(chosen);
                shown.extend(tiles);
            }
            Err(error @ WorkerCommandError::Picture { .. }) => printer::note(&format!("left out: {error}")),
            Err(error) => return Err(error),
        }
    }
    let labels: Vec<usize> = labelled.iter().map(|(label, _)| *label).collect();
    let metadata = (labelled.iter().map(|(_, path)| files::metadata(path))).collect::<Result<Vec<_>, _>>()?;
    let classes: Vec<&str> = classes.iter().map(|(name, _)| name.as_str()).collect();
    let counts = classes.iter().zip(confusion::by_label(&labels, classes.len()));
    let counts = counts.map(|(class, images)| (*class, images.len() as u64));
    args.kpi
        .check_with(&counts.collect(), u64::from(args.neighbours))?;
    let asked = Asked {
        kpi: &args.kpi,
        classes: &classes,
        metadata: &metadata,
        whole: &whole,
        judged_before: args.judged_before,
    };
    let seen = preprocessing.seen(&view);
    let single =
        |weights: &Weights| -> Result<_, TrainError> { Ok(Model::Single(Embedder::new(weights, device)?)) };
    let settings = Settings {
        knn: KnnSettings {
            neighbours: usize::from(args.neighbours),
            ..KnnSettings::default()
        },
        ..Settings::default()
    };
    let heard = |model: &Model| -> Result<_, WorkerCommandError> {
        let embeddings = model.embed_pictures(&shown, view.tiles.count(), &seen)?;
        Ok(Heard::of(
            &Embeddings::new(&embeddings, model.width())?,
            &labels,
            &settings,
        )?)
    };
    let of_base = heard(&single(base)?)?;
    let against_base = |model: &Model| -> Result<_, WorkerCommandError> {
        let other = heard(model)?;
        Ok(evaluate::compared(&of_base, &other, &labels, &asked, &settings)?)
    };
    let gate = GateSettings {
        margin: args.margin,
        ..GateSettings::default()
    };
    let figures = against_base(&rival.model)?;
    let mut report = Report::judged(
        args.kpi.clone(),
        Some(figures),
        None,
        rival.training.clone(),
        ImageCounts::default(),
        gate,
    );
    if let Some(control) = &control {
        report.random_mask = Some(against_base(&single(control)?)?);
    }
    if args.json {
        printer::json(&json!({
            "images": labels.len(), "classes": classes, "neighbours": args.neighbours, "kpi": report.kpi,
            "worse": report.worse, "mask": report.validation, "random_mask": report.random_mask, "gate": report.gate.verdict,
        }));
    } else {
        print(args, &report, labels.len(), classes.len());
    }
    Ok(())
}

fn print(args: &JudgeArgs, report: &Report, images: usize, classes: usize) {
    printer::line(&format!(
        "{}\n\nbalanced accuracy on {images} pictures of {classes} classes, each with its 95 % interval",
        verdict(report)
    ));
    let Some(mask) = &report.validation else {
        return;
    };
    let random = report.random_mask.as_ref();
    let row = |name: String, mask: &Figure, random: Option<&Figure>| {
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
            random.map_or_else(String::new, interval),
        ]
    };
    let mut rows = vec![
        row(
            "linear probe".to_owned(),
            &mask.probe,
            random.map(|random| &random.probe),
        ),
        row(
            format!("{} neighbours", args.neighbours),
            &mask.knn,
            random.map(|random| &random.knn),
        ),
    ];
    if let Some(mask) = &mask.few_shot {
        let random = random.and_then(|random| random.few_shot.as_ref());
        rows.push(row("few-shot probe".to_owned(), mask, random));
    }
    printer::table(
        ["", "base", "mask", "difference", "random mask, difference"],
        &rows,
    );
}
