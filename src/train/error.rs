//! Why a training or an embedding failed.

use crate::domain::{ErrorKind, Problem};
use crate::mask::MaskError;

/// Why a training or an embedding failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The device asked for is not there.
    #[error("device `{given}` is not available: {reason}; use --device cpu")]
    Device {
        /// What was asked for.
        given: String,
        /// Why not.
        reason: &'static str,
    },
    /// Too few pictures to train on.
    #[error("{given} pictures are too few to train on; a batch of this recipe needs {needed}")]
    TooFewImages {
        /// How many there are.
        given: usize,
        /// How many a step needs.
        needed: usize,
    },
    /// The recipe cannot be read.
    #[error("the recipe is not valid: {0}")]
    Recipe(String),
    /// The loss is no number any more.
    #[error("the loss is {loss} at step {step}; lower the rates of the recipe")]
    Diverged {
        /// The step.
        step: u32,
        /// The loss.
        loss: f64,
    },
    /// Masking failed.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// libtorch failed.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

/// libtorch appends a stack trace of C++ to its sentence.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Problem for TrainError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Device { .. } => ErrorKind::Unavailable,
            Self::TooFewImages { .. } | Self::Recipe(_) => ErrorKind::Invalid,
            Self::Mask(error) => error.kind(),
            Self::Diverged { .. } | Self::Torch(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Device { .. } => "device_unavailable",
            Self::TooFewImages { .. } => "too_few_images",
            Self::Recipe(_) => "recipe_invalid",
            Self::Diverged { .. } => "training_diverged",
            Self::Mask(error) => error.code(),
            Self::Torch(_) => "libtorch",
        }
    }
}
