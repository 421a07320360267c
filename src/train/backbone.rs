//! The networks, as functions of their weights: training gives other weights each step.

use tch::Tensor;

use super::TrainError;
use super::random::{Purpose, Stream};
use crate::base::architecture::{InvertedResidual, Plan};
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

/// How a network is run. The default is inference.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    /// Stochastic depth, if any.
    pub drop: Option<DropConnect>,
    /// BatchNorm uses the batch's statistics, and moves the running ones, which
    /// are among the network's tensors, in place.
    pub moving_norms: bool,
}

/// How far a batch moves BatchNorm's running statistics; PyTorch's default.
const MOMENTUM: f64 = 0.1;

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
/// globally averaged last feature map.
pub fn embed(
    architecture: &Architecture,
    tensors: &[Tensor],
    input: &Tensor,
    mode: Mode,
) -> Result<Tensor, TrainError> {
    pooled(&features(architecture, tensors, input, mode)?)
}

/// The mean over all patches of a feature map `[batch, dim, rows, columns]`: `[batch, dim]`.
pub fn pooled(features: &Tensor) -> Result<Tensor, TrainError> {
    Ok(features.f_mean_dim(&[2_i64, 3][..], false, None)?)
}

/// The last feature map `[batch, dim, rows, columns]` of `input` `[batch, 3, height, width]`.
pub fn features(
    architecture: &Architecture,
    tensors: &[Tensor],
    input: &Tensor,
    mode: Mode,
) -> Result<Tensor, TrainError> {
    let mut layers = Layers {
        tensors: tensors.iter(),
        moving_norms: mode.moving_norms,
        nominal: architecture.nominal_size as usize,
    };
    match &architecture.plan {
        Plan::EfficientNetLite { stages } => {
            let blocks: Vec<_> = stages.iter().flatten().copied().collect();
            efficientnet_lite(&mut layers, &blocks, input, mode.drop)
        }
        Plan::ResNet { bottleneck, depths } => resnet(&mut layers, *bottleneck, depths, input),
    }
}

/// Walks through the tensors of a network in canonical order.
struct Layers<'a> {
    tensors: std::slice::Iter<'a, Tensor>,
    moving_norms: bool,
    /// Edge length that the feature map would have, were the input of the nominal size.
    nominal: usize,
}

impl<'a> Layers<'a> {
    fn next(&mut self) -> &'a Tensor {
        self.tensors
            .next()
            .expect("the architecture's table has a tensor for each layer of its plan")
    }

    fn convolution(
        &mut self,
        input: &Tensor,
        stride: i64,
        padding: i64,
        groups: i64,
    ) -> Result<Tensor, TrainError> {
        let kernel = self.next();
        Ok(input.f_conv2d(kernel, None::<&Tensor>, stride, padding, 1, groups)?)
    }

    /// TensorFlow's SAME padding as the reference implementation fixes it: that
    /// of the nominal size, whatever the size of the input.
    fn convolution_same(
        &mut self,
        input: &Tensor,
        kernel: usize,
        stride: usize,
        groups: i64,
    ) -> Result<Tensor, TrainError> {
        let output = self.nominal.div_ceil(stride);
        let total = ((output - 1) * stride + kernel).saturating_sub(self.nominal) as i64;
        self.nominal = output;
        let (before, after) = (total / 2, total - total / 2);
        if before == after {
            return self.convolution(input, stride as i64, before, groups);
        }
        let padded = input.f_constant_pad_nd([before, after, before, after])?;
        self.convolution(&padded, stride as i64, 0, groups)
    }

    fn batch_norm(&mut self, input: &Tensor, epsilon: f64) -> Result<Tensor, TrainError> {
        let [weight, bias, mean, variance] = [self.next(), self.next(), self.next(), self.next()];
        Ok(input.f_batch_norm(
            Some(weight),
            Some(bias),
            Some(mean),
            Some(variance),
            self.moving_norms,
            MOMENTUM,
            epsilon,
            false,
        )?)
    }
}

