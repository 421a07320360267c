//! The same content twice: decided by the graph, harmless, or refused.

use super::encode::{Graph, Model, base, export, masked, reading, tensor};
use super::{OnnxError, patched, refused};
use crate::base::{Architecture, Role, TensorSpec, Weights};

/// The tiny base with the tensors `names` of its second layer as in its first.
fn with_twins(parts: &[&str]) -> Weights {
    let mut base = base();
    for part in parts {
        let of = |layer: usize| {
            let (module, part) = part.split_once('.').unwrap();
            base.architecture
                .index_of(&format!("{module}{layer}.{part}"))
                .unwrap()
        };
        let (first, second) = (of(1), of(2));
        base.values[second] = base.values[first].clone();
    }
    base
}

const NORM: [&str; 4] = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"];

#[test]
fn the_other_tensors_of_its_node_tell_a_twin() {
    let base = with_twins(&["bn.weight", "bn.bias", "conv.weight"]);
    let masked = masked(&base, &["bn1.bias", "bn2.bias", "bn2.weight", "conv2.weight"]);
    let given = export(&base).bytes();
    assert_eq!(patched(&base, &masked, &given).unwrap(), export(&masked).bytes());
}

#[test]
fn the_slot_tells_twins_of_one_layer() {
    let mut base = base();
    base.values[2] = base.values[1].clone();
    let masked = masked(&base, &["bn1.weight", "bn1.bias"]);
    let given = export(&base).bytes();
    assert_eq!(patched(&base, &masked, &given).unwrap(), export(&masked).bytes());
}

#[test]
fn the_convolution_before_it_tells_a_whole_batch_norm() {
    let base = with_twins(&NORM);
    let masked = masked(&base, &["bn2.running_mean", "bn1.weight"]);
    let given = export(&base).bytes();
    assert_eq!(patched(&base, &masked, &given).unwrap(), export(&masked).bytes());
}

#[test]
fn twins_that_nothing_tells_apart_are_refused_unless_the_mask_does_not_either() {
    let base = with_twins(&[&NORM[..], &["conv.weight"]].concat());
    let different = masked(&base, &["conv2.weight"]);
    let sentence = refused(&base, &different, &export(&base)).to_string();
    assert!(
        sentence.contains("`conv1.weight` as well as `conv2.weight`"),
        "{sentence}"
    );

    let mut alike = different.clone();
    alike.values[0] = different.values[5].clone();
    let given = export(&base).bytes();
    assert_eq!(patched(&base, &alike, &given).unwrap(), export(&alike).bytes());
}

#[test]
fn one_initialiser_for_two_tensors_cannot_become_different() {
    let base = with_twins(&["bn.weight"]);
    let shared = || {
        export(&base)
            .without("bn2.weight")
            .rewired("bn2.weight", "bn1.weight")
    };
    let different = masked(&base, &["bn2.weight"]);
    assert!(matches!(
        refused(&base, &different, &shared()),
        OnnxError::Ambiguous { .. }
    ));

    let alike = masked(&different, &["bn1.weight"]);
    let bytes = patched(&base, &alike, &shared().bytes()).unwrap();
    let expected = export(&alike)
        .without("bn2.weight")
        .rewired("bn2.weight", "bn1.weight");
    assert_eq!(bytes, expected.bytes());
}

#[test]
fn equal_content_that_is_no_part_of_the_base_stays() {
    let base = base();
    let masked = masked(&base, &["bn1.bias"]);
    let with_head = |weights: &Weights| {
        let mut model = export(weights);
        model
            .graph
            .initializer
            .push(tensor("head.bias", &[4], &base.values[2]));
        model
            .graph
            .node
            .push(reading("Add", &["pooled", "head.bias"], "y"));
        model
    };
    assert_eq!(
        patched(&base, &masked, &with_head(&base).bytes()).unwrap(),
        with_head(&masked).bytes()
    );

    // One initialiser for both cannot change for one of them.
    let shared = with_head(&base)
        .without("head.bias")
        .rewired("head.bias", "bn1.bias");
    let sentence = refused(&base, &masked, &shared).to_string();
    assert!(sentence.contains("no part of the base"), "{sentence}");
}

