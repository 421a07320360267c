//! MobileNetV2 (arXiv 1801.04381) with torchvision's names.

use super::blocks::{Stage, inverted_residuals};
use super::table::Table;
use super::{Architecture, Colours, Plan};

/// The network of width 1.
pub(super) fn mobilenet_v2() -> Architecture {
    const STEM: usize = 32;
    const HEAD: usize = 1280;
    // (expansion, output, repeats, first stride): table 2 of the paper.
    const STAGES: [(usize, usize, usize, usize); 7] = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    let stage = |(expand, output, repeats, stride)| Stage {
        repeats,
        kernel: 3,
        stride,
        expand,
        output,
    };
    let stages = inverted_residuals(STEM, STAGES.into_iter().map(stage));
    let mut table = Table::default();
    table.convolution("features.0.0", STEM, 3, 3);
    table.batch_norm("features.0.1", STEM);
    let (mut index, mut last) = (1, STEM);
    for block in stages.iter().flatten() {
        let name = |part: &str| format!("features.{index}.conv.{part}");
        let wide = block.input * block.expand;
        // Without an expansion everything moves up by one.
        let mut part = 0;
        if block.expand != 1 {
            table.convolution(&name("0.0"), wide, block.input, 1);
            table.batch_norm(&name("0.1"), wide);
            part = 1;
        }
        table.depthwise(&name(&format!("{part}.0")), wide, block.kernel);
        table.batch_norm(&name(&format!("{part}.1")), wide);
        table.convolution(&name(&format!("{}", part + 1)), block.output, wide, 1);
        table.batch_norm(&name(&format!("{}", part + 2)), block.output);
        (index, last) = (index + 1, block.output);
    }
    table.convolution(&format!("features.{index}.0"), HEAD, last, 1);
    table.batch_norm(&format!("features.{index}.1"), HEAD);
    Architecture {
        name: "mobilenet_v2",
        tensors: table.tensors(),
        plan: Plan::MobileNetV2 { stages },
        embedding_dim: HEAD,
        nominal_size: 224,
        colours: Colours::ImageNet,
    }
}
