//! Finds the base's tensors among an export's initialisers, by the digest of their bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use rayon::prelude::*;

use super::error::quoted;
use super::external::{Files, locate};
use super::model::{Data, Model, Tensor};
use super::neighbours::{Use, uses};
use super::{OnnxError, refuse};
use crate::base::Weights;
use crate::domain::{Digest, Digester};
use crate::mask::Limits;

/// ONNX's number for float32.
const FLOAT32: u64 = 1;

/// A place that a tensor's elements go to.
#[derive(Debug)]
pub(super) struct Patch {
    /// The file of data; none: the model itself.
    pub(super) file: Option<PathBuf>,
    /// The pieces in order.
    pub(super) pieces: Vec<Range<usize>>,
    /// The canonical index of the tensor.
    pub(super) tensor: usize,
}

/// What has to be overwritten in the export of `base` to make it one of `masked`.
pub(super) fn patches(
    base: &Weights,
    masked: &Weights,
    file: &[u8],
    model: &Model,
    files: &Files,
    limits: &mut Limits,
) -> Result<Vec<Patch>, OnnxError> {
    let lengths = |weights: &Weights| weights.values.iter().map(Vec::len).collect::<Vec<_>>();
    let (lengths, masked_lengths) = (lengths(base), lengths(masked));
    if base.architecture != masked.architecture || lengths != masked_lengths {
        return Err(OnnxError::Mismatch);
    }
    let before = base.digests();
    let after = masked.digests();
    let mut by_digest = HashMap::<Digest, Vec<usize>>::new();
    for (tensor, digest) in before.iter().enumerate() {
        by_digest.entry(*digest).or_default().push(tensor);
    }
    let candidates = (model.initialisers.par_iter())
        .map(|tensor| {
            let digest = digest_of(tensor, &lengths, file, files)?;
            let found = digest.and_then(|digest| by_digest.get(&digest));
            Ok(found.map_or(&[][..], Vec::as_slice))
        })
        .collect::<Result<Vec<&[usize]>, OnnxError>>()?;
    refuse::unless_export(base.architecture, model, &candidates)?;

    let uses = uses(model, &candidates, base.architecture, limits)?;
    let mut chosen = Vec::new();
    let mut placed = vec![false; before.len()];
    for (initialiser, uses) in of_each_initialiser(&uses) {
        let tensor = decide(uses, &before, &after).map_err(|(first, second)| OnnxError::Ambiguous {
            initialiser: quoted(model.initialisers[initialiser].name),
            first: named(first, base),
            second: named(second, base),
        })?;
        uses.iter()
            .flat_map(|one| &one.fitting)
            .for_each(|tensor| placed[*tensor] = true);
        chosen.extend(tensor.map(|tensor| (initialiser, tensor)));
    }
    let changed = |tensor: &usize| before[*tensor] != after[*tensor];
    if let Some(tensor) = (0..placed.len()).find(|tensor| changed(tensor) && !placed[*tensor]) {
        return Err(no_place(base, tensor, &candidates, &uses));
    }
    chosen
        .into_iter()
        .filter(|(_, tensor)| changed(tensor))
        .map(|(initialiser, tensor)| {
            let (file, pieces) = match &model.initialisers[initialiser].data {
                Data::Beside(beside) => {
                    let (location, place) = locate(beside, files)?;
                    (Some(location), vec![place])
                }
                Data::Here(pieces) => (None, pieces.clone()),
                Data::Elsewhere => return Err(OnnxError::Malformed("weights without a place")),
            };
            Ok(Patch { file, pieces, tensor })
        })
        .collect()
}

/// The tensor that an initialiser is, by all its uses; none if nothing of the base reads it.
/// An error names two things of which it can be either.
fn decide(
    uses: &[Use],
    before: &[Digest],
    after: &[Digest],
) -> Result<Option<usize>, (Option<usize>, Option<usize>)> {
    // Where nothing of the base reads it, it has to stay what it is.
    let all = uses.iter().flat_map(|one| match &one.fitting[..] {
        [] => vec![None],
        fitting => fitting.iter().copied().map(Some).collect(),
    });
    let content = |tensor: usize| after[tensor];
    let mut known: Option<Option<usize>> = None;
    for tensor in all {
        match (known, tensor) {
            (None, first) => known = Some(first),
            (Some(Some(one)), Some(other)) if content(one) != content(other) => {
                return Err((Some(one), Some(other)));
            }
            // That nothing of the base reads it matters only where the mask changes it.
            (Some(Some(one)), None) | (Some(None), Some(one)) if content(one) != before[one] => {
                return Err((Some(one), None));
            }
            (Some(None), Some(one)) => known = Some(Some(one)),
            _ => {}
        }
    }
    Ok(known.flatten())
}

/// Uses, initialiser by initialiser.
fn of_each_initialiser<'u>(uses: &'u [Use<'u>]) -> impl Iterator<Item = (usize, &'u [Use<'u>])> {
    uses.chunk_by(|one, next| one.initialiser == next.initialiser)
        .map(|uses| (uses[0].initialiser, uses))
}

fn no_place(base: &Weights, tensor: usize, candidates: &[&[usize]], uses: &[Use]) -> OnnxError {
    let reader = (uses.iter())
        .find(|one| candidates[one.initialiser].contains(&tensor))
        .map_or("nothing reads it".to_owned(), |one| {
            format!("operator `{}` reads it", quoted(one.operator))
        });
    OnnxError::NoPlace {
        tensor: base.architecture.tensors[tensor].name.clone(),
        reader,
    }
}

fn named(tensor: Option<usize>, base: &Weights) -> String {
    match tensor {
        Some(tensor) => format!("`{}`", base.architecture.tensors[tensor].name),
        None => "something that is no part of the base".to_owned(),
    }
}

/// The digest of an initialiser's elements, if it is as long as a tensor of the base.
fn digest_of(
    tensor: &Tensor,
    lengths: &[usize],
    file: &[u8],
    files: &Files,
) -> Result<Option<Digest>, OnnxError> {
    if tensor.data_type != FLOAT32 {
        return Ok(None);
    }
    let fits = |length: usize| length.is_multiple_of(4) && lengths.contains(&(length / 4));
    Ok(match &tensor.data {
        Data::Here(pieces) => fits(pieces.iter().map(Range::len).sum()).then(|| {
            let mut digester = Digester::default();
            pieces
                .iter()
                .for_each(|piece| digester.update(&file[piece.clone()]));
            digester.finish()
        }),
        Data::Beside(beside) => {
            let (location, place) = locate(beside, files)?;
            fits(place.len()).then(|| Digest::of(&files[&location][place]))
        }
        Data::Elsewhere => None,
    })
}
