//! The commands of `katagami-worker`, one file each, and what they share.

mod devices;
mod embed;
mod files;
mod input;
mod judge;
mod shown;
mod train;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use image::RgbImage;

use super::error::{WorkerCommandError, at};
use crate::base::preprocessing::DecodeLimits;
use crate::base::{Architecture, Preprocessing, Weights, architecture, import};
use crate::domain::View;
use crate::domain::view::SIZES;
use crate::mask::cascade::Inference;
use crate::mask::{Artefact, Header, Limits, decode};
use crate::train::device::DeviceChoice;
use crate::train::experts::embed::{Cascade, Model};
use crate::train::{Embedder, Recipe, TrainError};

pub(super) use devices::{DevicesArgs, devices};
pub(super) use embed::{EmbedArgs, embed};
pub(super) use judge::{JudgeArgs, judge};
pub(super) use train::{TrainArgs, train};

/// Which model, and where it computes.
#[derive(Debug, Args)]
struct ModelArgs {
    /// The base's weights (safetensors, .pth)
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// The base's architecture; `katagami base import --help` lists them
    #[arg(long, default_value = "efficientnet_lite0")]
    arch: String,
    /// Edge length of the network's input in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 96, value_parser = clap::value_parser!(u32).range(32..=1024))]
    size: u32,
    /// How pictures become input, in a file as TOML or JSON, or as JSON itself (docs/views.md).
    /// Default: as the mask was trained; without a mask the whole picture
    #[arg(long, value_name = "FILE", value_parser = crate::cli::view)]
    view: Option<View>,
    /// What to compute on: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads within one operation; the bits of a training depend on it (0: all cores)
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl ModelArgs {
    fn weights(&self) -> Result<Weights, WorkerCommandError> {
        let architecture = self.architecture()?;
        architecture.check_size(self.size).map_err(TrainError::from)?;
        Ok(import(architecture, &self.base)?)
    }

    fn architecture(&self) -> Result<&'static Architecture, WorkerCommandError> {
        architecture(&self.arch).ok_or_else(|| WorkerCommandError::UnknownArchitecture(self.arch.clone()))
    }

    /// The view that `mask` was trained with, if one is given: any other on the command line is refused,
    /// and so is input of another size.
    fn view(&self, mask: Option<&Header>) -> Result<View, WorkerCommandError> {
        self.view_at(mask, self.size)
    }

    /// As [`ModelArgs::view`], of input of `size` that comes ready-made.
    fn view_at(&self, mask: Option<&Header>, size: u32) -> Result<View, WorkerCommandError> {
        if let Some(mask) = mask {
            self.check_preprocessing(mask, size)?;
        }
        let view = match (self.view, mask) {
            (Some(given), Some(mask)) => {
                mask.check_view(&given)?;
                given
            }
            (given, mask) => given.or(mask.map(|mask| mask.view)).unwrap_or_default(),
        };
        if let Some(size) = view.size {
            self.architecture()?.check_size(size).map_err(TrainError::from)?;
        }
        Ok(view)
    }

    fn preprocessing(&self) -> Preprocessing {
        self.preprocessing_at(self.size)
    }

    fn preprocessing_at(&self, size: u32) -> Preprocessing {
        Preprocessing {
            size,
            ..Preprocessing::of_architecture(&self.arch)
        }
    }

    /// Refuses a mask whose training saw pictures prepared otherwise.
    fn check_preprocessing(&self, mask: &Header, size: u32) -> Result<(), WorkerCommandError> {
        let is_its = |size: &u32| self.preprocessing_at(*size).digest() == mask.preprocessing;
        if is_its(&size) {
            return Ok(());
        }
        let its = SIZES.clone().find(is_its);
        // A view with a size of its own is seen at that one.
        if its.is_some() && mask.view.size.is_some() {
            return Ok(());
        }
        Err(WorkerCommandError::OtherPreprocessing {
            arch: self.arch.clone(),
            size,
            its,
        })
    }

    fn open(&self) -> Result<tch::Device, WorkerCommandError> {
        Ok(self.device.open(self.threads)?)
    }
}

/// The artefact in a file, and what it makes of `base`: one network, or those of a cascade.
fn masked(
    path: &Path,
    base: &Weights,
    inference: Inference,
    device: tch::Device,
) -> Result<(Artefact, Model), WorkerCommandError> {
    let artefact = decode(&fs::read(path).map_err(at(path))?, Limits::default())?;
    let networks = artefact.networks(base)?;
    let model = match &artefact.experts {
        None => Model::Single(Embedder::new(&networks[0], device)?),
        Some(own) => Model::Cascade(Cascade::new(
            &networks,
            &own.router,
            &own.joint,
            inference,
            device,
        )?),
    };
    Ok((artefact, model))
}

/// What a network sees of the picture in a file: the tiles of `view`.
fn tiles(
    path: &Path,
    preprocessing: &Preprocessing,
    view: &View,
) -> Result<Vec<RgbImage>, WorkerCommandError> {
    let bytes = fs::read(path).map_err(at(path))?;
    let inputs = preprocessing.inputs(&bytes, view, &DecodeLimits::default());
    inputs.map_err(|source| WorkerCommandError::Picture {
        path: path.to_owned(),
        source,
    })
}

/// The embedded recipe of that name, or the one in a file.
fn recipe(given: &Path) -> Result<Recipe, WorkerCommandError> {
    match given.to_str() {
        Some(name) if !name.contains(['.', '/']) => Ok(Recipe::named(name)?),
        _ => Ok(Recipe::parse(&fs::read_to_string(given).map_err(at(given))?)?),
    }
}

/// A number from 0 to below 1, such as a margin.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("use a number from 0 to 1".to_owned()),
    }
}
