//! Which tensors an architecture has, in canonical order.
//!
//! The canonical order is that of the reference implementation's state
//! dictionary, without its classifier head and without BatchNorm's
//! `num_batches_tracked`, which no inference reads.

use std::sync::LazyLock;

/// What a tensor does in the network; decides whether a recipe may mask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A convolution's kernel, `[out, in / groups, height, width]`.
    Convolution {
        /// Groups of the convolution; above 1 it is depthwise or grouped.
        groups: u32,
    },
    /// A linear layer's matrix, `[out, in]`.
    Linear,
    /// A bias.
    Bias,
    /// BatchNorm's factor.
    NormWeight,
    /// BatchNorm's summand.
    NormBias,
    /// BatchNorm's running mean.
    NormMean,
    /// BatchNorm's running variance.
    NormVariance,
}

/// One tensor of an architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The canonical name: that of the reference implementation.
    pub name: String,
    /// The shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// What it does.
    pub role: Role,
}

impl TensorSpec {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many rows it has as a matrix: one per output of a kernel or matrix, one for a vector.
    pub fn rows(&self) -> usize {
        if self.shape.len() > 1 { self.shape[0] } else { 1 }
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An architecture: its name, its tensors in canonical order, its embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// The name on the command line and in manifests, such as `efficientnet_lite0`.
    pub name: &'static str,
    /// All tensors of the body in canonical order. A classifier head is no part of a base.
    pub tensors: Vec<TensorSpec>,
    /// How the tensors are put together to a network.
    pub plan: Plan,
    /// The length of an embedding.
    pub embedding_dim: usize,
    /// The edge length, in pixels, that the reference implementation was trained with.
    pub nominal_size: u32,
    /// Names of the classifier head's tensors begin so; files may have them, a base does not.
    pub head_prefix: &'static str,
}

/// How an architecture's tensors are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// A stem, inverted-residual blocks, a head convolution (EfficientNet-Lite).
    EfficientNetLite {
        /// The blocks of each stage, in order.
        stages: Vec<Vec<InvertedResidual>>,
    },
    /// A ResNet as in torchvision (stride on the 3×3 convolution of a bottleneck).
    ResNet {
        /// Three convolutions a block instead of two.
        bottleneck: bool,
        /// Blocks in each of the four stages.
        depths: [usize; 4],
    },
}

/// One inverted-residual block: expand, depthwise convolution, project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvertedResidual {
    /// Edge length of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
    /// Factor by which the expansion widens; 1 means that there is none.
    pub expand: usize,
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub output: usize,
}

impl InvertedResidual {
    /// Whether input and output are added: same shape on both sides.
    pub fn has_shortcut(&self) -> bool {
        self.stride == 1 && self.input == self.output
    }
}

impl Architecture {
    /// The canonical index of the tensor `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.tensors.iter().position(|tensor| tensor.name == name)
    }

    /// The number of elements of all tensors.
    pub fn parameters(&self) -> usize {
        self.tensors.iter().map(TensorSpec::len).sum()
    }
}

static ARCHITECTURES: LazyLock<Vec<Architecture>> = LazyLock::new(|| {
    vec![
        efficientnet_lite("efficientnet_lite0", 10, 10, 224),
        efficientnet_lite("efficientnet_lite1", 10, 11, 240),
        efficientnet_lite("efficientnet_lite2", 11, 12, 260),
        resnet("resnet18", false, [2, 2, 2, 2]),
        resnet("resnet34", false, [3, 4, 6, 3]),
        resnet("resnet50", true, [3, 4, 6, 3]),
    ]
});

/// The architecture called `name`, if it is known.
pub fn architecture(name: &str) -> Option<&'static Architecture> {
    ARCHITECTURES
        .iter()
        .find(|architecture| architecture.name == name)
}

/// The names of all known architectures.
pub fn names() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|architecture| architecture.name)
}

/// Collects the tensors of an architecture in canonical order.
#[derive(Default)]
struct Table(Vec<TensorSpec>);

impl Table {
    fn push(&mut self, name: String, shape: Vec<usize>, role: Role) {
        self.0.push(TensorSpec { name, shape, role });
    }

