//! What the signals without labels rest on: pictures, whole and in a second
//! view, and the space that a model makes of them.

use image::RgbImage;
use rayon::prelude::*;

use super::images::most_pictures;
use crate::base::Preprocessing;
use crate::evaluate::Space;
use crate::train::experts::embed::Model;
use crate::train::recipe::AugmentRule;
use crate::train::{Embedder, TrainError, augment};

/// Most pictures: effective rank takes time with the cube of their number, and
/// is steady long before.
const MOST_PICTURES: usize = 1_000;
/// Most tiles of them: all are in memory at once.
const MOST_TILES: usize = 4_000;
/// The seed of the second views. Not a training's: a judge draws its own.
const VIEW_SEED: u64 = 0x76_69_65_77;

/// How many pictures of so many tiles of `edge` × `edge` pixels signals rest on.
pub(super) fn most_signal_pictures(tiles: usize, edge: u32) -> usize {
    MOST_PICTURES
        .min(MOST_TILES / tiles)
        .min(most_pictures(tiles, edge))
}

/// Pictures as they are cropped, each as its `tiles` tiles: those that signals rest on.
pub(super) fn chosen<'a>(
    images: &'a [RgbImage],
    tiles: usize,
    preprocessing: &Preprocessing,
) -> Vec<&'a RgbImage> {
    let pictures = most_signal_pictures(tiles, preprocessing.size);
    images.iter().take(pictures * tiles).collect()
}

/// Pictures as the network sees them whole.
pub(super) fn whole(chosen: &[&RgbImage], preprocessing: &Preprocessing) -> Vec<RgbImage> {
    (chosen.par_iter())
        .map(|image| preprocessing.resize(image, preprocessing.size))
        .collect()
}

/// The same pictures twice, each as its tiles of the network's size.
pub(super) struct SignalPictures {
    whole: Vec<RgbImage>,
    /// Each as one random view, drawn by the rule of large crops.
    viewed: Vec<RgbImage>,
    tiles: usize,
    preprocessing: Preprocessing,
}

impl SignalPictures {
    /// Takes the first of `images`, as many as signals rest on.
    pub(super) fn of(
        images: &[RgbImage],
        tiles: usize,
        rule: &AugmentRule,
        preprocessing: &Preprocessing,
    ) -> Self {
        let chosen = chosen(images, tiles, preprocessing);
        Self {
            whole: whole(&chosen, preprocessing),
            viewed: augment::views(&chosen, rule, preprocessing, VIEW_SEED),
            tiles,
            preprocessing: preprocessing.clone(),
        }
    }

    /// How many images a model is shown.
    pub(super) fn len(&self) -> usize {
        self.whole.len() + self.viewed.len()
    }

    /// What `model` makes of them; `embed` is [`Model::embed_own`], or none if ordered to stop.
    pub(super) fn space<E: From<TrainError>>(
        &self,
        model: &Model,
        mut embed: impl FnMut(&[RgbImage]) -> Result<Option<Vec<f32>>, E>,
    ) -> Result<Option<Space>, E> {
        let Some(whole) = embed(&self.whole)? else {
            return Ok(None);
        };
        let Some(viewed) = embed(&self.viewed)? else {
            return Ok(None);
        };
        let patched = (Embedder::PATCHED / self.tiles).max(1) * self.tiles;
        let patched = &self.whole[..self.whole.len().min(patched)];
        Ok(Some(Space {
            whole,
            viewed,
            patches: model.patches_own(patched, self.tiles, &self.preprocessing)?,
        }))
    }

    /// The same without anybody to stop it.
    pub(super) fn space_of(&self, model: &Model) -> Result<Space, TrainError> {
        let embed = |shown: &[RgbImage]| {
            let embeddings = model.embed_own(shown, self.tiles, &self.preprocessing)?;
            Ok::<_, TrainError>(Some(embeddings))
        };
        Ok(self.space(model, embed)?.unwrap_or_default())
    }
}
