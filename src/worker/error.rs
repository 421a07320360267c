//! Why a command of `katagami-worker` failed.

use std::path::{Path, PathBuf};

use super::attempt::AttemptError;
use crate::base::ImportError;
use crate::base::preprocessing::PictureError;
use crate::domain::kpi::KpiError;
use crate::domain::{ErrorKind, Problem};
use crate::evaluate::EvaluateError;
use crate::mask::MaskError;
use crate::train::TrainError;

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
    /// An option that means nothing to a fine-tuning.
    #[error("this recipe fine-tunes the weights, and only masks are judged: leave out {0}")]
    OnlyForMasks(&'static str),
    /// Nothing to compare.
    #[error("there are fewer than two pictures below `{}`", .0.display())]
    TooFewPictures(PathBuf),
    /// The caption of a labelled picture cannot be read.
    #[error("the caption `{}` cannot be read ({reason}); mend it or take it away", path.display())]
    Caption {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A mask whose training saw pictures prepared otherwise.
    #[error("{}", other_preprocessing(arch, *size, *its))]
    OtherPreprocessing {
        /// The architecture given.
        arch: String,
        /// The size given.
        size: u32,
        /// The size that it was trained at, if that is all that differs.
        its: Option<u32>,
    },
    /// The KPI does not fit the labelled pictures.
    #[error(transparent)]
    Kpi(#[from] KpiError),
    /// A file of network input cannot be used.
    #[error("`{}`: {reason}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong.
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
    /// An attempt failed.
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    /// The work for a server ended.
    #[error(transparent)]
    Run(#[from] super::run::RunError),
    /// Embeddings or labels cannot be compared.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

fn other_preprocessing(arch: &str, size: u32, its: Option<u32>) -> String {
    match its {
        Some(its) => format!("the mask was trained at {its} pixels, not at {size}; use --size {its}"),
        None => format!(
            "the mask was trained on pictures that were prepared otherwise than `{arch}` prepares them; use the base that it is for"
        ),
    }
}

impl Problem for WorkerCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownArchitecture(_)
            | Self::Labelled { .. }
            | Self::OnlyForMasks(_)
            | Self::TooFewPictures(_)
            | Self::Input { .. }
            | Self::Caption { .. }
            | Self::OtherPreprocessing { .. }
            | Self::Kpi(_)
            | Self::Evaluate(_) => ErrorKind::Invalid,
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
            Self::Attempt(error) => error.kind(),
            Self::Run(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UnknownArchitecture(_) => "architecture_unknown",
            Self::Labelled { .. } => "labels_unusable",
            Self::OnlyForMasks(_) => "only_for_masks",
            Self::TooFewPictures(_) => "too_few_pictures",
            Self::Input { .. } => "input_unusable",
            Self::Caption { .. } => "caption_invalid",
            Self::OtherPreprocessing { .. } => "other_preprocessing",
            Self::Kpi(_) => "kpi_invalid",
            Self::Io { .. } => "file_unusable",
            Self::Picture { source, .. } => source.code(),
            Self::Base(error) => error.code(),
            Self::Mask(error) => error.code(),
            Self::Train(error) => error.code(),
            Self::Attempt(error) => error.code(),
            Self::Run(error) => error.code(),
            Self::Evaluate(_) => "not_comparable",
        }
    }
}

/// Names the file that an error of the system is about.
pub(super) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> WorkerCommandError + use<> {
    let path = path.to_owned();
    move |source| WorkerCommandError::Io { path, source }
}
