//! Lays a mask over an ONNX export of the base.
//!
//! The base's tensors are found among the export's initialisers by the digest
//! of their bytes, and the masked ones are written over them in place;
//! everything else stays byte for byte, since the file is only walked
//! through, never decoded and encoded again. Exports that do not hold the base's
//! weights as they are (folded, quantised, of another base) are refused with the reason.
//! `docs/onnx.md` is the page for users.
//!
//! - `walker`: protobuf on the wire; `model`: what matters of a model
//! - `external`: files of data beside the model
//! - `find`: which initialiser is which tensor; `neighbours`: what the graph says of that
//! - `refuse`: why an export cannot be used
//! - `patch`: writing

mod error;
mod external;
mod find;
mod model;
mod neighbours;
mod patch;
mod refuse;
mod walker;

use std::path::Path;

pub use error::OnnxError;

use external::Files;
use find::patches;
use model::Model;

use super::Limits;
use crate::base::Weights;

/// The export that works, proved by `make check-torch`, as the end of a sentence of refusal.
const EXPORT: &str = "Export the base with `torch.onnx.export(model.eval(), (x,), path, dynamo=True, optimize=False, external_data=False)`";

/// What a model may take: a protobuf message ends at 2 GiB, too.
const MEMORY: usize = 2 << 30;

/// Makes the ONNX file `export` of `base` one of `masked` and writes it to
/// `out`, and files of data that it names to the same places beside `out`.
/// Nothing is written unless all of the base was found.
pub fn apply_to_onnx(base: &Weights, masked: &Weights, export: &Path, out: &Path) -> Result<(), OnnxError> {
    let mut limits = Limits::new(MEMORY);
    let mut file = external::read(export, &mut limits)?;
    let model = Model::read(&file, &mut limits)?;
    let folder = export.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut files = external::read_all(folder.unwrap_or(Path::new(".")), &model, &mut limits)?;
    let patches = patches(base, masked, &file, &model, &files, &mut limits)?;
    patch::overwrite(&patches, masked, &mut file, &mut files);
    patch::write(&file, &files, out)
}

/// The same for an export in memory, which must hold all its data itself. On
/// an error `model` stays as it is.
pub fn patch_onnx(
    base: &Weights,
    masked: &Weights,
    model: &mut [u8],
    mut limits: Limits,
) -> Result<(), OnnxError> {
    let read = Model::read(model, &mut limits)?;
    if read.beside().next().is_some() {
        return Err(OnnxError::Beside);
    }
    let mut files = Files::new();
    let patches = patches(base, masked, model, &read, &files, &mut limits)?;
    patch::overwrite(&patches, masked, model, &mut files);
    Ok(())
}

/// Takes memory from the budget.
fn reserve(limits: &mut Limits, bytes: usize) -> Result<(), OnnxError> {
    limits.reserve(bytes).map_err(|_| OnnxError::LimitExceeded)
}

#[cfg(test)]
mod tests;
