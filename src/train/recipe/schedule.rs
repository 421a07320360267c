//! What learns, for how long, in which numbers, and which moment is kept.

use serde::{Deserialize, Serialize};

use super::is_default;

/// What learns beside the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A mask over the frozen weights.
    #[default]
    Mask,
    /// The weights themselves: what a mask is measured against. Only `katagami train` knows it.
    Finetune,
}

/// What the network computes in. Scores, head, loss and the mask's arithmetic are
/// float32 whatever this is, and so are judging and inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 bits of precision.
    #[default]
    Float32,
    /// 8 bits of precision at the same range: half the memory, and faster where the processor
    /// knows it (GPUs since 2020, some CPUs).
    Bfloat16,
    /// 11 bits of precision, numbers up to 65,504: for NVIDIA cards of before 2020, and for no CPU. The loss is
    /// scaled, and a step whose gradients leave the range moves nothing.
    Float16,
}

/// How the weights learn where they are fine-tuned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FinetuneRule {
    /// Learning rate of the weights after the warm-up; falls as a cosine to 0.
    pub rate: f64,
    /// Their momentum.
    pub momentum: f64,
}

/// How long, in steps of one batch or in epochs, and what learns when, in steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Schedule {
    /// Steps in all, the warm-up counted; or give `epochs`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub steps: u32,
    /// In place of steps: how often each image is seen. An epoch has as many steps as there are whole batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Steps at the beginning in which head and prototypes learn alone.
    pub warm_up: u32,
    /// Steps at the very beginning in which the prototypes stay as drawn.
    pub prototypes_frozen: u32,
    /// Images a step.
    pub batch: usize,
}

/// How the best moment of a training is found, by signals without labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SelectionRule {
    /// The share of the images that trains nothing and tells how good a moment
    /// is, above 0 and at most a half: every nth image, n being 1 / share to the
    /// nearest whole number. Where that would be fewer than 20 images,
    /// all train and the last moment is kept.
    pub held_out: f64,
    /// Steps after the warm-up from one moment to the next.
    pub every: u32,
}
