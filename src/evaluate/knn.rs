//! Leave-one-out nearest neighbours: each image is classified by all others.

use rayon::prelude::*;

/// For each image whether the majority of its `k` nearest neighbours by cosine
/// similarity has its label. `embeddings`: `[images, dim]`; `labels`: class of
/// each image. Ties go to the class whose nearest neighbour is nearer.
pub fn leave_one_out(embeddings: &[f32], dim: usize, labels: &[usize], k: usize) -> Vec<bool> {
    assert_eq!(
        embeddings.len(),
        dim * labels.len(),
        "one embedding for each label"
    );
    let unit: Vec<Vec<f32>> = embeddings
        .par_chunks_exact(dim)
        .map(|row| {
            let norm = row
                .iter()
                .map(|value| value * value)
                .sum::<f32>()
                .sqrt()
                .max(f32::MIN_POSITIVE);
            row.iter().map(|value| value / norm).collect()
        })
        .collect();
    let classes = labels.iter().max().map_or(0, |greatest| greatest + 1);
    (0..labels.len())
        .into_par_iter()
        .map(|image| {
            let similarity = |other: usize| {
                unit[image]
                    .iter()
                    .zip(&unit[other])
                    .map(|(a, b)| a * b)
                    .sum::<f32>()
            };
            let mut others: Vec<(f32, usize)> = (0..labels.len())
                .filter(|other| *other != image)
                .map(|other| (similarity(other), other))
                .collect();
            // Total order: equal similarities go by index, so that the answer never depends on threads.
            others.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut votes = vec![0; classes];
            others
                .iter()
                .take(k)
                .for_each(|(_, other)| votes[labels[*other]] += 1);
            let most = votes.iter().max().copied().unwrap_or(0);
            others
                .iter()
                .map(|(_, other)| labels[*other])
                .find(|class| votes[*class] == most)
                == Some(labels[image])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_classes_are_told_apart_and_a_stray_is_not() {
        let mut embeddings = Vec::new();
        let mut labels = Vec::new();
        for n in 0..10 {
            embeddings.extend([1.0, 0.01 * n as f32]);
            labels.push(0);
            embeddings.extend([0.01 * n as f32, 1.0]);
            labels.push(1);
        }
        embeddings.extend([1.0, 0.0]);
        labels.push(1);
        let right = leave_one_out(&embeddings, 2, &labels, 5);
        assert!(right[..20].iter().all(|right| *right));
        assert!(!right[20]);
    }

    #[test]
    fn the_length_of_an_embedding_does_not_matter() {
        let embeddings = [[1.0, 0.1], [100.0, 9.0], [0.1, 1.0], [2.0, 30.0]].concat();
        assert_eq!(leave_one_out(&embeddings, 2, &[0, 0, 1, 1], 1), [true; 4]);
    }
}
