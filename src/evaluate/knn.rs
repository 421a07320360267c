//! Nearest neighbours by cosine similarity.
//!
//! Leave-one-out: each image is classified by all others, so every label is
//! used and nothing is drawn by chance. Votes weighted by `exp(similarity / T)`
//! with T = .1 follow Wu et al., "Unsupervised feature learning via
//! non-parametric instance discrimination" (2018), as SwAV's k-NN does.
//!
//! The trap: on pure noise leave-one-out lies slightly *below* chance, because
//! an image's own class has one candidate fewer than the others.

use rayon::prelude::*;

use super::embeddings::{Embeddings, EvaluateError, dot32};
use crate::domain::kpi::NEIGHBOURS;

/// How neighbours' votes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Votes {
    /// One vote each; a tie goes to the class whose nearest neighbour is nearer.
    #[default]
    Majority,
    /// `exp(similarity / temperature)` each.
    Weighted {
        /// The temperature; .1 in the paper.
        temperature: f64,
    },
}

/// How images are classified by their neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnnSettings {
    /// Neighbours that vote. Default 20.
    pub neighbours: usize,
    /// How they vote. Default by majority.
    pub votes: Votes,
}

impl Default for KnnSettings {
    fn default() -> Self {
        Self {
            neighbours: NEIGHBOURS as usize,
            votes: Votes::Majority,
        }
    }
}

/// The class of each image by all *other* images.
pub fn leave_one_out(
    embeddings: &Embeddings,
    labels: &[usize],
    settings: &KnnSettings,
) -> Result<Vec<usize>, EvaluateError> {
    embeddings.paired_with(labels.len())?;
    if labels.len() < 2 {
        return Err(EvaluateError::TooFew {
            found: labels.len(),
            needed: 2,
        });
    }
    let nearest = neighbours(embeddings, settings.neighbours.max(1));
    Ok(nearest
        .iter()
        .map(|found| elect(found, labels, settings.votes))
        .collect())
}

/// The class of each image of `test` by the images of `train`.
pub fn classify(
    train: &Embeddings,
    labels: &[usize],
    test: &Embeddings,
    settings: &KnnSettings,
) -> Result<Vec<usize>, EvaluateError> {
    train.paired_with(labels.len())?;
    if labels.is_empty() {
        return Err(EvaluateError::TooFew { found: 0, needed: 1 });
    }
    if train.dim() != test.dim() {
        return Err(EvaluateError::Shape {
            values: test.dim(),
            dim: train.dim(),
        });
    }
    let nearest = nearest(
        &test.unit(),
        &train.unit(),
        train.dim(),
        settings.neighbours.max(1),
        false,
    );
    Ok(nearest
        .iter()
        .map(|found| elect(found, labels, settings.votes))
        .collect())
}

/// The `k` nearest others of each image, nearest first, with their similarity.
pub(super) fn neighbours(embeddings: &Embeddings, k: usize) -> Vec<Vec<(f32, usize)>> {
    let unit = embeddings.unit();
    nearest(&unit, &unit, embeddings.dim(), k, true)
}

/// The `k` rows of `among` nearest to each row of `of`, both at length one.
/// `others_only`: they are the same images, and none is its own neighbour.
pub(super) fn nearest(
    of: &[f32],
    among: &[f32],
    dim: usize,
    k: usize,
    others_only: bool,
) -> Vec<Vec<(f32, usize)>> {
    of.par_chunks_exact(dim)
        .enumerate()
        .map(|(image, row)| {
            let mut found: Vec<(f32, usize)> = (among.chunks_exact(dim).enumerate())
                .filter(|(other, _)| !(others_only && *other == image))
                .map(|(other, candidate)| (dot32(row, candidate), other))
                .collect();
            // Total order: equal similarities go by index, so that no answer depends on threads.
            let order = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            if k < found.len() {
                found.select_nth_unstable_by(k, order);
                found.truncate(k);
            }
            found.sort_unstable_by(order);
            found
        })
        .collect()
}

/// The class that `found` votes for; `found` is not empty and nearest first.
fn elect(found: &[(f32, usize)], labels: &[usize], votes: Votes) -> usize {
    let mut counts: Vec<(usize, f64)> = Vec::new(); // in order of the nearest vote
    let nearest = found.first().map_or(0.0, |(similarity, _)| *similarity);
    for (similarity, image) in found {
        let weight = match votes {
            Votes::Majority => 1.0,
            // Relative to the nearest: the same ratios, and no overflow at small temperatures.
            Votes::Weighted { temperature } => (f64::from(similarity - nearest) / temperature).exp(),
        };
        match counts.iter_mut().find(|(class, _)| *class == labels[*image]) {
            Some((_, count)) => *count += weight,
            None => counts.push((labels[*image], weight)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    counts
        .iter()
        .find(|(_, count)| *count == most)
        .map_or(0, |(class, _)| *class)
}

#[cfg(test)]
mod tests {
    use super::super::{confusion::Confusion, synthetic};
    use super::*;

    fn balanced(separation: f32, settings: &KnnSettings) -> f64 {
        let (values, labels) = synthetic::gaussians(300, 32, 2, separation, 5);
        let embeddings = Embeddings::new(&values, 32).unwrap();
        let answers = leave_one_out(&embeddings, &labels, settings).unwrap();
        Confusion::of(&answers, &labels).unwrap().balanced_accuracy()
    }

    #[test]
    fn separate_classes_are_told_apart_and_noise_is_chance() {
        for votes in [Votes::Majority, Votes::Weighted { temperature: 0.1 }] {
            let settings = KnnSettings {
                neighbours: 20,
                votes,
            };
            assert!(balanced(3.0, &settings) > 0.999);
            let noise = balanced(0.0, &settings);
            assert!((0.4..0.6).contains(&noise), "{noise}");
        }
    }

    #[test]
    fn the_length_of_an_embedding_does_not_matter() {
        let values = [[1.0, 0.1], [100.0, 9.0], [0.1, 1.0], [2.0, 30.0]].concat();
        let embeddings = Embeddings::new(&values, 2).unwrap();
        let settings = KnnSettings {
            neighbours: 1,
            ..KnnSettings::default()
        };
        assert_eq!(
            leave_one_out(&embeddings, &[0, 0, 1, 1], &settings).unwrap(),
            [0, 0, 1, 1]
        );
    }

    #[test]
    fn weighting_lets_one_near_neighbour_outvote_two_far_ones() {
        let train = [[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]].concat();
        let (train, test) = (Embeddings::new(&train, 2).unwrap(), [0.9, 0.1]);
        let test = Embeddings::new(&test, 2).unwrap();
        let class = |votes| {
            let settings = KnnSettings { neighbours: 3, votes };
            classify(&train, &[0, 1, 1], &test, &settings).unwrap()[0]
        };
        assert_eq!(class(Votes::Majority), 1);
        assert_eq!(class(Votes::Weighted { temperature: 0.1 }), 0);
    }

    #[test]
    fn a_tie_goes_to_the_nearer() {
        let train = [[1.0, 0.0], [0.0, 1.0]].concat();
        let train = Embeddings::new(&train, 2).unwrap();
        let test = [0.2, 0.9];
        let test = Embeddings::new(&test, 2).unwrap();
        let settings = KnnSettings {
            neighbours: 2,
            ..KnnSettings::default()
        };
        assert_eq!(classify(&train, &[0, 1], &test, &settings).unwrap(), [1]);
    }
}
