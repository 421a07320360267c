//! Imports weights from files of others, strictly: everything that the
//! architecture needs is there once and is finite, or nothing is imported.

use std::path::{Path, PathBuf};

use super::architecture::Plan;
use super::checkpoint::{self, CheckpointError, FileTensors};
use super::naming::{canonical_name, fold_class_position, is_of_moco_v3};
use super::{Architecture, Role, TensorSpec, Weights};
use crate::domain::{ErrorKind, Problem};

/// Why weights were not imported. Names the first offending tensor in canonical order.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read from disk.
    #[error("`{}` cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content is no weights file.
    #[error("`{}` is no usable weights file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// A tensor is missing.
    #[error("tensor `{tensor}` of {architecture} is missing; is this file another architecture?")]
    MissingTensor {
        /// Its canonical name.
        tensor: String,
        /// The architecture asked for.
        architecture: &'static str,
    },
    /// The file has a tensor that the architecture has not.
    #[error("tensor `{tensor}` is no part of {architecture}; is this file another architecture?")]
    ForeignTensor {
        /// Its name in the file.
        tensor: String,
        /// The architecture asked for.
        architecture: &'static str,
    },
    /// Two tensors of the file are the same one of the architecture.
    #[error("tensor `{tensor}` is in the file twice, under two names; keep one of them")]
    Twice {
        /// Its canonical name.
        tensor: String,
    },
    /// The file's network has tensors of the same shapes, but computes something else.
    #[error(
        "this is a small transformer of MoCo v3, which has 12 heads of attention; {architecture} has 6, so the embeddings would be wrong"
    )]
    OtherHeads {
        /// The architecture asked for.
        architecture: &'static str,
    },
    /// A tensor has another shape.
    #[error("tensor `{tensor}` has shape {given:?}; {architecture} has {expected:?}")]
    Shape {
        /// Its canonical name.
        tensor: String,
        /// The architecture asked for.
        architecture: &'static str,
        /// The file's shape.
        given: Vec<usize>,
        /// The architecture's shape.
        expected: Vec<usize>,
    },
    /// A tensor is not of floats of at most 32 bits.
    #[error("tensor `{tensor}` is of type {given}; float32, float16 and bfloat16 are supported")]
    ElementType {
        /// Its canonical name.
        tensor: String,
        /// The file's type.
        given: String,
    },
    /// A tensor holds NaN or infinity.
    #[error("tensor `{tensor}` holds {value} at element {index}; a base must be finite")]
    NotFinite {
        /// Its canonical name.
        tensor: String,
        /// Which element, row-major.
        index: usize,
        /// What it holds.
        value: f32,
    },
    /// A BatchNorm variance is negative, which would make every output NaN.
    #[error("tensor `{tensor}` holds a negative variance; is this file damaged?")]
    NegativeVariance {
        /// Its canonical name.
        tensor: String,
    },
}

impl Problem for ImportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "weights_unreadable",
            Self::Format { .. } => "weights_format",
            Self::MissingTensor { .. } => "tensor_missing",
            Self::ForeignTensor { .. } => "tensor_foreign",
            Self::Twice { .. } => "tensor_twice",
            Self::OtherHeads { .. } => "attention_heads",
            Self::Shape { .. } => "tensor_shape",
            Self::ElementType { .. } => "tensor_type",
            Self::NotFinite { .. } => "tensor_not_finite",
            Self::NegativeVariance { .. } => "variance_negative",
        }
    }
}

/// Reads the weights of `architecture` from safetensors or a PyTorch checkpoint.
pub fn import(architecture: &'static Architecture, path: &Path) -> Result<Weights, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Io {
        path: path.to_owned(),
        source,
    })?;
    let tensors = checkpoint::read(&bytes).map_err(|source| ImportError::Format {
        path: path.to_owned(),
        source,
    })?;
    arrange(architecture, tensors)
}

/// Puts a file's tensors into canonical order and checks each.
fn arrange(architecture: &'static Architecture, tensors: FileTensors) -> Result<Weights, ImportError> {
    let mut tensors = renamed(architecture, tensors)?;
    let mut values = Vec::with_capacity(architecture.tensors.len());
    for spec in &architecture.tensors {
        let tensor = || spec.name.clone();
        let found = tensors
            .remove(&spec.name)
            .ok_or_else(|| ImportError::MissingTensor {
                tensor: tensor(),
                architecture: architecture.name,
            })?;
        if !has_shape(spec, &found.shape) {
            return Err(ImportError::Shape {
                tensor: tensor(),
                architecture: architecture.name,
                given: found.shape,
                expected: spec.shape.clone(),
            });
        }
        let elements = found.elements.map_err(|given| ImportError::ElementType {
            tensor: tensor(),
            given,
        })?;
        if let Some((index, value)) = elements.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(ImportError::NotFinite {
                tensor: tensor(),
                index,
                value: *value,
            });
        }
        if spec.role == Role::NormVariance && elements.iter().any(|variance| *variance < 0.0) {
            return Err(ImportError::NegativeVariance { tensor: tensor() });
        }
        values.push(elements);
    }
    // The least name, so that the answer is the same each time.
    if let Some(tensor) = tensors.into_keys().min() {
        return Err(ImportError::ForeignTensor {
            tensor,
            architecture: architecture.name,
        });
    }
    Ok(Weights { architecture, values })
}

/// A file's tensors by their canonical names, without those that are no part of a base.
fn renamed(architecture: &'static Architecture, tensors: FileTensors) -> Result<FileTensors, ImportError> {
    let transformer = match &architecture.plan {
        Plan::VisionTransformer(plan) => Some(plan),
        _ => None,
    };
    let small = transformer.is_some_and(|plan| plan.heads < 12);
    if small && tensors.keys().any(|name| is_of_moco_v3(name)) {
        return Err(ImportError::OtherHeads {
            architecture: architecture.name,
        });
    }
    let mut twice = Vec::new();
    let mut renamed = FileTensors::new();
    for (name, tensor) in tensors {
        let Some(name) = canonical_name(architecture, &name) else {
            continue;
        };
        if renamed.insert(name.clone(), tensor).is_some() {
            twice.push(name);
        }
    }
    // The least name, so that the answer is the same each time.
    if let Some(tensor) = twice.into_iter().min() {
        return Err(ImportError::Twice { tensor });
    }
    if let Some(plan) = transformer {
        fold_class_position(plan, &mut renamed);
    }
    Ok(renamed)
}

/// Whether a file's shape is the one asked for. Some write tokens and positions without their leading 1.
fn has_shape(spec: &TensorSpec, given: &[usize]) -> bool {
    fn without_ones(shape: &[usize]) -> &[usize] {
        let ones = shape.iter().take_while(|size| **size == 1).count();
        &shape[ones..]
    }
    match spec.role {
        Role::Token | Role::Position => without_ones(given) == without_ones(&spec.shape),
        _ => given == spec.shape,
    }
}

#[cfg(test)]
#[path = "tests/import.rs"]
mod tests;
