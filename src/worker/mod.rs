//! The commands of `katagami-worker`: what needs libtorch.
//!
//! Part of that executable, not of the library: see `src/bin/katagami-worker.rs`.

mod control;
mod judge;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde_json::json;

use crate::base::preprocessing::{DecodeLimits, PictureError};
use crate::base::{
    Architecture, ImportError, Preprocessing, Weights, architecture, import, write_atomically,
};
use crate::cli::printer;
use crate::domain::{Digest, Digester, ErrorKind, MaskVersion, Problem, SiteName, Timestamp};
use crate::mask::{Figures, Header, Limits, MaskError, apply, apply_artefact, decode, encode};
use crate::train::device::{DeviceChoice, profile};
use crate::train::{Embedder, Recipe, TrainError, train};

/// The commands of `katagami-worker`.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Compute embeddings of pictures, by a base or by a masked model
    Embed(EmbedArgs),
    /// Train a mask from a folder of unlabeled pictures
    Train(TrainArgs),
    /// Compare a mask with its base on labelled pictures, and say whether it may be released
    Judge(judge::JudgeArgs),
}

/// Which model, and where it computes.
#[derive(Debug, Args)]
struct ModelArgs {
    /// The base's weights (safetensors, .pth)
    #[arg(long)]
    base: PathBuf,
    /// The base's architecture
    #[arg(long, default_value = "efficientnet_lite0")]
    arch: String,
    /// Edge length of the network's input in pixels
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u32).range(32..=1024))]
    size: u32,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads within one operation; the bits of a training depend on it (0: all cores)
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Arguments of `embed`.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// A mask to lay over the base first
    #[arg(long)]
    mask: Option<PathBuf>,
    /// The pictures
    #[arg(required = true)]
    images: Vec<PathBuf>,
}

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The folder of pictures; searched with all folders below it
    #[arg(long)]
    images: PathBuf,
    /// A recipe in TOML (default: the factory recipe)
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Steps in all, those of the warm-up counted (default: the recipe's)
    #[arg(long)]
    steps: Option<u32>,
    /// Seed of everything drawn at random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The site's name in the artefact
    #[arg(long, default_value = "local")]
    site: SiteName,
    /// Where the mask goes
    #[arg(long)]
    out: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerCommandError {
    /// The architecture is unknown.
    #[error("architecture `{0}` is not known; `katagami base import --help` lists them")]
    UnknownArchitecture(String),
    /// The labelled pictures cannot be used.
    #[error("`{}`: {reason}", folder.display())]
    Labelled {
        /// The folder given.
        folder: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// A file could not be read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A picture cannot be decoded.
    #[error("`{}`: {source}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PictureError,
    },
    /// The base cannot be read.
    #[error(transparent)]
    Base(#[from] ImportError),
    /// The mask is wrong or for another base.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// Training or embedding failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Embeddings or labels cannot be compared.
    #[error(transparent)]
    Evaluate(#[from] crate::evaluate::EvaluateError),
}

impl Problem for WorkerCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownArchitecture(_) | Self::Labelled { .. } | Self::Evaluate(_) => ErrorKind::Invalid,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
                std::io::ErrorKind::IsADirectory | std::io::ErrorKind::NotADirectory => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
            Self::Picture { source, .. } => source.kind(),
            Self::Base(error) => error.kind(),
            Self::Mask(error) => error.kind(),
            Self::Train(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UnknownArchitecture(_) => "architecture_unknown",
            Self::Labelled { .. } => "labels_unusable",
            Self::Io { .. } => "file_unusable",
            Self::Picture { source, .. } => source.code(),
            Self::Base(error) => error.code(),
            Self::Mask(error) => error.code(),
            Self::Train(error) => error.code(),
            Self::Evaluate(_) => "not_comparable",
        }
    }
}

/// Runs a command.
pub fn run(command: WorkerCommand) -> Result<(), WorkerCommandError> {
    match command {
        WorkerCommand::Embed(args) => embed(&args),
        WorkerCommand::Train(args) => train_mask(&args),
        WorkerCommand::Judge(args) => judge::run(&args),
    }
}

impl ModelArgs {
    fn weights(&self) -> Result<Weights, WorkerCommandError> {
        let architecture: &'static Architecture = architecture(&self.arch)
            .ok_or_else(|| WorkerCommandError::UnknownArchitecture(self.arch.clone()))?;
        Ok(import(architecture, &self.base)?)
    }

    fn preprocessing(&self) -> Preprocessing {
        Preprocessing {
            size: self.size,
            ..Preprocessing::of_architecture(&self.arch)
        }
    }
}

/// One line a picture: its path and its embedding, as JSON.
fn embed(args: &EmbedArgs) -> Result<(), WorkerCommandError> {
    let mut weights = args.model.weights()?;
    if let Some(path) = &args.mask {
        let artefact = decode(&fs::read(path).map_err(at(path))?, Limits::default())?;
        weights = apply_artefact(&artefact, weights)?;
    }
    let preprocessing = args.model.preprocessing();
    let inputs = args
        .images
        .par_iter()
        .map(|path| Ok(preprocessing.normalise(&picture(path, &preprocessing)?.1)))
        .collect::<Result<Vec<_>, WorkerCommandError>>()?;
    let embedder = Embedder::new(&weights, args.model.device.open(args.model.threads)?)?;
    let embeddings = embedder.embed(&inputs, preprocessing.size)?;
    for (path, embedding) in args
        .images
        .iter()
        .zip(embeddings.chunks(weights.architecture.embedding_dim))
    {
        printer::line(&json!({ "image": path, "embedding": embedding }).to_string());
    }
    Ok(())
}

fn train_mask(args: &TrainArgs) -> Result<(), WorkerCommandError> {
    let base = args.model.weights()?;
    let mut recipe = match &args.recipe {
        Some(path) => Recipe::parse(&fs::read_to_string(path).map_err(at(path))?)?,
        None => Recipe::factory(),
    };
    recipe.schedule.steps = args.steps.unwrap_or(recipe.schedule.steps);
    let recipe = recipe.checked()?;
    let preprocessing = args.model.preprocessing();
    // Twice a crop's edge: enough for the smallest region, a fraction of a camera's picture.
    let cached = Preprocessing {
        size: 2 * recipe.augment.large.size,
        ..preprocessing.clone()
    };
    let (snapshot, images) = pictures(&args.images, &cached)?;
    let device = args.model.device.open(args.model.threads)?;

    let began = Instant::now();
    let bar = ProgressBar::new(u64::from(recipe.schedule.steps));
    let style = "training {bar:30} step {pos}/{len}, {msg}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is a constant"));
    let outcome = train(
        &base,
        &images,
        &preprocessing,
        &recipe,
        args.seed,
        device,
        &mut |progress| {
            bar.set_message(format!(
                "loss {:.3}, {} weights dropped",
                progress.loss, progress.dropped
            ));
            bar.set_position(u64::from(progress.step));
        },
    )?;
    bar.finish_and_clear();

    let weights = apply(&outcome.mask, base.clone())?;
    let header = Header {
        base: base.digest(),
        preprocessing: preprocessing.digest(),
        site: args.site.clone(),
        version: MaskVersion(1),
        snapshot,
        recipe: recipe.digest(),
        job: None,
        profile: profile(device),
        weights: weights.digest(),
        report: None,
        figures: Figures::default(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: Timestamp::now(),
    };
    let bytes = encode(&header, &outcome.mask, base.architecture)?;
    write_atomically(&args.out, |file| file.write_all(&bytes)).map_err(at(&args.out))?;
    let (first, last) = (outcome.losses.first().copied(), outcome.losses.last().copied());
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        printer::json(&json!({
            "images": images.len(), "steps": outcome.losses.len(), "flips": outcome.mask.dropped(),
            "masked_weights": outcome.mask.weights(), "seconds": seconds, "loss_first": first, "loss_last": last,
            "mask_bytes": bytes.len(), "weights_digest": header.weights, "mask": args.out,
        }));
    } else {
        printer::line(&format!(
            "{}: {} bytes, drops {} of {} weights, learned from {} pictures in {seconds:.0} s; \
             look into it with `katagami artefact show {}`",
            args.out.display(),
            bytes.len(),
            outcome.mask.dropped(),
            outcome.mask.weights(),
            images.len(),
            args.out.display(),
        ));
    }
    Ok(())
}

