//! The images of a training, decoded: all are in memory at once.

use std::collections::HashSet;

use image::RgbImage;
use rayon::prelude::*;

use super::attempt::{AttemptEvents, AttemptInput};
use super::pictures::{Picture, decode_all};
use crate::domain::job::{Order, Phase, Progress};
use crate::domain::{Digest, View, snapshot};
use crate::evaluate::sample;
use crate::train::recipe::AugmentRule;
use crate::train::{Recipe, moments};

/// Pictures that are decoded between two questions whether to go on.
const CHUNK: usize = 256;
/// Most bytes of decoded images; those of 40,000 one-tile pictures for crops of 96 pixels.
const MOST_BYTES: usize = 4 << 30;

/// The images of a training, ready to be cropped.
pub(super) struct Images {
    /// In the order of their digests, each as its tiles, which train as pictures do.
    pub(super) tiles: Vec<RgbImage>,
    /// The pictures'.
    pub(super) digests: Vec<Digest>,
    /// The digest of that list.
    pub(super) snapshot: Digest,
}

/// The edge of a decoded image: twice a crop's, which is enough for the smallest region, a fraction of a
/// camera's picture; but as large as the network's input of `size` pixels, which is never made of less.
pub(super) fn cached_edge(rule: &AugmentRule, size: u32) -> u32 {
    (2 * rule.large.size).max(size)
}

/// How many images, each tile one, train by `recipe` if all of `pictures` can be decoded: an epoch's.
/// `size` is the network's.
pub(super) fn training_images(pictures: &[Picture], recipe: &Recipe, view: &View, size: u32) -> usize {
    let distinct: HashSet<Digest> = pictures.iter().map(|picture| picture.digest).collect();
    let tiles = view.tiles.count();
    let pictures = distinct
        .len()
        .min(most_training(recipe, tiles, cached_edge(&recipe.augment, size)));
    let (training, _) = moments::split(recipe.selection.as_ref(), pictures * tiles, tiles);
    training.len()
}

/// Decodes the images; those that are no pictures are noted and left out. None if ordered to stop.
pub(super) fn decoded(input: &AttemptInput, events: &mut dyn AttemptEvents) -> Option<Images> {
    let edge = cached_edge(&input.recipe.augment, input.preprocessing.seen(&input.view).size);
    let cached = View {
        size: Some(edge),
        ..input.view
    };
    let mut sorted: Vec<&Picture> = input.images.iter().collect();
    sorted.sort_by_key(|picture| picture.digest);
    sorted.dedup_by_key(|picture| picture.digest);
    let (all, most) = (
        sorted.len(),
        most_training(&input.recipe, input.view.tiles.count(), edge),
    );
    if all > most {
        events.note(&format!(
            "{most} of the {all} images train: more do not fit in memory"
        ));
        // Digests are as good as random, so these are a fair sample, and the same one each time.
        sorted.truncate(most);
    }
    let mut tiles = Vec::with_capacity(sorted.len() * input.view.tiles.count());
    let mut digests = Vec::with_capacity(sorted.len());
    for chunk in sorted.chunks(CHUNK) {
        let decoded = decode_all(chunk.par_iter().copied(), &input.preprocessing, &cached);
        for (picture, decoded) in chunk.iter().zip(decoded) {
            match decoded {
                Ok(decoded) => {
                    tiles.extend(decoded);
                    digests.push(picture.digest);
                }
                Err(error) => events.note(&format!("left out: `{}`: {error}", picture.name())),
            }
        }
        let order = events.progress(Progress {
            phase: Phase::Fetch,
            step: digests.len() as u64,
            steps: sorted.len() as u64,
            ..Progress::default()
        });
        if order != Order::Continue {
            return None;
        }
    }
    Some(Images {
        tiles,
        snapshot: snapshot::digest(&digests),
        digests,
    })
}

/// How many pictures of so many tiles of `edge` × `edge` pixels may be in memory.
pub(super) fn most_pictures(tiles: usize, edge: u32) -> usize {
    MOST_BYTES / (tiles * 3 * edge as usize * edge as usize)
}

/// How many of them train: an expert has copies of its own.
fn most_training(recipe: &Recipe, tiles: usize, edge: u32) -> usize {
    most_pictures(tiles, edge) / if recipe.experts.is_some() { 2 } else { 1 }
}

/// How many labelled ones.
pub(super) fn most_labelled(tiles: usize, edge: u32) -> usize {
    most_pictures(tiles, edge).clamp(1, sample::MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::pictures::Source;

    #[test]
    fn large_sets_of_many_tiles_are_sampled_and_ordinary_ones_are_not() {
        assert_eq!(most_pictures(1, 192), 38_836);
        assert_eq!(most_pictures(64, 192), 606);
        // The largest crops of the most tiles.
        assert_eq!(most_pictures(64, 2 * 1_024), 5);
    }

    #[test]
    fn an_epoch_has_what_trains() {
        let picture = |n: u32| Picture {
            digest: Digest::of(&(n % 300).to_le_bytes()),
            source: Source::Bytes(Vec::new()),
        };
        let pictures: Vec<Picture> = (0..400).map(picture).collect();
        let factory = Recipe::factory();
        let images = |recipe: &Recipe, tiles: View| training_images(&pictures, recipe, &tiles, 96);
        assert_eq!(
            images(&factory, View::default()),
            300,
            "the same picture twice counts once"
        );
        let tiled = View::parse(r#"{"tiles": {"columns": 4, "rows": 2}}"#).unwrap();
        assert_eq!(images(&factory, tiled), 2_400);
        let rule = "selection = { held-out = 0.1, every = 20 }";
        let selecting = format!("{rule}\n{}", include_str!("../../recipes/factory.toml"));
        assert_eq!(images(&Recipe::parse(&selecting).unwrap(), View::default()), 270);
    }
}
