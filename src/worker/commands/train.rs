//! `train`: an attempt without a server, or a fine-tuning to compare it with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use super::judge::verdict;
use super::shown::Shown;
use super::{ModelArgs, files, recipe, share};
use crate::base::{write_atomically, write_safetensors};
use crate::cli::printer;
use crate::domain::gate::GateSettings;
use crate::domain::report::{Kpi, Report};
use crate::domain::{MaskVersion, SiteName, Split};
use crate::mask::{Limits, decode};
use crate::train::recipe::Mode;
use crate::worker::attempt::{AttemptInput, AttemptOutcome, Parent, Resume, perform};
use crate::worker::error::{WorkerCommandError, at};
use crate::worker::finetune::{FineTuned, finetune};
use crate::worker::images::training_images;
use crate::worker::trace::traced;

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The folder of pictures; searched with all folders below it
    #[arg(long)]
    images: PathBuf,
    /// A recipe: factory, paper-resnet50, quick (to try out whether everything works), or a file in TOML
    #[arg(long, default_value = "factory")]
    recipe: PathBuf,
    /// Steps in all, those of the warm-up counted, whatever the recipe says; fewer than its own shorten its
    /// warm-up, too
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Seed of everything drawn at random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Labelled pictures that judge the mask and never train it: one folder for each
    /// class, or folders `validation` and `test` with such folders
    #[arg(long, value_name = "DIR")]
    labelled: Option<PathBuf>,
    /// The figure that decides where there are labels: probe, knn, few-shot, or JSON as `katagami
    /// site create` takes it
    #[arg(long, default_value = "probe", value_parser = crate::cli::kpi)]
    kpi: Kpi,
    /// Masks that the labelled pictures have judged before: the more, the wider the interval that decides
    #[arg(long, default_value_t = 0)]
    judged_before: u32,
    /// How much worse than the base still counts as no worse
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    margin: f64,
    /// A mask to start from, with its scores; default: the base
    #[arg(long, value_name = "MASK", requires = "start_scores")]
    start: Option<PathBuf>,
    /// The scores of that mask, as `--scores` wrote them
    #[arg(long, value_name = "FILE", requires = "start")]
    start_scores: Option<PathBuf>,
    /// Go on at this checkpoint
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Keep a checkpoint here, so that an interrupted training can go on
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Seconds between two checkpoints
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    checkpoint_every: u64,
    /// The site's name in the artefact
    #[arg(long, default_value = "local")]
    site: SiteName,
    /// Where the mask goes; the weights, as safetensors, where the recipe fine-tunes
    #[arg(long)]
    out: PathBuf,
    /// Where the report goes, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Where the final scores go, for a training that starts from this mask
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Write no mask, but to this file (safetensors) all that each step saw and computed
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["start", "resume", "checkpoint"])]
    trace: Option<PathBuf>,
    /// Judge and write a random mask of equal density in place of the trained one
    #[arg(long, hide = true, conflicts_with = "scores")]
    control: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Trains what the recipe says, writes it, and prints what came out.
pub fn train(args: &TrainArgs) -> Result<(), WorkerCommandError> {
    // Nobody should learn after minutes of training that it cannot be written.
    let files = [&args.report, &args.scores, &args.checkpoint].map(Option::as_deref);
    for path in files.into_iter().flatten().chain([args.out.as_path()]) {
        files::writable(path)?;
    }
    let input = input(args)?;
    if let Some(path) = &args.trace {
        return write_trace(args, &input, path);
    }
    match input.recipe.mode {
        Mode::Mask => train_mask(args, &input),
        Mode::Finetune => train_weights(args, &input),
    }
}

