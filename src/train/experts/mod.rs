//! The experts of a cascade (arXiv 2409.07577, §3.4): which images belong
//! together in the dispatcher's eyes, and what makes one embedding of several
//! networks' ones. Training an expert is training a mask, in [`super::session`].
//!
//! - [`rule`]: the recipe's table;
//! - [`principal`], [`mixture`]: principal axes and Gaussians, in float64 and the same on every machine;
//! - [`embed`]: what a cascade makes of pictures;
//! - [`stages`]: where an interrupted cascade goes on.

pub mod embed;
pub mod mixture;
pub mod principal;
pub mod rule;
pub mod stages;

use rayon::prelude::*;

use crate::mask::cascade::{Joint, Projection, Router, unit};
use mixture::{Mixture, Prior};
use principal::principal;
use rule::ExpertsRule;

/// Most images that principal axes are fitted to: they are steady long before.
pub const MOST_FITTED: usize = 1_000;

/// Images in groups, one for each expert.
#[derive(Debug)]
pub struct Grouped {
    /// What tells the group of any picture.
    pub router: Router,
    /// The group of each image.
    pub groups: Vec<usize>,
}

impl Grouped {
    /// The numbers of the images of group `group`.
    pub fn of_group(&self, group: usize) -> Vec<usize> {
        let own = self.groups.iter().enumerate().filter(|(_, of)| **of == group);
        own.map(|(image, _)| image).collect()
    }
}

/// Groups images by their embeddings `[images, dim]` through the dispatcher. Groups of too few
/// images are dissolved, the smallest first; none if fewer than two are left.
pub fn grouped(embeddings: &[f32], dim: usize, rule: &ExpertsRule, seed: u64) -> Option<Grouped> {
    let rows: Vec<Vec<f64>> = embeddings.par_chunks_exact(dim).map(unit).collect();
    let fitted: Vec<Vec<f64>> = spread(rows.len(), MOST_FITTED)
        .map(|image| rows[image].clone())
        .collect();
    let found = principal(&fitted, rule.components);
    let whitened: Vec<Vec<f64>> = found.axes.iter().zip(&found.deviations).map(over).collect();
    if whitened.is_empty() {
        return None;
    }
    let mut projection = Projection::rounded(&whitened);
    projection.centred_on(&fitted.iter().map(|row| projection.of(row)).collect::<Vec<_>>());
    let points: Vec<Vec<f64>> = rows.par_iter().map(|row| projection.of(row)).collect();
    let prior = Prior {
        variance: rule.floor,
        images: whitened.len() as f64 + 1.0,
    };
    let count = rule.count.min(points.len());
    let mut mixture = Mixture::fit(&points, count, prior, rule.rounds, seed);
    for left in (2..=count).rev() {
        let router = Router {
            projection: projection.clone(),
            groups: mixture.groups(),
        };
        // As a device will group them: with the numbers as the artefact holds them.
        let groups: Vec<usize> = (embeddings.par_chunks_exact(dim))
            .map(|embedding| router.expert_of(embedding))
            .collect();
        let images = |group: usize| groups.iter().filter(|of| **of == group).count();
        let smallest = (0..left).min_by_key(|group| images(*group)).unwrap_or(0);
        if images(smallest) >= rule.least {
            return Some(Grouped { router, groups });
        }
        if left > 2 {
            mixture.remove(smallest);
            mixture.settle(&points, prior, rule.rounds);
        }
    }
    None
}

/// Joins the embeddings `[images, dim]` of several networks, the dispatcher's first, all of the same images: at most
/// `width` principal axes of all of them side by side, each divided by its deviation. None if all images are alike.
pub fn joint(networks: &[Vec<f32>], dim: usize, width: usize) -> Option<Joint> {
    let images = networks.first().map_or(0, |of| of.len() / dim);
    let of_image = |image: usize| {
        let parts = networks.iter().flat_map(|network| &network[image * dim..][..dim]);
        parts.map(|value| f64::from(*value)).collect()
    };
    let rows: Vec<Vec<f64>> = (0..images).map(of_image).collect();
    let found = principal(&rows, width);
    let whitened: Vec<Vec<f64>> = found.axes.iter().zip(&found.deviations).map(over).collect();
    let part = |network: usize| {
        let own = |row: &Vec<f64>| row[network * dim..][..dim].to_vec();
        let mut part = Projection::rounded(&whitened.iter().map(own).collect::<Vec<_>>());
        part.centred_on(&rows.iter().map(|row| part.of(&own(row))).collect::<Vec<_>>());
        part
    };
    let parts: Vec<Projection> = (0..networks.len()).into_par_iter().map(part).collect();
    (!whitened.is_empty()).then_some(Joint { parts })
}

/// An axis divided by the deviation along it.
fn over((axis, deviation): (&Vec<f64>, &f64)) -> Vec<f64> {
    axis.iter().map(|value| value / deviation).collect()
}

/// At most `most` numbers below `count`, spread evenly.
pub fn spread(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let taken = count.min(most);
    (0..taken).map(move |at| at * count / taken)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
