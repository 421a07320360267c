//! The networks, as functions of their weights: training gives other weights each step.

mod convolutional;
mod layers;
mod transformer;

use tch::{Kind, Tensor};

use convolutional::{Style, inverted_residual, resnet};
use layers::Layers;
use transformer::vision_transformer;

use super::TrainError;
use super::random::{Purpose, Stream};
use super::recipe::Precision;
use crate::base::architecture::Plan;
use crate::base::{Architecture, Weights};

/// Stochastic depth: leaves out the inner part of residual blocks, image by image.
#[derive(Debug, Clone, Copy)]
pub struct DropConnect {
    /// The rate at the last block.
    pub rate: f64,
    /// The training's seed.
    pub seed: u64,
    /// The step and the pass within it.
    pub place: [u64; 2],
}

impl DropConnect {
    /// The rate at `block` of `blocks`: grows linearly from 0 at the first.
    pub fn rate_at(&self, block: usize, blocks: usize) -> f64 {
        self.rate * block as f64 / blocks as f64
    }

    /// What each image of a batch is multiplied by at a `rate`: zero for some, and for
    /// the others so much that the mean stays. `draw` numbers the places in the network.
    pub fn factors(&self, rate: f64, draw: usize, batch: usize) -> Vec<f32> {
        let place = [self.place[0], self.place[1], draw as u64];
        let mut random = Stream::new(self.seed, Purpose::DropConnect, place);
        let kept = (1.0 / (1.0 - rate)) as f32;
        (0..batch)
            .map(|_| if random.next_unit() < rate { 0.0 } else { kept })
            .collect()
    }
}

/// How a network is run. The default is inference.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    /// Stochastic depth, if any.
    pub drop: Option<DropConnect>,
    /// BatchNorm uses the batch's statistics, and moves the running ones, which
    /// are among the network's tensors, in place.
    pub moving_norms: bool,
    /// What the network computes in; its tensors and what comes out are float32 always.
    pub precision: Precision,
}

/// All tensors of a network on `device`, in canonical order.
pub fn tensors(weights: &Weights, device: tch::Device) -> Result<Vec<Tensor>, TrainError> {
    let shapes = weights.architecture.tensors.iter().map(|spec| &spec.shape);
    weights
        .values
        .iter()
        .zip(shapes)
        .map(|(values, shape)| tensor(values, shape, device))
        .collect()
}

/// A tensor of `shape` on `device`.
pub fn tensor(values: &[f32], shape: &[usize], device: tch::Device) -> Result<Tensor, TrainError> {
    let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
    Ok(Tensor::f_from_slice(values)?
        .f_reshape(&shape)?
        .f_to_device(device)?)
}

/// Embeddings `[batch, dim]` of `input` `[batch, 3, height, width]`: the
/// globally averaged last feature map, or a transformer's class token after
/// its final LayerNorm.
pub fn embed(
    architecture: &Architecture,
    tensors: &[Tensor],
    input: &Tensor,
    mode: Mode,
) -> Result<Tensor, TrainError> {
    Ok(run(architecture, tensors, input, mode)?.0)
}

/// The embeddings and the last feature map `[batch, dim, rows, columns]`; none of a
/// transformer, whose embedding is no mean of patches.
pub fn run(
    architecture: &Architecture,
    tensors: &[Tensor],
    input: &Tensor,
    mode: Mode,
) -> Result<(Tensor, Option<Tensor>), TrainError> {
    for edge in &input.size()[2..] {
        architecture.check_size(*edge as u32)?;
    }
    let kind = match mode.precision {
        Precision::Float32 => input.kind(),
        Precision::Bfloat16 => Kind::BFloat16,
        Precision::Float16 => Kind::Half,
    };
    let rounded_input = input.f_to_kind(kind)?;
    // A convolution's kernel is folded in float32 and rounded then; a transformer's tensors are all rounded first.
    let rounded = match &architecture.plan {
        Plan::VisionTransformer(_) if mode.precision != Precision::Float32 => {
            let rounded = tensors.iter().map(|tensor| tensor.f_to_kind(kind));
            Some(rounded.collect::<Result<Vec<_>, _>>()?)
        }
        _ => None,
    };
    let mut layers = Layers {
        tensors: rounded.as_deref().unwrap_or(tensors).iter(),
        moving_norms: mode.moving_norms,
        nominal: architecture.nominal_size as usize,
    };
    let (layers, drop) = (&mut layers, mode.drop);
    // What libtorch's convolutions on a CPU would otherwise rearrange it to, one by one.
    let channels_last =
        || (rounded_input.f_permute([0_i64, 2, 3, 1])?.f_contiguous()?).f_permute([0_i64, 3, 1, 2]);
    let blocks = |stages: &[Vec<_>]| stages.iter().flatten().copied().collect::<Vec<_>>();
    let features = match &architecture.plan {
        Plan::EfficientNetLite { stages } => inverted_residual(
            layers,
            &blocks(stages),
            Style::TensorFlow,
            &channels_last()?,
            drop,
        )?,
        Plan::MobileNetV2 { stages } => inverted_residual(
            layers,
            &blocks(stages),
            Style::Torchvision,
            &channels_last()?,
            drop,
        )?,
        Plan::ResNet { bottleneck, depths } => resnet(layers, *bottleneck, depths, &channels_last()?)?,
        Plan::VisionTransformer(plan) => {
            let embedding = vision_transformer(layers, plan, &rounded_input, drop)?;
            return Ok((embedding.f_to_kind(input.kind())?, None));
        }
    };
    let features = features.f_to_kind(input.kind())?;
    let pooled = features.f_mean_dim(&[2_i64, 3][..], false, None)?;
    Ok((pooled, Some(features)))
}
