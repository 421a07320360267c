//! Fine-tuning: the weights themselves move. What it leaves is as large as the
//! base, so no server trains it; it is what a mask is measured against.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::TrainError;
use super::learner::{At, Learner};
use super::recipe::Recipe;
use super::session::Start;
use crate::base::Weights;

/// A tensor's weights and their momentum.
#[derive(Debug, Clone, PartialEq)]
struct Moved {
    weights: Vec<f32>,
    velocity: Vec<f32>,
}

/// The weights of the tensors that a mask would mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned(BTreeMap<usize, Moved>);

impl Learner for Tuned {
    type Product = Weights;

    fn begin(base: &Weights, _: &Recipe, tensors: &[usize], start: Start) -> Result<Self, TrainError> {
        if let Start::Parent { .. } = start {
            return Err(TrainError::Parent("is no start for a fine-tuning"));
        }
        let at_rest = |index: &usize| {
            let weights = base.values[*index].clone();
            let velocity = vec![0.0; weights.len()];
            (*index, Moved { weights, velocity })
        };
        Ok(Self(tensors.iter().map(at_rest).collect()))
    }

    fn planes(&self) -> impl Iterator<Item = &[f32]> {
        (self.0.values()).flat_map(|moved| [moved.weights.as_slice(), &moved.velocity])
    }

    fn planes_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        (self.0.values_mut()).flat_map(|moved| [moved.weights.as_mut_slice(), moved.velocity.as_mut_slice()])
    }

    fn essence(&self) -> impl Iterator<Item = &[f32]> {
        self.0.values().map(|moved| moved.weights.as_slice())
    }

    fn essence_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.0.values_mut().map(|moved| moved.weights.as_mut_slice())
    }

    fn weights(&self, _: &Weights) -> Result<Vec<(usize, Vec<f32>)>, TrainError> {
        let moved = |(index, moved): (&usize, &Moved)| (*index, moved.weights.clone());
        Ok(self.0.iter().map(moved).collect())
    }

    fn descend(
        &mut self,
        _: &Weights,
        gradients: &[Vec<f32>],
        recipe: &Recipe,
        at: At,
    ) -> Result<(), TrainError> {
        let rule = recipe.finetune.as_ref().ok_or(TrainError::NoFinetuning)?;
        let (rate, momentum) = ((rule.rate * at.fall()) as f32, rule.momentum as f32);
        let moved: Vec<_> = self.0.values_mut().collect();
        moved
            .into_par_iter()
            .zip(gradients)
            .for_each(|(moved, gradient)| {
                let Moved { weights, velocity } = moved;
                for ((weight, velocity), gradient) in weights.iter_mut().zip(velocity).zip(gradient) {
                    *velocity = momentum * *velocity + gradient;
                    *weight -= rate * *velocity;
                }
            });
        Ok(())
    }

    fn dropped(&self) -> Option<usize> {
        None
    }

    fn product(self, base: &Weights, norms: BTreeMap<usize, Vec<f32>>) -> Weights {
        let mut tuned = base.clone();
        let moved = self.0.into_iter().map(|(index, moved)| (index, moved.weights));
        for (index, values) in moved.chain(norms) {
            tuned.values[index] = values;
        }
        tuned
    }
}
