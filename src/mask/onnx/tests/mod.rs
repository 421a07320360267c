//! The contract of the patcher: the base's tensors and nothing else are
//! overwritten, and what is not surely an export of the base is refused
//! and left as it was.

mod encode;
mod external;
mod hostile;
mod neighbours;
mod refusals;

use encode::{Model, base, bytes_of, export, masked, reading};
use prost::Message as _;

use super::{OnnxError, patch_onnx};
use crate::base::Weights;
use crate::mask::Limits;

/// What of the tiny base most tests change.
const CHANGED: [&str; 3] = ["conv2.weight", "bn1.running_mean", "bn2.weight"];

/// Patches `model`; fails the test if it is refused but not left as it was.
fn patched(base: &Weights, masked: &Weights, model: &[u8]) -> Result<Vec<u8>, OnnxError> {
    let mut bytes = model.to_vec();
    let outcome = patch_onnx(base, masked, &mut bytes, Limits::default());
    if outcome.is_err() {
        assert!(bytes == model, "refused, yet changed");
    }
    outcome.map(|()| bytes)
}

fn refused(base: &Weights, masked: &Weights, model: &Model) -> OnnxError {
    patched(base, masked, &model.bytes()).unwrap_err()
}

#[test]
fn masked_weights_take_the_place_of_the_bases_and_all_else_stays() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    // A field of a later version of ONNX, which no encoder of today would keep.
    let unknown = [0xc2, 0x3e, 3, b'n', b'e', b'w'];
    let given = [&export(&base).bytes()[..], &unknown].concat();
    let expected = [&export(&masked).bytes()[..], &unknown].concat();
    assert_ne!(given, expected);
    assert_eq!(patched(&base, &masked, &given).unwrap(), expected);
}

#[test]
fn floats_that_are_no_raw_bytes_are_overwritten_too() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    let with_floats = |weights: &Weights| {
        let mut model = export(weights);
        let tensor = model.initialiser("conv2.weight");
        tensor.float_data = weights.values[5].clone();
        tensor.raw_data.clear();
        model
    };
    let patched_bytes = patched(&base, &masked, &with_floats(&base).bytes()).unwrap();
    assert_eq!(patched_bytes, with_floats(&masked).bytes());

    // In both fields at once it is nobody's guess which one counts.
    let mut both = with_floats(&base);
    both.initialiser("conv2.weight").raw_data = bytes_of(&base.values[5]);
    assert!(matches!(
        refused(&base, &masked, &both),
        OnnxError::Missing { found: 9, .. }
    ));
}

#[test]
fn floats_in_several_pieces_are_one_tensor() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    // As protobuf allows: packed in two pieces, and each number by itself.
    let packed = |values: &[f32]| [&[0x22, values.len() as u8 * 4][..], &bytes_of(values)].concat();
    let single = |value: &f32| [&[0x25][..], &value.to_le_bytes()].concat();
    let in_pieces = |weights: &Weights| {
        let values = &weights.values[5];
        let mut tensor = export(weights).initialiser("conv2.weight").clone();
        tensor.raw_data.clear();
        let mut tensor = tensor.encode_to_vec();
        tensor.extend(packed(&values[..7]));
        tensor.extend(packed(&values[7..10]));
        tensor.extend(values[10..].iter().flat_map(single));
        let graph = [&[0x2a, tensor.len() as u8][..], &tensor].concat();
        let mut model = export(weights).without("conv2.weight").bytes();
        // A message that comes twice is one of both.
        model.extend([&[0x3a, graph.len() as u8][..], &graph].concat());
        model
    };
    assert_eq!(
        patched(&base, &masked, &in_pieces(&base)).unwrap(),
        in_pieces(&masked)
    );
}

#[test]
fn what_reads_only_a_shape_or_copies_does_not_matter() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    let around = |weights: &Weights| {
        let mut model = export(weights).rewired("conv2.weight", "copy");
        model
            .graph
            .node
            .push(reading("Identity", &["conv2.weight"], "copy"));
        model.graph.node.push(reading("Shape", &["copy"], "shape"));
        model
            .graph
            .node
            .push(reading("CastLike", &["x", "bn2.weight"], "like"));
        model
    };
    let given = around(&base).bytes();
    assert_eq!(patched(&base, &masked, &given).unwrap(), around(&masked).bytes());
}

#[test]
fn a_mask_that_changes_nothing_changes_nothing() {
    let base = base();
    let given = export(&base).bytes();
    assert_eq!(patched(&base, &base, &given).unwrap(), given);
}
