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

impl DropConnect {
    /// What `block` of `blocks` multiplies each image of a batch by: zero for
    /// some, and for the others so much that the mean stays. The rate grows
    /// linearly from 0 at the first block.
    pub fn factors(&self, block: usize, blocks: usize, batch: usize) -> Vec<f32> {
        let rate = self.rate * block as f64 / blocks as f64;
        let mut random = Stream::new(
            self.seed,
            Purpose::DropConnect,
            [self.place[0], self.place[1], block as u64],
        );
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
    // Channels last: what libtorch's convolutions on a CPU would otherwise rearrange it to, one by one.
    let input = input
        .f_permute([0_i64, 2, 3, 1])?
        .f_contiguous()?
        .f_permute([0_i64, 3, 1, 2])?;
    let input = &input;
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

    /// A convolution and the BatchNorm behind it. BatchNorm that does not move is
    /// a factor and a summand of each output: it is folded into the kernel, which
    /// saves a pass over the feature map forwards and one backwards.
    fn convolution(
        &mut self,
        input: &Tensor,
        shape: Convolution,
        epsilon: f64,
    ) -> Result<Tensor, TrainError> {
        let Convolution {
            stride,
            padding,
            groups,
        } = shape;
        let kernel = self.next();
        let [weight, bias, mean, variance] = [self.next(), self.next(), self.next(), self.next()];
        if self.moving_norms {
            let output = input.f_conv2d(kernel, None::<&Tensor>, stride, padding, 1, groups)?;
            return Ok(output.f_batch_norm(
                Some(weight),
                Some(bias),
                Some(mean),
                Some(variance),
                true,
                MOMENTUM,
                epsilon,
                false,
            )?);
        }
        let factor = weight.f_div(&variance.f_add_scalar(epsilon)?.f_sqrt()?)?;
        let summand = bias.f_sub(&mean.f_mul(&factor)?)?;
        let kernel = kernel.f_mul(&factor.f_view([-1_i64, 1, 1, 1])?)?;
        Ok(input.f_conv2d(&kernel, Some(&summand), stride, padding, 1, groups)?)
    }

    /// The same with TensorFlow's SAME padding as the reference implementation
    /// fixes it: that of the nominal size, whatever the size of the input.
    fn convolution_same(
        &mut self,
        input: &Tensor,
        kernel: usize,
        stride: usize,
        groups: i64,
        epsilon: f64,
    ) -> Result<Tensor, TrainError> {
        let output = self.nominal.div_ceil(stride);
        let total = ((output - 1) * stride + kernel).saturating_sub(self.nominal) as i64;
        self.nominal = output;
        let (before, after) = (total / 2, total - total / 2);
        let shape = |padding| Convolution {
            stride: stride as i64,
            padding,
            groups,
        };
        if before == after {
            return self.convolution(input, shape(before), epsilon);
        }
        let padded = input.f_constant_pad_nd([before, after, before, after])?;
        self.convolution(&padded, shape(0), epsilon)
    }
}

/// What a convolution does beside its kernel.
#[derive(Debug, Clone, Copy)]
struct Convolution {
    stride: i64,
    padding: i64,
    groups: i64,
}

impl Convolution {
    /// Of single pixels.
    const POINTWISE: Self = Self {
        stride: 1,
        padding: 0,
        groups: 1,
    };

    /// Of 3×3 pixels, padded so that a stride of 1 keeps the size.
    const fn of_three(stride: i64) -> Self {
        Self {
            stride,
            padding: 1,
            groups: 1,
        }
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
    let mut x = layers.convolution_same(input, 3, 2, 1, EPSILON)?.f_relu6()?;
    for (index, block) in blocks.iter().enumerate() {
        let before = x.shallow_clone();
        if block.expand != 1 {
            x = layers
                .convolution(&x, Convolution::POINTWISE, EPSILON)?
                .f_relu6()?;
        }
        let wide = (block.input * block.expand) as i64;
        x = layers
            .convolution_same(&x, block.kernel, block.stride, wide, EPSILON)?
            .f_relu6()?;
        x = layers.convolution(&x, Convolution::POINTWISE, EPSILON)?;
        if block.has_shortcut() {
            if let Some(drop) = drop.filter(|drop| drop.rate > 0.0 && index > 0) {
                let batch = x.size()[0] as usize;
                let factors = drop.factors(index, blocks.len(), batch);
                x = x.f_mul(&tensor(&factors, &[batch, 1, 1, 1], x.device())?)?;
            }
            x = x.f_add(&before)?;
        }
    }
    Ok(layers
        .convolution(&x, Convolution::POINTWISE, EPSILON)?
        .f_relu6()?)
}

/// ResNet as in torchvision: BatchNorm's ε 1e-5, stride on the 3×3 convolution.
fn resnet(
    layers: &mut Layers,
    bottleneck: bool,
    depths: &[usize; 4],
    input: &Tensor,
) -> Result<Tensor, TrainError> {
    const EPSILON: f64 = 1e-5;
    let stem = Convolution {
        stride: 2,
        padding: 3,
        groups: 1,
    };
    let mut x = layers
        .convolution(input, stem, EPSILON)?
        .f_relu()?
        .f_max_pool2d(3, 2, 1, 1, false)?;
    for (stage, depth) in depths.iter().enumerate() {
        for block in 0..*depth {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let before = x.shallow_clone();
            let [first, second] = if bottleneck {
                [Convolution::POINTWISE, Convolution::of_three(stride)]
            } else {
                [Convolution::of_three(stride), Convolution::of_three(1)]
            };
            x = layers.convolution(&x, first, EPSILON)?.f_relu()?;
            x = layers.convolution(&x, second, EPSILON)?;
            if bottleneck {
                x = layers.convolution(&x.f_relu()?, Convolution::POINTWISE, EPSILON)?;
            }
            let projected = block == 0 && (stage > 0 || bottleneck);
            let shortcut = if projected {
                let shape = Convolution {
                    stride,
                    ..Convolution::POINTWISE
                };
                layers.convolution(&before, shape, EPSILON)?
            } else {
                before
            };
            x = x.f_add(&shortcut)?.f_relu()?;
        }
    }
    Ok(x)
}
