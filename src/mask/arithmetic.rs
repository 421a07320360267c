//! The arithmetic of a mask, bit for bit the same on every machine.
//!
//! θ' = θ / α for a kept weight and +0.0 for a dropped one, where
//! α = √(ones / n) keeps the variance of the activations (Self-Masking
//! Networks, arXiv 2409.07577, §3). Training, gate, server and edge call
//! these functions and no other: θ·(1/α), α in float32, or (θ/α)·0 give other
//! bits, and then the digest of the weights differs.

use super::Bits;

/// A tensor of which nothing is kept has no scale; no valid mask drops a whole tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mask drops every weight of a tensor")]
pub struct NothingKept;

/// α for `ones` kept of `n` weights, rounded once to float32.
pub fn scale(ones: usize, n: usize) -> Result<f32, NothingKept> {
    if ones == 0 && n > 0 {
        return Err(NothingKept);
    }
    Ok((ones as f64 / n as f64).sqrt() as f32)
}

/// Masks a tensor in place. One of which everything is kept stays untouched.
///
/// `weights` and `keep` are as long as each other; both come from one architecture's table.
pub fn mask_tensor(weights: &mut [f32], keep: &Bits) -> Result<(), NothingKept> {
    assert_eq!(weights.len(), keep.len(), "a mask of another shape");
    let ones = keep.count_ones();
    if ones == keep.len() {
        return Ok(());
    }
    let alpha = scale(ones, keep.len())?;
    for (chunk, byte) in weights.chunks_mut(8).zip(keep.as_bytes()) {
        for (bit, weight) in chunk.iter_mut().enumerate() {
            // Selection, not multiplication: a dropped negative weight is +0.0, too.
            *weight = if byte >> bit & 1 == 1 {
                *weight / alpha
            } else {
                0.0
            };
        }
    }
    Ok(())
}

/// A masked copy of a tensor; see [`mask_tensor`].
pub fn masked_tensor(weights: &[f32], keep: &Bits) -> Result<Vec<f32>, NothingKept> {
    let mut masked = weights.to_vec();
    mask_tensor(&mut masked, keep)?;
    Ok(masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_in_float32_is_another_number() {
        let n = 10_000;
        let differing = (1..n)
            .filter(|ones| scale(*ones, n).unwrap() != (*ones as f32 / n as f32).sqrt())
            .count();
        assert!(differing > n / 10, "the trap is real: {differing} of {n} differ");
    }

    #[test]
    fn a_subnormal_weight_is_not_flushed_to_zero() {
        let keep = Bits::from_bools([true, false].into_iter());
        let tiny = f32::from_bits(1_000);
        let masked = masked_tensor(&[tiny, 1.0], &keep).unwrap();
        assert_eq!(masked[0], tiny / 0.5_f32.sqrt());
        assert!(masked[0] > tiny && masked[0].is_subnormal());
    }

    #[test]
    fn a_dropped_negative_weight_is_positive_zero() {
        let mut weights = [-1.0, 2.0];
        mask_tensor(&mut weights, &Bits::from_bools([false, true].into_iter())).unwrap();
        assert_eq!(weights[0].to_bits(), 0.0_f32.to_bits());
    }

    #[test]
    fn a_kept_weight_is_divided_once_by_a_scale_rounded_once() {
        // For these numbers the reciprocal and the float32 root give other bits.
        let (ones, n) = (9_903, 10_000);
        let alpha = scale(ones, n).unwrap();
        assert_eq!(alpha, (0.9903_f64).sqrt() as f32);
        let weights: Vec<f32> = (1..1_000).map(|i| i as f32 * 0.001_7).collect();
        let differing = weights
            .iter()
            .filter(|w| (**w / alpha) != **w * (1.0 / alpha))
            .count();
        assert!(differing > 100, "the trap is real: {differing} of 999 differ");
        let mut masked = vec![1.0; n];
        masked[..999].copy_from_slice(&weights);
        mask_tensor(&mut masked, &Bits::from_bools((0..n).map(|index| index < ones))).unwrap();
        assert!(
            masked
                .iter()
                .zip(&weights)
                .all(|(got, w)| got.to_bits() == (w / alpha).to_bits())
        );
    }

    #[test]
    fn a_full_mask_touches_nothing_and_an_empty_one_is_refused() {
        let mut weights = [0.1, f32::MIN_POSITIVE / 2.0, -0.0];
        let before = weights.map(f32::to_bits);
        mask_tensor(&mut weights, &Bits::ones(3)).unwrap();
        assert_eq!(weights.map(f32::to_bits), before);
        let none = Bits::from_bools([false; 3].into_iter());
        assert_eq!(mask_tensor(&mut weights, &none), Err(NothingKept));
    }
}
