//! ResNets with torchvision's names.

use super::table::Table;
use super::{Architecture, Colours, Plan};

/// A ResNet with torchvision's names.
pub(super) fn resnet(name: &'static str, bottleneck: bool, depths: [usize; 4]) -> Architecture {
    let expansion = if bottleneck { 4 } else { 1 };
    let mut table = Table::default();
    table.convolution("conv1", 64, 3, 7);
    table.batch_norm("bn1", 64);
    let mut input = 64;
    for (stage, depth) in depths.into_iter().enumerate() {
        let width = 64 << stage;
        let output = width * expansion;
        for block in 0..depth {
            let name = |part: &str| format!("layer{}.{block}.{part}", stage + 1);
            if bottleneck {
                table.convolution(&name("conv1"), width, input, 1);
                table.batch_norm(&name("bn1"), width);
                table.convolution(&name("conv2"), width, width, 3);
                table.batch_norm(&name("bn2"), width);
                table.convolution(&name("conv3"), output, width, 1);
                table.batch_norm(&name("bn3"), output);
            } else {
                table.convolution(&name("conv1"), width, input, 3);
                table.batch_norm(&name("bn1"), width);
                table.convolution(&name("conv2"), width, width, 3);
                table.batch_norm(&name("bn2"), width);
            }
            if block == 0 && (stage > 0 || input != output) {
                table.convolution(&name("downsample.0"), output, input, 1);
                table.batch_norm(&name("downsample.1"), output);
            }
            input = output;
        }
    }
    Architecture {
        name,
        tensors: table.tensors(),
        plan: Plan::ResNet { bottleneck, depths },
        embedding_dim: 512 * expansion,
        nominal_size: 224,
        colours: Colours::ImageNet,
    }
}
