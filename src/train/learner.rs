//! What a training moves: the scores of a mask ([`Scores`](super::scores::Scores)),
//! or the weights themselves ([`Tuned`](super::tuned::Tuned)). Views, loss,
//! schedule, checkpoints and chance are the same for both.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use super::TrainError;
use super::recipe::Recipe;
use super::session::Start;
use crate::base::Weights;

/// Where in its course a learner is: steps of its own, those of the warm-up not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Steps that it has done.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
}

impl At {
    /// The schedule's factor of a rate, a cosine: 1 in the beginning, 0 in the end.
    pub fn fall(self) -> f64 {
        0.5 * (1.0 + (PI * f64::from(self.step) / f64::from(self.steps)).cos())
    }
}

/// What a training moves, in plain Rust: libtorch only gives the gradients.
pub trait Learner: Sized {
    /// What the training leaves behind.
    type Product;

    /// The state before the first step; `tensors` are those that it may move, by canonical index.
    fn begin(base: &Weights, recipe: &Recipe, tensors: &[usize], start: Start) -> Result<Self, TrainError>;

    /// All numbers of the state, as [`Learner::planes_mut`] takes them back.
    fn planes(&self) -> impl Iterator<Item = &[f32]>;

    /// The same numbers, to be overwritten.
    fn planes_mut(&mut self) -> impl Iterator<Item = &mut [f32]>;

    /// Those of the numbers that the product depends on.
    fn essence(&self) -> impl Iterator<Item = &[f32]>;

    /// The same numbers, to be overwritten.
    fn essence_mut(&mut self) -> impl Iterator<Item = &mut [f32]>;

    /// The weights that the network has now, of each tensor that is moved, by its canonical index.
    fn weights(&self, base: &Weights) -> Result<Vec<(usize, Vec<f32>)>, TrainError>;

    /// One step down the `gradients`, which are those of [`Learner::weights`] in their order.
    fn descend(
        &mut self,
        base: &Weights,
        gradients: &[Vec<f32>],
        recipe: &Recipe,
        at: At,
    ) -> Result<(), TrainError>;

    /// Weights dropped now; `None` where none ever is.
    fn dropped(&self) -> Option<usize>;

    /// What it has come to, with the BatchNorm statistics that moved.
    fn product(self, base: &Weights, norms: BTreeMap<usize, Vec<f32>>) -> Self::Product;
}
