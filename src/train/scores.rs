//! The scores of a mask: one real number a weight, kept where it is above a threshold.
//!
//! Plain Rust on every device: the update is cheap beside the network, and so
//! the mask's arithmetic is that of [`crate::mask::arithmetic`] everywhere.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::TrainError;
use super::final_scores::FinalScores;
use super::learner::Learner;
use super::recipe::{Granularity, MaskRule, Recipe};
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

/// A tensor's scores and their momentum, each as long as the tensor.
#[derive(Debug, Clone, PartialEq)]
struct Scored {
    scores: Vec<f32>,
    velocity: Vec<f32>,
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
            let velocity = vec![0.0; scores.len()];
            (index, Scored { scores, velocity })
        };
        Self {
            tensors: scores.into_iter().map(at_rest).collect(),
            threshold,
        }
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

    /// One step of gradient descent with momentum. `gradients` are those of the
    /// masked weights, in the order of [`Scores::masked`]; the gradient goes
    /// straight through the threshold: ∂L/∂S = ∂L/∂W · θ / α, for dropped weights, too.
    pub fn step(
        &mut self,
        base: &Weights,
        gradients: &[Vec<f32>],
        rule: &MaskRule,
        rate: f64,
    ) -> Result<(), MaskError> {
        let threshold = self.threshold;
        let scored: Vec<_> = self.tensors.iter_mut().collect();
        scored
            .into_par_iter()
            .zip(gradients)
            .try_for_each(|((index, scored), gradient)| {
                let weights = &base.values[*index];
                let ones = scored.scores.iter().filter(|score| **score > threshold).count();
                let alpha = scale(ones, weights.len())?;
                let mut through: Vec<f32> =
                    gradient.iter().zip(weights).map(|(g, w)| g * w / alpha).collect();
                if rule.granularity == Granularity::Filter {
                    sum_rows(&mut through, base.architecture.tensors[*index].rows());
                }
                if rule.normalise {
                    let square = through.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>();
                    let root = (square / through.len() as f64).sqrt();
                    // A tensor without gradient (a dropped block) stays where it is.
                    let factor = if root > 0.0 { (1.0 / root) as f32 } else { 0.0 };
                    through.iter_mut().for_each(|g| *g *= factor);
                }
                let (rate, momentum) = (rate as f32, rule.momentum as f32);
                for ((score, velocity), gradient) in
                    scored.scores.iter_mut().zip(&mut scored.velocity).zip(&through)
                {
                    *velocity = momentum * *velocity + gradient;
                    *score -= rate * *velocity;
                }
                Ok(())
            })
    }
}

/// Gives every element of a row the sum of the row.
fn sum_rows(values: &mut [f32], rows: usize) {
    for row in values.chunks_exact_mut(values.len() / rows) {
        let sum = row.iter().map(|value| f64::from(*value)).sum::<f64>() as f32;
        row.fill(sum);
    }
}

impl Learner for Scores {
    type Product = TrainedMask;

