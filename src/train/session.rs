//! One training, from the base (or a parent mask) to what it leaves: the loop, what it
//! tells, and where it can be interrupted. One step is in [`super::step`].

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use image::RgbImage;

use super::checkpoint::{self, Identity};
use super::feed;
use super::final_scores::FinalScores;
use super::learner::Learner;
use super::moments::{self, Moment};
use super::recipe::{Precision, Recipe};
use super::step::Session;
use super::{TrainError, panic_text};
use crate::base::{Preprocessing, Weights};
use crate::domain::job::Order;
use crate::domain::{Digest, View};

/// Everything that determines a training, and where it runs.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// The frozen base.
    pub base: &'a Weights,
    /// The pictures, in the order of their digests, each as its tiles.
    pub images: &'a [RgbImage],
    /// The digest of the images' digests, in that order.
    pub images_digest: Digest,
    /// The base's preprocessing, as the view changes it ([`Preprocessing::seen`]).
    pub preprocessing: &'a Preprocessing,
    /// The site's view.
    pub view: &'a View,
    /// The recipe, in steps and already cut to its budget.
    pub recipe: &'a Recipe,
    /// The seed of everything drawn at random.
    pub seed: u64,
    /// What it begins with.
    pub start: Start<'a>,
    /// Where the network computes.
    pub device: tch::Device,
}

/// What a training begins with.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// The base itself: a mask keeps every weight.
    KeepAll,
    /// The final scores of another mask, and the BatchNorm statistics that it moved.
    Parent {
        /// Its final scores.
        scores: &'a FinalScores,
        /// Its statistics ([`norms`](crate::mask::Mask::norms)).
        norms: &'a BTreeMap<usize, Vec<f32>>,
    },
}

/// When a training hands a checkpoint over.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Whenever so long has passed.
    pub every: Duration,
    /// After the last step, too: a training that goes on there has its result at once.
    pub last: bool,
}

/// What a training tells while it runs.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A step is done. The answer is obeyed at once.
    Step(Progress),
    /// The whole state after `step` steps, to be kept somewhere. The answer is ignored.
    Checkpoint {
        /// Steps done.
        step: u32,
        /// The checkpoint.
        bytes: &'a [u8],
    },
}

/// Where a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done, warm-up counted.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// The loss of this step.
    pub loss: f64,
    /// Weights dropped now; `None` where none ever is.
    pub dropped: Option<usize>,
}

/// What a training leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<P> {
    /// What was learned, as it is after the last step done.
    pub learned: P,
    /// The loss of each step done, warm-up counted.
    pub losses: Vec<f64>,
    /// The moments that were looked at, where the recipe looks for the best; empty
    /// where it does not, or has too few images for it.
    pub moments: Vec<Moment>,
    /// Seconds spent on steps, those before a resumption counted.
    pub seconds: f64,
    /// Whether an order ended it before its last step.
    pub stopped: bool,
}

/// Trains what `L` moves. Same base, images, recipe, seed, start and execution profile:
/// same result, bit for bit, whether in one go or resumed from a checkpoint.
///
/// `told` hears of each step, and is given a checkpoint when `keep` says so and when it
/// answers [`Order::Stop`] (not after [`Order::LeaseLost`]: then nobody wants it). A panic within becomes an error.
/// float16 on a CPU is one, too: it is slower there than float32, and less exact.
pub fn train<L: Learner>(
    training: &Training,
    resume: Option<&[u8]>,
    keep: Keep,
    told: &mut dyn FnMut(Event) -> Order,
) -> Result<Outcome<L::Product>, TrainError> {
    if training.recipe.precision == Precision::Float16 && !training.device.is_cuda() {
        return Err(TrainError::NeedsCard);
    }
    // What a panic could leave half done lives inside and is dropped with it.
    let whole = AssertUnwindSafe(|| carried_out::<L>(training, resume, keep, told));
    catch_unwind(whole).unwrap_or_else(|panic| Err(TrainError::Panicked(panic_text(&*panic))))
}

fn carried_out<L: Learner>(
    training: &Training,
    resume: Option<&[u8]>,
    keep: Keep,
    told: &mut dyn FnMut(Event) -> Order,
) -> Result<Outcome<L::Product>, TrainError> {
    let Training { images, recipe, .. } = *training;
    let (steps, batch) = (recipe.schedule.steps, recipe.schedule.batch);
    let (trains, held) = moments::split(
        recipe.selection.as_ref(),
        images.len(),
        training.view.tiles.count(),
    );
    if trains.len() < batch {
        return Err(TrainError::TooFewImages {
            given: trains.len(),
            needed: batch,
        });
    }
    let identity = identity(training);
    let mut session = Session::<L>::new(training, &held)?;
    if let Some(resume) = resume {
        session.restore(checkpoint::decode(resume, &identity, steps, session.numbers())?)?;
        if session.step() == steps && keep.last {
            let _ = told(Event::Checkpoint {
                step: steps,
                bytes: resume,
            });
        }
    }
    std::thread::scope(|scope| {
        let crops = feed::ahead(scope, *training, &trains, session.step());
        let mut kept = Instant::now();
        // Ends when the thread that draws has no more steps; or it panicked, which the scope passes on.
        for crops in crops {
            let loss = session.advance(&crops?)?;
            session.consider()?;
            let step = session.step();
            let order = told(Event::Step(Progress {
                step,
                steps,
                loss,
                dropped: session.dropped(),
            }));
            let stopped = order != Order::Continue && step < steps;
            let due = if step < steps {
                order == Order::Continue && kept.elapsed() >= keep.every
            } else {
                order != Order::LeaseLost && keep.last
            };
            if due || (stopped && order == Order::Stop) {
                let bytes = checkpoint::encode(&identity, &session.state()?);
                let _ = told(Event::Checkpoint { step, bytes: &bytes });
                kept = Instant::now();
            }
            if stopped {
                return session.outcome(true);
            }
        }
        session.outcome(false)
    })
}

fn identity(training: &Training) -> Identity {
    let start = match training.start {
        Start::KeepAll => Digest::of(b""),
        Start::Parent { scores, norms } => {
            let mut start = scores.encode();
            let moved = norms.iter().flat_map(|(index, values)| {
                let index = (*index as u32).to_le_bytes();
                index
                    .into_iter()
                    .chain(values.iter().flat_map(|value| value.to_le_bytes()))
            });
            start.extend(moved);
            Digest::of(&start)
        }
    };
    // The default view adds nothing, so that trainings of before there were views go on.
    let preprocessing = training.preprocessing.digest();
    let seen = if training.view.is_default() {
        preprocessing
    } else {
        Digest::of(
            &[preprocessing, training.view.digest()]
                .map(|digest| *digest.as_bytes())
                .concat(),
        )
    };
    Identity {
        base: training.base.digest(),
        preprocessing: seen,
        recipe: training.recipe.digest(),
        images: training.images_digest,
        start,
        seed: training.seed,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
