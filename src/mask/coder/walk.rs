//! The walk over one tensor: in which rows anything is flipped, then which weights.
//!
//! How many weights of the tensor are flipped is known beforehand. That number,
//! spread over the weights by their odds, says how likely each is flipped before
//! anything was seen; a [`Model`] makes more of it. What is certain costs
//! nothing: rows without a flipped weight, the rest of a tensor after its last
//! one, the last weight of a row that must hold one.

use super::Damaged;
use super::adaptive::Counter;
use super::frozen::{Frozen, Standing};
use super::levels::logit;
use super::logistic::{Logistic, ONE};
use super::range::BitCoder;
use crate::mask::Bits;

/// Fraction bits of the probabilities of the walk, finer than a coder's.
pub(super) const FINE: u32 = 24;
/// The largest of them.
const FINE_MAX: u64 = (1 << FINE) - 256;

/// A weight whose bit is coded next.
pub(super) struct Next {
    pub(super) column: usize,
    pub(super) standing: Standing,
    /// 1 where the parent drops it.
    pub(super) stratum: usize,
    /// Whether it is negative.
    pub(super) negative: bool,
    /// The logit of the probability by odds alone.
    pub(super) prior: i32,
    /// Whether its row holds a flipped weight so far.
    pub(super) seen: bool,
}

/// Predicts which weights are flipped, and learns.
pub(super) trait Model {
    /// Whether it asks for [`Next::prior`]; without, that is 0.
    const PRIOR: bool;

    /// Begins a tensor. `density` is each stratum's share of flipped weights, in 2^−24.
    fn begin_tensor(&mut self, frozen: &Frozen, density: [u32; 2]);
    /// Begins a row in which something is flipped; in those left out nothing is.
    fn begin_row(&mut self);
    /// The probability, in 65,536ths, that `next` is flipped.
    fn predict(&mut self, next: &Next) -> u32;
    /// Learns whether it was.
    fn update(&mut self, flipped: bool);
}

/// In which rows something is flipped: one counter for each half nat of the odds.
pub(super) struct RowFlags {
    counters: Vec<Counter>,
    logistic: Logistic,
}

impl RowFlags {
    pub(super) fn new() -> Self {
        let logistic = Logistic::new();
        let counters = (0..48)
            .map(|level| Counter::new(logistic.squash(level * 128 - 3_072 + 64), 4))
            .collect();
        Self { counters, logistic }
    }

    /// Codes whether anything is flipped in a row of which that is expected of `expected` weights, in 65,536ths.
    fn code(&mut self, coder: &mut impl BitCoder, any: bool, expected: u64) -> bool {
        // λ / (1 + λ) stands for 1 − e^−λ; the counter learns the difference.
        let probability = ((expected << 16) / (expected + u64::from(ONE))) as u32;
        let level = (self.logistic.stretch(probability) + 3_072) >> 7;
        let counter = &mut self.counters[level as usize];
        let any = coder.code(any, counter.probability());
        counter.update::<255>(any);
        any
    }
}

/// Codes the bits of a tensor of which `flipped` weights of each stratum are flipped: 0 where one is. A
/// reader's `bits` are all 1 beforehand.
pub(super) fn walk<C: BitCoder, M: Model>(
    coder: &mut C,
    flags: &mut RowFlags,
    model: &mut M,
    frozen: &Frozen,
    flipped: [usize; 2],
    bits: &mut Bits,
) -> Result<(), Damaged> {
    let Frozen { plane, columns, .. } = frozen;
    let columns = *columns;
    let logistic = Logistic::new();
    let row_odds = frozen.row_odds();
    let mut odds_left = row_odds
        .iter()
        .fold([0; 2], |sum, row| [sum[0] + row[0], sum[1] + row[1]]);
    let mut left = flipped.map(|flipped| flipped as u64);
    let strata = plane.strata();
    model.begin_tensor(
        frozen,
        [0, 1].map(|stratum| density(flipped[stratum], strata[stratum])),
    );

    for (row, odds) in row_odds.iter().enumerate() {
        if left == [0, 0] {
            break;
        }
        // How many flipped weights are expected per unit of odds, in 2^−40.
        let rate = [0, 1].map(|stratum| match odds_left[stratum] {
            0 => 0,
            odds => ((u128::from(left[stratum]) << 40) / u128::from(odds)).min((1 << 30) - 1) as u64,
        });
        let expected = (0..2)
            .map(|stratum| (u128::from(rate[stratum]) * u128::from(odds[stratum])) >> 16)
            .sum::<u128>()
            .min(1 << 40) as u64;
        odds_left = [odds_left[0] - odds[0], odds_left[1] - odds[1]];
        let range = row * columns..(row + 1) * columns;
        let any = !C::READS && range.clone().any(|at| !bits.get(at));
        if !flags.code(coder, any, expected >> 8) {
            continue;
        }
        model.begin_row();
        let rate_logits = rate.map(|rate| logistic.ln(rate));
        let mut seen = false;
        let mut expected = expected;
        for (column, at) in range.enumerate() {
            let stratum = plane.stratum(at);
            let standing = frozen.standing(row, column);
            if left == [0, 0] {
                break;
            }
            let mut prior = 0;
            if M::PRIOR {
                let lean = frozen.lean(row, column, standing, stratum);
                prior = if seen {
                    rate_logits[stratum] + lean
                } else {
                    let own = probability((rate[stratum] * logistic.exp(lean)) >> 16);
                    let prior = first_of_row(own, expected);
                    expected = expected.saturating_sub(own);
                    logit(prior as u32, logistic)
                };
            }
            let negative = plane.weights[at].is_sign_negative();
            let next = Next {
                column,
                standing,
                stratum,
                negative,
                prior,
                seen,
            };
            let probability = model.predict(&next);
            let flip = if !seen && column + 1 == columns {
                true
            } else {
                coder.code(!bits.get(at), probability)
            };
            model.update(flip);
            if flip {
                if C::READS {
                    bits.set(at, false);
                }
                left[stratum] = left[stratum].checked_sub(1).ok_or(Damaged)?;
                seen = true;
            }
        }
        if !seen {
            return Err(Damaged);
        }
    }
    if left == [0, 0] { Ok(()) } else { Err(Damaged) }
}

/// The probability of odds, both in 2^−24.
fn probability(odds: u64) -> u64 {
    let odds = odds.min(1 << 36);
    ((odds << FINE) / (odds + (1 << FINE))).clamp(1, FINE_MAX)
}

/// `own` / (1 − e^−`expected`): how likely a weight is flipped when one from it on must be.
fn first_of_row(own: u64, expected: u64) -> u64 {
    const ONE: u64 = 1 << FINE;
    // 1 / (1 − e^−λ) = 1/λ + g(λ); g rises from 1/2, by λ/12 at first, to 1.
    let rest = if expected >= 6 * ONE {
        ONE
    } else {
        ONE / 2 + expected / 12
    };
    ((own << FINE) / expected.max(own) + ((own * rest) >> FINE)).min(FINE_MAX)
}

/// A share in 2^−24, never 0.
fn density(flipped: usize, of: usize) -> u32 {
    if of == 0 {
        return 1;
    }
    (((flipped as u64) << FINE) / of as u64).clamp(1, FINE_MAX) as u32
}