    fn begin(base: &Weights, recipe: &Recipe, tensors: &[usize], start: Start) -> Result<Self, TrainError> {
        match start {
            Start::KeepAll => Ok(Self::keeping_all(base, tensors)),
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
                Self::succeeding(scores, base, tensors)
            }
        }
    }

    fn planes(&self) -> impl Iterator<Item = &[f32]> {
        (self.tensors.values()).flat_map(|scored| [scored.scores.as_slice(), &scored.velocity])
    }

    fn planes_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        (self.tensors.values_mut())
            .flat_map(|scored| [scored.scores.as_mut_slice(), scored.velocity.as_mut_slice()])
    }

    fn weights(&self, base: &Weights) -> Result<Vec<(usize, Vec<f32>)>, TrainError> {
        Ok(self.masked(base)?)
    }

    fn descend(
        &mut self,
        base: &Weights,
        gradients: &[Vec<f32>],
        recipe: &Recipe,
        fall: f64,
    ) -> Result<(), TrainError> {
        Ok(self.step(base, gradients, &recipe.mask, recipe.mask.rate * fall)?)
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::{Role, architecture};
    use crate::train::recipe::Norms;

    fn rule(normalise: bool) -> MaskRule {
        MaskRule {
            rate: 0.1,
            momentum: 0.9,
            normalise,
            skip_first: 0,
            include: Vec::new(),
            exclude: Vec::new(),
            share: 1.0,
            granularity: Granularity::Weight,
            norms: Norms::Frozen,
        }
    }

    /// Only the first convolution has other weights than 0.
    fn base(values: &[f32]) -> (Weights, usize) {
        let architecture = architecture("efficientnet_lite0").unwrap();
        let mut all: Vec<Vec<f32>> = architecture
            .tensors
            .iter()
            .map(|spec| vec![0.0; spec.len()])
            .collect();
        let index = architecture
            .tensors
            .iter()
            .position(|spec| matches!(spec.role, Role::Convolution { .. }))
            .unwrap();
        all[index][..values.len()].copy_from_slice(values);
        (
            Weights {
                architecture,
                values: all,
            },
            index,
        )
    }

    #[test]
    fn the_gradient_passes_straight_through_the_threshold() {
        let (base, index) = base(&[2.0, -3.0]);
        let mut scores = Scores::keeping_all(&base, &[index]);
        let mut gradient = vec![0.0; base.values[index].len()];
        gradient[..2].copy_from_slice(&[0.5, 0.5]);
        scores.step(&base, &[gradient], &rule(false), 0.1).unwrap();
        let after = &scores.tensors[&index].scores;
        assert_eq!(after[..3], [1.0 - 0.1 * 1.0, 1.0 + 0.1 * 1.5, 1.0]);
    }

    #[test]
    fn a_weight_falls_when_its_gradient_keeps_its_sign_and_can_rise_again() {
        let (base, index) = base(&[1.0, 1.0]);
        let mut scores = Scores::keeping_all(&base, &[index]);
        let mut push = |first: f32, times: u32| {
            let mut gradient = vec![0.0; base.values[index].len()];
            gradient[0] = first;
            for _ in 0..times {
                scores
                    .step(&base, &[gradient.clone()], &rule(false), 0.1)
                    .unwrap();
            }
            scores.mask().dropped()
        };
        assert_eq!(push(1.0, 6), 1);
        assert_eq!(push(-1.0, 40), 0);
    }

    #[test]
    fn a_filter_falls_as_a_whole_by_the_sum_of_its_weights() {
        let (base, index) = base(&[2.0, -3.0]);
        let mut scores = Scores::keeping_all(&base, &[index]);
        let rows = base.architecture.tensors[index].rows();
        let row = base.values[index].len() / rows;
        let mut gradient = vec![0.0; base.values[index].len()];
        // θ · ∂L/∂W of the first filter: 8, -3, 0, …: 5 in all.
        gradient[..2].copy_from_slice(&[4.0, 1.0]);
        let filters = MaskRule {
            granularity: Granularity::Filter,
            ..rule(false)
        };
        scores.step(&base, &[gradient.clone()], &filters, 0.125).unwrap();
        let after = &scores.tensors[&index].scores;
        assert!(after[..row].iter().all(|score| *score == 1.0 - 0.125 * 5.0));
        assert!(after[row..].iter().all(|score| *score == 1.0));
        scores.step(&base, &[gradient], &filters, 0.125).unwrap();
        let bits = &scores.mask().tensors[&index];
        assert_eq!((scores.dropped(), bits.count_zeros()), (row, row));
        assert!((0..row).all(|weight| !bits.get(weight)), "the first filter");
    }

    #[test]
    fn a_mask_of_single_weights_is_no_parent_of_one_of_filters() {
        let (base, index) = base(&[1.0]);
        let mut recipe = Recipe::factory();
        recipe.mask.granularity = Granularity::Filter;
        let begin = |first: f32| {
            let mut scores = vec![1.0; base.values[index].len()];
            scores[0] = first;
            let parent = FinalScores {
                base: base.digest(),
                tensors: [(index, scores)].into(),
            };
            let norms = BTreeMap::new();
            let start = Start::Parent {
                scores: &parent,
                norms: &norms,
            };
            <Scores as Learner>::begin(&base, &recipe, &[index], start).map(|_| ())
        };
        assert!(begin(1.0).is_ok());
        let said = begin(-1.0).unwrap_err().to_string();
        assert!(said.contains("whole filters"), "{said}");
    }

    proptest! {
        /// Theorem of the paper: scaling scores (with their start) and rate together changes no bit.
        /// Powers of two, so that float arithmetic scales exactly.
        #[test]
        fn scaling_scores_and_rate_gives_the_same_mask(
            gradients in proptest::collection::vec(proptest::collection::vec(-1.0_f32..1.0, 16), 1..20), power in -4..5_i32,
        ) {
            let (base, index) = base(&[1.5; 16]);
            let factor = 2.0_f32.powi(power);
            let mut plain = Scores::keeping_all(&base, &[index]);
            let mut scaled = plain.clone();
            scaled.tensors.get_mut(&index).unwrap().scores.iter_mut().for_each(|score| *score *= factor);
            for step in gradients {
                let mut gradient = vec![0.0; base.values[index].len()];
                gradient[..16].copy_from_slice(&step);
                plain.step(&base, &[gradient.clone()], &rule(false), 0.25).unwrap();
                scaled.step(&base, &[gradient], &rule(false), 0.25 * f64::from(factor)).unwrap();
            }
            prop_assert_eq!(plain.mask(), scaled.mask());
        }

        /// The other theorem: shifting scores (with their start) and threshold together changes no bit.
        /// Everything is a multiple of 2⁻¹² and small, so that float arithmetic is exact.
        #[test]
        fn shifting_scores_and_threshold_gives_the_same_mask(
            gradients in proptest::collection::vec(proptest::collection::vec(-8_i8..8, 16), 1..8), shift in -16_i8..16,
        ) {
            let (base, index) = base(&[2.0; 16]);
            let shift = f32::from(shift) / 4.0;
            let length = base.values[index].len();
            let rule = MaskRule { momentum: 0.5, ..rule(false) };
            let at = |shift: f32| Scores::starting_from([(index, vec![START + shift; length])].into(), THRESHOLD + shift);
            let (mut plain, mut shifted) = (at(0.0), at(shift));
            for step in gradients {
                let mut gradient = vec![0.0; length];
                gradient.iter_mut().zip(&step).for_each(|(to, from)| *to = f32::from(*from) / 4.0);
                for scores in [&mut plain, &mut shifted] {
                    // α is 1 while nothing of the tensor has fallen; what follows is no dyadic fraction.
                    if scores.dropped() == 0 {
                        scores.step(&base, &[gradient.clone()], &rule, 0.25).unwrap();
                    }
                }
                prop_assert_eq!(plain.mask(), shifted.mask());
            }
            prop_assert_eq!(plain.dropped(), plain.mask().dropped());
        }
    }

    #[test]
    fn a_successor_begins_with_its_parents_mask() {
        let (base, index) = base(&[1.0; 16]);
        let mut parent = Scores::keeping_all(&base, &[index]);
        let mut gradient = vec![0.0; base.values[index].len()];
        gradient[..3].fill(8.0);
        parent.step(&base, &[gradient], &rule(false), 0.25).unwrap();
        assert_eq!(parent.dropped(), 3);
        let finals = parent.finals(base.digest());
        let finals = FinalScores::decode(&finals.encode(), &base).unwrap();
        let successor = Scores::succeeding(&finals, &base, &[index]).unwrap();
        assert_eq!(successor.mask(), parent.mask());
        let other = Scores::succeeding(&finals, &base, &[index + 1]).unwrap_err();
        assert!(other.to_string().contains("start from the base"), "{other}");
    }
}
