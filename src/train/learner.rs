//! What a training moves: the scores of a mask ([`Scores`](super::scores::Scores)),
//! or the weights themselves ([`Tuned`](super::tuned::Tuned)). Views, loss,
//! schedule, checkpoints and chance are the same for both.

use std::collections::BTreeMap;

use super::TrainError;
use super::recipe::Recipe;
use super::session::Start;
use crate::base::Weights;

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

    /// The weights that the network has now, of each tensor that is moved, by its canonical index.
    fn weights(&self, base: &Weights) -> Result<Vec<(usize, Vec<f32>)>, TrainError>;

    /// One step down the `gradients`, which are those of [`Learner::weights`]
    /// in their order. `fall` is the schedule's factor of the rate: 1 after the warm-up, 0 in the end.
    fn descend(
        &mut self,
        base: &Weights,
        gradients: &[Vec<f32>],
        recipe: &Recipe,
        fall: f64,
    ) -> Result<(), TrainError>;

    /// Weights dropped now; `None` where none ever is.
    fn dropped(&self) -> Option<usize>;

    /// What it has come to, with the BatchNorm statistics that moved.
    fn product(self, base: &Weights, norms: BTreeMap<usize, Vec<f32>>) -> Self::Product;
}
