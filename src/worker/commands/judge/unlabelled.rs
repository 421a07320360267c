//! Base and mask on pictures without labels: the signals that the gate reads
//! where a site has no validation set.

use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;
use serde_json::json;

use super::{JudgeArgs, Rival, files, verdict};
use crate::base::Weights;
use crate::cli::printer;
use crate::domain::View;
use crate::domain::gate::{GateSettings, Signal};
use crate::domain::report::{ImageCounts, Kpi, LabelFree, Report};
use crate::evaluate::{self, Settings};
use crate::train::experts::embed::Model;
use crate::train::{Embedder, Recipe};
use crate::worker::error::WorkerCommandError;
use crate::worker::pictures::decode_all;
use crate::worker::signals::{SignalPictures, most_signal_pictures};

/// Compares a rival with the base on the pictures below a folder.
pub(super) fn judge(
    args: &JudgeArgs,
    folder: &Path,
    base: &Weights,
    rival: &Rival,
    device: tch::Device,
) -> Result<(), WorkerCommandError> {
    let view = rival.view(args)?;
    let tiles = view.tiles.count();
    let preprocessing = args.model.preprocessing();
    let seen = preprocessing.seen(&view);
    // Second views are drawn as the default recipe draws large crops, from pictures of the size that it crops.
    let rule = Recipe::factory().augment;
    let cropped = View {
        size: Some(2 * rule.large.size),
        ..view
    };
    let mut pictures = files::pictures(&files::below(folder)?)?;
    pictures.sort_by_key(|picture| picture.digest);
    pictures.dedup_by_key(|picture| picture.digest);
    // Digests are as good as random, so the first ones are a fair sample.
    pictures.truncate(most_signal_pictures(tiles, 2 * rule.large.size));
    let mut images: Vec<RgbImage> = Vec::new();
    let decoded = decode_all(pictures.par_iter(), &preprocessing, &cropped);
    for (picture, decoded) in pictures.iter().zip(decoded) {
        match decoded {
            Ok(decoded) => images.extend(decoded),
            Err(error) => printer::note(&format!("left out: `{}`: {error}", picture.name())),
        }
    }
    if images.len() < 2 * tiles {
        return Err(WorkerCommandError::TooFewPictures(folder.to_owned()));
    }
    let pictures = SignalPictures::of(&images, tiles, &rule, &seen);
    let of_base = pictures.space_of(&Model::Single(Embedder::new(base, device)?))?;
    let of_rival = pictures.space_of(&rival.model)?;
    let dim = base.architecture.embedding_dim;
    let signals = evaluate::label_free(&of_base.views(dim)?, &of_rival.views(dim)?, &Settings::default())?;
    let report = Report::judged(
        Kpi::default(),
        None,
        Some(signals.clone()),
        rival.training.clone(),
        ImageCounts::default(),
        GateSettings::default(),
    );
    if args.json {
        let training = &report.training;
        printer::json(&json!({
            "images": signals.images, "flips": training.flips, "own_statistics": training.own_statistics,
            "label_free": signals, "gate": report.gate.verdict,
        }));
        return Ok(());
    }
    print(&report, &signals);
    Ok(())
}

fn print(report: &Report, signals: &LabelFree) {
    printer::line(&format!(
        "{}\n\nsignals without labels, on {} pictures; none decides alone",
        verdict(report),
        signals.images
    ));
    let (base, mask) = (&signals.base, &signals.mask);
    let row = |signal: Signal, base: Option<f64>, mask: Option<f64>| {
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        [signal.to_string(), figure(base), figure(mask)]
    };
    let retrieval = &signals.retrieval;
    let (clusters, patches) = (signals.clusters, signals.patches);
    let rows = [
        row(
            Signal::EffectiveRank,
            Some(base.effective_rank),
            Some(mask.effective_rank),
        ),
        row(Signal::Collapse, Some(base.mean_cosine), Some(mask.mean_cosine)),
        row(
            Signal::InstanceRetrieval,
            Some(retrieval.base.value),
            Some(retrieval.mask.value),
        ),
        row(Signal::NeighbourhoodStability, Some(1.0), Some(signals.stability)),
        row(Signal::Decay, base.decay, mask.decay),
        row(
            Signal::ClusterStability,
            clusters.map(|both| both.base),
            clusters.map(|both| both.mask),
        ),
        row(
            Signal::PatchRank,
            patches.map(|both| both.base),
            patches.map(|both| both.mask),
        ),
    ];
    printer::table(["", "base", "mask"], &rows);
}
