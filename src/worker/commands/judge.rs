//! `judge`: does a mask help? Base and mask on the same labelled pictures.

use std::path::PathBuf;

use clap::Args;
use image::RgbImage;
use rayon::prelude::*;
use serde_json::json;

use super::{ModelArgs, files, masked, share, tiles};
use crate::base::{Weights, import};
use crate::cli::printer;
use crate::domain::gate::GateSettings;
use crate::domain::report::{Figure, ImageCounts, Kpi, Report, TrainingFigures};
use crate::evaluate::knn::KnnSettings;
use crate::evaluate::{self, Asked, Embeddings, Heard, Settings, confusion, sample};
use crate::mask::cascade::Inference;
use crate::mask::{Header, Mask, apply};
use crate::train::experts::embed::Model;
use crate::train::{Embedder, TrainError};
use crate::worker::control::random_mask;
use crate::worker::error::WorkerCommandError;
use crate::worker::images::most_labelled;

/// Arguments of `judge`.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The mask
    #[arg(long, required_unless_present = "weights")]
    mask: Option<PathBuf>,
    /// Judge these weights (safetensors) in place of a mask, such as fine-tuned ones
    #[arg(long, value_name = "FILE", conflicts_with = "mask")]
    weights: Option<PathBuf>,
    /// Which networks see a picture, where the mask is a cascade: conditional (the dispatcher and the
    /// picture's own expert) or unconditional (all)
    #[arg(long, value_name = "WHICH", default_value_t)]
    inference: Inference,
    /// A folder with one folder of pictures for each class; best of pictures that training never saw
    #[arg(long)]
    labelled: PathBuf,
    /// The figure that decides: probe, knn, few-shot, or JSON as `katagami site create` takes it
    #[arg(long, default_value = "probe", value_parser = crate::cli::kpi)]
    kpi: Kpi,
    /// Masks that these pictures have judged before: the more, the wider the interval that decides
    #[arg(long, default_value_t = 0)]
    judged_before: u32,
    /// Neighbours that vote on a picture's class
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    neighbours: u16,
    /// How much worse than the base still counts as no worse
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    margin: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Judges a mask and prints the verdict with its evidence, beside a random mask of the same density.
pub fn judge(args: &JudgeArgs) -> Result<(), WorkerCommandError> {
    let base = args.model.weights()?;
    let device = args.model.open()?;
    let Rival { model, mask, header } = rival(args, &base, device)?;
    let view = args.model.view(header.as_ref())?;
    let control = match &mask {
        Some(mask) => Some(apply(&random_mask(mask, 0), base.clone())?),
        None => None,
    };
    let classes = files::classes(&args.labelled)?;
    let preprocessing = args.model.preprocessing();
    let labelled: Vec<(usize, &PathBuf)> = (classes.iter().enumerate())
        .flat_map(|(label, (_, paths))| paths.iter().map(move |path| (label, path)))
        .collect();
    let labels: Vec<usize> = labelled.iter().map(|(label, _)| *label).collect();
    let judging = sample::sample(
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
    let labelled: Vec<(usize, &PathBuf)> = judging.into_iter().map(|at| labelled[at]).collect();
    let shown = (labelled.par_iter())
        .map(|(_, path)| tiles(path, &preprocessing, &view))
        .collect::<Result<Vec<_>, WorkerCommandError>>()?;
    let shown: Vec<RgbImage> = shown.into_iter().flatten().collect();
    let labels: Vec<usize> = labelled.iter().map(|(label, _)| *label).collect();
    let metadata = (labelled.iter().map(|(_, path)| files::metadata(path))).collect::<Result<Vec<_>, _>>()?;
    let classes: Vec<&str> = classes.iter().map(|(name, _)| name.as_str()).collect();
    let counts = classes.iter().zip(confusion::by_label(&labels, classes.len()));
    args.kpi.check(
        &counts
            .map(|(class, images)| (*class, images.len() as u64))
            .collect(),
    )?;
    let asked = Asked {
        kpi: &args.kpi,
        classes: &classes,
        metadata: &metadata,
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
    let of_base = heard(&single(&base)?)?;
    let against_base = |model: &Model| -> Result<_, WorkerCommandError> {
        let other = heard(model)?;
        Ok(evaluate::compared(&of_base, &other, &labels, &asked, &settings)?)
    };
    let training = TrainingFigures {
        flips: mask.as_ref().map_or(0, |mask| mask.dropped() as u64),
        ..TrainingFigures::default()
    };
    let gate = GateSettings {
        margin: args.margin,
        ..GateSettings::default()
    };
    let figures = against_base(&model)?;
    let mut report = Report::judged(
        args.kpi.clone(),
        Some(figures),
        None,
        training,
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

/// What is compared with the base.
struct Rival {
    model: Model,
    /// The mask that makes it of the base (a cascade's dispatcher), unless it has weights of its own.
    mask: Option<Mask>,
    /// What is written of that mask.
    header: Option<Header>,
}

fn rival(args: &JudgeArgs, base: &Weights, device: tch::Device) -> Result<Rival, WorkerCommandError> {
    let Some(path) = &args.mask else {
        let path = args
            .weights
            .as_ref()
            .expect("the arguments ask for a mask or for weights");
        let weights = import(base.architecture, path)?;
        return Ok(Rival {
            model: Model::Single(Embedder::new(&weights, device)?),
            mask: None,
            header: None,
        });
    };
    let (artefact, model) = masked(path, base, args.inference, device)?;
    Ok(Rival {
        model,
        mask: Some(artefact.mask(base)?),
        header: Some(artefact.header),
    })
}

/// The verdict and why, in one sentence.
pub(super) fn verdict(report: &Report) -> String {
    let verdict = &report.gate.verdict;
    let reasons: Vec<String> = verdict.reasons().iter().map(ToString::to_string).collect();
    let reason = if reasons.is_empty() {
        "no worse, and a shown benefit".to_owned()
    } else {
        reasons.join("; ")
    };
    format!("{}: {reason}", verdict.word())
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