/// EfficientNet-Lite: ReLU6 throughout, no squeeze-and-excitation, BatchNorm's ε .001.
fn efficientnet_lite(
    layers: &mut Layers,
    blocks: &[InvertedResidual],
    input: &Tensor,
    drop: Option<DropConnect>,
) -> Result<Tensor, TrainError> {
    const EPSILON: f64 = 1e-3;
    let mut x = layers.convolution_same(input, 3, 2, 1)?;
    x = layers.batch_norm(&x, EPSILON)?.f_relu6()?;
    for (index, block) in blocks.iter().enumerate() {
        let before = x.shallow_clone();
        if block.expand != 1 {
            x = layers.convolution(&x, 1, 0, 1)?;
            x = layers.batch_norm(&x, EPSILON)?.f_relu6()?;
        }
        let wide = (block.input * block.expand) as i64;
        x = layers.convolution_same(&x, block.kernel, block.stride, wide)?;
        x = layers.batch_norm(&x, EPSILON)?.f_relu6()?;
        x = layers.convolution(&x, 1, 0, 1)?;
        x = layers.batch_norm(&x, EPSILON)?;
        if block.has_shortcut() {
            if let Some(drop) = drop {
                let rate = drop.rate * index as f64 / blocks.len() as f64;
                x = drop_connect(&x, rate, drop, index)?;
            }
            x = x.f_add(&before)?;
        }
    }
    x = layers.convolution(&x, 1, 0, 1)?;
    Ok(layers.batch_norm(&x, EPSILON)?.f_relu6()?)
}

/// Zeroes `x` `[batch, …]` for some images and widens it for the others, so that its mean stays.
fn drop_connect(x: &Tensor, rate: f64, drop: DropConnect, block: usize) -> Result<Tensor, TrainError> {
    if rate <= 0.0 {
        return Ok(x.shallow_clone());
    }
    let place = [drop.place[0], drop.place[1], block as u64];
    let mut random = Stream::new(drop.seed, Purpose::DropConnect, place);
    let batch = x.size()[0] as usize;
    let kept = (1.0 / (1.0 - rate)) as f32;
    let factors: Vec<f32> = (0..batch)
        .map(|_| if random.next_unit() < rate { 0.0 } else { kept })
        .collect();
    Ok(x.f_mul(&tensor(&factors, &[batch, 1, 1, 1], x.device())?)?)
}

/// ResNet as in torchvision: BatchNorm's ε 1e-5, stride on the 3×3 convolution.
fn resnet(
    layers: &mut Layers,
    bottleneck: bool,
    depths: &[usize; 4],
    input: &Tensor,
) -> Result<Tensor, TrainError> {
    const EPSILON: f64 = 1e-5;
    let mut x = layers.convolution(input, 2, 3, 1)?;
    x = layers
        .batch_norm(&x, EPSILON)?
        .f_relu()?
        .f_max_pool2d(3, 2, 1, 1, false)?;
    for (stage, depth) in depths.iter().enumerate() {
        for block in 0..*depth {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let before = x.shallow_clone();
            if bottleneck {
                x = layers.convolution(&x, 1, 0, 1)?;
                x = layers.batch_norm(&x, EPSILON)?.f_relu()?;
                x = layers.convolution(&x, stride, 1, 1)?;
                x = layers.batch_norm(&x, EPSILON)?.f_relu()?;
                x = layers.convolution(&x, 1, 0, 1)?;
            } else {
                x = layers.convolution(&x, stride, 1, 1)?;
                x = layers.batch_norm(&x, EPSILON)?.f_relu()?;
                x = layers.convolution(&x, 1, 1, 1)?;
            }
            x = layers.batch_norm(&x, EPSILON)?;
            let projected = block == 0 && (stage > 0 || bottleneck);
            let shortcut = if projected {
                let shortcut = layers.convolution(&before, stride, 0, 1)?;
                layers.batch_norm(&shortcut, EPSILON)?
            } else {
                before
            };
            x = x.f_add(&shortcut)?.f_relu()?;
        }
    }
    Ok(x)
}
