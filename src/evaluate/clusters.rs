//! Cluster stability: do two halves of a snapshot find the same groups?
//!
//! Each half is clustered alone (k-means on unit embeddings, k-means++ seeds:
//! Arthur and Vassilvitskii 2007), then both sets of centres sort *all* images,
//! and the two sortings are compared by the adjusted Rand index (Hubert and
//! Arabie 1985): 1 = the same groups, 0 = chance. After Lange et al.,
//! "Stability-based validation of clustering solutions" (2004).

use rayon::prelude::*;

use super::embeddings::{Embeddings, EvaluateError, dot32};
use super::random::Stream;

/// Groups looked for: more than the classes of a usual line, few enough for small halves.
const CLUSTERS: usize = 8;
/// Rounds of k-means at most.
const ROUNDS: usize = 30;
/// Splits into halves; the figure is their mean.
const SPLITS: u64 = 3;
/// Fewest images of a half for each cluster.
const LEAST_OF_CLUSTER: usize = 4;

/// The mean adjusted Rand index over three splits into halves, which depend on
/// the seed and the number of images alone.
pub fn stability(embeddings: &Embeddings, seed: u64) -> Result<f64, EvaluateError> {
    let (images, needed) = (embeddings.images(), 2 * CLUSTERS * LEAST_OF_CLUSTER);
    if images < needed {
        return Err(EvaluateError::TooFew {
            found: images,
            needed,
        });
    }
    let (unit, dim) = (embeddings.unit(), embeddings.dim());
    let of_split = |split: u64| {
        let mut order: Vec<usize> = (0..images).collect();
        Stream::new(seed, &[0x6861_6c76_6573, split]).shuffle(&mut order);
        let (one, other) = order.split_at(images / 2);
        let sorted = |half: &[usize], number: u64| {
            let mut stream = Stream::new(seed, &[0x6b6d_6561_6e73, split, number]);
            let centres = centres(&unit, dim, half, &mut stream);
            unit.par_chunks_exact(dim)
                .map(|row| nearest(row, &centres, dim).1)
                .collect::<Vec<usize>>()
        };
        adjusted_rand(&sorted(one, 0), &sorted(other, 1))
    };
    Ok((0..SPLITS).map(of_split).sum::<f64>() / SPLITS as f64)
}

/// Squared distance to the nearest of `centres` `[clusters, dim]`, and which one that is.
fn nearest(row: &[f32], centres: &[f32], dim: usize) -> (f32, usize) {
    let own = dot32(row, row);
    let mut best = (f32::INFINITY, 0);
    for (cluster, centre) in centres.chunks_exact(dim).enumerate() {
        let distance = own - 2.0 * dot32(row, centre) + dot32(centre, centre);
        if distance < best.0 {
            best = (distance, cluster);
        }
    }
    best
}

/// The centres `[CLUSTERS, dim]` of the rows `half` of `unit`.
fn centres(unit: &[f32], dim: usize, half: &[usize], stream: &mut Stream) -> Vec<f32> {
    let row = |image: usize| &unit[image * dim..][..dim];
    let mut centres = row(half[stream.below(half.len())]).to_vec();
    while centres.len() < CLUSTERS * dim {
        let distances: Vec<f64> = half
            .par_iter()
            .map(|image| f64::from(nearest(row(*image), &centres, dim).0.max(0.0)))
            .collect();
        // Drawn by squared distance; by number alone where all are centres already.
        let mut left = distances.iter().sum::<f64>() * (stream.below(1 << 53) as f64 / (1_u64 << 53) as f64);
        let drawn = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        let drawn = drawn.unwrap_or_else(|| stream.below(half.len()));
        centres.extend_from_slice(row(half[drawn]));
    }
    let mut sorted: Vec<usize> = Vec::new();
    for _ in 0..ROUNDS {
        let next: Vec<usize> = half
            .par_iter()
            .map(|image| nearest(row(*image), &centres, dim).1)
            .collect();
        if next == sorted {
            break;
        }
        sorted = next;
        let mut sums = vec![0.0_f64; CLUSTERS * dim];
        let mut counts = [0_usize; CLUSTERS];
        for (image, cluster) in half.iter().zip(&sorted) {
            counts[*cluster] += 1;
            let sums = &mut sums[cluster * dim..][..dim];
            sums.iter_mut()
                .zip(row(*image))
                .for_each(|(sum, value)| *sum += f64::from(*value));
        }
        for (cluster, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let sums = &sums[cluster * dim..][..dim];
            let centre = &mut centres[cluster * dim..][..dim];
            centre
                .iter_mut()
                .zip(sums)
                .for_each(|(centre, sum)| *centre = (sum / count as f64) as f32);
        }
    }
    centres
}

/// The adjusted Rand index of two sortings; 1 if both put everything into one group.
fn adjusted_rand(one: &[usize], other: &[usize]) -> f64 {
    let mut table = [[0_u64; CLUSTERS]; CLUSTERS];
    one.iter().zip(other).for_each(|(a, b)| table[*a][*b] += 1);
    let pairs = |count: u64| (count * count.saturating_sub(1) / 2) as f64;
    let together: f64 = table.as_flattened().iter().map(|count| pairs(*count)).sum();
    let rows: f64 = table.iter().map(|row| pairs(row.iter().sum())).sum();
    let columns: f64 = (0..CLUSTERS)
        .map(|column| pairs(table.iter().map(|row| row[column]).sum()))
        .sum();
    let expected = rows * columns / pairs(one.len() as u64).max(1.0);
    let most = f64::midpoint(rows, columns);
    if (most - expected).abs() < f64::EPSILON {
        return 1.0;
    }
    (together - expected) / (most - expected)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::gaussians;
    use super::*;

    #[test]
    fn known_sortings_have_their_known_index() {
        let one = [0, 0, 0, 1, 1, 1];
        assert!((adjusted_rand(&one, &[5, 5, 5, 2, 2, 2]) - 1.0).abs() < 1e-12);
        // By hand: of 15 pairs 2 are together in both, 6 in the one, 3 in the other.
        let expected = 6.0 * 3.0 / 15.0;
        let by_hand = (2.0 - expected) / (4.5 - expected);
        assert!((adjusted_rand(&one, &[0, 0, 1, 1, 2, 2]) - by_hand).abs() < 1e-12);
        assert!((adjusted_rand(&[0; 6], &[0; 6]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn real_groups_are_found_by_both_halves_and_noise_is_not() {
        let stable = |separation| {
            let (values, _) = gaussians(320, 24, 8, separation, 5);
            stability(&Embeddings::new(&values, 24).unwrap(), 0).unwrap()
        };
        let (groups, noise) = (stable(6.0), stable(0.0));
        assert!(groups > 0.75, "{groups}");
        assert!(noise < 0.4, "{noise}");
        let (few, _) = gaussians(63, 4, 1, 0.0, 5);
        assert!(stability(&Embeddings::new(&few, 4).unwrap(), 0).is_err());
    }
}
