//! No bytes make the patcher panic, hang, take memory beyond its budget or
//! write anywhere but over a base's tensor.

use std::ops::Range;

use proptest::prelude::*;
use prost::Message as _;

use super::encode::{Attribute, Graph, base, bytes_of, export, masked, reading};
use super::{CHANGED, OnnxError, patched};
use crate::base::Weights;
use crate::mask::Limits;
use crate::mask::onnx::patch_onnx;

/// Where the elements of the base's tensors lie in its export.
fn places(base: &Weights, model: &[u8]) -> Vec<Range<usize>> {
    let place = |values: &Vec<f32>| {
        let bytes = bytes_of(values);
        let at = model.windows(bytes.len()).position(|window| window == bytes);
        at.unwrap()..at.unwrap() + bytes.len()
    };
    base.values.iter().map(place).collect()
}

/// Fails the test if `given` becomes anything that it may not become.
fn check(base: &Weights, masked: &Weights, given: &[u8], places: &[Range<usize>]) -> bool {
    let Ok(after) = patched(base, masked, given) else {
        return false;
    };
    assert_eq!(given.len(), after.len());
    for (at, _) in (given.iter().zip(&after).enumerate()).filter(|(_, (before, after))| before != after) {
        assert!(places.iter().any(|place| place.contains(&at)), "byte {at}");
    }
    true
}

#[test]
fn every_truncation_is_refused_or_patched_rightly() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    let model = export(&base).bytes();
    let places = places(&base, &model);
    assert!(check(&base, &masked, &model, &places));
    for length in 0..model.len() {
        assert!(
            !check(&base, &masked, &model[..length], &places),
            "the graph is the last field, so {length} bytes are not all of it"
        );
    }
}

#[test]
fn every_single_flipped_bit_is_refused_or_patched_rightly() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    let mut model = export(&base).bytes();
    let places = places(&base, &model);
    for bit in 0..model.len() * 8 {
        model[bit / 8] ^= 1 << (bit % 8);
        let accepted = check(&base, &masked, &model, &places);
        let in_weights = places.iter().any(|place| place.contains(&(bit / 8)));
        assert!(!(accepted && in_weights), "bit {bit} is one of another base");
        model[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn graphs_within_graphs_cost_no_stack() {
    let base = base();
    let mut graph = Vec::new();
    for _ in 0..3_000 {
        let mut node = reading("If", &["x"], "");
        node.output.clear();
        node.attribute.push(Attribute {
            g: Some(graph),
            t: None,
        });
        graph = Graph {
            node: vec![node],
            initializer: vec![],
        }
        .encode_to_vec();
    }
    let mut model = export(&base);
    let mut node = reading("If", &["x"], "y");
    node.attribute.push(Attribute {
        g: Some(graph),
        t: None,
    });
    model.graph.node.push(node);
    let bytes = model.bytes();
    let small_stack = std::thread::Builder::new().stack_size(256 << 10);
    let outcome = small_stack.spawn(move || patched(&base, &base, &bytes).map(drop));
    outcome.unwrap().join().unwrap().unwrap();
}

#[test]
fn memory_comes_from_a_budget() {
    let base = base();
    let mut bytes = export(&base).bytes();
    let before = bytes.clone();
    let refusal = patch_onnx(&base, &masked(&base, &CHANGED), &mut bytes, Limits::new(1_000));
    assert!(matches!(refusal, Err(OnnxError::LimitExceeded)));
    assert_eq!(bytes, before);

    // A megabyte of empty nodes asks for a hundred times as much.
    let mut nodes = vec![0x3a, 0x80, 0x80, 0x40];
    nodes.extend([0x0a, 0].repeat(1 << 19));
    let refusal = patch_onnx(&base, &base, &mut nodes, Limits::new(16 << 20));
    assert!(matches!(refusal, Err(OnnxError::LimitExceeded)));
}

/// Bytes that are fields of a message, more often than chance would make them.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..24),
        (1_u8..26, any::<u64>()).prop_map(|(number, value)| {
            let mut bytes = Vec::new();
            prost::encoding::encode_key(number.into(), prost::encoding::WireType::Varint, &mut bytes);
            prost::encoding::encode_varint(value, &mut bytes);
            bytes
        }),
        Just(bytes_of(&base().values[0])),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        proptest::collection::vec((1_u32..26, inner), 1..6).prop_map(|fields| {
            let mut bytes = Vec::new();
            for (number, content) in fields {
                prost::encoding::bytes::encode(number, &content, &mut bytes);
            }
            bytes
        })
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let base = base();
        prop_assert!(patched(&base, &base, &bytes).is_err());
    }

    #[test]
    fn no_fields_make_it_panic(fields in fields()) {
        let base = base();
        let masked = masked(&base, &CHANGED);
        let mut graph = Vec::new();
        prost::encoding::bytes::encode(7, &fields, &mut graph);
        prop_assert!(patched(&base, &masked, &graph).is_err());
        // Behind a good export they are more nodes, or break it.
        let model = [export(&base).bytes(), graph].concat();
        let places = places(&base, &model);
        check(&base, &masked, &model, &places);
    }
}
