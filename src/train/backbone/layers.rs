//! Layers that take their tensors in canonical order.

use tch::Tensor;

use super::{DropConnect, tensor};
use crate::train::TrainError;
use crate::train::random::{Purpose, Stream};

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

    pub(super) fn convolution(
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
    pub(super) fn convolution_same(
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

    pub(super) fn batch_norm(&mut self, input: &Tensor, epsilon: f64) -> Result<Tensor, TrainError> {
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

/// Zeroes `x` `[batch, …]` for some images and widens it for the others, so that its mean stays.
pub(super) fn drop_connect(
    x: &Tensor,
    rate: f64,
    drop: DropConnect,
    block: usize,
) -> Result<Tensor, TrainError> {
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
    let mut shape = vec![1; x.dim()];
    shape[0] = batch;
    Ok(x.f_mul(&tensor(&factors, &shape, x.device())?)?)
}