fn train_mask(args: &TrainArgs, input: &AttemptInput) -> Result<(), WorkerCommandError> {
    let device = args.model.open()?;
    let began = Instant::now();
    let mut events = Shown::new(args.checkpoint.clone());
    let outcome = perform(input, device, &mut events);
    events.end();
    let took = Took {
        whole: began.elapsed(),
        training: events.trained(),
    };
    match outcome? {
        AttemptOutcome::Stopped => {}
        AttemptOutcome::NoImprovement { report, report_json } => {
            written(args.report.as_deref(), &report_json)?;
            print(args, &report, None, took)?;
        }
        AttemptOutcome::Mask {
            artefact,
            report,
            report_json,
            scores,
        } => {
            written(Some(&args.out), &artefact)?;
            written(args.scores.as_deref(), &scores)?;
            written(args.report.as_deref(), &report_json)?;
            print(args, &report, Some(&artefact), took)?;
        }
    }
    Ok(())
}

/// Not judged, so there is nothing but weights to write.
fn train_weights(args: &TrainArgs, input: &AttemptInput) -> Result<(), WorkerCommandError> {
    for (given, option) in [
        (args.labelled.is_some(), "--labelled"),
        (args.report.is_some(), "--report"),
        (args.scores.is_some(), "--scores"),
        (args.control, "--control"),
    ] {
        if given {
            return Err(WorkerCommandError::OnlyForMasks(option));
        }
    }
    let device = args.model.open()?;
    let mut events = Shown::new(args.checkpoint.clone());
    let ended = finetune(input, device, &mut events);
    events.end();
    let Some(FineTuned { images, outcome }) = ended? else {
        return Ok(());
    };
    write_safetensors(&outcome.learned, &args.out).map_err(at(&args.out))?;
    if args.json {
        printer::json(&json!({
            "images": images,
            "steps": outcome.losses.len(),
            "seconds": outcome.seconds,
            "loss_first": outcome.losses.first(),
            "loss_last": outcome.losses.last(),
            "model": &args.out,
            "weights_digest": outcome.learned.digest(),
        }));
        return Ok(());
    }
    printer::line(&format!(
        "{}: fine-tuned weights, learned from {images} pictures in {:.0} s",
        args.out.display(),
        outcome.seconds
    ));
    Ok(())
}

fn write_trace(args: &TrainArgs, input: &AttemptInput, path: &Path) -> Result<(), WorkerCommandError> {
    let device = args.model.open()?;
    let mut events = Shown::new(None);
    let traced = traced(input, device, &mut events);
    events.end();
    let Some(traced) = traced? else {
        return Ok(());
    };
    let bytes: Vec<Vec<u8>> = (traced.iter())
        .map(|tensor| {
            tensor
                .values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        })
        .collect();
    let views = traced.iter().zip(&bytes).map(|(tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes);
        (
            tensor.name.as_str(),
            view.expect("a tensor is as long as its shape says"),
        )
    });
    let written = safetensors::serialize_to_file(views, None, path);
    written.map_err(|error| at(path)(std::io::Error::other(error)))?;
    printer::line(&format!("{}: {} tensors", path.display(), traced.len()));
    Ok(())
}