#[test]
fn a_tensor_that_stands_where_none_of_its_kind_does_is_refused() {
    let base = base();
    let masked = masked(&base, &["conv1.weight"]);
    let mut model = export(&base);
    "aten_conv2d".clone_into(&mut model.graph.node[0].op_type);
    let sentence = refused(&base, &masked, &model).to_string();
    assert!(
        sentence.contains("`conv1.weight`") && sentence.contains("`aten_conv2d` reads it"),
        "{sentence}"
    );

    // The name alone is no proof: somebody else's Conv may do anything.
    let mut model = export(&base);
    "com.example".clone_into(&mut model.graph.node[0].domain);
    assert!(matches!(
        refused(&base, &masked, &model),
        OnnxError::NoPlace { .. }
    ));
}

/// Two linear layers of three inputs and two outputs, and their export: each
/// matrix is turned, multiplied, and a bias added.
fn linear_layers(second: [f32; 6]) -> (Weights, impl Fn(&Weights) -> Model) {
    let spec = |name: &str, shape: &[usize], role| TensorSpec {
        name: name.to_owned(),
        shape: shape.to_owned(),
        role,
    };
    let tensors = ["fc1", "fc2"].iter().flat_map(|layer| {
        [
            spec(&format!("{layer}.weight"), &[2, 3], Role::Linear),
            spec(&format!("{layer}.bias"), &[2], Role::Bias),
        ]
    });
    let base = Weights {
        architecture: Box::leak(Box::new(Architecture {
            tensors: tensors.collect(),
            ..base().architecture.clone()
        })),
        values: vec![
            vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            vec![0.0; 2],
            second.to_vec(),
            vec![0.0; 2],
        ],
    };
    let exported = |weights: &Weights| {
        let specs = weights.architecture.tensors.iter().zip(&weights.values);
        let node = ["fc1", "fc2"].iter().flat_map(|layer| {
            let at = |part: &str| format!("{layer}{part}");
            [
                reading("Transpose", &[&at(".weight")], &at("_turned")),
                reading("MatMul", &["x", &at("_turned")], &at("_product")),
                reading("Add", &[&at("_product"), &at(".bias")], &at("_sum")),
            ]
        });
        Model {
            producer_name: "a test".to_owned(),
            graph: Graph {
                node: node.collect(),
                initializer: specs
                    .map(|(spec, values)| tensor(&spec.name, &spec.shape, values))
                    .collect(),
            },
        }
    };
    (base, exported)
}

#[test]
fn a_matrix_that_is_turned_for_a_product_is_masked() {
    let (base, exported) = linear_layers([7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
    let masked = masked(&base, &["fc1.weight", "fc2.weight"]);
    let given = exported(&base).bytes();
    assert_eq!(
        patched(&base, &masked, &given).unwrap(),
        exported(&masked).bytes()
    );

    // Nothing tells which of two equal matrices is turned here.
    let (base, exported) = linear_layers([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let masked = self::masked(&base, &["fc2.weight"]);
    assert!(matches!(
        refused(&base, &masked, &exported(&base)),
        OnnxError::Ambiguous { .. }
    ));
}

#[test]
fn copies_in_a_ring_end() {
    let base = base();
    let masked = masked(&base, &["conv1.weight"]);
    let mut model = export(&base).rewired("conv1.weight", "a");
    model.graph.node.push(reading("Identity", &["a"], "b"));
    model.graph.node.push(reading("Identity", &["b"], "a"));
    assert!(matches!(
        refused(&base, &masked, &model),
        OnnxError::NoPlace { .. }
    ));
}
