//! The rule of arXiv 2409.07577: gradient descent with momentum on the scores.
//! With normalised gradients only weights whose gradient keeps its sign over many batches fall.

use super::{START, Scored};
use crate::train::recipe::MaskRule;

/// One step; `fall` is the schedule's factor of the rate.
pub(super) fn descend(scored: &mut Scored, gradient: &[f32], rule: &MaskRule, fall: f64) {
    let (rate, momentum, pull) = ((rule.rate * fall) as f32, rule.momentum as f32, rule.pull as f32);
    let Scored { scores, first, .. } = scored;
    for ((score, velocity), gradient) in scores.iter_mut().zip(first).zip(gradient) {
        *velocity = momentum * *velocity + gradient + pull * (*score - START);
        *score -= rate * *velocity;
    }
}