/// All pictures below `folder` in the order of their digests, which does not
/// depend on names, and the digest of that list. Files that are no pictures
/// are named on standard error and left out.
fn pictures(
    folder: &Path,
    cached: &Preprocessing,
) -> Result<(Digest, Vec<image::RgbImage>), WorkerCommandError> {
    let mut paths = Vec::new();
    files(folder, &mut paths)?;
    let decoded: Vec<_> = paths.par_iter().map(|path| picture(path, cached)).collect();
    let mut pictures = Vec::with_capacity(decoded.len());
    for picture in decoded {
        match picture {
            Ok(picture) => pictures.push(picture),
            Err(error @ WorkerCommandError::Picture { .. }) => eprintln!("left out: {error}"),
            Err(error) => return Err(error),
        }
    }
    pictures.sort_by_key(|(digest, _)| *digest);
    pictures.dedup_by_key(|(digest, _)| *digest);
    let mut snapshot = Digester::default();
    pictures
        .iter()
        .for_each(|(digest, _)| snapshot.update(digest.as_bytes()));
    Ok((
        snapshot.finish(),
        pictures.into_iter().map(|(_, picture)| picture).collect(),
    ))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), WorkerCommandError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

fn picture(
    path: &Path,
    preprocessing: &Preprocessing,
) -> Result<(Digest, image::RgbImage), WorkerCommandError> {
    let bytes = fs::read(path).map_err(at(path))?;
    let picture = preprocessing
        .picture(&bytes, &DecodeLimits::default())
        .map_err(|source| WorkerCommandError::Picture {
            path: path.to_owned(),
            source,
        })?;
    Ok((Digest::of(&bytes), picture))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> WorkerCommandError + use<> {
    let path = path.to_owned();
    move |source| WorkerCommandError::Io { path, source }
}