fn input(args: &TrainArgs) -> Result<AttemptInput, WorkerCommandError> {
    let recipe = recipe(&args.recipe)?;
    let base = args.model.weights()?;
    let labelled = match &args.labelled {
        Some(folder) => files::labelled(folder)?,
        None => Vec::new(),
    };
    if !labelled.is_empty() {
        let mut classes = BTreeMap::new();
        for of_gate in labelled
            .iter()
            .filter(|labelled| labelled.split == Split::Validation)
        {
            *classes.entry(of_gate.class.as_str()).or_insert(0) += 1;
        }
        args.kpi.check(&classes)?;
    }
    let mut images = files::pictures(&files::without_captions(&args.images)?)?;
    let all = images.len();
    let judging: std::collections::HashSet<_> =
        labelled.iter().map(|labelled| labelled.picture.digest).collect();
    images.retain(|image| !judging.contains(&image.digest));
    let mut view = args.model.view(None)?;
    let start = match (&args.start, &args.start_scores) {
        (Some(mask), Some(scores)) => {
            let artefact = decode(&fs::read(mask).map_err(at(mask))?, Limits::default())?;
            view = args.model.view(Some(&artefact.header))?;
            Some(Parent {
                version: artefact.header.version,
                scores: fs::read(scores).map_err(at(scores))?,
                mask: artefact.mask(&base)?,
            })
        }
        _ => None,
    };
    let preprocessing = args.model.preprocessing();
    let epoch = training_images(&images, &recipe, &view, preprocessing.seen(&view).size);
    Ok(AttemptInput {
        base,
        preprocessing,
        view,
        recipe: (recipe.clone())
            .over(epoch)
            .within(args.steps.unwrap_or(0))
            .checked()?,
        seed: args.seed,
        left_out: (all - images.len()) as u64,
        images,
        labelled,
        start,
        kpi: args.kpi.clone(),
        judged_before: args.judged_before,
        gate: GateSettings {
            margin: args.margin,
            ..GateSettings::default()
        },
        site: args.site.clone(),
        version: MaskVersion(1),
        snapshot: None,
        job: None,
        control: args.control,
        resume: match &args.resume {
            Some(path) => Resume::From(fs::read(path).map_err(at(path))?),
            None => Resume::Anew,
        },
        checkpoint_every: match args.checkpoint {
            Some(_) => Duration::from_secs(args.checkpoint_every),
            None => Duration::MAX,
        },
    })
}

fn written(path: Option<&Path>, bytes: &[u8]) -> Result<(), WorkerCommandError> {
    match path {
        Some(path) => write_atomically(path, |file| file.write_all(bytes)).map_err(at(path)),
        None => Ok(()),
    }
}

/// How long it took.
#[derive(Clone, Copy)]
struct Took {
    whole: Duration,
    /// Decoding and training, judging not counted.
    training: Duration,
}

fn print(
    args: &TrainArgs,
    report: &Report,
    artefact: Option<&[u8]>,
    took: Took,
) -> Result<(), WorkerCommandError> {
    let artefact = artefact
        .map(|bytes| Ok::<_, WorkerCommandError>((bytes.len(), decode(bytes, Limits::default())?)))
        .transpose()?;
    let training = &report.training;
    let seconds = took.whole.as_secs_f64();
    if args.json {
        let artefact = artefact.as_ref();
        printer::json(&json!({
            "images": report.images.used,
            "left_out": report.images.left_out,
            "steps": training.loss.last().map(|point| point.step),
            "flips": training.flips,
            "flips_against_parent": training.flips_against_parent,
            "masked_weights": training.density.iter().map(|layer| layer.weights).sum::<u64>(),
            "seconds": seconds,
            "training_seconds": took.training.as_secs_f64(),
            "loss_first": training.loss.first().map(|point| point.loss),
            "loss_last": training.loss.last().map(|point| point.loss),
            "experts": training.experts,
            "gate": report.gate.verdict,
            "mask": artefact.map(|_| &args.out),
            "mask_bytes": artefact.map(|(bytes, _)| *bytes),
            "weights_digest": artefact.map(|(_, artefact)| artefact.header.weights),
        }));
        return Ok(());
    }
    let Some((bytes, artefact)) = artefact else {
        let nothing = match args.start {
            None => "no weight has fallen",
            Some(_) => "nothing changed against the mask that it started from",
        };
        printer::line(&format!(
            "no improvement found: {nothing} in {} pictures' training; no mask was written",
            report.images.used
        ));
        return Ok(());
    };
    let out = args.out.display();
    printer::line(&format!(
        "{out}: {bytes} bytes, drops {} of {} weights, learned from {} pictures in {seconds:.0} s; \
         look into it with `katagami artefact show {out}`",
        artefact.flips(),
        artefact.weights(),
        report.images.used,
    ));
    for (at, expert) in training.experts.iter().enumerate() {
        printer::line(&format!(
            "expert {}: {} pictures ({:.0} %), drops {} weights, {} bits differ from the dispatcher's",
            at + 1,
            expert.images,
            100.0 * expert.share,
            expert.dropped,
            expert.flips,
        ));
    }
    printer::line(&verdict(report));
    Ok(())
}
