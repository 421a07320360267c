//! Recipes: everything that determines a training besides base and snapshot.

mod augment;
mod check;
mod mask;
mod objective;
mod schedule;

pub use augment::{AugmentRule, CropRule, Flips};
pub use mask::{EvidenceRule, Granularity, MaskRule, Norms, Order, ScoreRule};
pub use objective::{HeadRule, QueueRule, SwavRule};
pub use schedule::{FinetuneRule, Mode, Precision, Schedule, SelectionRule};
use serde::{Deserialize, Serialize};

use super::experts::rule::ExpertsRule;
use super::{TrainError, selection};
use crate::base::Architecture;
use crate::domain::Digest;

/// Everything that determines a training besides base, images and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// What learns beside the head. Default: a mask.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// What the network computes in. Default float32.
    #[serde(default, skip_serializing_if = "is_default")]
    pub precision: Precision,
    /// How long, and what learns when.
    pub schedule: Schedule,
    /// How the mask learns, and which tensors.
    pub mask: MaskRule,
    /// How the weights of the same tensors learn, in mode `finetune`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetune: Option<FinetuneRule>,
    /// The projection head and its prototypes, thrown away in the end.
    pub head: HeadRule,
    /// The objective.
    pub swav: SwavRule,
    /// The crops.
    pub augment: AugmentRule,
    /// Which moment of the training is kept. Default: the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionRule>,
    /// Further masks, each for a group of images that are alike. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<ExpertsRule>,
}

impl Recipe {
    /// The default recipe, for small sets of factory photographs.
    pub fn factory() -> Self {
        Self::parse(include_str!("../../../recipes/factory.toml")).expect("the embedded recipe is tested")
    }

    /// The embedded recipe of that name: `factory`, `paper-resnet50` with the constants of the paper,
    /// or `quick`, to try out whether everything works.
    pub fn named(name: &str) -> Result<Self, TrainError> {
        match name {
            "factory" => Ok(Self::factory()),
            "paper-resnet50" => Self::parse(include_str!("../../../recipes/paper-resnet50.toml")),
            "quick" => Self::parse(include_str!("../../../recipes/quick.toml")),
            _ => Err(TrainError::UnknownRecipe(name.chars().take(80).collect())),
        }
    }

    /// The recipe for so many images: epochs become steps.
    #[must_use]
    pub fn over(mut self, images: usize) -> Self {
        let schedule = &mut self.schedule;
        if let Some(epochs) = schedule.epochs.take() {
            let batches = u32::try_from(images / schedule.batch.max(1)).unwrap_or(u32::MAX);
            schedule.steps = epochs.saturating_mul(batches.max(1));
        }
        self
    }

    /// The recipe for a budget of `steps`; 0 leaves it as it is, and epochs are to be steps before
    /// ([`Recipe::over`]). A smaller
    /// budget cuts the beginning (warm-up, frozen prototypes) in proportion, so
    /// that the mask learns at all; a greater one lengthens what follows the same beginning.
    #[must_use]
    pub fn within(mut self, steps: u32) -> Self {
        let whole = self.schedule.steps;
        if steps == 0 {
            return self;
        }
        let cut = |part: u32| {
            if steps < whole {
                let scaled = u64::from(part) * u64::from(steps) + u64::from(whole) / 2;
                (scaled / u64::from(whole)) as u32
            } else {
                part
            }
        };
        self.schedule.warm_up = cut(self.schedule.warm_up).min(steps - 1);
        self.schedule.prototypes_frozen = cut(self.schedule.prototypes_frozen);
        if let Some(experts) = &mut self.experts {
            experts.steps = cut(experts.steps).max(1);
        }
        (self.schedule.steps, self.schedule.epochs) = (steps, None);
        self
    }

    /// Reads and checks a recipe in TOML.
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        let recipe: Self =
            toml::from_str(text).map_err(|error| TrainError::Recipe(error.message().to_owned()))?;
        recipe.checked()
    }

    /// The SHA-256 of the JSON form.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("plain numbers are JSON"))
    }

    /// Canonical indices of the tensors that this recipe masks ([`selection`]).
    pub fn masked_tensors(&self, architecture: &Architecture) -> Result<Vec<usize>, TrainError> {
        selection::masked_tensors(&self.mask, architecture)
    }
}

/// A field at its default is left out of the JSON, so that a new field changes no old recipe's digest.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn whole() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_whole(share: &f64) -> bool {
    *share == whole()
}

#[cfg(test)]
mod tests;
