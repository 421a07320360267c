//! EfficientNet-Lite, MobileNetV2 and ResNet: `[batch, 3, height, width]` to
//! the last feature map `[batch, channels, height, width]`.

use tch::Tensor;

use super::DropConnect;
use super::layers::{Layers, drop_connect};
use crate::base::architecture::InvertedResidual;
use crate::train::TrainError;

/// How an inverted-residual network pads, and BatchNorm's ε.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As TensorFlow does (`SAME`, uneven where it must be); .001. EfficientNet-Lite.
    TensorFlow,
    /// As torchvision does; 1e-5. MobileNetV2.
    Torchvision,
}

/// Stem, inverted-residual blocks and a head convolution, ReLU6 throughout, no squeeze-and-excitation.
pub(super) fn inverted_residual(
    layers: &mut Layers,
    blocks: &[InvertedResidual],
    style: Style,
    input: &Tensor,
    drop: Option<DropConnect>,
) -> Result<Tensor, TrainError> {
    let epsilon = match style {
        Style::TensorFlow => 1e-3,
        Style::Torchvision => 1e-5,
    };
    let spatial = |layers: &mut Layers, x: &Tensor, kernel: usize, stride: usize, groups: usize| match style {
        Style::TensorFlow => layers.convolution_same(x, kernel, stride, groups as i64),
        Style::Torchvision => layers.convolution(x, stride as i64, kernel as i64 / 2, groups as i64),
    };
    let mut x = spatial(layers, input, 3, 2, 1)?;
    x = layers.batch_norm(&x, epsilon)?.f_relu6()?;
    for (index, block) in blocks.iter().enumerate() {
        let before = x.shallow_clone();
        if block.expand != 1 {
            x = layers.convolution(&x, 1, 0, 1)?;
            x = layers.batch_norm(&x, epsilon)?.f_relu6()?;
        }
        x = spatial(layers, &x, block.kernel, block.stride, block.input * block.expand)?;
        x = layers.batch_norm(&x, epsilon)?.f_relu6()?;
        x = layers.convolution(&x, 1, 0, 1)?;
        x = layers.batch_norm(&x, epsilon)?;
        if block.has_shortcut() {
            if let Some(drop) = drop {
                let rate = drop.rate * index as f64 / blocks.len() as f64;
                x = drop_connect(&x, rate, drop, index)?;
            }
            x = x.f_add(&before)?;
        }
    }
    x = layers.convolution(&x, 1, 0, 1)?;
    Ok(layers.batch_norm(&x, epsilon)?.f_relu6()?)
}

/// ResNet as in torchvision: BatchNorm's ε 1e-5, stride on the 3×3 convolution.
pub(super) fn resnet(
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
