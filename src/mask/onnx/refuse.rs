//! Recognises exports that no mask can be laid over, and says why.

use super::OnnxError;
use super::error::quoted;
use super::model::Model;
use crate::base::{Architecture, Role, TensorSpec};

/// What is wrong with an export in which not all tensors of the base are;
/// `candidates[i]` are those that have the content of initialiser `i`.
pub(super) fn unless_export(
    architecture: &Architecture,
    model: &Model,
    candidates: &[&[usize]],
) -> Result<(), OnnxError> {
    if let Some(node) = model.nodes.iter().find(|node| quantises(node.operator)) {
        return Err(OnnxError::Quantised(format!(
            "operator `{}`",
            quoted(node.operator)
        )));
    }
    let mut found = vec![false; architecture.tensors.len()];
    for tensor in candidates.iter().copied().flatten() {
        found[*tensor] = true;
    }
    let missing = || {
        found
            .iter()
            .zip(&architecture.tensors)
            .filter(|(found, _)| !**found)
    };
    let Some((_, first)) = missing().next() else {
        return Ok(());
    };
    for initialiser in &model.initialisers {
        let Some((integer, name)) = other_type(initialiser.data_type) else {
            continue;
        };
        let same_length = |spec: &TensorSpec| spec.len() as u64 == initialiser.elements;
        if let Some((_, spec)) = missing().find(|(_, spec)| same_length(spec)) {
            return Err(if integer {
                OnnxError::Quantised(format!("weights of type {name}"))
            } else {
                OnnxError::Precision {
                    given: name,
                    tensor: spec.name.clone(),
                }
            });
        }
    }
    let norms = (architecture.tensors.iter())
        .filter(|spec| spec.role == Role::NormWeight)
        .count();
    let norms_found = model.nodes.iter().filter(|node| node.is(b"BatchNormalization"));
    let norms_found = norms_found.count();
    if norms_found < norms && model.nodes.iter().any(|node| node.is(b"Conv")) {
        return Err(OnnxError::Folded {
            found: norms_found,
            of: norms,
        });
    }
    Err(match found.iter().filter(|found| **found).count() {
        0 => OnnxError::AnotherBase,
        number => OnnxError::Missing {
            tensor: first.name.clone(),
            found: number,
            of: found.len(),
        },
    })
}

/// Whether an operator, whoever defined it, makes or takes integers for reals.
fn quantises(operator: &[u8]) -> bool {
    operator.starts_with(b"QLinear")
        || matches!(
            operator,
            b"QuantizeLinear"
                | b"DequantizeLinear"
                | b"DynamicQuantizeLinear"
                | b"ConvInteger"
                | b"MatMulInteger"
                | b"QGemm"
                | b"QAttention"
                | b"DynamicQuantizeMatMul"
                | b"MatMulIntegerToFloat"
                | b"MatMulNBits"
        )
}

/// The name of a type that weights can have instead of float32, and whether it is one of integers.
fn other_type(data_type: u64) -> Option<(bool, &'static str)> {
    Some(match data_type {
        2 => (true, "uint8"),
        3 => (true, "int8"),
        10 => (false, "float16"),
        11 => (false, "float64"),
        16 => (false, "bfloat16"),
        17..=20 => (false, "float8"),
        21 => (true, "uint4"),
        22 => (true, "int4"),
        _ => return None,
    })
}
