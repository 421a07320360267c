//! Which moment of a training is kept: the best of several by signals without
//! labels, on images held out of the training. The beginning is one of them, so
//! "the base itself" is a possible answer.
//!
//! The loss cannot choose: its prototypes move along, and it falls while features
//! collapse. A moment is out where a signal has lost (`domain::gate`'s rule); among
//! the others the greatest sum of what instance retrieval and effective rank (of
//! pictures or of their patches) have gained is kept, if it is above nothing.

use image::RgbImage;
use rayon::prelude::*;
use tch::Tensor;

use super::embed::{Embedder, of_pictures};
use super::recipe::SelectionRule;
use super::session::Training;
use super::{TrainError, augment};
use crate::base::{Architecture, Preprocessing};
use crate::domain::gate::{Evidence, GateSettings, Reason, judge};
use crate::domain::report::LabelFree;
use crate::evaluate::{self, EvaluateError, Settings, Space};

/// Fewest held-out pictures that a signal is read from.
const FEWEST: usize = 20;
/// Most images that are held out, tiles counted, unless fewer pictures would be too few: signals are steady
/// long before, all are in memory, and each moment embeds them in both views.
const MOST: usize = 200;
/// The seed of the second views: neither the training's nor the gate's.
const VIEW_SEED: u64 = 0x6b_65_65_70;
/// Numbers of a moment in [`Selection::record`].
const FIELDS: usize = 6;

/// What stands for the worth of a moment at which a signal had lost: a checkpoint holds finite numbers only.
const LOST: f32 = f32::MIN;

/// A moment of a training that might have been kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Steps done, warm-up counted.
    pub step: u32,
    /// Weights dropped then.
    pub dropped: u32,
    /// What instance retrieval had gained on the beginning, as a share of images.
    pub retrieval: f32,
    /// Effective rank over that of the beginning.
    pub rank: f32,
    /// The same of patches; `None` of networks whose last feature map has one, or none.
    pub patches: Option<f32>,
    /// What retrieval and the rank, or that of patches if it is more, had gained together; `None`
    /// where a signal had lost.
    pub worth: Option<f32>,
}

/// The numbers of images that train and of those that are held out, in their order: the
/// `tiles` of a picture, which follow each other, on the same side. All train where too few
/// pictures would be held out to tell.
pub fn split(rule: Option<&SelectionRule>, images: usize, tiles: usize) -> (Vec<usize>, Vec<usize>) {
    let all = || (0..images).collect();
    let Some(rule) = rule else {
        return (all(), Vec::new());
    };
    let nth = (1.0 / rule.held_out).round().max(2.0) as usize;
    if images / tiles / nth < FEWEST {
        return (all(), Vec::new());
    }
    // Images come in the order of their digests: every nth is a random choice.
    let (mut held, mut training): (Vec<usize>, Vec<usize>) = all()
        .into_iter()
        .partition(|image| image / tiles % nth == nth - 1);
    let most = (MOST / tiles).max(FEWEST) * tiles;
    if held.len() > most {
        training.extend(held.split_off(most));
        training.sort_unstable();
    }
    (training, held)
}

/// The held-out images as the network sees them, and what was found so far.
pub(super) struct Selection {
    every: u32,
    /// `[images, 3, size, size]`, the plain ones and their second views. A tile is an image.
    inputs: [Vec<f32>; 2],
    size: u32,
    /// Of each picture, one after the other.
    tiles: usize,
    /// What the network made of them as the training began with it.
    began: Space,
    /// All that the product depends on, as it was at the best moment.
    pub(super) kept: Vec<f32>,
    /// The moments so far, [`FIELDS`] numbers each; zeros for those to come.
    pub(super) record: Vec<f32>,
}

