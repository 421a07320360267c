//! Exports that cannot work are recognised; the sentence says which export does.

use super::encode::{Attribute, base, bytes_of, export, masked, reading};
use super::{CHANGED, OnnxError, refused};
use prost::Message as _;

#[test]
fn a_folded_export_is_refused_with_the_command_that_works() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    // Folding scales the weights and leaves no BatchNorm.
    let mut model = export(&base);
    (model.graph.node).retain(|node| node.op_type != "BatchNormalization");
    (model.graph.initializer).retain(|tensor| tensor.name.starts_with("conv"));
    for name in ["conv1.weight", "conv2.weight"] {
        model.initialiser(name).raw_data = bytes_of(&[0.5; 16]);
    }
    let refusal = refused(&base, &masked, &model);
    assert!(
        matches!(refusal, OnnxError::Folded { found: 0, of: 2 }),
        "{refusal}"
    );
    assert!(refusal.to_string().contains("torch.onnx.export("), "{refusal}");
}

#[test]
fn a_quantised_export_is_refused_by_its_operators() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    for operator in ["QuantizeLinear", "DequantizeLinear", "ConvInteger", "QLinearConv"] {
        let mut model = export(&base);
        model.graph.node.push(reading(operator, &["x"], "quantised"));
        let sentence = refused(&base, &masked, &model).to_string();
        assert!(sentence.contains("quantised") && sentence.contains(operator));

        // In a branch, too.
        let inner = model.graph.node.pop().unwrap();
        let graph = super::encode::Graph {
            node: vec![inner],
            initializer: vec![],
        };
        let mut branch = reading("If", &["x"], "y");
        branch.attribute.push(Attribute {
            g: Some(graph.encode_to_vec()),
            t: None,
        });
        model.graph.node.push(branch);
        let refusal = refused(&base, &masked, &model);
        assert!(matches!(refusal, OnnxError::Quantised(_)), "{refusal}");
    }
}

#[test]
fn weights_of_another_type_are_refused() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    for (data_type, bytes, said) in [
        (3, 16, "int8"),
        (2, 16, "uint8"),
        (10, 32, "float16"),
        (16, 32, "bfloat16"),
    ] {
        let mut model = export(&base);
        let tensor = model.initialiser("conv1.weight");
        tensor.data_type = data_type;
        tensor.raw_data = vec![1; bytes];
        let sentence = refused(&base, &masked, &model).to_string();
        assert!(sentence.contains(said), "{sentence}");
    }
    // The right bytes under another type are other numbers.
    let mut model = export(&base);
    model.initialiser("conv1.weight").data_type = 6;
    assert!(matches!(
        refused(&base, &masked, &model),
        OnnxError::Missing { .. }
    ));
}

#[test]
fn an_export_of_another_base_or_of_part_of_it_is_refused() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    let mut other = base.clone();
    other.values.iter_mut().for_each(|values| values[0] += 1.0);
    assert!(matches!(
        refused(&base, &masked, &export(&other)),
        OnnxError::AnotherBase
    ));

    // Even one that the mask does not change.
    other.clone_from(&base);
    other.values[0][0] = -1.0;
    let sentence = refused(&base, &masked, &export(&other)).to_string();
    assert!(
        sentence.contains("`conv1.weight`") && sentence.contains("9 of its 10"),
        "{sentence}"
    );
    let sentence = refused(&base, &masked, &export(&base).without("bn2.bias")).to_string();
    assert!(sentence.contains("`bn2.bias`"), "{sentence}");
}

#[test]
fn weights_of_different_architectures_are_the_callers_fault() {
    let base = base();
    let mut masked = base.clone();
    masked.values[0].pop();
    assert!(matches!(
        refused(&base, &masked, &export(&base)),
        OnnxError::Mismatch
    ));
}

#[test]
fn two_initialisers_of_one_name_are_refused() {
    let base = base();
    let masked = masked(&base, &CHANGED);
    let mut model = export(&base);
    let again = model.initialiser("conv2.weight").clone();
    model.graph.initializer.push(again);
    assert!(matches!(refused(&base, &masked, &model), OnnxError::Malformed(_)));
}

#[test]
fn names_of_the_file_come_into_a_sentence_without_control_codes() {
    let base = base();
    let masked = masked(&base, &["conv1.weight"]);
    let mut model = export(&base);
    model.graph.node[0].op_type = "\u{1b}[31m\n".repeat(1000);
    let sentence = refused(&base, &masked, &model).to_string();
    assert!(
        !sentence.contains(char::is_control) && sentence.len() < 1000,
        "{sentence}"
    );
}
