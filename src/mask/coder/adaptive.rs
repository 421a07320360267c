//! What learns while it codes: counters of bits, and mixers of predictions.
//!
//! Logistic mixing of adaptive predictions after Mahoney's PAQ and lpaq;
//! counters with a rate of 1 / n and a limit as there.

use super::logistic::{LOGIT_MAX, Logistic, ONE};

/// Bits of a counter's count.
const COUNT_BITS: u32 = 10;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

/// 2^17 / (2n + 3): the rate after n bits, in 65,536ths.
static RATES: [u32; COUNT_MAX as usize + 1] = {
    let mut rates = [0; COUNT_MAX as usize + 1];
    let mut n = 0;
    while n < rates.len() {
        rates[n] = (1 << 17) / (2 * n as u32 + 3);
        n += 1;
    }
    rates
};

/// How likely a 1 is in one context: 22 bits of probability over 10 bits of count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counter(u32);

impl Counter {
    /// A counter that starts at `probability` as if it had seen `count` bits.
    pub(super) fn new(probability: u32, count: u32) -> Self {
        Self((probability << 6 << COUNT_BITS) | count)
    }

    /// The probability of a 1.
    #[inline]
    pub(super) fn probability(self) -> u32 {
        (self.0 >> 16).max(1)
    }

    /// Learns from a bit: the probability moves by 1 / (n + 1.5) of the error.
    #[inline]
    pub(super) fn update<const LIMIT: u32>(&mut self, bit: bool) {
        let count = self.0 & COUNT_MAX;
        let probability = self.0 >> COUNT_BITS;
        let rate = u64::from(RATES[count as usize]);
        let moved = if bit {
            probability + ((u64::from(TOP - probability) * rate) >> 16) as u32
        } else {
            probability - ((u64::from(probability) * rate) >> 16) as u32
        };
        self.0 = (moved << COUNT_BITS) | (count + u32::from(count < LIMIT));
    }
}

/// The largest 22-bit probability.
const TOP: u32 = (1 << 22) - 1;

/// Three mixers of `N` predictions, each with sets of weights of its own.
pub(super) struct Mixers<const N: usize> {
    sets: [Vec<[i32; N]>; 3],
}

/// The largest weight, 16.
const WEIGHT_MAX: i32 = (1 << 20) - 1;
/// Bits of a weight that mixing leaves out: the rest has 16, which processors multiply several at a time.
const WEIGHT_TAIL: u32 = 5;
/// How fast weights move.
const RATE: i32 = 3;

impl<const N: usize> Mixers<N> {
    /// So many sets for each mixer, which all start at `weights`, in 65,536ths.
    pub(super) fn new(sets: [usize; 3], weights: [i32; N]) -> Self {
        Self {
            sets: sets.map(|sets| vec![weights; sets]),
        }
    }

    /// Each mixer's weighted sum of `logits`, with the set that is chosen for it.
    #[inline]
    pub(super) fn mix(&self, [a, b, c]: [usize; 3], logits: &[i16; N]) -> [i32; 3] {
        let (a, b, c) = (&self.sets[0][a], &self.sets[1][b], &self.sets[2][c]);
        let times = |weight: i32, logit: i16| i32::from((weight >> WEIGHT_TAIL) as i16) * i32::from(logit);
        let mut sums = (0, 0, 0);
        // One loop for all three is long enough for the compiler to leave it a loop, and to do four at once.
        for (((a, b), c), logit) in a.iter().zip(b).zip(c).zip(logits) {
            sums.0 += times(*a, *logit);
            sums.1 += times(*b, *logit);
            sums.2 += times(*c, *logit);
        }
        [sums.0, sums.1, sums.2].map(|sum| (sum >> (16 - WEIGHT_TAIL)).clamp(-LOGIT_MAX, LOGIT_MAX))
    }

    /// Moves the weights of the chosen sets against the errors of the predictions `mixed` that they made.
    #[inline]
    pub(super) fn update(
        &mut self,
        sets: [usize; 3],
        logits: &[i16; N],
        mixed: [i32; 3],
        bit: bool,
        logistic: Logistic,
    ) {
        let target = if bit { ONE as i32 - 1 } else { 0 };
        for ((mixer, set), mixed) in self.sets.iter_mut().zip(sets).zip(mixed) {
            let error = ((target - logistic.squash(mixed) as i32) >> 1) as i16;
            for (weight, logit) in mixer[set].iter_mut().zip(logits) {
                let step = (i32::from(*logit) * i32::from(error) * RATE + (1 << 15)) >> 16;
                *weight = (*weight + step).clamp(-WEIGHT_MAX, WEIGHT_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_learns_a_frequency_and_stays_a_probability() {
        let mut counter = Counter::new(ONE / 2, 0);
        (0..100_000).for_each(|n| counter.update::<COUNT_MAX>(n % 10 == 0));
        let share = f64::from(counter.probability()) / f64::from(ONE);
        assert!((share - 0.1).abs() < 0.01, "{share}");
        for bit in [true, false] {
            (0..100_000).for_each(|_| counter.update::<COUNT_MAX>(bit));
            assert!((1..ONE).contains(&counter.probability()));
        }
    }

    #[test]
    fn mixers_learn_whom_to_trust() {
        let logistic = Logistic::new();
        let mut mixers = Mixers::new([1; 3], [1 << 15, 1 << 15]);
        for n in 0..20_000_u32 {
            let bit = n.wrapping_mul(2_654_435_761) >> 31 == 1;
            let logits = [if bit { 500 } else { -500 }, if n % 2 == 0 { 500 } else { -500 }];
            let mixed = mixers.mix([0; 3], &logits);
            mixers.update([0; 3], &logits, mixed, bit, logistic);
        }
        for [[right, wrong]] in mixers.sets.map(|sets| [sets[0]]) {
            assert!(
                right > 2 * (1 << 16) && wrong.abs() < right / 10,
                "{right} {wrong}"
            );
        }
    }
}
