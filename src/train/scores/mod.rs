//! The scores of a mask: one real number a weight, kept where it is above a threshold.
//!
//! Plain Rust on every device: the update is cheap beside the network, and so
//! the mask's arithmetic is that of [`crate::mask::arithmetic`] everywhere.
//! How gradients move scores is a recipe's choice: [`momentum`] or [`evidence`].

mod evidence;
mod momentum;

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::TrainError;
use super::final_scores::FinalScores;
use super::learner::{At, Learner};
use super::recipe::{Granularity, Recipe, ScoreRule};
use super::session::Start;
use crate::base::Weights;
use crate::domain::Digest;
use crate::mask::arithmetic::{mask_tensor, scale};
use crate::mask::{Bits, Mask, MaskError};

/// Scores begin at 1; the threshold is 0. Shifting both, or scaling them with
/// the rate, changes nothing (arXiv 2409.07577, §3.2).
const START: f32 = 1.0;
/// A weight is kept where its score is above this.
const THRESHOLD: f32 = 0.0;

/// A tensor's scores and what the rule remembers of their gradients, each as long as the tensor.
#[derive(Debug, Clone, PartialEq)]
struct Scored {
    scores: Vec<f32>,
    /// The velocity of momentum, or the gradients' sum since the last decision.
    first: Vec<f32>,
    /// The sum of their squares; empty where the rule does not ask for it.
    second: Vec<f32>,
}

/// What the training of a mask leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedMask {
    /// The mask, as it is after the last step done.
    pub mask: Mask,
    /// What a successor can start from.
    pub scores: FinalScores,
}

/// The scores of all masked tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    tensors: BTreeMap<usize, Scored>,
    threshold: f32,
}

impl Scores {
    /// Scores that keep every weight of `tensors`.
    pub fn keeping_all(base: &Weights, tensors: &[usize]) -> Self {
        let start = |index: &usize| (*index, vec![START; base.values[*index].len()]);
        Self::starting_from(tensors.iter().map(start).collect(), THRESHOLD)
    }

    /// The scores that another training ended with, at rest. A tensor that it
    /// did not mask begins as [`Scores::keeping_all`]; one that it masked and
    /// this recipe does not is refused, since its bits would be lost.
    pub fn succeeding(parent: &FinalScores, base: &Weights, tensors: &[usize]) -> Result<Self, TrainError> {
        if parent.tensors.keys().any(|index| !tensors.contains(index)) {
            return Err(TrainError::Parent("masks tensors that this recipe leaves alone"));
        }
        let start = |index: &usize| {
            let scores = match parent.tensors.get(index) {
                Some(scores) => scores.clone(),
                None => vec![START; base.values[*index].len()],
            };
            (*index, scores)
        };
        Ok(Self::starting_from(
            tensors.iter().map(start).collect(),
            THRESHOLD,
        ))
    }

    fn starting_from(scores: BTreeMap<usize, Vec<f32>>, threshold: f32) -> Self {
        let at_rest = |(index, scores): (usize, Vec<f32>)| {
            let first = vec![0.0; scores.len()];
            let second = Vec::new();
            (
                index,
                Scored {
                    scores,
                    first,
                    second,
                },
            )
        };
        Self {
            tensors: scores.into_iter().map(at_rest).collect(),
            threshold,
        }
    }

    /// The same scores, with room for what `rule` remembers.
    fn under(mut self, rule: ScoreRule) -> Self {
        for scored in self.tensors.values_mut() {
            let length = match rule {
                ScoreRule::Momentum => 0,
                ScoreRule::Evidence => scored.scores.len(),
            };
            scored.second.resize(length, 0.0);
        }
        self
    }

    /// What a successor can start from.
    pub fn finals(&self, base: Digest) -> FinalScores {
        let scores = |(index, scored): (&usize, &Scored)| (*index, scored.scores.clone());
        FinalScores {
            base,
            tensors: self.tensors.iter().map(scores).collect(),
        }
    }

    /// The mask: 1 where the score is above the threshold.
    pub fn mask(&self) -> Mask {
        let kept = |score: &f32| *score > self.threshold;
        let bits =
            |(index, scored): (&usize, &Scored)| (*index, Bits::from_bools(scored.scores.iter().map(kept)));
        Mask {
            tensors: self.tensors.iter().map(bits).collect(),
            norms: BTreeMap::new(),
        }
    }

    /// How many weights are dropped now.
    pub fn dropped(&self) -> usize {
        let kept = |score: &&f32| **score > self.threshold;
        (self.tensors.values())
            .map(|scored| scored.scores.len() - scored.scores.iter().filter(kept).count())
            .sum()
    }

