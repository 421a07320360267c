//! BatchNorm statistics as steps from the base's, through the arithmetic coder.
//!
//! A mean moves in steps of 1/256 of the base's standard deviation, so that a
//! normalised activation is off by at most 1/512. A variance moves in steps of
//! 2^15 in the bits of its float, at most 1/256 of itself, so it is off by at
//! most 1/512 of itself.

use super::Damaged;
use super::counts::Numbers;
use super::range::{Reader, Writer};

/// Steps beyond are cut off.
const STEPS_MAX: i64 = 1 << 24;
/// The lowest bit of a variance's float that a step changes.
const VARIANCE_SHIFT: u32 = 15;

/// Values of one moved tensor beside the base's.
#[derive(Debug, Clone, Copy)]
pub(in crate::mask) enum Moved<'a> {
    /// Running means, with the base's means and variances.
    Mean { base: &'a [f32], variance: &'a [f32] },
    /// Running variances, with the base's.
    Variance { base: &'a [f32] },
}

impl Moved<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Mean { base, .. } | Self::Variance { base } => base.len(),
        }
    }

    /// The number of steps that lead nearest to `value`.
    fn steps(&self, at: usize, value: f32) -> i64 {
        let steps = match self {
            Self::Mean { base, variance } => {
                let distance = f64::from(value) - f64::from(base[at]);
                (distance / f64::from(step(variance[at]))).round() as i64
            }
            Self::Variance { base } => {
                let distance = i64::from(value.to_bits()) - i64::from(base[at].to_bits());
                (distance + (1 << (VARIANCE_SHIFT - 1))) >> VARIANCE_SHIFT
            }
        };
        steps.clamp(-STEPS_MAX, STEPS_MAX)
    }

    /// The value after `steps`; none if no finite number, or no variance, is there.
    fn value(&self, at: usize, steps: i64) -> Option<f32> {
        match self {
            Self::Mean { base, variance } => {
                let value = base[at] + steps as f32 * step(variance[at]);
                value.is_finite().then_some(value)
            }
            Self::Variance { base } => {
                let bits = i64::from(base[at].to_bits()) + (steps << VARIANCE_SHIFT);
                let value = f32::from_bits(u32::try_from(bits).ok()?);
                (value.is_finite() && value.is_sign_positive()).then_some(value)
            }
        }
    }

    /// `values` as a reader will have them.
    pub(in crate::mask) fn settled(&self, values: &[f32]) -> Vec<f32> {
        let settled = values.iter().enumerate().map(|(at, value)| {
            let steps = self.steps(at, *value);
            // Rounding up may pass the largest float; a step less does not.
            self.value(at, steps)
                .or_else(|| self.value(at, steps - 1))
                .unwrap_or(*value)
        });
        settled.collect()
    }
}

/// 1/256 of a standard deviation, or of 1 if there is none.
fn step(variance: f32) -> f32 {
    let deviation = variance.sqrt();
    (if deviation > 0.0 { deviation } else { 1.0 }) / 256.0
}

/// Encodes `values`, which must be settled.
pub(in crate::mask) fn encode(tensors: &[(Moved, &[f32])]) -> Vec<u8> {
    if tensors.is_empty() {
        return Vec::new();
    }
    let mut writer = Writer::new();
    let mut numbers = Kinds::new();
    for (moved, values) in tensors {
        for (at, value) in values.iter().enumerate() {
            let number = zigzag(moved.steps(at, *value));
            numbers
                .of(moved)
                .code(&mut writer, number, u32::MAX)
                .expect("every number fits");
        }
    }
    writer.finish()
}

/// Decodes the values of each tensor.
pub(in crate::mask) fn decode(bytes: &[u8], tensors: &[Moved]) -> Result<Vec<Vec<f32>>, Damaged> {
    let mut reader = Reader::new(bytes);
    let mut numbers = Kinds::new();
    let mut value = |moved: &Moved, at: usize| {
        let number = numbers.of(moved).code(&mut reader, 0, u32::MAX)?;
        let steps = unzigzag(number);
        if steps.abs() > STEPS_MAX {
            return Err(Damaged);
        }
        moved.value(at, steps).ok_or(Damaged)
    };
    tensors
        .iter()
        .map(|moved| (0..moved.len()).map(|at| value(moved, at)).collect())
        .collect()
}

/// Means and variances move differently.
struct Kinds {
    mean: Numbers,
    variance: Numbers,
}

impl Kinds {
    fn new() -> Self {
        Self {
            mean: Numbers::new(),
            variance: Numbers::new(),
        }
    }

    fn of(&mut self, moved: &Moved) -> &mut Numbers {
        match moved {
            Moved::Mean { .. } => &mut self.mean,
            Moved::Variance { .. } => &mut self.variance,
        }
    }
}

/// 0, −1, 1, −2, … as 0, 1, 2, 3, …
fn zigzag(steps: i64) -> u32 {
    ((steps << 1) ^ (steps >> 63)) as u32
}

fn unzigzag(number: u32) -> i64 {
    i64::from(number >> 1) ^ -i64::from(number & 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn settled_statistics_come_back_and_are_near(
            rows in proptest::collection::vec((-50.0_f32..50.0, 0.0_f32..9.0, -3.0_f32..3.0, 0.3_f32..3.0), 1..80),
        ) {
            let mean: Vec<f32> = rows.iter().map(|row| row.0).collect();
            let variance: Vec<f32> = rows.iter().map(|row| row.1).collect();
            let moved_mean: Vec<f32> = rows.iter().map(|row| row.0 + row.2).collect();
            let moved_variance: Vec<f32> = rows.iter().map(|row| row.1 * row.3).collect();
            let tensors = [Moved::Mean { base: &mean, variance: &variance }, Moved::Variance { base: &variance }];
            let settled = [tensors[0].settled(&moved_mean), tensors[1].settled(&moved_variance)];
            for (at, value) in settled[0].iter().enumerate() {
                prop_assert!((value - moved_mean[at]).abs() <= step(variance[at]) * 0.51);
            }
            for (at, value) in settled[1].iter().enumerate() {
                prop_assert!((value - moved_variance[at]).abs() <= moved_variance[at] / 500.0);
            }
            let bytes = encode(&[(tensors[0], &settled[0]), (tensors[1], &settled[1])]);
            prop_assert_eq!(decode(&bytes, &tensors).unwrap(), settled.to_vec());
        }

        #[test]
        fn no_bytes_make_anything_but_finite_numbers(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let (mean, variance) = ([f32::MAX, 0.0, -1.0], [f32::MAX, 0.0, 1.0]);
            let tensors = [Moved::Mean { base: &mean, variance: &variance }, Moved::Variance { base: &variance }];
            if let Ok(values) = decode(&bytes, &tensors) {
                prop_assert!(values.iter().flatten().all(|value| value.is_finite()));
            }
        }
    }
}
