//! Images that lie away from the others in a space of embeddings.
//!
//! An *outlier* is alone: its distance to its nearest neighbours is far beyond
//! what is usual (Ramaswamy, Rastogi, Shim 2000, "Efficient algorithms for
//! mining outliers from large data sets"; here the mean of the distances, as
//! Angiulli and Pizzuti 2002, which wavers less). An *off-topic* image has
//! company: a small group that is close together and far from the bulk, such
//! as another product that was photographed by mistake. Distances to
//! neighbours cannot see a group larger than their number, so groups are the
//! connected parts of the graph of all pairs that are as close as is usual.
//!
//! Embeddings of a network share a large common direction, which would make
//! all of them alike: the mean is taken off first.

use rayon::prelude::*;

use super::embeddings::{Embeddings, dot32};
use super::knn::nearest;
use crate::domain::robust::Spread;

/// What counts as far away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierSettings {
    /// Neighbours whose distance is averaged. Default 10.
    pub neighbours: usize,
    /// Robust deviations from the middle distance that are usual. Default 5.
    pub usual: f64,
    /// Largest share of the images that is a small group. Default .05.
    pub small: f64,
    /// Fewest images of which anything is said. Default 30.
    pub fewest: usize,
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self {
            neighbours: 10,
            usual: 5.0,
            small: 0.05,
            fewest: 30,
        }
    }
}

/// Images away from the others; their numbers, the farthest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outliers {
    /// Alone.
    pub alone: Vec<usize>,
    /// In small groups of at least two.
    pub off_topic: Vec<usize>,
}

/// Finds images that are away from the others. No image is in both lists.
pub fn outliers(embeddings: &Embeddings, settings: &OutlierSettings) -> Outliers {
    let images = embeddings.images();
    if images < settings.fewest.max(3) {
        return Outliers::default();
    }
    let (unit, dim) = (directions(embeddings), embeddings.dim());
    let k = settings.neighbours.clamp(1, images - 1);
    let distances: Vec<f64> = nearest(&unit, &unit, dim, k, true)
        .iter()
        .map(|found| 1.0 - found.iter().map(|(cosine, _)| f64::from(*cosine)).sum::<f64>() / k as f64)
        .collect();
    let Some(spread) = Spread::upward(&distances) else {
        return Outliers::default();
    };
    // Rounding makes copies of one picture differ by about 1e-7.
    let limit = spread.median + settings.usual * spread.sigma.max(1e-6);
    let groups = groups(&unit, dim, limit);
    let mut sizes = vec![0_usize; images];
    groups.iter().for_each(|group| sizes[*group] += 1);
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let small = |size: usize| size < largest && size as f64 <= (settings.small * images as f64).max(1.0);
    let mut order: Vec<usize> = (0..images).collect();
    order.sort_by(|a, b| distances[*b].total_cmp(&distances[*a]).then(a.cmp(b)));
    let size = |image: usize| sizes[groups[image]];
    let off_topic = |image: &usize| size(*image) > 1 && small(size(*image));
    let alone = |image: &usize| !off_topic(image) && distances[*image] > limit;
    Outliers {
        alone: order.iter().copied().filter(alone).collect(),
        off_topic: order.iter().copied().filter(off_topic).collect(),
    }
}

/// Unit vectors from the mean to each image. `[images, dim]`
fn directions(embeddings: &Embeddings) -> Vec<f32> {
    let centred: Vec<f32> = embeddings
        .centred(false)
        .into_iter()
        .map(|value| value as f32)
        .collect();
    match Embeddings::new(&centred, embeddings.dim()) {
        Ok(rows) => rows.unit(),
        // Finite values less their mean are finite.
        Err(_) => centred,
    }
}

/// The group of each image, named after one of its images: connected are all
/// pairs whose cosine distance is at most `limit`.
fn groups(unit: &[f32], dim: usize, limit: f64) -> Vec<usize> {
    let rows: Vec<&[f32]> = unit.chunks_exact(dim).collect();
    let close: Vec<Vec<usize>> = rows
        .par_iter()
        .enumerate()
        .map(|(image, row)| {
            let near = |other: &usize| 1.0 - f64::from(dot32(row, rows[*other])) <= limit;
            (image + 1..rows.len()).filter(near).collect()
        })
        .collect();
    let mut parent: Vec<usize> = (0..rows.len()).collect();
    for (image, others) in close.iter().enumerate() {
        for other in others {
            let (one, other) = (root(&mut parent, image), root(&mut parent, *other));
            parent[one.max(other)] = one.min(other);
        }
    }
    (0..rows.len()).map(|image| root(&mut parent, image)).collect()
}

/// The image that a group is named after; shortens the way for the next question.
fn root(parent: &mut [usize], mut image: usize) -> usize {
    while parent[image] != image {
        parent[image] = parent[parent[image]];
        image = parent[image];
    }
    image
}

#[cfg(test)]
mod tests {
    use super::super::synthetic;
    use super::*;

    const DIM: usize = 24;

    /// A bulk around one direction: a factory's images.
    fn bulk(images: usize, seed: u64) -> Vec<f32> {
        let (mut values, _) = synthetic::gaussians(images, DIM, 1, 0.0, seed);
        for row in values.chunks_exact_mut(DIM) {
            // A plane with some noise around it: what a line photographs varies in few ways.
            row.iter_mut().skip(3).for_each(|value| *value *= 0.15);
            row[DIM - 1] += 6.0;
        }
        values
    }

    fn found(values: &[f32]) -> Outliers {
        outliers(
            &Embeddings::new(values, DIM).unwrap(),
            &OutlierSettings::default(),
        )
    }

    #[test]
    fn a_bulk_has_hardly_an_outlier() {
        for seed in 1..4 {
            let found = found(&bulk(400, seed));
            assert!(found.alone.len() <= 12 && found.off_topic.len() <= 4, "{found:?}");
        }
    }

    #[test]
    fn one_that_is_alone_and_a_group_that_is_not_are_told_apart() {
        let mut values = bulk(400, 7);
        values[3 * DIM..4 * DIM].copy_from_slice(&[0.0; DIM]);
        values[3 * DIM + 10] = 9.0;
        for image in 100..112 {
            let row = &mut values[image * DIM..][..DIM];
            row.iter_mut().for_each(|value| *value *= 0.1);
            row[15] = 8.0;
        }
        let found = found(&values);
        assert!(found.alone.contains(&3), "{found:?}");
        let group: Vec<usize> = (100..112).collect();
        assert!(
            group.iter().all(|image| found.off_topic.contains(image)),
            "{found:?}"
        );
        assert!(found.off_topic.len() + found.alone.len() < 24, "{found:?}");
    }

    #[test]
    fn two_products_of_one_site_are_no_small_groups() {
        let mut values = bulk(400, 9);
        for row in values.chunks_exact_mut(DIM).take(120) {
            row[15] += 8.0;
        }
        assert!(found(&values).off_topic.len() <= 8);
    }

    #[test]
    fn of_a_few_images_and_of_copies_nothing_is_said() {
        assert_eq!(found(&bulk(29, 1)), Outliers::default());
        let copies = vec![1.0; 60 * DIM];
        assert_eq!(found(&copies), Outliers::default());
    }
}
