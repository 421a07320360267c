//! Contexts as small numbers: levels of densities, classes of standing out.

use super::logistic::Logistic;
use super::walk::FINE;

/// How many levels of density there are: half nats of logit from −12 nats on.
pub(super) const LEVELS: usize = 32;
/// How many classes of standing out: quarter octaves from −2 octaves on.
pub(super) const CLASSES: usize = 24;
/// The logit at which the levels begin.
const LOWEST: i32 = -3_072;

/// The level of a logit.
#[inline]
pub(super) fn level(logit: i32) -> usize {
    (((logit - LOWEST) >> 7) as usize).min(LEVELS - 1)
}

/// The logit in the middle of a level.
pub(super) fn middle(level: usize) -> i32 {
    ((level as i32) << 7) + LOWEST + 64
}

/// The class of how a weight stands out, in 64ths of an octave.
#[inline]
pub(super) fn class(standing: i32) -> usize {
    ((standing + 128) >> 4).clamp(0, CLASSES as i32 - 1) as usize
}

/// 2^31 / n, for the numbers that are asked for often.
static RECIPROCALS: [u32; 1 << 12] = {
    let mut reciprocals = [0; 1 << 12];
    let mut n = 1;
    while n < reciprocals.len() {
        reciprocals[n] = (1 << 31) / n as u32;
        n += 1;
    }
    reciprocals
};

/// A frequency, in 2^−24, that begins as `prior` and follows what was seen as if `prior` were `weight` weights.
#[inline]
pub(super) fn shrunk(flipped: u32, passed: u32, prior: u32, weight: u32) -> u32 {
    let sum = (u64::from(flipped) << FINE) + u64::from(weight) * u64::from(prior);
    let of = passed + weight;
    let reciprocal = RECIPROCALS
        .get(of as usize)
        .copied()
        .unwrap_or_else(|| (1 << 31) / of);
    ((sum * u64::from(reciprocal)) >> 31) as u32
}

/// The logit of a frequency in 2^−24.
#[inline]
pub(super) fn logit(fine: u32, logistic: Logistic) -> i32 {
    logistic.stretch(fine >> (FINE - 16))
}
