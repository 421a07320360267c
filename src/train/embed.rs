//! Embeddings of pictures by a base or by a masked model.

use image::RgbImage;
use rayon::prelude::*;
use tch::Tensor;

use super::TrainError;
use super::backbone::{self, Mode, tensor};
use crate::base::{Architecture, Preprocessing, Weights};

/// Patches taken of a picture.
const PATCHES: i64 = 4;

/// A network that is ready to embed.
pub struct Embedder {
    architecture: &'static Architecture,
    tensors: Vec<Tensor>,
    device: tch::Device,
}

impl Embedder {
    /// Images that pass through the network at once; more only take memory.
    pub const BATCH: usize = 64;
    /// Images whose patches are looked at: their effective rank takes time with the cube of their number.
    pub const PATCHED: usize = 3 * Self::BATCH;

    /// Puts the weights onto the device.
    pub fn new(weights: &Weights, device: tch::Device) -> Result<Self, TrainError> {
        Ok(Self {
            architecture: weights.architecture,
            tensors: backbone::tensors(weights, device)?,
            device,
        })
    }

    /// A network whose tensors are on the device already.
    pub(super) fn of_tensors(
        architecture: &'static Architecture,
        tensors: &[Tensor],
        device: tch::Device,
    ) -> Self {
        Self {
            architecture,
            tensors: tensors.iter().map(Tensor::shallow_clone).collect(),
            device,
        }
    }

    /// The length of an embedding.
    pub fn dim(&self) -> usize {
        self.architecture.embedding_dim
    }

    /// Embeddings `[batch, dim]`, row by row, of one normalised batch `[batch, 3, size, size]`.
    pub fn embed(&self, input: &[f32], size: u32) -> Result<Vec<f32>, TrainError> {
        values(&self.run(input, size)?.0)
    }

    /// The same, and the batch's patches as [`Self::patches`] gives them.
    pub(super) fn embed_with_patches(
        &self,
        input: &[f32],
        size: u32,
    ) -> Result<(Vec<f32>, Vec<f32>), TrainError> {
        let (embedded, map) = self.run(input, size)?;
        Ok((values(&embedded)?, patches(map)?))
    }

    /// What the network makes of a normalised batch: embeddings and the last feature map.
    fn run(&self, input: &[f32], size: u32) -> Result<(Tensor, Option<Tensor>), TrainError> {
        let size = size as usize;
        let shape = [input.len() / (3 * size * size), 3, size, size];
        let input = tensor(input, &shape, self.device)?;
        tch::no_grad(|| backbone::run(self.architecture, &self.tensors, &input, Mode::default()))
    }

    /// Patches of pictures that have the network's size, each less the mean of
    /// its picture: `[pictures × at most 4, dim]`, row by row, the patches
    /// spread evenly over the last feature map. Empty where that has only one, and of transformers.
    pub fn patches(
        &self,
        pictures: &[RgbImage],
        preprocessing: &Preprocessing,
    ) -> Result<Vec<f32>, TrainError> {
        let mut patches = Vec::new();
        for batch in pictures.chunks(Self::BATCH) {
            let input: Vec<f32> = (batch.par_iter())
                .flat_map_iter(|picture| preprocessing.normalise(picture))
                .collect();
            patches.extend(self.patches_of(&input, preprocessing.size)?);
        }
        Ok(patches)
    }

    /// The same of one normalised batch `[batch, 3, size, size]`.
    pub(super) fn patches_of(&self, input: &[f32], size: u32) -> Result<Vec<f32>, TrainError> {
        patches(self.run(input, size)?.1)
    }

    /// Embeddings `[pictures, dim]`, row by row, of pictures that have the
    /// network's size. Input is made batch by batch: it takes four times the memory of pictures.
    pub fn embed_pictures(
        &self,
        pictures: &[RgbImage],
        preprocessing: &Preprocessing,
    ) -> Result<Vec<f32>, TrainError> {
        let mut embeddings = Vec::with_capacity(pictures.len() * self.architecture.embedding_dim);
        for batch in pictures.chunks(Self::BATCH) {
            let input: Vec<f32> = (batch.par_iter())
                .flat_map_iter(|picture| preprocessing.normalise(picture))
                .collect();
            embeddings.extend(self.embed(&input, preprocessing.size)?);
        }
        Ok(embeddings)
    }
}

/// Patches of a feature map `[batch, dim, rows, columns]`; see [`Embedder::patches`].
fn patches(map: Option<Tensor>) -> Result<Vec<f32>, TrainError> {
    let Some(map) = map else {
        return Ok(Vec::new());
    };
    // [batch, dim, rows, columns] to [batch, patches, dim].
    let map = map.f_flatten(2, 3)?.f_transpose(1, 2)?;
    let all = map.size()[1];
    if all < 2 {
        return Ok(Vec::new());
    }
    let apart = map.f_sub(&map.f_mean_dim(&[1_i64][..], true, None)?)?;
    let taken = all.min(PATCHES);
    let places: Vec<i64> = (0..taken)
        .map(|patch| (2 * patch + 1) * all / (2 * taken))
        .collect();
    let places = Tensor::f_from_slice(&places)?.f_to_device(map.device())?;
    values(&apart.f_index_select(1, &places)?)
}

/// Embeddings `[pictures, dim]` of pictures with `tiles` tiles each, of the embeddings
/// `[pictures * tiles, dim]` of those: a picture's is the mean of its tiles'.
pub fn of_pictures(of_tiles: Vec<f32>, tiles: usize, dim: usize) -> Vec<f32> {
    if tiles == 1 {
        return of_tiles;
    }
    let mean = |picture: &[f32]| {
        let sum = |at: usize| picture.iter().skip(at).step_by(dim).sum::<f32>();
        (0..dim).map(|at| sum(at) / tiles as f32).collect::<Vec<_>>()
    };
    of_tiles.chunks(tiles * dim).flat_map(mean).collect()
}

/// The elements of a tensor, row-major, as float32.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>, TrainError> {
    let tensor = (tensor.f_to_device(tch::Device::Cpu)?)
        .f_to_kind(tch::Kind::Float)?
        .f_contiguous()?;
    let mut values = vec![0.0_f32; tensor.numel()];
    let length = values.len();
    tensor.f_copy_data(&mut values, length)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_the_mean_of_its_tiles() {
        let tiles = vec![1.0, 10.0, 3.0, 30.0, -1.0, 0.0, -3.0, 8.0];
        assert_eq!(of_pictures(tiles.clone(), 2, 2), [2.0, 20.0, -2.0, 4.0]);
        assert_eq!(of_pictures(tiles.clone(), 1, 2), tiles);
    }
}
