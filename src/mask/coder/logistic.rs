//! Integer arithmetic of probabilities and log-odds: the same bits everywhere.
//!
//! A *probability* is a count of 65,536ths in 1..=65,535. A *logit* is
//! ln(p / (1 − p)) in 256ths, clamped to ±[`LOGIT_MAX`]. Both directions are
//! tables, built from one integer constant by multiplication, shift and
//! division, so that no platform's `exp` has a say.

use std::sync::LazyLock;

/// One, as a probability.
pub(super) const ONE: u32 = 1 << 16;
/// The largest logit, near 12 nats: 1 in 160,000.
pub(super) const LOGIT_MAX: i32 = 3071;
/// The largest exponent of [`Logistic::exp`], 12 nats.
pub(super) const EXPONENT_MAX: i32 = 3071;

/// e^(1/256) · 2^62, rounded.
const STEP: u128 = 4_629_735_647_166_717_428;
/// Fraction bits of [`Tables::exp`].
const EXP_BITS: u32 = 24;
/// Fraction bits of [`powers`].
const POWER_BITS: u32 = 40;

struct Tables {
    /// The probability of each logit from −[`LOGIT_MAX`].
    squash: Vec<u16>,
    /// The least logit whose probability is at least the index.
    stretch: Vec<i16>,
    /// e^(x / 256) · 2^24 for each x from −[`EXPONENT_MAX`].
    exp: Vec<u64>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let powers = powers();
    let one = 1_u128 << POWER_BITS;
    let positive =
        |logit: usize| ((powers[logit] << 16) + u128::midpoint(powers[logit], one)) / (powers[logit] + one);
    let squash: Vec<u16> = (-LOGIT_MAX..=LOGIT_MAX)
        .map(|logit| {
            let size = positive(logit.unsigned_abs() as usize).min(u128::from(ONE) - 1) as u32;
            (if logit < 0 { ONE - size } else { size }) as u16
        })
        .collect();
    let mut logit = 0;
    let stretch = (0..ONE)
        .map(|probability| {
            while logit + 1 < squash.len() && u32::from(squash[logit]) < probability {
                logit += 1;
            }
            (logit as i32 - LOGIT_MAX) as i16
        })
        .collect();
    let exp = (-EXPONENT_MAX..=EXPONENT_MAX)
        .map(|x| {
            let power = powers[x.unsigned_abs() as usize];
            let value = if x < 0 {
                (1 << (POWER_BITS + EXP_BITS)) / power
            } else {
                power >> (POWER_BITS - EXP_BITS)
            };
            value as u64
        })
        .collect();
    Tables { squash, stretch, exp }
});

/// e^(x / 256) · 2^40 for each x from 0 to [`LOGIT_MAX`].
fn powers() -> Vec<u128> {
    let next = |power: &u128| Some((power * STEP) >> 62);
    std::iter::successors(Some(1 << POWER_BITS), next)
        .take(LOGIT_MAX as usize + 1)
        .collect()
}

/// The tables at hand, so that no inner loop asks whether they exist.
#[derive(Clone, Copy)]
pub(super) struct Logistic {
    squash: &'static [u16],
    stretch: &'static [i16],
    exp: &'static [u64],
}

impl Logistic {
    pub(super) fn new() -> Self {
        Self {
            squash: &TABLES.squash,
            stretch: &TABLES.stretch,
            exp: &TABLES.exp,
        }
    }

    /// The probability of a logit.
    #[inline]
    pub(super) fn squash(self, logit: i32) -> u32 {
        u32::from(self.squash[(logit.clamp(-LOGIT_MAX, LOGIT_MAX) + LOGIT_MAX) as usize])
    }

    /// The logit of a probability.
    #[inline]
    pub(super) fn stretch(self, probability: u32) -> i32 {
        i32::from(self.stretch[probability.clamp(1, ONE - 1) as usize])
    }

    /// e^(x / 256) · 2^16, x clamped to ±[`EXPONENT_MAX`].
    #[inline]
    pub(super) fn exp(self, x: i32) -> u64 {
        self.exp[(x.clamp(-EXPONENT_MAX, EXPONENT_MAX) + EXPONENT_MAX) as usize] >> (EXP_BITS - 16)
    }

    /// The greatest x with e^(x / 256) · 2^24 at most `power`; if there is none, the least.
    pub(super) fn ln(self, power: u64) -> i32 {
        let above = self.exp.partition_point(|value| *value <= power);
        (above as i32 - 1).max(0) - EXPONENT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_the_functions_that_they_are_named_after() {
        let tables = Logistic::new();
        for logit in -LOGIT_MAX..=LOGIT_MAX {
            let exact = 65_536.0 / (1.0 + (-f64::from(logit) / 256.0).exp());
            let given = f64::from(tables.squash(logit));
            assert!(
                (given - exact.clamp(1.0, 65_535.0)).abs() <= 0.500_1,
                "{logit}: {given}, not {exact}"
            );
        }
        for x in -EXPONENT_MAX..=EXPONENT_MAX {
            let exact = (f64::from(x) / 256.0).exp() * 65_536.0;
            assert!((tables.exp(x) as f64 - exact).abs() <= 1.0 + exact * 1e-8, "{x}");
        }
    }

    #[test]
    fn ln_undoes_exp() {
        let tables = Logistic::new();
        assert_eq!(tables.ln(0), -EXPONENT_MAX);
        for power in (200..1 << 36).step_by(123_456_789) {
            let exact = (power as f64 / f64::from(1 << 24)).ln() * 256.0;
            let given = f64::from(tables.ln(power));
            assert!(
                exact - 1.5 < given && given < exact + 0.5,
                "{power}: {given}, not {exact}"
            );
        }
    }

    #[test]
    fn stretch_and_squash_undo_each_other() {
        let tables = Logistic::new();
        for logit in -2_000..2_000 {
            let again = tables.stretch(tables.squash(logit));
            assert_eq!(tables.squash(again), tables.squash(logit));
        }
    }
}
