//! Lays a mask over a base.

use std::path::Path;

use rayon::prelude::*;

use super::arithmetic::mask_tensor;
use super::{ApplyError, Artefact, Coding, Mask, MaskError};
use crate::base::{Weights, import, overlay_safetensors};

/// The masked weights of `base`. Says nothing of whether the mask is for this base: see [`apply_artefact`].
pub fn apply(mask: &Mask, mut base: Weights) -> Result<Weights, MaskError> {
    let fits = |index: &usize, len: usize| base.values.get(*index).is_some_and(|values| values.len() == len);
    let fit = mask.tensors.iter().all(|(index, bits)| fits(index, bits.len()))
        && mask.norms.iter().all(|(index, values)| fits(index, values.len()));
    if !fit {
        return Err(MaskError::Mismatch("a tensor has another length"));
    }
    base.values
        .par_iter_mut()
        .enumerate()
        .try_for_each(|(index, values)| {
            if let Some(moved) = mask.norms.get(&index) {
                values.copy_from_slice(moved);
            }
            match mask.tensors.get(&index) {
                Some(bits) => mask_tensor(values, bits),
                None => Ok(()),
            }
        })?;
    Ok(base)
}

/// Applies an artefact to the base that it is bound to, and checks that the
/// weights that come out are, bit for bit, those that the gate judged.
pub fn apply_artefact(artefact: &Artefact, base: Weights) -> Result<Weights, MaskError> {
    apply_artefact_with(artefact, base, &Coding::default())
}

/// As [`apply_artefact`], for an artefact that needs its parent or a prior.
pub fn apply_artefact_with(
    artefact: &Artefact,
    base: Weights,
    coding: &Coding,
) -> Result<Weights, MaskError> {
    let mask = artefact.mask_with(&base, coding)?;
    let masked = apply(&mask, base)?;
    let given = masked.digest();
    if given != artefact.header.weights {
        return Err(MaskError::WrongWeights {
            expected: artefact.header.weights,
            given,
        });
    }
    Ok(masked)
}

/// Applies an artefact to the safetensors file `base` and writes the result to
/// `out`: names, order, metadata and tensors that are no part of the
/// architecture as in `base`. `out` is whole or not there, and is written only
/// after the digests of base and result were right.
pub fn apply_to_safetensors(artefact: &Artefact, base: &Path, out: &Path) -> Result<(), ApplyError> {
    let weights = import(artefact.architecture, base)?;
    let masked = apply_artefact(artefact, weights)?;
    overlay_safetensors(base, &masked, out).map_err(|source| ApplyError::Write {
        path: out.to_owned(),
        source,
    })
}
