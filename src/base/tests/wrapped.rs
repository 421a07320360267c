//! Checkpoints as trainings leave them: the network lies within other things,
//! under other names, beside a second one whose weights are not to be used.

use super::*;
use crate::base::architecture::{Family, VisionTransformer};

const CONV: &[u8] = &[2, 1, 1, 1];
const NORM: &[u8] = &[2];

/// Tensors of a network: name, shape and the key of their storage.
type Tensors = Vec<(String, &'static [u8], &'static str)>;

/// The two tensors of [`tiny`] under a prefix.
fn network(prefix: &str) -> Tensors {
    vec![
        (format!("{prefix}conv.weight"), CONV, "0"),
        (format!("{prefix}bn.running_mean"), NORM, "1"),
    ]
}

/// Tensors that hold nines: of another network, or of a head.
fn nines(names: &[&str]) -> Tensors {
    let shape = |name: &str| if name.ends_with("conv.weight") { CONV } else { NORM };
    names
        .iter()
        .map(|name| ((*name).to_owned(), shape(name), "3"))
        .collect()
}

fn written(out: &mut Vec<u8>, tensors: &[(String, &[u8], &str)]) {
    let entries: Vec<Entry> = tensors
        .iter()
        .map(|(name, shape, key)| (name.as_str(), *shape, "FloatStorage", *key))
        .collect();
    dictionary(out, &entries);
}

/// A checkpoint that keeps `networks` beside what trainings keep: an epoch, an
/// optimiser with its own tensors, the options of a command line.
fn training(networks: &[(&str, Tensors)]) -> Vec<u8> {
    let mut out = b"\x80\x02}(".to_vec();
    text(&mut out, "epoch");
    out.extend(b"K\x07");
    text(&mut out, "optimizer");
    dictionary(&mut out, &[("step", &[1], "IntStorage", "4")]);
    for (key, tensors) in networks {
        text(&mut out, key);
        written(&mut out, tensors);
    }
    text(&mut out, "args");
    out.extend(b"cargparse\nNamespace\n)\x81}");
    text(&mut out, "lr");
    out.extend(b"G\x3f\xf0\0\0\0\0\0\0sbu.");
    out
}

/// The older format with that description. An optimiser's storage lies first, and no tensor of a network uses it.
fn legacy_of(description: &[u8], has_optimiser: bool) -> Vec<u8> {
    let mut out = LEGACY.to_vec();
    out.extend(description);
    out.extend(b"\x80\x02](");
    let keys = ["4", "0", "1", "3"];
    for key in &keys[usize::from(!has_optimiser)..] {
        text(&mut out, key);
    }
    out.extend(b"e.");
    if has_optimiser {
        out.extend(1_i64.to_le_bytes());
        out.extend(7_i32.to_le_bytes());
    }
    for key in [0, 1, 3] {
        out.extend(2_i64.to_le_bytes());
        out.extend(&storages()[key]);
    }
    out
}

#[test]
fn checkpoints_of_trainings_give_their_encoder() {
    let flat = |tensors: Tensors| {
        let mut out = b"\x80\x02".to_vec();
        written(&mut out, &tensors);
        out.push(b'.');
        out
    };
    let with = |prefix: &str, others: &[&str]| [network(prefix), nines(others)].concat();
    let layouts = [
        ("torchvision", flat(with("", &["fc.weight", "fc.bias"]))),
        ("timm", training(&[("state_dict", with("", &["head.weight"]))])),
        ("torch.hub", training(&[("model", with("", &[]))])),
        (
            "SwAV",
            flat(with(
                "module.",
                &["module.projection_head.0.weight", "module.prototypes.weight"],
            )),
        ),
        (
            "DINO",
            training(&[
                (
                    "student",
                    nines(&["module.backbone.conv.weight", "module.backbone.bn.running_mean"]),
                ),
                (
                    "teacher",
                    with("backbone.", &["head.mlp.0.weight", "head.last_layer.weight_g"]),
                ),
            ]),
        ),
        (
            "DINO in parallel",
            training(&[("teacher", with("module.backbone.", &["module.head.mlp.0.weight"]))]),
        ),
        (
            "MoCo v2",
            training(&[(
                "state_dict",
                with(
                    "module.encoder_q.",
                    &[
                        "module.encoder_q.fc.0.weight",
                        "module.encoder_k.conv.weight",
                        "module.encoder_k.bn.running_mean",
                        "module.queue",
                        "module.queue_ptr",
                    ],
                ),
            )]),
        ),
        (
            "MoCo v3",
            training(&[(
                "state_dict",
                with(
                    "module.base_encoder.",
                    &[
                        "module.base_encoder.fc.0.weight",
                        "module.momentum_encoder.conv.weight",
                        "module.momentum_encoder.bn.running_mean",
                        "module.predictor.0.weight",
                    ],
                ),
            )]),
        ),
    ];
    for (name, description) in layouts {
        let has_optimiser = !["torchvision", "SwAV"].contains(&name);
        for bytes in [legacy_of(&description, has_optimiser), zip_of(&description)] {
            let weights = import_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(weights.values, tiny_weights().values, "{name}");
        }
    }
}

