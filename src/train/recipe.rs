//! Recipes: everything that determines a training besides base and snapshot.

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

/// How the best moment of a training is found, by signals without labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SelectionRule {
    /// The share of the images that trains nothing and tells how good a moment
    /// is, above 0 and at most a half. Where that would be fewer than 20 images,
    /// all train and the last moment is kept.
    pub held_out: f64,
    /// Steps after the warm-up from one moment to the next.
    pub every: u32,
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
}

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

/// How the weights learn where they are fine-tuned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FinetuneRule {
    /// Learning rate of the weights after the warm-up; falls as a cosine to 0.
    pub rate: f64,
    /// Their momentum.
    pub momentum: f64,
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
    /// How gradients move scores. Default momentum.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rule: ScoreRule,
    /// Learning rate of the scores after the warm-up; falls as a cosine to 0.
    pub rate: f64,
    /// Momentum of the scores.
    pub momentum: f64,
    /// Divides each tensor's gradient by its root mean square, so that only
    /// weights whose gradient keeps its sign over many batches fall. Without
    /// it nearly all flips go into the first layers.
    pub normalise: bool,
    /// How strongly each score is drawn back to where it began, as a share of
    /// its distance added to its gradient. Default 0: the paper has no weight decay.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pull: f64,
    /// How flips are chosen, with rule `evidence`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceRule>,
    /// How many of the first tensors that would be masked (by the fields below) are not.
    pub skip_first: usize,
    /// Which tensors are masked: patterns of canonical names (`*` any text, `?` any character).
    /// Default: convolutions that are not depthwise, matrices of linear layers; not a
    /// transformer's patch embedding. Norms, biases, tokens and positions never are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub include: Vec<String>,
    /// Which of these are not, after all: patterns as in `include`. Default none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exclude: Vec<String>,
    /// The share of their weights that is masked, above 0 to 1: whole tensors from the output
    /// end backwards, the fewest that hold so much. Half loses almost nothing (arXiv 2409.07577). Default 1.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub share: f64,
    /// What falls at once. Default single weights.
    #[serde(default, skip_serializing_if = "is_default")]
    pub granularity: Granularity,
    /// What BatchNorm's statistics do while the mask learns. Default frozen.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norms: Norms,
}

/// How gradients move scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreRule {
    /// Gradient descent with momentum, as in the paper; with `normalise`, on each tensor's own scale.
    #[default]
    Momentum,
    /// A few flips at a time, each once the gradients of many batches agree on
    /// it: `[mask.evidence]`. Neither rate nor momentum is read.
    Evidence,
}

/// How flips are chosen by evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EvidenceRule {
    /// Steps whose gradients are weighed together before flips are chosen; at least 3.
    pub window: u32,
    /// The least t-statistic of a flip: mean of its gradient over the standard error.
    pub confidence: f64,
    /// What a bit of the artefact costs, in nats of the loss: a flip must bring more.
    pub price: f64,
    /// Most flips a window.
    pub most: usize,
    /// Which flips come first.
    pub order: Order,
}

/// Which of the flips that have shown their evidence come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Those that lower the loss most, less what their bits cost.
    Benefit,
    /// Those whose gradient is surest of its sign.
    Confidence,
}

/// What falls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// Each weight has a score of its own.
    #[default]
    Weight,
    /// One score for all weights of an output (a filter of a convolution, a row of a
    /// matrix); its gradient is the sum of theirs. The artefact's bits stay per weight.
    Filter,
}

/// What BatchNorm's statistics do while the mask learns. Its factor and
/// summand always stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norms {
    /// BatchNorm uses the base's statistics throughout; the artefact holds only bits.
    #[default]
    Frozen,
    /// BatchNorm uses those of the batch, and the running ones move towards
    /// them (momentum .1), as in the authors' code. They are then part of the
    /// artefact. On small sets with small crops the drift hurts.
    Moving,
    /// As `moving` on the large crops; the small ones use the running statistics and move nothing.
    MovingLarge,
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
    /// Projections of earlier batches that the codes are balanced over, too:
    /// for batches that are small beside the number of prototypes. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueRule>,
}

/// The feature queue of SwAV (§4.1, "working with small batches").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QueueRule {
    /// Its length in embeddings, of each large crop. It is used once it is full.
    pub length: usize,
    /// The share of the training after which it begins to fill, 0 to 1.
    pub from: f64,
}

