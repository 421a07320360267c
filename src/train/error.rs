//! Why a training or an embedding failed.

use std::any::Any;

use super::checkpoint::Part;
use crate::base::architecture::InputSizeError;
use crate::domain::job::RECIPES;
use crate::domain::{Digest, ErrorKind, Problem};
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
    #[error(
        "{given} pictures are too few to train on; a batch of this recipe needs {needed}: give more, or a recipe with a smaller batch"
    )]
    TooFewImages {
        /// How many train: each tile of a picture, none that is held out.
        given: usize,
        /// How many a step needs.
        needed: usize,
    },
    /// No recipe has that name.
    #[error("there is no recipe `{0}`; use {names}, or a file", names = RECIPES.join(" or "))]
    UnknownRecipe(String),
    /// The checkpoint is cut short or damaged.
    #[error("the checkpoint is damaged; take the one before, or begin anew without it")]
    CheckpointDamaged,
    /// The checkpoint belongs to another training.
    #[error("the checkpoint belongs to a training with {0}; begin anew without it")]
    CheckpointOfAnother(Part),
    /// The scores of the mask to start from are damaged.
    #[error("the scores of the mask to start from are damaged; start from the base instead")]
    ScoresDamaged,
    /// The scores of the mask to start from belong to another base.
    #[error(
        "the scores to start from are for base {given}, this is base {expected}; start from the base instead"
    )]
    ScoresOfAnother {
        /// This base.
        expected: Digest,
        /// The base that they are for.
        given: Digest,
    },
    /// The mask to start from cannot be one of this recipe.
    #[error("the mask to start from {0}; start from the base instead")]
    Parent(&'static str),
    /// Something within the training panicked.
    #[error("the training broke off: {0}")]
    Panicked(String),
    /// The recipe cannot be read.
    #[error("the recipe is not valid: {0}")]
    Recipe(String),
    /// A pattern of the recipe names no tensor that can be masked.
    #[error("no tensor of {architecture} that can be masked is called `{pattern}`, as the recipe's mask.include or mask.exclude says{}", example.as_ref().map(|name| format!("; one is called `{name}`")).unwrap_or_default())]
    NoSuchTensor {
        /// The pattern.
        pattern: String,
        /// The architecture.
        architecture: &'static str,
        /// A tensor that can be masked, if there is one.
        example: Option<String>,
    },
    /// The recipe's choice of tensors leaves none.
    #[error("the recipe leaves nothing to mask in {0}; lower mask.skip-first or exclude less")]
    NothingToMask(&'static str),
    /// The network cannot take input of that size.
    #[error(transparent)]
    InputSize(#[from] InputSizeError),
    /// The recipe fine-tunes where a mask was asked for.
    #[error(
        "this recipe fine-tunes the weights, which leaves no mask; take one that trains a mask, or run it by `katagami train`"
    )]
    NoMask,
    /// The recipe trains a mask where a fine-tuning was asked for.
    #[error("this recipe trains a mask; a fine-tuning needs one with mode = \"finetune\"")]
    NoFinetuning,
    /// The loss is no number any more.
    #[error("the loss is {loss} at step {step}; lower the rates of the recipe")]
    Diverged {
        /// The step.
        step: u32,
        /// The loss.
        loss: f64,
    },
    /// The recipe computes in float16, which no CPU does.
    #[error(
        "precision = \"float16\" needs an NVIDIA card, and this computes on a CPU; use --device cuda, or a recipe with \"bfloat16\" or \"float32\""
    )]
    NeedsCard,
    /// The numbers of the network left float16's range.
    #[error(
        "the network's numbers leave the range of float16 at step {step}; use a recipe with precision = \"bfloat16\""
    )]
    OutOfRange {
        /// The step.
        step: u32,
    },
    /// Masking failed.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// libtorch failed.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

/// The first line of what a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = (panic.downcast_ref::<String>().map(String::as_str))
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words");
    text.lines().next().unwrap_or_default().to_owned()
}

/// libtorch appends a stack trace of C++ to its sentence.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Problem for TrainError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Device { .. } | Self::NeedsCard => ErrorKind::Unavailable,
            Self::TooFewImages { .. }
            | Self::Recipe(_)
            | Self::NoSuchTensor { .. }
            | Self::NothingToMask(_)
            | Self::InputSize(_)
            | Self::NoMask
            | Self::NoFinetuning
            | Self::CheckpointDamaged
            | Self::CheckpointOfAnother(_)
            | Self::ScoresDamaged
            | Self::ScoresOfAnother { .. }
            | Self::OutOfRange { .. }
            | Self::Parent(_) => ErrorKind::Invalid,
            Self::UnknownRecipe(_) => ErrorKind::NotFound,
            Self::Mask(error) => error.kind(),
            Self::Diverged { .. } | Self::Torch(_) | Self::Panicked(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Device { .. } => "device_unavailable",
            Self::TooFewImages { .. } => "too_few_images",
            Self::UnknownRecipe(_) => "no_such_recipe",
            Self::CheckpointDamaged => "checkpoint_damaged",
            Self::CheckpointOfAnother(_) => "checkpoint_of_another",
            Self::ScoresDamaged => "scores_damaged",
            Self::ScoresOfAnother { .. } => "scores_of_another",
            Self::Parent(_) => "parent_unusable",
            Self::Panicked(_) => "training_broke_off",
            Self::Recipe(_) => "recipe_invalid",
            Self::NoSuchTensor { .. } | Self::NothingToMask(_) => "recipe_tensors",
            Self::InputSize(error) => error.code(),
            Self::NoMask => "recipe_fine_tunes",
            Self::NoFinetuning => "recipe_trains_a_mask",
            Self::Diverged { .. } => "training_diverged",
            Self::NeedsCard => "precision_needs_card",
            Self::OutOfRange { .. } => "out_of_range",
            Self::Mask(error) => error.code(),
            Self::Torch(_) => "libtorch",
        }
    }
}
