//! The mask: which weights of a frozen base are kept, as bits and as a file.
//!
//! A library of its own in spirit: it knows weights and bytes, nothing of
//! sites' data, servers or networks. `docs/mask-format.md` specifies the file.

pub mod algebra;
pub mod apply;
pub mod arithmetic;
mod artefact;
mod bits;
pub mod cascade;
mod coder;
pub mod delta;
mod error;
mod format;
mod header;
mod limits;
pub mod onnx;
mod packed;
mod prior;
pub mod rate;
mod view;

use std::collections::BTreeMap;

pub use apply::{apply, apply_artefact, apply_artefact_with, apply_to_safetensors};
pub use artefact::{Artefact, Coding, Sizes};
pub use bits::Bits;
pub use coder::Level;
pub use error::{ApplyError, MaskError};
pub use format::{VERSION, decode, decode_with, encode, encode_with};
pub use header::{ExecutionProfile, Figures, Header};
pub use limits::Limits;
pub use prior::{Population, Prior};

use error::Unfit;

use crate::base::{Architecture, Role, Weights};

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

    /// How many numbers of BatchNorm's statistics are not the base's.
    pub fn own_statistics(&self, base: &Weights) -> usize {
        let of = |(index, own): (&usize, &Vec<f32>)| {
            (base.values[*index].iter().zip(own))
                .filter(|(base, own)| base != own)
                .count()
        };
        self.norms.iter().map(of).sum()
    }

    /// The share of masked weights that is kept; 1 for a mask over nothing.
    pub fn density(&self) -> f64 {
        match self.weights() {
            0 => 1.0,
            weights => 1.0 - self.dropped() as f64 / weights as f64,
        }
    }

    /// Rounds BatchNorm's statistics to what an artefact can hold: means to 1/256 of the base's standard
    /// deviation, variances to 1/256 of themselves. Masks are judged, digested and written settled.
    pub fn settle(&mut self, base: &Weights) {
        for (index, values) in &mut self.norms {
            if let Some(moved) = artefact::moved(*index, base) {
                *values = moved.settled(values);
            }
        }
    }

    /// Why no artefact may hold this mask of `architecture`, if so. Writer and reader ask the same.
    fn check(&self, architecture: &Architecture) -> Result<(), Unfit> {
        for (index, bits) in &self.tensors {
            let spec = architecture.tensors.get(*index).ok_or(Unfit::NoSuchTensor)?;
            if matches!(spec.role, Role::NormMean | Role::NormVariance) {
                return Err(Unfit::MaskedStatistic);
            }
            if bits.len() != spec.len() {
                return Err(Unfit::Length);
            }
            if bits.count_ones() == 0 {
                return Err(Unfit::NothingKept);
            }
        }
        for (index, values) in &self.norms {
            let spec = architecture.tensors.get(*index).ok_or(Unfit::NoSuchTensor)?;
            if !matches!(spec.role, Role::NormMean | Role::NormVariance) {
                return Err(Unfit::MovedWeight);
            }
            if values.len() != spec.len() {
                return Err(Unfit::Length);
            }
            if !values.iter().all(|value| value.is_finite()) {
                return Err(Unfit::NotFinite);
            }
            if spec.role == Role::NormVariance && values.iter().any(|variance| *variance < 0.0) {
                return Err(Unfit::NegativeVariance);
            }
        }
        Ok(())
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
