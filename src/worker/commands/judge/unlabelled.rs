//! Base and mask on pictures without labels: the signals that the gate reads
//! where a site has no validation set.

use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;
use serde_json::json;

use super::{JudgeArgs, Rival, files, recipe, verdict};
use crate::base::{Preprocessing, Weights};
use crate::cli::printer;
use crate::domain::View;
use crate::domain::gate::{GateSettings, Signal};
use crate::domain::report::{ImageCounts, Kpi, LabelFree, Report};
use crate::evaluate::{self, Settings};
use crate::train::Embedder;
use crate::train::experts::embed::Model;
use crate::worker::error::WorkerCommandError;
use crate::worker::images::cached_edge;
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
    let view = rival.view;
    let tiles = view.tiles.count();
    let preprocessing = args.model.preprocessing();
    let rule = recipe(&args.recipe)?.augment;
    let seen = preprocessing.seen(&view);
    let cached = View {
        size: Some(cached_edge(&rule, seen.size)),
        ..view
    };
    let images = decoded(
        folder,
        &preprocessing,
        &cached,
        most_signal_pictures(tiles, seen.size),
    )?;
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
            "images": signals.images, "changed_weights": training.flips, "own_statistics": training.own_statistics,
            "label_free": signals, "gate": report.gate.verdict,
        }));
        return Ok(());
    }
    print(&report, &signals);
    Ok(())
}

/// The tiles of `most` of the pictures below a folder: of those with the least digests, as in training, which
/// are as good as random.
fn decoded(
    folder: &Path,
    preprocessing: &Preprocessing,
    view: &View,
    most: usize,
) -> Result<Vec<RgbImage>, WorkerCommandError> {
    let mut pictures = files::pictures(&files::without_captions(folder)?)?;
    pictures.sort_by_key(|picture| picture.digest);
    pictures.dedup_by_key(|picture| picture.digest);
    let (mut images, mut found) = (Vec::new(), 0);
    let mut rest = pictures.as_slice();
    while found < most && !rest.is_empty() {
        let (next, after) = rest.split_at(rest.len().min(most - found));
        for (picture, decoded) in next.iter().zip(decode_all(next.par_iter(), preprocessing, view)) {
            match decoded {
                Ok(decoded) => {
                    images.extend(decoded);
                    found += 1;
                }
                Err(error) => printer::note(&format!("left out: `{}`: {error}", picture.name())),
            }
        }
        rest = after;
    }
    Ok(images)
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
