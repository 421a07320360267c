//! Which numbers of a recipe make sense together.

use super::{AugmentRule, Granularity, HeadRule, MaskRule, Mode, Precision, Recipe, ScoreRule};
use crate::train::TrainError;

impl Recipe {
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
        let MaskRule {
            rate, momentum, pull, ..
        } = self.mask;
        let HeadRule {
            hidden,
            output,
            prototypes,
            ..
        } = self.head;
        let tuning = self.finetune.as_ref();
        let learning = [rate, momentum, pull, self.head.rate, self.head.momentum]
            .into_iter()
            .chain(tuning.into_iter().flat_map(|rule| [rule.rate, rule.momentum]));
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
                self.mask.evidence.is_none() || self.mask.granularity == Granularity::Weight,
                "mask.rule = \"evidence\" weighs single weights: it needs granularity = \"weight\"",
            ),
            (
                (self.mask.evidence.as_ref()).is_none_or(|rule| rule.price == 0.0 || !self.mask.normalise),
                "mask.evidence.price is in nats of the loss: it needs normalise = false",
            ),
            (
                learning
                    .into_iter()
                    .all(|number| number.is_finite() && number >= 0.0),
                "rates, momentum and pull must be 0 or more",
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
                self.mask.evidence.is_none() || self.precision != Precision::Float16,
                "mask.rule = \"evidence\" counts its steps, and float16 leaves some out: use float32 or bfloat16",
            ),
            (
                (self.mask.evidence.as_ref()).is_none_or(|rule| {
                    let learning = self.schedule.steps.saturating_sub(self.schedule.warm_up);
                    self.schedule.epochs.is_some() || rule.window <= learning
                }),
                "mask.evidence.window is longer than the steps after the warm-up: nothing would ever fall",
            ),
            (
                match self.schedule.epochs {
                    Some(epochs) => epochs > 0 && self.schedule.steps == 0,
                    None => self.schedule.steps > 0,
                },
                "a schedule needs steps or epochs, not both",
            ),
            (
                self.schedule.epochs.is_some() || self.schedule.steps > self.schedule.warm_up,
                "a schedule must have more steps than its warm-up; epochs make as many as the images make whole batches",
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
            (
                hidden > 0 && output > 0 && prototypes > 1,
                "a head needs a width, an output and at least 2 prototypes",
            ),
            (
                self.swav.temperature > 0.0 && self.swav.epsilon > 0.0,
                "temperature and epsilon must be above 0",
            ),
            (
                self.swav.rounds > 0,
                "swav.rounds must be at least 1: codes are no distribution before",
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
}
