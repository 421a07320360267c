//! `judge`: does a mask help? Base and mask on the same labelled pictures.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use rayon::prelude::*;
use serde_json::json;

use super::{ModelArgs, WorkerCommandError, at, files, picture};
use crate::base::Weights;
use crate::cli::printer;
use crate::domain::gate::{self, Evidence, Verdict};
use crate::evaluate::{knn, paired};
use crate::mask::{Limits, apply_artefact, decode};
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
    /// Neighbours that vote on a picture's class
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    neighbours: u16,
    /// How much worse than the base still counts as no worse
    #[arg(long, default_value_t = 0.01)]
    margin: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Judges a mask and prints the verdict with its evidence.
pub(super) fn run(args: &JudgeArgs) -> Result<(), WorkerCommandError> {
    let base = args.model.weights()?;
    let artefact = decode(&fs::read(&args.mask).map_err(at(&args.mask))?, Limits::default())?;
    let masked = apply_artefact(&artefact, base.clone())?;
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
    let right = |weights: &Weights| -> Result<Vec<bool>, WorkerCommandError> {
        let embeddings = Embedder::new(weights, device)?.embed(&inputs, preprocessing.size)?;
        let dim = weights.architecture.embedding_dim;
        Ok(knn::leave_one_out(
            &embeddings,
            dim,
            &labels,
            usize::from(args.neighbours),
        ))
    };
    let difference = paired::compare(&right(&base)?, &right(&masked)?, &labels, 0);
    let evidence = Evidence {
        lower: difference.lower,
        upper: difference.upper,
        images: labels.len(),
    };
    let verdict = gate::judge(&evidence, args.margin);

    if args.json {
        printer::json(&json!({
            "images": labels.len(), "classes": classes, "neighbours": args.neighbours,
            "knn_base": difference.base, "knn_mask": difference.mask,
            "knn_difference_ci": [difference.lower, difference.upper], "gate": verdict,
        }));
        return Ok(());
    }
    let (word, reason) = match &verdict {
        Verdict::Passed => ("passed", "no worse, and a shown benefit"),
        Verdict::Held { reason } => ("held", reason.as_str()),
        Verdict::Refused { reason } => ("refused", reason.as_str()),
    };
    printer::line(&format!(
        "{word}: {reason}\nbalanced accuracy of {} neighbours on {} pictures of {} classes: \
         base {:.3}, mask {:.3}, difference {:+.3} (95 % interval {:+.3} to {:+.3})",
        args.neighbours,
        labels.len(),
        classes.len(),
        difference.base,
        difference.mask,
        difference.mask - difference.base,
        difference.lower,
        difference.upper,
    ));
    Ok(())
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