/// The crops of an image and their colours.
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
    /// Saturation is multiplied by 1 ± this. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub saturation: f64,
    /// The hue turns by ± this share of the circle. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hue: f64,
    /// The share of crops that keep their colours: no jitter at all. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unjittered: f64,
    /// The share of crops that become grey. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grey: f64,
    /// The share of crops that are blurred, by a Gaussian of .1 to 2 pixels. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blur: f64,
    /// Which flips are drawn. Default both.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flips: Flips,
}

/// Which flips are drawn, each with an even chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flips {
    /// Left to right and upside down: parts on a conveyor have no upside.
    #[default]
    Both,
    /// Left to right only, for pictures of the world.
    Horizontal,
}

/// One kind of crop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CropRule {
    /// How many of each image.
    pub count: usize,
    /// Edge length in pixels. A network of patches is given whole ones: 96 becomes 98 where a patch has 14.
    pub size: u32,
    /// Least and greatest share of the image's area.
    pub scale: [f64; 2],
}

impl AugmentRule {
    /// The same with crops of whole patches of `patch` pixels: the least that are not smaller.
    #[must_use]
    pub fn in_patches(mut self, patch: u32) -> Self {
        for crop in [&mut self.large, &mut self.small] {
            crop.size = crop.size.next_multiple_of(patch);
        }
        self
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

impl Recipe {
    /// The default recipe, for small sets of factory photographs.
    pub fn factory() -> Self {
        Self::parse(include_str!("../../recipes/factory.toml")).expect("the embedded recipe is tested")
    }

    /// The embedded recipe of that name: `factory`, or `paper-resnet50` with the constants of the paper.
    pub fn named(name: &str) -> Result<Self, TrainError> {
        match name {
            "factory" => Ok(Self::factory()),
            "paper-resnet50" => Self::parse(include_str!("../../recipes/paper-resnet50.toml")),
            _ => Err(TrainError::UnknownRecipe(name.chars().take(80).collect())),
        }
    }

    /// The recipe for a budget of `steps`; 0 leaves it as it is. A smaller
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
        self.schedule.steps = steps;
        self
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
        let queue = self.swav.queue.as_ref();
        let AugmentRule {
            brightness,
            contrast,
            saturation,
            hue,
            unjittered,
            grey,
            blur,
            ..
        } = self.augment;
        let shares = [brightness, contrast, saturation, hue, unjittered, grey, blur];
        if let Some(flaw) =
            (self.experts.as_ref()).and_then(|rule| rule.flaw(self.schedule.batch, self.selection.as_ref()))
        {
            return Err(TrainError::Recipe(flaw.to_owned()));
        }
        for (right, wrong) in [
            (
                self.finetune.is_some() == (self.mode == Mode::Finetune),
                "mode = \"finetune\" and [finetune] belong together",
            ),
            (
                self.mask.evidence.is_some() == (self.mask.rule == ScoreRule::Evidence),
                "mask.rule = \"evidence\" and [mask.evidence] belong together",
            ),
            (
                self.experts.is_none() || self.mode == Mode::Mask,
                "[experts] are masks: they need mode = \"mask\"",
            ),
            (
                (self.mask.evidence.as_ref()).is_none_or(|rule| {
                    rule.window >= 3 && rule.most > 0 && rule.confidence >= 0.0 && rule.price >= 0.0
                }),
                "mask.evidence needs a window of 3 steps or more, one flip or more, and nothing below 0",
            ),
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
            (
                (self.selection.as_ref())
                    .is_none_or(|rule| rule.held_out > 0.0 && rule.held_out <= 0.5 && rule.every > 0),
                "selection.held-out is a share of at most .5, and every some steps",
            ),
            (
                0.0 < self.mask.share && self.mask.share <= 1.0,
                "mask.share must be above 0 and at most 1",
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
            (
                queue.is_none_or(|queue| queue.length > 0 && (0.0..1.0).contains(&queue.from)),
                "swav.queue needs a length above 0, and must begin at a share from 0 to below 1",
            ),
            (
                shares.iter().all(|share| (0.0..=1.0).contains(share)),
                "the numbers of augment are shares: 0 to 1",
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

    /// Canonical indices of the tensors that this recipe masks ([`selection`]).
    pub fn masked_tensors(&self, architecture: &Architecture) -> Result<Vec<usize>, TrainError> {
        selection::masked_tensors(&self.mask, architecture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::architecture;

    #[test]
    fn the_default_masks_what_was_measured_to_help() {
        let lite0 = architecture("efficientnet_lite0").unwrap();
        let masked = Recipe::factory().masked_tensors(lite0).unwrap();
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
        assert!(Recipe::parse(&good.replace("steps = 200", "steps = 30")).is_err());
    }

    #[test]
    fn a_recipe_that_fine_tunes_says_so_and_how() {
        let factory = include_str!("../../recipes/factory.toml");
        let mode = format!("mode = \"finetune\"\n{factory}");
        let rule = format!("{factory}\n[finetune]\nrate = 0.01\nmomentum = 0.9\n");
        for half in [&mode, &rule] {
            let said = Recipe::parse(half).unwrap_err().to_string();
            assert!(said.contains("belong together"), "{said}");
        }
        let whole = Recipe::parse(&format!("mode = \"finetune\"\n{rule}")).unwrap();
        assert_eq!(whole.mode, Mode::Finetune);
        assert_ne!(whole.digest(), Recipe::factory().digest());
    }

    #[test]
    fn a_budget_keeps_the_proportions_of_the_beginning() {
        let schedule = |steps| {
            let Schedule {
                steps,
                warm_up,
                prototypes_frozen,
                ..
            } = Recipe::factory().within(steps).checked().unwrap().schedule;
            [steps, warm_up, prototypes_frozen]
        };
        assert_eq!(schedule(0), [200, 30, 20]);
        assert_eq!(schedule(12), [12, 2, 1]);
        assert_eq!(schedule(1), [1, 0, 0]);
        assert_eq!(
            schedule(400),
            [400, 30, 20],
            "a longer training has no longer warm-up"
        );
        let paper = || Recipe::named("paper-resnet50").unwrap();
        for steps in 1..300 {
            assert!(Recipe::factory().within(steps).checked().is_ok());
            assert!(paper().within(steps).checked().is_ok());
        }
    }

    #[test]
    fn recipes_have_names() {
        for name in crate::domain::job::RECIPES {
            assert!(Recipe::named(name).is_ok(), "{name}");
        }
        let said = Recipe::named("papper").unwrap_err().to_string();
        assert!(
            said.contains("papper") && said.contains("paper-resnet50"),
            "{said}"
        );
        assert_eq!(Recipe::named("factory").unwrap(), Recipe::factory());
    }

    #[test]
    fn the_papers_recipe_masks_every_convolution_of_a_resnet_and_moves_its_statistics() {
        let resnet = architecture("resnet50").unwrap();
        let paper = Recipe::named("paper-resnet50").unwrap();
        let masked = paper.masked_tensors(resnet).unwrap();
        let weights: usize = masked.iter().map(|index| resnet.tensors[*index].len()).sum();
        assert_eq!((masked.len(), weights), (53, 23_454_912));
        assert_eq!(paper.mask.norms, Norms::Moving);
        assert_eq!(paper.swav.queue.map(|queue| queue.length), Some(3_840));
    }

    #[test]
    fn a_field_at_its_default_is_no_part_of_the_digest() {
        let json = serde_json::to_string(&Recipe::factory()).unwrap();
        for field in [
            "mode",
            "precision",
            "finetune",
            "rule",
            "pull",
            "evidence",
            "norms",
            "queue",
            "hue",
            "flips",
            "selection",
            "experts",
            "include",
            "exclude",
            "share",
            "granularity",
        ] {
            assert!(!json.contains(field), "{json}");
        }
    }

    #[test]
    fn a_choice_of_tensors_is_part_of_the_digest_and_checked() {
        let factory = include_str!("../../recipes/factory.toml");
        let with = |line: &str| {
            Recipe::parse(&factory.replace("skip-first = 8", &format!("skip-first = 8\n{line}")))
        };
        for line in [
            "include = [\"*\"]",
            "exclude = [\"_blocks.?.*\"]",
            "share = 0.5",
            "granularity = \"filter\"",
        ] {
            assert_ne!(with(line).unwrap().digest(), Recipe::factory().digest(), "{line}");
        }
        assert_eq!(with("share = 1.0").unwrap().digest(), Recipe::factory().digest());
        for line in [
            "share = 0.0",
            "share = 1.5",
            "share = nan",
            "granularity = \"layer\"",
        ] {
            assert!(with(line).is_err(), "{line}");
        }
    }

    #[test]
    fn crops_of_a_network_of_patches_are_whole_patches() {
        let sizes = |patch| {
            let rule = Recipe::factory().augment.in_patches(patch);
            [rule.large.size, rule.small.size]
        };
        assert_eq!(sizes(1), [96, 64]);
        assert_eq!(sizes(14), [98, 70]);
        assert_eq!(sizes(16), [96, 64]);
    }

    #[test]
    fn every_number_changes_the_digest() {
        let one = Recipe::factory();
        let mut other = one.clone();
        other.mask.rate *= 2.0;
        assert_ne!(one.digest(), other.digest());
    }
}
