//! Recipes: everything that determines a training besides base and snapshot.

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::base::{Architecture, Role};
use crate::domain::Digest;

/// Everything that determines a training besides base, images and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// How long, and what learns when.
    pub schedule: Schedule,
    /// How the mask learns.
    pub mask: MaskRule,
    /// The projection head and its prototypes, thrown away in the end.
    pub head: HeadRule,
    /// The objective.
    pub swav: SwavRule,
    /// The crops.
    pub augment: AugmentRule,
}

/// How long, and what learns when. All in steps of one batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Schedule {
    /// Steps in all, the warm-up counted.
    pub steps: u32,
    /// Steps at the beginning in which head and prototypes learn alone.
    pub warm_up: u32,
    /// Steps at the very beginning in which the prototypes stay as drawn.
    pub prototypes_frozen: u32,
    /// Images a step.
    pub batch: usize,
}

/// How the mask learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MaskRule {
    /// Learning rate of the scores after the warm-up; falls as a cosine to 0.
    pub rate: f64,
    /// Momentum of the scores.
    pub momentum: f64,
    /// Divides each tensor's gradient by its root mean square, so that only
    /// weights whose gradient keeps its sign over many batches fall. Without
    /// it nearly all flips go into the first layers.
    pub normalise: bool,
    /// How many of the first convolutions (depthwise ones not counted) are never masked.
    pub skip_first: usize,
}

/// The projection head: linear, BatchNorm, ReLU, linear, then the prototypes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HeadRule {
    /// Learning rate of head and prototypes, constant.
    pub rate: f64,
    /// Their momentum.
    pub momentum: f64,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Length of a projection.
    pub output: usize,
    /// Number of prototypes.
    pub prototypes: usize,
}

/// The swapped prediction of SwAV (arXiv 2006.09882, §3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SwavRule {
    /// Temperature of the predictions.
    pub temperature: f64,
    /// Entropy of the codes: Sinkhorn-Knopp's ε.
    pub epsilon: f64,
    /// Rounds of Sinkhorn-Knopp.
    pub rounds: u32,
    /// Rate of stochastic depth at the last block; grows linearly from 0 at the first. 0: none.
    pub drop_connect: f64,
}

/// The crops of an image. Both flips are always drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AugmentRule {
    /// Brightness is multiplied by 1 ± this.
    pub brightness: f64,
    /// Contrast is multiplied by 1 ± this.
    pub contrast: f64,
    /// Crops from which codes are computed.
    pub large: CropRule,
    /// Crops from which the codes of the large ones are predicted, too.
    pub small: CropRule,
}

/// One kind of crop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CropRule {
    /// How many of each image.
    pub count: usize,
    /// Edge length in pixels.
    pub size: u32,
    /// Least and greatest share of the image's area.
    pub scale: [f64; 2],
}

impl Recipe {
    /// The default recipe, for small sets of factory photographs.
    pub fn factory() -> Self {
        Self::parse(include_str!("../../recipes/factory.toml")).expect("the embedded recipe is tested")
    }

    /// Reads and checks a recipe in TOML.
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        let recipe: Self =
            toml::from_str(text).map_err(|error| TrainError::Recipe(error.message().to_owned()))?;
        recipe.checked()
    }

    /// The recipe, if its numbers make sense together.
    pub fn checked(self) -> Result<Self, TrainError> {
        let crops = [&self.augment.large, &self.augment.small];
        let scales = crops
            .iter()
            .all(|crop| 0.0 < crop.scale[0] && crop.scale[0] <= crop.scale[1] && crop.scale[1] <= 1.0);
        for (right, wrong) in [
            (
                self.schedule.steps > self.schedule.warm_up,
                "schedule.steps must be more than schedule.warm-up",
            ),
            (self.schedule.batch > 1, "schedule.batch must be at least 2"),
            (
                self.augment.large.count > 1,
                "augment.large.count must be at least 2: codes are swapped between them",
            ),
            (
                crops.iter().all(|crop| (32..=1024).contains(&crop.size)),
                "the size of a crop must be 32 to 1024",
            ),
            (
                scales,
                "the scale of a crop must be two shares of the area, the lesser one first",
            ),
            (self.head.prototypes > 1, "head.prototypes must be at least 2"),
            (
                self.swav.temperature > 0.0 && self.swav.epsilon > 0.0,
                "temperature and epsilon must be above 0",
            ),
            (
                (0.0..1.0).contains(&self.swav.drop_connect),
                "swav.drop-connect must be at least 0 and below 1",
            ),
        ] {
            if !right {
                return Err(TrainError::Recipe(wrong.to_owned()));
            }
        }
        Ok(self)
    }

    /// The SHA-256 of the JSON form.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("plain numbers are JSON"))
    }

    /// Canonical indices of the tensors that this recipe masks: convolutions
    /// that are not depthwise, without the first few. Never BatchNorm: masking
    /// it collapses the features (arXiv 2409.07577, table 5).
    pub fn masked_tensors(&self, architecture: &Architecture) -> Vec<usize> {
        let plain = |index: &usize| architecture.tensors[*index].role == Role::Convolution { groups: 1 };
        (0..architecture.tensors.len())
            .filter(plain)
            .skip(self.mask.skip_first)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::architecture;

    #[test]
    fn the_default_masks_what_was_measured_to_help() {
        let lite0 = architecture("efficientnet_lite0").unwrap();
        let masked = Recipe::factory().masked_tensors(lite0);
        let weights: usize = masked.iter().map(|index| lite0.tensors[*index].len()).sum();
        assert!((3_000_000..3_300_000).contains(&weights), "{weights}");
    }

    #[test]
    fn a_misspelt_field_and_a_senseless_number_are_refused() {
        let good = include_str!("../../recipes/factory.toml");
        let said = Recipe::parse(&good.replace("temperature", "temprature"))
            .unwrap_err()
            .to_string();
        assert!(said.contains("temprature"), "{said}");
        assert!(Recipe::parse(&good.replace("steps = 100", "steps = 30")).is_err());
    }

    #[test]
    fn every_number_changes_the_digest() {
        let one = Recipe::factory();
        let mut other = one.clone();
        other.mask.rate *= 2.0;
        assert_ne!(one.digest(), other.digest());
    }
}
