//! The mask: which weights of a frozen base are kept, as bits and as a file.
//!
//! A library of its own in spirit: it knows weights and bytes, nothing of
//! sites' data, servers or networks. `docs/mask-format.md` specifies the file.

pub mod apply;
pub mod arithmetic;
mod bits;
mod coder;
mod error;
mod format;
mod header;
mod limits;

use std::collections::BTreeMap;

pub use apply::{apply, apply_artefact};
pub use bits::Bits;
pub use error::MaskError;
pub use format::{Artefact, Sizes, VERSION, decode, encode};
pub use header::{ExecutionProfile, Figures, Header};
pub use limits::Limits;

use crate::base::Architecture;

/// Which weights are kept, tensor by tensor, and the BatchNorm statistics that
/// training moved. Indices are canonical ([`Architecture::tensors`]).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mask {
    /// The bits of each masked tensor.
    pub tensors: BTreeMap<usize, Bits>,
    /// BatchNorm's running means and variances, where a recipe moved them.
    pub norms: BTreeMap<usize, Vec<f32>>,
}

impl Mask {
    /// A mask over `tensors` that keeps everything: the base itself.
    pub fn keeping_all(architecture: &Architecture, tensors: impl IntoIterator<Item = usize>) -> Self {
        let bits = |index: usize| (index, Bits::ones(architecture.tensors[index].len()));
        Self {
            tensors: tensors.into_iter().map(bits).collect(),
            norms: BTreeMap::new(),
        }
    }

    /// How many weights are masked at all: kept and dropped ones.
    pub fn weights(&self) -> usize {
        self.tensors.values().map(Bits::len).sum()
    }

    /// How many weights are dropped.
    pub fn dropped(&self) -> usize {
        self.tensors.values().map(Bits::count_zeros).sum()
    }

    /// The share of masked weights that is kept; 1 for a mask over nothing.
    pub fn density(&self) -> f64 {
        match self.weights() {
            0 => 1.0,
            weights => 1.0 - self.dropped() as f64 / weights as f64,
        }
    }

    /// How many bits differ from `parent`; a tensor that only one of both masks counts as kept in the other.
    pub fn flips_against(&self, parent: &Self) -> usize {
        let own = self
            .tensors
            .iter()
            .map(|(index, bits)| match parent.tensors.get(index) {
                Some(other) => bits.distance(other),
                None => bits.count_zeros(),
            });
        let only_parent = parent
            .tensors
            .iter()
            .filter(|(index, _)| !self.tensors.contains_key(index));
        own.sum::<usize>() + only_parent.map(|(_, bits)| bits.count_zeros()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
