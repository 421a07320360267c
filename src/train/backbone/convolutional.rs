//! EfficientNet-Lite, MobileNetV2 and ResNet: `[batch, 3, height, width]` to
//! the last feature map `[batch, channels, height, width]`.

use tch::Tensor;

use super::DropConnect;
use super::layers::{Convolution, Layers, drop_connect};
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
    let spatial = |layers: &mut Layers, x: &Tensor, kernel: usize, stride: usize| match style {
        Style::TensorFlow => layers.convolution_same(x, kernel, stride, epsilon),
        Style::Torchvision => {
            let shape = Convolution {
                stride: stride as i64,
                padding: kernel as i64 / 2,
            };
            layers.convolution(x, shape, epsilon)
        }
    };
    let mut x = spatial(layers, input, 3, 2)?.f_relu6()?;
    for (index, block) in blocks.iter().enumerate() {
        let before = x.shallow_clone();
        if block.expand != 1 {
            x = layers
                .convolution(&x, Convolution::POINTWISE, epsilon)?
                .f_relu6()?;
        }
        x = spatial(layers, &x, block.kernel, block.stride)?.f_relu6()?;
        x = layers.convolution(&x, Convolution::POINTWISE, epsilon)?;
        if block.has_shortcut() {
            if let Some(drop) = drop {
                x = drop_connect(&x, drop, (index, blocks.len()), index)?;
            }
            x = x.f_add(&before)?;
        }
    }
    Ok(layers
        .convolution(&x, Convolution::POINTWISE, epsilon)?
        .f_relu6()?)
}

/// ResNet as in torchvision: BatchNorm's ε 1e-5, stride on the 3×3 convolution.
pub(super) fn resnet(
    layers: &mut Layers,
    bottleneck: bool,
    depths: &[usize; 4],
    input: &Tensor,
) -> Result<Tensor, TrainError> {
    const EPSILON: f64 = 1e-5;
    let stem = Convolution {
        stride: 2,
        padding: 3,
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
