//! Layers that take their tensors in canonical order.

use tch::Tensor;

use super::{DropConnect, tensor};
use crate::train::TrainError;

/// How far a batch moves BatchNorm's running statistics; PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// Walks through the tensors of a network in canonical order.
pub(super) struct Layers<'a> {
    pub(super) tensors: std::slice::Iter<'a, Tensor>,
    pub(super) moving_norms: bool,
    /// Edge length that the feature map would have, were the input of the nominal size.
    pub(super) nominal: usize,
}

impl<'a> Layers<'a> {
    pub(super) fn next(&mut self) -> &'a Tensor {
        self.tensors
            .next()
            .expect("the architecture's table has a tensor for each layer of its plan")
    }

    /// A convolution and the BatchNorm behind it; its widths and groups are those of its
    /// kernel `[out, in / groups, height, width]`. BatchNorm that does not move is a factor
    /// and a summand of each output: it is folded into the kernel, which saves a pass over
    /// the feature map forwards and one backwards.
    pub(super) fn convolution(
        &mut self,
        input: &Tensor,
        shape: Convolution,
        epsilon: f64,
    ) -> Result<Tensor, TrainError> {
        let Convolution { stride, padding } = shape;
        let kernel = self.next();
        let groups = input.size()[1] / kernel.size()[1];
        let [weight, bias, mean, variance] = [self.next(), self.next(), self.next(), self.next()];
        if self.moving_norms {
            let kernel = kernel.f_to_kind(input.kind())?;
            let output = input.f_conv2d(&kernel, None::<&Tensor>, stride, padding, 1, groups)?;
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
        let [kernel, summand] = [kernel.f_to_kind(input.kind())?, summand.f_to_kind(input.kind())?];
        Ok(input.f_conv2d(&kernel, Some(&summand), stride, padding, 1, groups)?)
    }

    /// The same with TensorFlow's SAME padding as the reference implementation
    /// fixes it: that of the nominal size, whatever the size of the input.
    pub(super) fn convolution_same(
        &mut self,
        input: &Tensor,
        kernel: usize,
        stride: usize,
        epsilon: f64,
    ) -> Result<Tensor, TrainError> {
        let output = self.nominal.div_ceil(stride);
        let total = ((output - 1) * stride + kernel).saturating_sub(self.nominal) as i64;
        self.nominal = output;
        let (before, after) = (total / 2, total - total / 2);
        let shape = |padding| Convolution {
            stride: stride as i64,
            padding,
        };
        if before == after {
            return self.convolution(input, shape(before), epsilon);
        }
        let padded = input.f_constant_pad_nd([before, after, before, after])?;
        self.convolution(&padded, shape(0), epsilon)
    }

    /// LayerNorm over the last dimension.
    pub(super) fn layer_norm(&mut self, input: &Tensor, epsilon: f64) -> Result<Tensor, TrainError> {
        let [weight, bias] = [self.next(), self.next()];
        let width = weight.size();
        Ok(input.f_layer_norm(width, Some(weight), Some(bias), epsilon, false)?)
    }

    /// A linear layer over the last dimension.
    pub(super) fn linear(&mut self, input: &Tensor) -> Result<Tensor, TrainError> {
        let [weight, bias] = [self.next(), self.next()];
        Ok(input.f_linear(weight, Some(bias))?)
    }
}

/// What a convolution does beside its kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution {
    pub(super) stride: i64,
    pub(super) padding: i64,
}

impl Convolution {
    /// Of single pixels.
    pub(super) const POINTWISE: Self = Self {
        stride: 1,
        padding: 0,
    };

    /// Of 3×3 pixels, padded so that a stride of 1 keeps the size.
    pub(super) const fn of_three(stride: i64) -> Self {
        Self { stride, padding: 1 }
    }
}

/// Zeroes `x` `[batch, …]` for some images and widens it for the others, so that its mean stays.
/// `block` is one of `blocks` in the walk, `draw` the number of what is drawn for it.
pub(super) fn drop_connect(
    x: &Tensor,
    drop: DropConnect,
    (block, blocks): (usize, usize),
    draw: usize,
) -> Result<Tensor, TrainError> {
    let rate = drop.rate_at(block, blocks);
    if rate <= 0.0 {
        return Ok(x.shallow_clone());
    }
    let batch = x.size()[0] as usize;
    let mut shape = vec![1; x.dim()];
    shape[0] = batch;
    let factors = tensor(&drop.factors(rate, draw, batch), &shape, x.device())?;
    Ok(x.f_mul(&factors.f_to_kind(x.kind())?)?)
}