#[test]
fn a_tensor_under_two_names_is_refused() {
    let both = [network(""), network("module.")].concat();
    let said = import_bytes(&zip_of(&training(&[("state_dict", both)])))
        .unwrap_err()
        .to_string();
    assert!(
        said.starts_with("tensor `bn.running_mean` is in the file twice"),
        "{said}"
    );
}

/// A transformer of one patch and 2 channels, as DINOv2 with registers.
fn with_registers() -> &'static Architecture {
    let spec = |name: &str, shape: &[usize], role| TensorSpec {
        name: name.to_owned(),
        shape: shape.to_vec(),
        role,
    };
    Box::leak(Box::new(Architecture {
        tensors: vec![
            spec("cls_token", &[1, 1, 2], Role::Token),
            spec("reg_token", &[1, 1, 2], Role::Token),
            spec("pos_embed", &[1, 1, 2], Role::Position),
        ],
        plan: Plan::VisionTransformer(VisionTransformer {
            depth: 0,
            width: 2,
            heads: 1,
            patch: 14,
            grid: 1,
            family: Family::DinoV2 { registers: 1 },
        }),
        ..tiny().clone()
    }))
}

#[test]
fn dinov2s_position_of_the_class_token_becomes_part_of_it() {
    let tensor = |shape: &[usize], elements: &[f32]| checkpoint::FileTensor {
        shape: shape.to_vec(),
        elements: Ok(elements.to_vec()),
    };
    let own = [
        ("cls_token", tensor(&[1, 1, 2], &[1.0, 2.0])),
        ("register_tokens", tensor(&[1, 1, 2], &[5.0, 6.0])),
        ("pos_embed", tensor(&[1, 2, 2], &[0.5, 0.25, 3.0, 4.0])),
        ("mask_token", tensor(&[1, 2], &[9.0, 9.0])),
    ];
    let own = own.map(|(name, tensor)| (name.to_owned(), tensor)).into();
    let weights = arrange(with_registers(), own).unwrap();
    assert_eq!(weights.values, [vec![1.5, 2.25], vec![5.0, 6.0], vec![3.0, 4.0]]);
    // timm's has done that already; tokens may lack their leading ones.
    let timms = [
        ("cls_token", tensor(&[2], &[1.5, 2.25])),
        ("reg_token", tensor(&[1, 2], &[5.0, 6.0])),
        ("pos_embed", tensor(&[1, 1, 2], &[3.0, 4.0])),
    ];
    let timms = timms.map(|(name, tensor)| (name.to_owned(), tensor)).into();
    assert_eq!(arrange(with_registers(), timms).unwrap().values, weights.values);
}

#[test]
fn the_small_transformer_of_moco_v3_has_other_heads_and_is_refused() {
    let small = crate::base::architecture("vit_small_patch16_224_dino").unwrap();
    let base = crate::base::architecture("vit_base_patch16_224").unwrap();
    let file = || {
        let nothing = checkpoint::FileTensor {
            shape: vec![1],
            elements: Ok(vec![0.0]),
        };
        FileTensors::from([("module.base_encoder.cls_token".to_owned(), nothing)])
    };
    let said = arrange(small, file()).unwrap_err().to_string();
    assert!(said.contains("12 heads"), "{said}");
    assert!(matches!(arrange(base, file()), Err(ImportError::Shape { .. })));
}
