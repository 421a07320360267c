//! Names that others give to the tensors of an architecture.
//!
//! A file may wrap its names (a data-parallel training, the encoder of a
//! self-supervised one) and hold more than the body: classifiers, projection
//! heads, prototypes, the momentum encoder. Convolutional networks of timm
//! count blocks within their stage ([`timm`]); CLIP's own checkpoints and
//! DINOv2's have names of their own ([`transformer`]).

mod timm;
mod transformer;

use super::Architecture;
use super::architecture::{Family, Plan};

pub(super) use transformer::fold_class_position;

/// What stands before the names of the encoder: PyTorch's data-parallel
/// training; DINO; MoCo v1 and v2; MoCo v3.
const WRAPPERS: [&str; 4] = ["module.", "backbone.", "encoder_q.", "base_encoder."];

/// Beginnings of names that are no part of a body.
const OTHERS: [&str; 14] = [
    // Classifiers: torchvision, timm, efficientnet-lite-pytorch.
    "fc.",
    "_fc.",
    "head.",
    "classifier.",
    "pre_logits.",
    // SwAV.
    "projection_head.",
    "prototypes.",
    // DINO, DINOv2.
    "dino_head.",
    "ibot_head.",
    "mask_token",
    // MoCo: the second encoder, its queue, the predictor.
    "encoder_k.",
    "momentum_encoder.",
    "queue",
    "predictor.",
];

/// The canonical name of the tensor that a file calls `name`; `None` if it is
/// no part of a base: another part of the training, or a counter that no inference reads.
pub(super) fn canonical_name(architecture: &Architecture, name: &str) -> Option<String> {
    let mut name = name;
    while let Some(inner) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = inner;
    }
    if name.ends_with("num_batches_tracked") || OTHERS.iter().any(|other| name.starts_with(other)) {
        return None;
    }
    let translated = match &architecture.plan {
        Plan::EfficientNetLite { stages } => {
            timm::module(stages, name).map(|(module, part)| timm::efficientnet_lite(module, part))
        }
        Plan::MobileNetV2 { stages } => {
            timm::module(stages, name).map(|(module, part)| timm::mobilenet_v2(stages, module, part))
        }
        Plan::VisionTransformer(plan) => match plan.family {
            Family::Clip { .. } => return transformer::of_clip(name),
            Family::DinoV2 { .. } => transformer::of_dinov2(name),
            Family::Plain => None,
        },
        Plan::ResNet { .. } => None,
    };
    Some(translated.unwrap_or_else(|| name.to_owned()))
}

/// Whether a file's `name` says that the encoder is one of MoCo v3, whose small
/// transformer has twelve heads of attention, which no shape tells.
pub(super) fn is_of_moco_v3(name: &str) -> bool {
    name.contains("base_encoder.")
}

#[cfg(test)]
#[path = "../tests/naming.rs"]
mod tests;
