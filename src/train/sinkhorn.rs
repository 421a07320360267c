//! Sinkhorn-Knopp: codes that use every prototype equally (SwAV §3.1).

/// Codes `[batch, prototypes]` of `similarities` `[batch, prototypes]`: each
/// row sums to 1, and all prototypes get nearly the same share of the batch.
pub fn codes(similarities: &[f32], prototypes: usize, epsilon: f64, rounds: u32) -> Vec<f32> {
    let batch = similarities.len() / prototypes;
    // exp overflows float64 only above 709; the greatest exponent is made 0.
    let greatest = similarities
        .iter()
        .fold(f32::MIN, |greatest, value| greatest.max(*value));
    let mut shares: Vec<f64> = similarities
        .iter()
        .map(|value| (f64::from(value - greatest) / epsilon).exp())
        .collect();
    for _ in 0..rounds {
        let mut columns = vec![0.0; prototypes];
        for row in shares.chunks_exact(prototypes) {
            columns.iter_mut().zip(row).for_each(|(sum, share)| *sum += share);
        }
        for row in shares.chunks_exact_mut(prototypes) {
            row.iter_mut()
                .zip(&columns)
                .for_each(|(share, sum)| *share /= sum.max(f64::MIN_POSITIVE) * prototypes as f64);
            let sum: f64 = row.iter().sum();
            row.iter_mut()
                .for_each(|share| *share /= sum.max(f64::MIN_POSITIVE) * batch as f64);
        }
    }
    shares.iter().map(|share| (share * batch as f64) as f32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_sum_to_one(similarities in proptest::collection::vec(-1.0_f32..1.0, 8 * 5)) {
            for row in codes(&similarities, 5, 0.05, 3).chunks(5) {
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }

        #[test]
        fn many_rounds_use_every_prototype_equally(similarities in proptest::collection::vec(-0.3_f32..0.3, 8 * 4)) {
            let codes = codes(&similarities, 4, 0.5, 100);
            for prototype in 0..4 {
                let used: f32 = codes.iter().skip(prototype).step_by(4).sum();
                prop_assert!((used - 2.0).abs() < 1e-2, "{used}");
            }
        }
    }

    #[test]
    fn a_clear_preference_stays() {
        let codes = codes(&[1.0, -1.0, -1.0, 1.0], 2, 0.05, 3);
        assert!(codes[0] > 0.99 && codes[3] > 0.99);
    }
}
