//! The weights of a base in canonical order.

use super::Architecture;
use crate::domain::{Digest, Digester};

/// All weights of an architecture, one vector per tensor, in canonical order.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The architecture that gives names, shapes and order.
    pub architecture: &'static Architecture,
    /// `values[i]` holds the elements of `architecture.tensors[i]`, row-major.
    pub values: Vec<Vec<f32>>,
}

impl Weights {
    /// The SHA-256 of the canonical form: every tensor in the architecture's
    /// order as little-endian float32, with nothing in between.
    pub fn digest(&self) -> Digest {
        let mut digester = Digester::default();
        let mut buffer = Vec::new();
        for tensor in &self.values {
            buffer.clear();
            buffer.extend(tensor.iter().flat_map(|value| value.to_le_bytes()));
            digester.update(&buffer);
        }
        digester.finish()
    }
}
