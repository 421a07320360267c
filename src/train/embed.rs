//! Embeddings of pictures by a base or by a masked model.

use tch::Tensor;

use super::TrainError;
use super::backbone::{self, tensor};
use crate::base::{Architecture, Weights};

/// Images that pass through the network at once.
const BATCH: usize = 64;

/// A network that is ready to embed.
pub struct Embedder {
    architecture: &'static Architecture,
    tensors: Vec<Tensor>,
    device: tch::Device,
}

impl Embedder {
    /// Puts the weights onto the device.
    pub fn new(weights: &Weights, device: tch::Device) -> Result<Self, TrainError> {
        Ok(Self {
            architecture: weights.architecture,
            tensors: backbone::tensors(weights, device)?,
            device,
        })
    }

    /// Embeddings `[images, dim]`, row by row, of normalised inputs `[3, size, size]`.
    pub fn embed(&self, inputs: &[Vec<f32>], size: u32) -> Result<Vec<f32>, TrainError> {
        let mut embeddings = Vec::with_capacity(inputs.len() * self.architecture.embedding_dim);
        for batch in inputs.chunks(BATCH) {
            let shape = [batch.len(), 3, size as usize, size as usize];
            let input = tensor(&batch.concat(), &shape, self.device)?;
            let embedded = tch::no_grad(|| backbone::embed(self.architecture, &self.tensors, &input, None))?;
            embeddings.extend(values(&embedded)?);
        }
        Ok(embeddings)
    }
}

/// The elements of a tensor, row-major.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>, TrainError> {
    let tensor = tensor.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
    let mut values = vec![0.0_f32; tensor.numel()];
    let length = values.len();
    tensor.f_copy_data(&mut values, length)?;
    Ok(values)
}
