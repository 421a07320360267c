//! How embeddings fill their space: effective rank and collapse.
//!
//! Effective rank is the exponential of the entropy of the singular values of
//! the *centred* embeddings, each divided by their sum (Roy and Vetterli 2007;
//! RankMe, Garrido et al. 2023). At most `min(images - 1, dim)`, so only
//! figures of as many images compare.

use super::embeddings::{Embeddings, EvaluateError, gram};
use super::spectrum::symmetric_eigenvalues;
use crate::domain::report::SpaceFigures;

/// Effective rank, mean pairwise cosine and spread.
pub fn space(embeddings: &Embeddings) -> Result<SpaceFigures, EvaluateError> {
    if embeddings.images() < 2 {
        return Err(EvaluateError::TooFew {
            found: embeddings.images(),
            needed: 2,
        });
    }
    Ok(SpaceFigures {
        effective_rank: effective_rank(embeddings),
        mean_cosine: mean_cosine(embeddings),
        spread: spread(embeddings),
    })
}

/// Effective rank; 0 if all embeddings are equal.
pub fn effective_rank(embeddings: &Embeddings) -> f64 {
    let (images, dim) = (embeddings.images(), embeddings.dim());
    let centred = embeddings.centred(false);
    // Both products have the same eigenvalues but for zeros; take the smaller.
    let (product, side) = if images <= dim {
        (gram(&centred, dim), images)
    } else {
        let mut turned = vec![0.0; centred.len()];
        for (image, row) in centred.chunks_exact(dim).enumerate() {
            row.iter()
                .enumerate()
                .for_each(|(column, value)| turned[column * images + image] = *value);
        }
        (gram(&turned, images), dim)
    };
    let eigenvalues = symmetric_eigenvalues(product, side);
    let greatest = eigenvalues.iter().copied().fold(0.0, f64::max);
    // What rounding leaves of a zero eigenvalue; its root would count as a dimension in use.
    let floor = greatest * side as f64 * f64::EPSILON;
    let singular: Vec<f64> = eigenvalues
        .iter()
        .filter(|value| **value > floor)
        .map(|value| value.sqrt())
        .collect();
    let sum: f64 = singular.iter().sum();
    if sum == 0.0 {
        return 0.0;
    }
    let entropy: f64 = singular
        .iter()
        .map(|value| value / sum)
        .map(|share| -share * share.ln())
        .sum();
    entropy.exp()
}

/// The mean cosine over all pairs of different images.
pub fn mean_cosine(embeddings: &Embeddings) -> f64 {
    let (unit, images) = (embeddings.unit(), embeddings.images() as f64);
    let mut sum = vec![0.0; embeddings.dim()];
    let mut own = 0.0;
    for row in unit.chunks_exact(embeddings.dim()) {
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += f64::from(*value);
            own += f64::from(*value).powi(2);
        }
    }
    let all: f64 = sum.iter().map(|sum| sum * sum).sum();
    (all - own) / (images * (images - 1.0))
}

/// The mean deviation of a dimension over unit embeddings, times `sqrt(dim)`
/// (SimSiam's collapse signal, Chen and He 2021): near 1 if spread evenly.
pub fn spread(embeddings: &Embeddings) -> f64 {
    let (unit, dim) = (embeddings.unit(), embeddings.dim());
    let deviations = Embeddings::new(&unit, dim)
        .map(|unit| unit.moments())
        .unwrap_or_default();
    deviations.iter().map(|(_, deviation)| deviation).sum::<f64>() / (dim as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::gaussians;
    use super::*;

    #[test]
    fn as_many_equal_directions_as_there_are_have_that_rank() {
        // Plus and minus each of 6 axes: mean zero, 6 equal singular values, in either orientation.
        for dim in [6_usize, 40] {
            let mut values = vec![0.0; 12 * dim];
            for row in 0..12 {
                values[row * dim + row / 2] = if row % 2 == 0 { 3.0 } else { -3.0 };
            }
            let rank = effective_rank(&Embeddings::new(&values, dim).unwrap());
            assert!((rank - 6.0).abs() < 1e-9, "{rank}");
        }
    }

    #[test]
    fn a_shift_changes_no_rank_and_one_direction_has_rank_one() {
        let (mut values, _) = gaussians(50, 8, 1, 0.0, 3);
        let rank = effective_rank(&Embeddings::new(&values, 8).unwrap());
        assert!((7.0..=8.0).contains(&rank), "{rank}");
        values.iter_mut().for_each(|value| *value += 64.0);
        let shifted = effective_rank(&Embeddings::new(&values, 8).unwrap());
        assert!((rank - shifted).abs() < 1e-4);
        let line: Vec<f32> = (0..20).flat_map(|n| [n as f32, 2.0 * n as f32, 0.0]).collect();
        assert!((effective_rank(&Embeddings::new(&line, 3).unwrap()) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn collapse_shows_in_all_three() {
        let (healthy, _) = gaussians(200, 32, 1, 0.0, 4);
        let healthy = space(&Embeddings::new(&healthy, 32).unwrap()).unwrap();
        assert!(
            healthy.mean_cosine.abs() < 0.02 && healthy.spread > 0.9,
            "{healthy:?}"
        );
        let collapsed = space(&Embeddings::new(&vec![0.5; 200 * 32], 32).unwrap()).unwrap();
        assert!(collapsed.mean_cosine > 0.999 && collapsed.spread < 1e-3);
        assert_eq!(collapsed.effective_rank, 0.0);
    }
}
