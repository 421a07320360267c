//! What a flip costs in the file: a signal that training can weigh against what the flip brings.

use rayon::prelude::*;

use super::artefact;
use super::coder::{Plane, odds};
use crate::base::Weights;

/// The bits that dropping each weight of tensor `index` adds to an artefact,
/// row-major, given that about `dropped` of its weights are dropped in all
/// (at least 1) and that odds rise by `tilt` nats an octave (4 fits masks of
/// few drops, 2 those of many).
///
/// log2((1 − p) / p) with the coder's probability p before it has seen any
/// bit of the mask. What rows and columns have in common makes the true cost
/// lower: half, in masks that drop percents.
pub fn flip_bits(base: &Weights, index: usize, dropped: usize, tilt: f32) -> Vec<f32> {
    let plane = Plane {
        weights: &base.values[index],
        rows: base.architecture.tensors[index].rows(),
        parent: None,
        prior: None,
        input: artefact::input(index, base),
    };
    let odds = odds(plane, (tilt * 4.0).clamp(0.0, 31.0) as u8);
    let total: f64 = odds.par_iter().map(|odds| *odds as f64).sum();
    let cost = |odds: &u64| -(dropped.max(1) as f64 * *odds as f64 / total).log2() as f32;
    odds.par_iter().map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::architecture;

    #[test]
    fn large_weights_are_cheap_to_drop_and_the_average_is_the_uniform_cost_without_tilt() {
        let architecture = architecture("resnet18").unwrap();
        let index = architecture.index_of("layer1.0.conv1.weight").unwrap();
        let values = (architecture.tensors.iter())
            .map(|spec| {
                (0..spec.len())
                    .map(|at| 0.01 + (at * 7 % 101) as f32 * 0.01)
                    .collect()
            })
            .collect();
        let base = Weights { architecture, values };
        let size = base.values[index].len();
        let flat = flip_bits(&base, index, size / 8, 0.0);
        assert!(flat.iter().all(|bits| (bits - 3.0).abs() < 1e-3), "{}", flat[0]);
        let tilted = flip_bits(&base, index, size / 8, 4.0);
        let of = |at: usize| (base.values[index][at], tilted[at]);
        let (large, small) = ((0..size).map(of).max_by(|a, b| a.0.total_cmp(&b.0)), of(0));
        assert!(large.unwrap().1 + 8.0 < small.1, "{large:?} {small:?}");
    }
}
