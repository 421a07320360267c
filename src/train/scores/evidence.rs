//! Flips chosen by evidence: a weight falls once the loss has asked for it
//! batch after batch, and by more than the flip costs in the artefact.
//!
//! To first order, dropping a weight lowers the loss by its score's gradient
//! s = ∂L/∂W · θ / α ("optimal brain damage" without the second order; LeCun,
//! Denker, Solla 1990). Over a window of steps s has a mean m and, batches being
//! drawn independently, a standard error e. A kept weight is a candidate where
//! m / e is at least the rule's confidence, a dropped one where m / e is at most
//! minus that. The candidates with the greatest benefit (m less the price of the
//! flip's bits) fall, so many a window; the rest must show its evidence again.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{START, Scored};
use crate::base::Weights;
use crate::mask::rate::flip_bits;
use crate::train::recipe::{EvidenceRule, Order};

/// How the odds of a drop rise with a weight's size in sparse masks; see [`flip_bits`].
const TILT: f32 = 4.0;

/// Takes one batch's gradient of the scores into the sums.
pub(super) fn collect(scored: &mut Scored, gradient: &[f32]) {
    let Scored { first, second, .. } = scored;
    for ((sum, squares), gradient) in first.iter_mut().zip(second).zip(gradient) {
        *sum += gradient;
        *squares += gradient * gradient;
    }
}

/// A flip that has shown its evidence.
struct Candidate {
    worth: f32,
    tensor: usize,
    weight: usize,
}

/// Flips what the window's sums speak for, and begins a new window.
pub(super) fn decide(
    tensors: &mut BTreeMap<usize, Scored>,
    base: &Weights,
    rule: &EvidenceRule,
    threshold: f32,
) {
    let found = tensors
        .par_iter()
        .flat_map_iter(|(tensor, scored)| candidates(*tensor, scored, base, rule, threshold));
    let mut found: Vec<Candidate> = found.collect();
    // Ties by place, so that no order of threads decides.
    found.sort_by(|a, b| {
        b.worth
            .total_cmp(&a.worth)
            .then((a.tensor, a.weight).cmp(&(b.tensor, b.weight)))
    });
    for candidate in found.into_iter().take(rule.most) {
        let Some(scored) = tensors.get_mut(&candidate.tensor) else {
            continue;
        };
        let score = &mut scored.scores[candidate.weight];
        // As far below the threshold as kept scores begin above it.
        *score = if *score > threshold {
            2.0 * threshold - START
        } else {
            START
        };
    }
    for scored in tensors.values_mut() {
        scored.first.fill(0.0);
        scored.second.fill(0.0);
    }
}

fn candidates(
    tensor: usize,
    scored: &Scored,
    base: &Weights,
    rule: &EvidenceRule,
    threshold: f32,
) -> Vec<Candidate> {
    let steps = rule.window as f32;
    let dropped = scored.scores.iter().filter(|score| **score <= threshold).count();
    let bits = (rule.price > 0.0).then(|| flip_bits(base, tensor, dropped + 1, TILT));
    let mut found = Vec::new();
    for (weight, score) in scored.scores.iter().enumerate() {
        let mean = scored.first[weight] / steps;
        let spread = (scored.second[weight] / steps - mean * mean).max(0.0);
        let error = (spread / (steps - 1.0)).sqrt();
        let kept = *score > threshold;
        let gain = if kept { mean } else { -mean };
        if gain <= 0.0 || gain < rule.confidence as f32 * error {
            continue;
        }
        let price = bits.as_ref().map_or(0.0, |bits| rule.price as f32 * bits[weight]);
        let benefit = if kept { gain - price } else { gain + price };
        if benefit <= 0.0 {
            continue;
        }
        let worth = match rule.order {
            Order::Benefit => benefit,
            Order::Confidence => gain / error.max(f32::MIN_POSITIVE),
        };
        found.push(Candidate {
            worth,
            tensor,
            weight,
        });
    }
    found
}