impl Selection {
    /// None where nothing is held out. `tensors` are the network's, `beginning` is what the
    /// product depends on, both as the training begins with them.
    pub(super) fn new(
        training: &Training,
        held: &[usize],
        tensors: &[Tensor],
        beginning: Vec<f32>,
    ) -> Result<Option<Self>, TrainError> {
        let Some(rule) = training.recipe.selection.as_ref().filter(|_| !held.is_empty()) else {
            return Ok(None);
        };
        let Training {
            images,
            preprocessing,
            recipe,
            device,
            base,
            view,
            ..
        } = *training;
        let shown: Vec<&RgbImage> = held.iter().map(|image| &images[*image]).collect();
        let plain: Vec<RgbImage> = (shown.par_iter())
            .map(|image| preprocessing.resize(image, preprocessing.size))
            .collect();
        let viewed = augment::views(&shown, &recipe.augment, preprocessing, VIEW_SEED);
        let inputs = [plain, viewed].map(|pictures| normalised(&pictures, preprocessing));
        let learning = recipe.schedule.steps - recipe.schedule.warm_up;
        let size = preprocessing.size;
        let tiles = view.tiles.count();
        let network = Embedder::of_tensors(base.architecture, tensors, device);
        Ok(Some(Self {
            every: rule.every,
            began: space(&network, &inputs, size, tiles)?,
            inputs,
            size,
            tiles,
            kept: beginning,
            record: vec![0.0; learning.div_ceil(rule.every) as usize * FIELDS],
        }))
    }

    /// Whether the moment after `learned` steps of `all` is one to look at.
    pub(super) fn is_due(&self, learned: u32, all: u32) -> bool {
        learned > 0 && (learned.is_multiple_of(self.every) || learned == all)
    }

    /// Looks at a moment; whether it is the best so far.
    pub(super) fn consider(
        &mut self,
        architecture: &'static Architecture,
        tensors: &[Tensor],
        device: tch::Device,
        step: u32,
        dropped: usize,
    ) -> Result<bool, TrainError> {
        let network = Embedder::of_tensors(architecture, tensors, device);
        let now = space(&network, &self.inputs, self.size, self.tiles)?;
        let signals = signals(&self.began, &now, network.dim())
            .map_err(|_| TrainError::Diverged { step, loss: f64::NAN })?;
        let moment = weighed(&signals, step, dropped as u32);
        let best = self
            .moments()
            .filter_map(|moment| moment.worth)
            .fold(0.0, f32::max);
        let free = self.moments().count();
        let fields = [
            step as f32,
            dropped as f32,
            moment.retrieval,
            moment.rank,
            moment.patches.unwrap_or_default(),
            moment.worth.unwrap_or(LOST),
        ];
        self.record[free * FIELDS..][..FIELDS].copy_from_slice(&fields);
        Ok(moment.worth.is_some_and(|worth| worth > best))
    }

    /// The moments so far.
    pub(super) fn moments(&self) -> impl Iterator<Item = Moment> {
        let of = |fields: &[f32]| Moment {
            step: fields[0] as u32,
            dropped: fields[1] as u32,
            retrieval: fields[2],
            rank: fields[3],
            patches: Some(fields[4]).filter(|share| *share > 0.0),
            worth: Some(fields[5]).filter(|worth| *worth > LOST),
        };
        let filled = self
            .record
            .chunks_exact(FIELDS)
            .take_while(|fields| fields[0] > 0.0);
        filled.map(of)
    }
}

fn normalised(pictures: &[RgbImage], preprocessing: &Preprocessing) -> Vec<f32> {
    (pictures.par_iter())
        .flat_map_iter(|picture| preprocessing.normalise(picture))
        .collect()
}

/// What a network makes of `inputs`, each `[pictures * tiles, 3, size, size]`: of plain images and of their second views.
fn space(
    network: &Embedder,
    [plain, viewed]: &[Vec<f32>; 2],
    size: u32,
    tiles: usize,
) -> Result<Space, TrainError> {
    let batches = |input| <[f32]>::chunks(input, Embedder::BATCH * 3 * (size * size) as usize).enumerate();
    let mut space = Space::default();
    for (number, batch) in batches(plain) {
        if number * Embedder::BATCH < Embedder::PATCHED {
            let (embedded, patches) = network.embed_with_patches(batch, size)?;
            space.whole.extend(embedded);
            space.patches.extend(patches);
        } else {
            space.whole.extend(network.embed(batch, size)?);
        }
    }
    for (_, batch) in batches(viewed) {
        space.viewed.extend(network.embed(batch, size)?);
    }
    space.whole = of_pictures(space.whole, tiles, network.dim());
    space.viewed = of_pictures(space.viewed, tiles, network.dim());
    Ok(space)
}

