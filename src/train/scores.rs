//! The scores of a mask: one real number a weight, kept where it is above 0.
//!
//! Plain Rust on every device: the update is cheap beside the network, and so
//! the mask's arithmetic is that of [`crate::mask::arithmetic`] everywhere.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::recipe::MaskRule;
use crate::base::Weights;
use crate::mask::arithmetic::{mask_tensor, scale};
use crate::mask::{Bits, Mask, MaskError};

/// Scores begin at 1; the threshold is 0. Shifting both, or scaling them with
/// the rate, changes nothing (arXiv 2409.07577, §3.2).
const START: f32 = 1.0;

/// A tensor's scores and their momentum, each as long as the tensor.
#[derive(Debug, Clone, PartialEq)]
struct Scored {
    scores: Vec<f32>,
    velocity: Vec<f32>,
}

/// The scores of all masked tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores(BTreeMap<usize, Scored>);

impl Scores {
    /// Scores that keep every weight of `tensors`.
    pub fn keeping_all(base: &Weights, tensors: &[usize]) -> Self {
        let start = |index: &usize| {
            let length = base.values[*index].len();
            (
                *index,
                Scored {
                    scores: vec![START; length],
                    velocity: vec![0.0; length],
                },
            )
        };
        Self(tensors.iter().map(start).collect())
    }

    /// The mask: 1 where the score is above 0.
    pub fn mask(&self) -> Mask {
        let bits = |scored: &Scored| Bits::from_bools(scored.scores.iter().map(|score| *score > 0.0));
        Mask {
            tensors: self
                .0
                .iter()
                .map(|(index, scored)| (*index, bits(scored)))
                .collect(),
            norms: BTreeMap::new(),
        }
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
        let scored: Vec<_> = self.0.iter_mut().collect();
        scored
            .into_par_iter()
            .zip(gradients)
            .try_for_each(|((index, scored), gradient)| {
                let weights = &base.values[*index];
                let ones = scored.scores.iter().filter(|score| **score > 0.0).count();
                let alpha = scale(ones, weights.len())?;
                let mut through: Vec<f32> =
                    gradient.iter().zip(weights).map(|(g, w)| g * w / alpha).collect();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::{Role, architecture};

    fn rule(normalise: bool) -> MaskRule {
        MaskRule {
            rate: 0.1,
            momentum: 0.9,
            normalise,
            skip_first: 0,
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
        let after = &scores.0[&index].scores;
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
            scaled.0.get_mut(&index).unwrap().scores.iter_mut().for_each(|score| *score *= factor);
            for step in gradients {
                let mut gradient = vec![0.0; base.values[index].len()];
                gradient[..16].copy_from_slice(&step);
                plain.step(&base, &[gradient.clone()], &rule(false), 0.25).unwrap();
                scaled.step(&base, &[gradient], &rule(false), 0.25 * f64::from(factor)).unwrap();
            }
            prop_assert_eq!(plain.mask(), scaled.mask());
        }
    }
}
