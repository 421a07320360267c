//! `judge`: does a mask help? Base and mask on the same pictures.

mod labelled;
mod rival;
mod unlabelled;

use std::path::PathBuf;

use clap::Args;

use super::{ModelArgs, files, masked, recipe, share, tiles};
use crate::domain::report::{Kpi, Report};
use crate::mask::cascade::Inference;
use crate::worker::error::WorkerCommandError;
use rival::Rival;

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
    #[arg(long, value_name = "DIR", required_unless_present = "images")]
    labelled: Option<PathBuf>,
    /// Judge without labels, by the signals that the gate reads where a site has no validation set: a
    /// folder of pictures, searched with all folders below it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["labelled", "kpi", "judged_before", "neighbours", "margin", "inference"])]
    images: Option<PathBuf>,
    /// The recipe by whose large crops second views of those pictures are drawn: that of the mask, so that
    /// signals are those of its training's report
    #[arg(long, default_value = "factory", requires = "images")]
    recipe: PathBuf,
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

/// Judges a mask and prints the verdict with its evidence.
pub fn judge(args: &JudgeArgs) -> Result<(), WorkerCommandError> {
    let base = args.model.weights()?;
    let device = args.model.open()?;
    let rival = Rival::of(args, &base, device)?;
    match (&args.labelled, &args.images) {
        (Some(folder), _) => labelled::judge(args, folder, &base, &rival, device),
        (None, Some(folder)) => unlabelled::judge(args, folder, &base, &rival, device),
        (None, None) => unreachable!("the arguments ask for one of them"),
    }
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