    /// The masked weights of each scored tensor, by its canonical index.
    pub fn masked(&self, base: &Weights) -> Result<Vec<(usize, Vec<f32>)>, MaskError> {
        let masks = self.mask().tensors;
        let masked = masks.par_iter().map(|(index, bits)| {
            let mut weights = base.values[*index].clone();
            mask_tensor(&mut weights, bits)?;
            Ok((*index, weights))
        });
        masked.collect()
    }
}

/// Gives every element of a row the sum of the row.
fn sum_rows(values: &mut [f32], rows: usize) {
    for row in values.chunks_exact_mut(values.len() / rows) {
        let sum = row.iter().map(|value| f64::from(*value)).sum::<f64>() as f32;
        row.fill(sum);
    }
}

/// Divides a tensor's gradient by its root mean square. One without gradient (of a dropped block) stays.
fn normalise(gradient: &mut [f32]) {
    let square = (gradient.iter())
        .map(|g| f64::from(*g) * f64::from(*g))
        .sum::<f64>();
    let root = (square / gradient.len() as f64).sqrt();
    let factor = if root > 0.0 { (1.0 / root) as f32 } else { 0.0 };
    gradient.iter_mut().for_each(|g| *g *= factor);
}

impl Learner for Scores {
    type Product = TrainedMask;

    fn begin(base: &Weights, recipe: &Recipe, tensors: &[usize], start: Start) -> Result<Self, TrainError> {
        let scores = match start {
            Start::KeepAll => Self::keeping_all(base, tensors),
            Start::Parent { scores, .. } => {
                let one_a_row = |(index, scores): (&usize, &Vec<f32>)| {
                    let row = scores.len() / base.architecture.tensors[*index].rows();
                    scores
                        .chunks_exact(row)
                        .all(|row| row.iter().all(|score| *score == row[0]))
                };
                if recipe.mask.granularity == Granularity::Filter && !scores.tensors.iter().all(one_a_row) {
                    return Err(TrainError::Parent(
                        "drops single weights where this recipe drops whole filters",
                    ));
                }
                Self::succeeding(scores, base, tensors)?
            }
        };
        Ok(scores.under(recipe.mask.rule))
    }

    fn planes(&self) -> impl Iterator<Item = &[f32]> {
        (self.tensors.values()).flat_map(|scored| [scored.scores.as_slice(), &scored.first, &scored.second])
    }

    fn planes_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        (self.tensors.values_mut()).flat_map(|scored| {
            let Scored {
                scores,
                first,
                second,
            } = scored;
            [scores.as_mut_slice(), first.as_mut_slice(), second.as_mut_slice()]
        })
    }

    fn essence(&self) -> impl Iterator<Item = &[f32]> {
        self.tensors.values().map(|scored| scored.scores.as_slice())
    }

    fn essence_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        (self.tensors.values_mut()).map(|scored| scored.scores.as_mut_slice())
    }

    fn weights(&self, base: &Weights) -> Result<Vec<(usize, Vec<f32>)>, TrainError> {
        Ok(self.masked(base)?)
    }

    /// Gradients pass straight through the threshold: ∂L/∂S = ∂L/∂W · θ / α, for dropped weights, too.
    fn descend(
        &mut self,
        base: &Weights,
        gradients: &[Vec<f32>],
        recipe: &Recipe,
        at: At,
    ) -> Result<(), TrainError> {
        let threshold = self.threshold;
        let rule = &recipe.mask;
        let scored: Vec<_> = self.tensors.iter_mut().collect();
        scored.into_par_iter().zip(gradients).try_for_each(
            |((index, scored), gradient)| -> Result<(), MaskError> {
                let weights = &base.values[*index];
                let ones = scored.scores.iter().filter(|score| **score > threshold).count();
                let alpha = scale(ones, weights.len())?;
                let mut through: Vec<f32> =
                    gradient.iter().zip(weights).map(|(g, w)| g * w / alpha).collect();
                if rule.granularity == Granularity::Filter {
                    sum_rows(&mut through, base.architecture.tensors[*index].rows());
                }
                if rule.normalise {
                    normalise(&mut through);
                }
                match rule.rule {
                    ScoreRule::Momentum => momentum::descend(scored, &through, rule, at.fall()),
                    ScoreRule::Evidence => evidence::collect(scored, &through),
                }
                Ok(())
            },
        )?;
        if let Some(rule) = &rule.evidence
            && (at.step + 1).is_multiple_of(rule.window)
        {
            evidence::decide(&mut self.tensors, base, rule, threshold);
        }
        Ok(())
    }

    fn dropped(&self) -> Option<usize> {
        Some(self.dropped())
    }

    fn product(self, base: &Weights, norms: BTreeMap<usize, Vec<f32>>) -> TrainedMask {
        let scores = self.finals(base.digest());
        TrainedMask {
            mask: Mask { norms, ..self.mask() },
            scores,
        }
    }
}

#[cfg(test)]
mod tests;
