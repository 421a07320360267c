//! Names of published checkpoints reach every tensor of a body once, and nothing else.

use std::collections::HashSet;

use super::*;
use crate::base::{TensorSpec, architecture};

fn ours(architecture: &Architecture) -> HashSet<String> {
    architecture
        .tensors
        .iter()
        .map(|spec| spec.name.clone())
        .collect()
}

/// The canonical names of all tensors that timm has, given its blocks of each stage.
fn from_timm(network: &Architecture, stages: &[usize]) -> HashSet<String> {
    let mut modules = vec!["conv_stem", "bn1", "conv_head", "bn2"]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    for (stage, blocks) in stages.iter().enumerate() {
        let parts: &[&str] = match stage {
            0 => &["conv_dw", "bn1", "conv_pw", "bn2"],
            _ => &["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"],
        };
        for block in 0..*blocks {
            modules.extend(parts.iter().map(|part| format!("blocks.{stage}.{block}.{part}")));
        }
    }
    let mut found = HashSet::new();
    for module in modules {
        let parts: &[&str] = if module.contains("conv") {
            &["weight"]
        } else {
            &["weight", "bias", "running_mean", "running_var"]
        };
        for part in parts {
            found.insert(canonical_name(network, &format!("{module}.{part}")).unwrap());
        }
    }
    found
}

#[test]
fn timms_names_reach_every_tensor_once() {
    for (name, stages) in [
        ("efficientnet_lite0", [1, 2, 2, 3, 3, 4, 1]),
        ("efficientnet_lite1", [1, 3, 3, 4, 4, 5, 1]),
        ("efficientnet_lite2", [1, 3, 3, 4, 4, 5, 1]),
        ("mobilenet_v2", [1, 2, 3, 4, 3, 3, 1]),
    ] {
        let network = architecture(name).unwrap();
        assert_eq!(from_timm(network, &stages), ours(network), "{name}");
    }
}

/// CLIP's own name of a tensor of its image tower.
fn of_openai(spec: &TensorSpec) -> String {
    let name = match spec.name.as_str() {
        "cls_token" => "class_embedding".to_owned(),
        "pos_embed" => "positional_embedding".to_owned(),
        other => other
            .replace("patch_embed.proj", "conv1")
            .replace("norm_pre", "ln_pre")
            .replace("blocks.", "transformer.resblocks.")
            .replace("norm1", "ln_1")
            .replace("norm2", "ln_2")
            .replace("attn.qkv.", "attn.in_proj_")
            .replace("attn.proj", "attn.out_proj")
            .replace("mlp.fc1", "mlp.c_fc")
            .replace("mlp.fc2", "mlp.c_proj"),
    };
    match name.strip_prefix("norm.") {
        Some(part) => format!("visual.ln_post.{part}"),
        None => format!("visual.{name}"),
    }
}

#[test]
fn clips_own_names_reach_every_tensor_of_the_image_tower_and_none_of_the_text_tower() {
    let clip = architecture("vit_base_patch32_clip_quickgelu_224").unwrap();
    for spec in &clip.tensors {
        let found = canonical_name(clip, &of_openai(spec));
        assert_eq!(found.as_deref(), Some(spec.name.as_str()), "{}", of_openai(spec));
        assert_eq!(
            canonical_name(clip, &spec.name),
            Some(spec.name.clone()),
            "timm's"
        );
    }
    for other in [
        "visual.proj",
        "positional_embedding",
        "text_projection",
        "logit_scale",
        "token_embedding.weight",
        "transformer.resblocks.0.ln_1.weight",
        "ln_final.bias",
        "head.weight",
    ] {
        assert_eq!(canonical_name(clip, other), None, "{other}");
    }
}

#[test]
fn what_is_wrapped_is_found_and_what_is_no_part_of_a_base_is_left_out() {
    let names = |architecture: &str, kept: &[(&str, &str)], dropped: &[&str]| {
        let architecture = super::super::architecture(architecture).unwrap();
        for (theirs, ours) in kept {
            assert_eq!(
                canonical_name(architecture, theirs).as_deref(),
                Some(*ours),
                "{theirs}"
            );
        }
        for theirs in dropped {
            assert_eq!(canonical_name(architecture, theirs), None, "{theirs}");
        }
    };
    names(
        "resnet50",
        &[
            ("conv1.weight", "conv1.weight"),
            ("module.conv1.weight", "conv1.weight"),
            ("module.encoder_q.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
            ("module.base_encoder.bn1.running_var", "bn1.running_var"),
            ("module.backbone.conv1.weight", "conv1.weight"),
            // Refused later, by its name in the file.
            ("layer5.0.conv1.weight", "layer5.0.conv1.weight"),
        ],
        &[
            "fc.weight",
            "module.projection_head.0.weight",
            "module.prototypes.weight",
            "module.encoder_q.fc.0.weight",
            "module.encoder_k.conv1.weight",
            "module.queue",
            "module.queue_ptr",
            "module.momentum_encoder.conv1.weight",
            "module.predictor.0.weight",
            "module.bn1.num_batches_tracked",
        ],
    );
    names(
        "vit_small_patch16_224_dino",
        &[
            ("backbone.cls_token", "cls_token"),
            (
                "module.backbone.blocks.0.attn.qkv.weight",
                "blocks.0.attn.qkv.weight",
            ),
        ],
        &["head.last_layer.weight_g", "module.head.mlp.0.bias"],
    );
    names(
        "vit_small_patch14_reg4_dinov2",
        &[("register_tokens", "reg_token"), ("reg_token", "reg_token")],
        &["mask_token", "dino_head.mlp.0.weight"],
    );
    names("efficientnet_lite0", &[], &["_fc.weight", "classifier.bias"]);
    names("mobilenet_v2", &[], &["classifier.1.weight"]);
}
