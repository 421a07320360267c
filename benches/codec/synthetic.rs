//! Masks of a stated model, for shapes that nothing was trained with here.

use std::sync::Arc;

use katagami::base::{Role, Weights, architecture};
use katagami::mask::{Bits, Mask};
use rayon::prelude::*;

use super::input::Trained;

/// The share of weights that is dropped.
const DROPPED: f64 = 0.05;
/// Spread of the logarithms of a row's and of a column's scale of weights.
const SCALE: f64 = 0.3;
/// Spread of the logarithms of a tensor's, a row's, and a column's odds of a drop.
const LEANING: f64 = 0.7;
/// The power of |weight ÷ scale of the tensor| in the odds of a drop.
const POWER: f64 = 1.5;

/// SplitMix64: seeded, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// At least 0, below 1.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of mean 0 and variance 1.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.uniform() * end as f64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// All convolutions of a ResNet-50. A weight is normal, times a log-normal
/// scale of its row and one of its column; the odds that it is dropped are
/// log-normal effects of its tensor, row and column, times |w|^1.5; signs and
/// neighbours say nothing. 95 % of 23.5 million weights are kept.
///
/// Beside the mask, the bytes that nobody can beat: its entropy for who knows
/// all odds.
pub fn resnet50(seed: u64) -> (Trained, f64) {
    let architecture = architecture("resnet50").expect("it is in the table");
    let drawn: Vec<_> = (architecture.tensors.par_iter().enumerate())
        .map(|(index, spec)| {
            let mut random = Random(seed << 32 | index as u64);
            match spec.role {
                Role::Convolution { .. } => tensor(&mut random, spec.rows(), spec.len() / spec.rows()),
                Role::NormWeight | Role::NormVariance => (vec![1.0; spec.len()], Vec::new()),
                _ => (vec![0.0; spec.len()], Vec::new()),
            }
        })
        .collect();
    let rate = rate(drawn.iter().flat_map(|(_, odds)| odds));
    let bound: f64 = (drawn.par_iter())
        .flat_map(|(_, odds)| odds)
        .map(|odds| entropy(probability(*odds, rate)))
        .sum();
    let tensors = (drawn.par_iter().enumerate())
        .filter(|(_, (_, odds))| !odds.is_empty())
        .map(|(index, (_, odds))| {
            let mut random = Random(!seed << 32 | index as u64);
            let kept = |odds: &f32| random.uniform() >= probability(*odds, rate);
            (index, Bits::from_bools(odds.iter().map(kept)))
        })
        .collect();
    let base = Weights {
        architecture,
        values: drawn.into_iter().map(|(weights, _)| weights).collect(),
    };
    let trained = Trained {
        name: "resnet50-synthetic-dense".to_owned(),
        network: "resnet50".to_owned(),
        site: "synthetic".to_owned(),
        recipe: "synthetic".to_owned(),
        start: None,
        mask: Mask {
            tensors,
            ..Mask::default()
        },
        digest: base.digest(),
        base: Arc::new(base),
    };
    (trained, bound / 8.0)
}

/// Weights and odds of a tensor.
fn tensor(random: &mut Random, rows: usize, columns: usize) -> (Vec<f32>, Vec<f32>) {
    let scale = (2.0 / columns as f64).sqrt();
    let leaning = LEANING * random.normal();
    let mut effects = |count: usize, spread: f64| -> Vec<f64> {
        (0..count).map(|_| (spread * random.normal()).exp()).collect()
    };
    let (row_scales, column_scales) = (effects(rows, SCALE), effects(columns, SCALE));
    let (row_odds, column_odds) = (effects(rows, LEANING), effects(columns, LEANING));
    let mut drawn = (
        Vec::with_capacity(rows * columns),
        Vec::with_capacity(rows * columns),
    );
    for row in 0..rows {
        for column in 0..columns {
            let relative = random.normal() * row_scales[row] * column_scales[column];
            let odds = leaning.exp() * row_odds[row] * column_odds[column] * relative.abs().powf(POWER);
            drawn.0.push((relative * scale) as f32);
            drawn.1.push(odds as f32);
        }
    }
    drawn
}

fn probability(odds: f32, rate: f64) -> f64 {
    let odds = f64::from(odds) * rate;
    odds / (1.0 + odds)
}

fn entropy(p: f64) -> f64 {
    -(p * p.log2() + (1.0 - p) * (1.0 - p).log2())
}

/// The factor of all odds with which the stated share is dropped, from a sample of them.
fn rate<'a>(odds: impl Iterator<Item = &'a f32>) -> f64 {
    let sample: Vec<_> = odds.step_by(97).copied().collect();
    let (mut low, mut high) = (1e-6_f64, 1e3_f64);
    for _ in 0..40 {
        let rate = (low * high).sqrt();
        let dropped: f64 = sample.iter().map(|odds| probability(*odds, rate)).sum();
        if dropped < DROPPED * sample.len() as f64 {
            low = rate;
        } else {
            high = rate;
        }
    }
    low
}
