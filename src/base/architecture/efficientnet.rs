//! EfficientNet-Lite with the names of the Python package `efficientnet-lite-pytorch`.

use super::blocks::{Stage, inverted_residuals};
use super::table::Table;
use super::{Architecture, Colours, Plan};

/// `width` and `depth` are the published coefficients in tenths.
pub(super) fn efficientnet_lite(
    name: &'static str,
    width: usize,
    depth: usize,
    nominal_size: u32,
) -> Architecture {
    const STEM: usize = 32;
    const HEAD: usize = 1280;
    // (repeats, kernel, first stride, expansion, output), as published for EfficientNet-B0.
    const STAGES: [(usize, usize, usize, usize, usize); 7] = [
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ];
    let scaled = |(stage, (repeats, kernel, stride, expand, output))| {
        // Lite scales neither stem and head nor the number of blocks beside them.
        let is_outer = stage == 0 || stage + 1 == STAGES.len();
        Stage {
            repeats: if is_outer {
                repeats
            } else {
                (repeats * depth).div_ceil(10)
            },
            kernel,
            stride,
            expand,
            output: scaled_channels(output, width),
        }
    };
    let stages = inverted_residuals(STEM, STAGES.into_iter().enumerate().map(scaled));
    let mut table = Table::default();
    table.convolution("_conv_stem", STEM, 3, 3);
    table.batch_norm("_bn0", STEM);
    let mut last = STEM;
    for (index, block) in stages.iter().flatten().enumerate() {
        let name = |part: &str| format!("_blocks.{index}.{part}");
        let wide = block.input * block.expand;
        if block.expand != 1 {
            table.convolution(&name("_expand_conv"), wide, block.input, 1);
            table.batch_norm(&name("_bn0"), wide);
        }
        table.depthwise(&name("_depthwise_conv"), wide, block.kernel);
        table.batch_norm(&name("_bn1"), wide);
        table.convolution(&name("_project_conv"), block.output, wide, 1);
        table.batch_norm(&name("_bn2"), block.output);
        last = block.output;
    }
    table.convolution("_conv_head", HEAD, last, 1);
    table.batch_norm("_bn1", HEAD);
    Architecture {
        name,
        tensors: table.tensors(),
        plan: Plan::EfficientNetLite { stages },
        embedding_dim: HEAD,
        nominal_size,
        colours: Colours::TensorFlow,
    }
}

/// `channels` times `tenths` / 10, rounded to a multiple of 8 that is not below nine tenths of it.
fn scaled_channels(channels: usize, tenths: usize) -> usize {
    let scaled = channels * tenths;
    let rounded = ((scaled + 40) / 80 * 8).max(8);
    if rounded * 100 < scaled * 9 {
        rounded + 8
    } else {
        rounded
    }
}
