//! How embeddings fill their space: effective rank and collapse.
//!
//! Effective rank is the exponential of the entropy of the singular values of
//! the *centred* embeddings, each divided by their sum (Roy and Vetterli 2007).
//! It is RankMe (Garrido et al. 2023, arXiv 2210.02885) but for the centring,
//! without which the mean embedding counts as a dimension. At most
//! `min(images - 1, dim)`, so only figures of as many images compare.

use super::embeddings::{Embeddings, EvaluateError, gram};
use super::spectrum::symmetric_eigenvalues;
use crate::domain::report::SpaceFigures;

/// Ranks of eigenvalues that the decay is fitted to: the first few stand apart,
/// and the last ones of few images are noise.
const DECAY_FROM: usize = 5;
const DECAY_TO: usize = 100;
/// Fewest eigenvalues that a decay is fitted to.
const LEAST_FITTED: usize = 8;

/// Effective rank, decay, mean pairwise cosine and spread.
pub fn space(embeddings: &Embeddings) -> Result<SpaceFigures, EvaluateError> {
    if embeddings.images() < 2 {
        return Err(EvaluateError::TooFew {
            found: embeddings.images(),
            needed: 2,
        });
    }
    let eigenvalues = eigenvalues(embeddings);
    Ok(SpaceFigures {
        effective_rank: rank_of(&eigenvalues),
        decay: decay(&eigenvalues),
        mean_cosine: mean_cosine(embeddings),
        spread: spread(embeddings),
    })
}

/// Effective rank; 0 if all embeddings are equal.
pub fn effective_rank(embeddings: &Embeddings) -> f64 {
    rank_of(&eigenvalues(embeddings))
}

/// The eigenvalues of the centred embeddings' products that are not zero, greatest first.
fn eigenvalues(embeddings: &Embeddings) -> Vec<f64> {
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
    let mut eigenvalues = symmetric_eigenvalues(product, side);
    eigenvalues.reverse();
    let greatest = eigenvalues.first().copied().unwrap_or(0.0).max(0.0);
    // What rounding leaves of a zero eigenvalue; its root would count as a dimension in use.
    let floor = greatest * side as f64 * f64::EPSILON;
    eigenvalues.retain(|value| *value > floor);
    eigenvalues
}

fn rank_of(eigenvalues: &[f64]) -> f64 {
    let singular: Vec<f64> = eigenvalues.iter().map(|value| value.sqrt()).collect();
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

/// The exponent of the eigenvalues' decay, `λₙ ∝ n^-α`, by least squares over
/// logarithms of ranks 5 to 100, at most half of all (α-ReQ: Agrawal et al.,
/// "α-ReQ: assessing representation quality in self-supervised learning by
/// measuring eigenspectrum decay", 2022). None of too few eigenvalues.
fn decay(eigenvalues: &[f64]) -> Option<f64> {
    let to = DECAY_TO.min(eigenvalues.len() / 2);
    let fitted = eigenvalues.get(DECAY_FROM - 1..to)?;
    if fitted.len() < LEAST_FITTED {
        return None;
    }
    let points = (DECAY_FROM..)
        .zip(fitted)
        .map(|(rank, value)| ((rank as f64).ln(), value.ln()));
    let count = fitted.len() as f64;
    let (x, y) = points.clone().fold((0.0, 0.0), |(x, y), point| {
        (x + point.0 / count, y + point.1 / count)
    });
    let (slope, square) = points.fold((0.0, 0.0), |(slope, square), point| {
        let along = point.0 - x;
        (slope + along * (point.1 - y), square + along * along)
    });
    Some(-slope / square)
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
    fn a_power_law_decays_as_it_was_made() {
        for alpha in [0.5, 1.0, 2.5] {
            let law: Vec<f64> = (1..=300).map(|rank| 7.0 * f64::from(rank).powf(-alpha)).collect();
            assert!((decay(&law).unwrap() - alpha).abs() < 1e-9);
        }
        assert_eq!(decay(&[1.0; 23]), None);
        assert!(decay(&[1.0; 24]).unwrap().abs() < 1e-12);
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