    fn convolution(&mut self, name: &str, output: usize, input: usize, kernel: usize) {
        let shape = vec![output, input, kernel, kernel];
        self.push(format!("{name}.weight"), shape, Role::Convolution { groups: 1 });
    }

    fn depthwise(&mut self, name: &str, channels: usize, kernel: usize) {
        let shape = vec![channels, 1, kernel, kernel];
        self.push(
            format!("{name}.weight"),
            shape,
            Role::Convolution {
                groups: channels as u32,
            },
        );
    }

    fn batch_norm(&mut self, name: &str, channels: usize) {
        for (part, role) in [
            ("weight", Role::NormWeight),
            ("bias", Role::NormBias),
            ("running_mean", Role::NormMean),
            ("running_var", Role::NormVariance),
        ] {
            self.push(format!("{name}.{part}"), vec![channels], role);
        }
    }
}

/// An EfficientNet-Lite with the names of the Python package `efficientnet-lite-pytorch`.
/// `width` and `depth` are the published coefficients in tenths.
fn efficientnet_lite(name: &'static str, width: usize, depth: usize, nominal_size: u32) -> Architecture {
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
    let mut stages = Vec::new();
    let mut input = STEM;
    for (stage, (repeats, kernel, stride, expand, output)) in STAGES.into_iter().enumerate() {
        // Lite scales neither stem and head nor the number of blocks beside them.
        let is_outer = stage == 0 || stage + 1 == STAGES.len();
        let repeats = if is_outer {
            repeats
        } else {
            (repeats * depth).div_ceil(10)
        };
        let output = scaled_channels(output, width);
        let block = |repeat: usize| InvertedResidual {
            kernel,
            stride: if repeat == 0 { stride } else { 1 },
            expand,
            input: if repeat == 0 { input } else { output },
            output,
        };
        stages.push((0..repeats).map(block).collect::<Vec<_>>());
        input = output;
    }
    let mut table = Table::default();
    table.convolution("_conv_stem", STEM, 3, 3);
    table.batch_norm("_bn0", STEM);
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
    }
    table.convolution("_conv_head", HEAD, input, 1);
    table.batch_norm("_bn1", HEAD);
    Architecture {
        name,
        tensors: table.0,
        plan: Plan::EfficientNetLite { stages },
        embedding_dim: HEAD,
        nominal_size,
        head_prefix: "_fc.",
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

/// A ResNet with torchvision's names.
fn resnet(name: &'static str, bottleneck: bool, depths: [usize; 4]) -> Architecture {
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
        tensors: table.0,
        plan: Plan::ResNet { bottleneck, depths },
        embedding_dim: 512 * expansion,
        nominal_size: 224,
        head_prefix: "fc.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights without BatchNorm's statistics, as published: torchvision's
    /// documentation, and TensorFlow's of EfficientNet-Lite, less the
    /// classifier (512, 1,280 or 2,048 × 1,000 + 1,000).
    #[test]
    fn architectures_have_the_published_number_of_weights() {
        for (name, published) in [
            ("efficientnet_lite0", 4_652_008 - 1_281_000),
            ("efficientnet_lite1", 5_416_680 - 1_281_000),
            ("efficientnet_lite2", 6_092_072 - 1_281_000),
            ("resnet18", 11_689_512 - 513_000),
            ("resnet34", 21_797_672 - 513_000),
            ("resnet50", 25_557_032 - 2_049_000),
        ] {
            let architecture = architecture(name).unwrap();
            let learned = architecture
                .tensors
                .iter()
                .filter(|tensor| !matches!(tensor.role, Role::NormMean | Role::NormVariance))
                .map(TensorSpec::len)
                .sum::<usize>();
            assert_eq!(learned, published, "{name}");
        }
    }

    #[test]
    fn names_are_unique() {
        for name in names() {
            let tensors = &architecture(name).unwrap().tensors;
            let unique: std::collections::HashSet<_> = tensors.iter().map(|tensor| &tensor.name).collect();
            assert_eq!(unique.len(), tensors.len(), "{name}");
        }
    }
}
