//! Which tensors an architecture has, in canonical order.
//!
//! The canonical order is that of the reference implementation's state
//! dictionary, without its classifier head and without BatchNorm's
//! `num_batches_tracked`, which no inference reads.

mod blocks;
mod efficientnet;
mod mobilenet;
mod resnet;
mod table;
mod transformer;

use std::sync::LazyLock;

pub use blocks::InvertedResidual;
pub use transformer::{Family, VisionTransformer};

use efficientnet::efficientnet_lite;
use mobilenet::mobilenet_v2;
use resnet::resnet;
use transformer::vision_transformer;

use crate::domain::{ErrorKind, Problem};

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
    /// The convolution that makes a token of each patch, `[out, 3, patch, patch]`.
    PatchEmbedding,
    /// LayerNorm's factor.
    LayerNormWeight,
    /// LayerNorm's summand.
    LayerNormBias,
    /// The factor of a branch of a residual block, one a channel.
    LayerScale,
    /// Tokens that are no patch: the class token, registers.
    Token,
    /// The embedding of positions.
    Position,
}

impl Role {
    /// Whether a recipe may mask it at all: kernels and matrices. Never norms,
    /// biases, tokens, positions and scales (arXiv 2409.07577, table 5: masking
    /// BatchNorm collapses the features).
    pub fn is_maskable(self) -> bool {
        matches!(
            self,
            Self::Convolution { .. } | Self::PatchEmbedding | Self::Linear
        )
    }
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
    /// What the reference implementation does to colours.
    pub colours: Colours,
}

/// The mean that is subtracted from colours on a scale from 0 to 1, and the deviation that they are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Those of ImageNet.
    ImageNet,
    /// 0.5 and 0.5, which makes them -1 to 1.
    Half,
    /// 127 / 255 and 128 / 255, as published for EfficientNet-Lite.
    TensorFlow,
    /// Those of CLIP's training set.
    Clip,
}

impl Colours {
    /// Mean and standard deviation of red, green and blue.
    pub fn statistics(self) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::ImageNet => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            Self::Half => ([0.5; 3], [0.5; 3]),
            Self::TensorFlow => ([0.498; 3], [0.502; 3]),
            Self::Clip => (
                [0.481_454_66, 0.457_827_5, 0.408_210_73],
                [0.268_629_54, 0.261_302_6, 0.275_777_1],
            ),
        }
    }
}

/// Input of that size cannot be cut into patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("input of {size} pixels is no whole number of patches: a size for {architecture} is a multiple of {patch}, such as {}", size.next_multiple_of(*patch))]
pub struct InputSizeError {
    /// The architecture.
    pub architecture: &'static str,
    /// The edge length of its patches in pixels.
    pub patch: u32,
    /// The edge length of the input in pixels.
    pub size: u32,
}

impl Problem for InputSizeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn code(&self) -> &'static str {
        "input_size"
    }
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
    /// MobileNetV2: as EfficientNet-Lite, but padded evenly.
    MobileNetV2 {
        /// The blocks of each stage, in order.
        stages: Vec<Vec<InvertedResidual>>,
    },
    /// A vision transformer.
    VisionTransformer(VisionTransformer),
}

impl Architecture {
    /// The canonical index of the tensor `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.tensors.iter().position(|tensor| tensor.name == name)
    }

    /// The edge length of its patches in pixels; 1 where there are none.
    pub fn patch(&self) -> u32 {
        match &self.plan {
            Plan::VisionTransformer(plan) => plan.patch as u32,
            _ => 1,
        }
    }

    /// Refuses input of `size` × `size` pixels that is no whole number of patches.
    pub fn check_size(&self, size: u32) -> Result<(), InputSizeError> {
        let patch = self.patch();
        if size.is_multiple_of(patch) {
            return Ok(());
        }
        Err(InputSizeError {
            architecture: self.name,
            patch,
            size,
        })
    }

    /// The number of elements of all tensors.
    pub fn parameters(&self) -> usize {
        self.tensors.iter().map(TensorSpec::len).sum()
    }
}

static ARCHITECTURES: LazyLock<Vec<Architecture>> = LazyLock::new(|| {
    use Colours::{Clip, Half, ImageNet};
    const SMALL: usize = 384;
    const BASE: usize = 768;
    let vit = vision_transformer;
    let clip = |quick_gelu| Family::Clip { quick_gelu };
    let dinov2 = |registers| Family::DinoV2 { registers };
    vec![
        efficientnet_lite("efficientnet_lite0", 10, 10, 224),
        efficientnet_lite("efficientnet_lite1", 10, 11, 240),
        efficientnet_lite("efficientnet_lite2", 11, 12, 260),
        resnet("resnet18", false, [2, 2, 2, 2]),
        resnet("resnet34", false, [3, 4, 6, 3]),
        resnet("resnet50", true, [3, 4, 6, 3]),
        mobilenet_v2(),
        vit("vit_small_patch16_224", SMALL, 16, 224, Family::Plain, Half),
        vit("vit_base_patch16_224", BASE, 16, 224, Family::Plain, Half),
        vit("vit_base_patch32_224", BASE, 32, 224, Family::Plain, Half),
        vit(
            "vit_small_patch16_224_dino",
            SMALL,
            16,
            224,
            Family::Plain,
            ImageNet,
        ),
        vit("vit_small_patch14_dinov2", SMALL, 14, 518, dinov2(0), ImageNet),
        vit(
            "vit_small_patch14_reg4_dinov2",
            SMALL,
            14,
            518,
            dinov2(4),
            ImageNet,
        ),
        vit("vit_base_patch16_clip_224", BASE, 16, 224, clip(false), Clip),
        vit("vit_base_patch32_clip_224", BASE, 32, 224, clip(false), Clip),
        vit(
            "vit_base_patch16_clip_quickgelu_224",
            BASE,
            16,
            224,
            clip(true),
            Clip,
        ),
        vit(
            "vit_base_patch32_clip_quickgelu_224",
            BASE,
            32,
            224,
            clip(true),
            Clip,
        ),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights without BatchNorm's statistics, as published: torchvision's
    /// documentation, and TensorFlow's of EfficientNet-Lite, less the
    /// classifier (512, 1,280 or 2,048 × 1,000 + 1,000); transformers as timm counts them without one.
    #[test]
    fn architectures_have_the_published_number_of_weights() {
        for (name, published) in [
            ("efficientnet_lite0", 4_652_008 - 1_281_000),
            ("efficientnet_lite1", 5_416_680 - 1_281_000),
            ("efficientnet_lite2", 6_092_072 - 1_281_000),
            ("resnet18", 11_689_512 - 513_000),
            ("resnet34", 21_797_672 - 513_000),
            ("resnet50", 25_557_032 - 2_049_000),
            ("mobilenet_v2", 3_504_872 - 1_281_000),
            ("vit_small_patch16_224", 21_665_664),
            ("vit_small_patch16_224_dino", 21_665_664),
            ("vit_base_patch16_224", 85_798_656),
            ("vit_base_patch32_224", 87_455_232),
            ("vit_small_patch14_dinov2", 22_056_192),
            ("vit_small_patch14_reg4_dinov2", 22_057_344),
            ("vit_base_patch16_clip_224", 85_799_424),
            ("vit_base_patch32_clip_quickgelu_224", 87_456_000),
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