fn signals(began: &Space, now: &Space, dim: usize) -> Result<LabelFree, EvaluateError> {
    evaluate::label_free(&began.views(dim)?, &now.views(dim)?, &Settings::default())
}

/// What a moment is worth by its signals against the beginning's.
fn weighed(signals: &LabelFree, step: u32, dropped: u32) -> Moment {
    let verdict = judge(
        &Evidence {
            label_free: Some(signals.clone()),
            ..Evidence::default()
        },
        &GateSettings::default(),
    );
    let lost = verdict
        .reasons()
        .iter()
        .any(|reason| matches!(reason, Reason::SignalLost { .. } | Reason::UnusableEvidence));
    let retrieval = signals.retrieval.difference.value as f32;
    let share = |mask: f64, base: f64| (mask / base.max(f64::MIN_POSITIVE)) as f32;
    let rank = share(signals.mask.effective_rank, signals.base.effective_rank);
    let patches = (signals.patches).map(|patches| share(patches.mask, patches.base));
    let worth = retrieval + patches.map_or(rank, |patches| rank.max(patches)) - 1.0;
    Moment {
        step,
        dropped,
        retrieval,
        rank,
        patches,
        worth: (!lost && worth.is_finite()).then_some(worth),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::report::{Both, Estimate, Figure, SpaceFigures};

    #[test]
    fn a_tenth_is_held_out_unless_that_is_too_few_to_tell() {
        let rule = SelectionRule {
            held_out: 0.1,
            every: 10,
        };
        let (training, held) = split(Some(&rule), 500, 1);
        assert_eq!((training.len(), held.len()), (450, 50));
        assert!(held.iter().all(|image| !training.contains(image)));
        assert_eq!(split(Some(&rule), 199, 1).1.len(), 0);
        assert_eq!(split(None, 500, 1).0.len(), 500);
        let (training, held) = split(Some(&rule), 10_000, 1);
        assert_eq!((training.len(), held.len()), (10_000 - MOST, MOST));
        assert!(training.is_sorted());
    }

    #[test]
    fn a_moment_is_worth_what_it_gained_by_the_better_rank_and_nothing_where_a_signal_had_lost() {
        let figure = |value| SpaceFigures {
            effective_rank: value,
            decay: None,
            mean_cosine: 0.3,
            spread: 0.9,
        };
        let gained = Estimate::exact(0.1);
        let mut signals = LabelFree {
            images: 50,
            base: figure(100.0),
            mask: figure(90.0),
            retrieval: Figure {
                base: Estimate::exact(0.4),
                mask: Estimate::exact(0.5),
                difference: gained,
            },
            stability: 0.8,
            clusters: None,
            patches: Some(Both {
                base: 50.0,
                mask: 51.0,
            }),
        };
        let parted = weighed(&signals, 20, 7);
        assert_eq!((parted.step, parted.dropped), (20, 7));
        let close = |found: Option<f32>, expected: f32| (found.unwrap() - expected).abs() < 1e-6;
        assert!(
            close(parted.worth, 0.12) && close(parted.patches, 1.02),
            "{parted:?}"
        );
        signals.patches = Some(Both {
            base: 50.0,
            mask: 49.0,
        });
        assert_eq!(weighed(&signals, 20, 7).worth, None, "rank had lost");
        (signals.patches, signals.mask) = (None, figure(103.0));
        assert!(close(weighed(&signals, 20, 7).worth, 0.13));
    }

    #[test]
    fn the_tiles_of_a_picture_are_held_out_together() {
        let rule = SelectionRule {
            held_out: 0.1,
            every: 10,
        };
        for (pictures, expected) in [(190, 0), (200, 20), (3_000, 33)] {
            let (training, held) = split(Some(&rule), 6 * pictures, 6);
            assert_eq!(training.len() + held.len(), 6 * pictures);
            assert_eq!(held.len(), 6 * expected);
            let whole = |picture: &[usize]| picture[0].is_multiple_of(6) && picture[5] == picture[0] + 5;
            assert!(held.chunks(6).all(|picture| picture.len() == 6 && whole(picture)));
        }
        assert_eq!(split(Some(&rule), 64 * 3_000, 64).1.len(), 64 * FEWEST);
    }
}
