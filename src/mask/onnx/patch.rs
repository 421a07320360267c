//! Writes masked weights where the base's lie, and the files that come out.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::OnnxError;
use super::external::Files;
use super::find::Patch;
use crate::base::{Weights, write_atomically};

/// Overwrites what `patches` name in the model and in its files of data.
pub(super) fn overwrite(patches: &[Patch], masked: &Weights, model: &mut [u8], files: &mut Files) {
    for patch in patches {
        let bytes = match &patch.file {
            None => &mut *model,
            Some(file) => match files.get_mut(file) {
                Some(bytes) => bytes,
                None => continue,
            },
        };
        overwrite_pieces(bytes, &patch.pieces, &masked.values[patch.tensor]);
    }
}

/// Pieces are whole numbers of elements, and as long as `values` together.
fn overwrite_pieces(bytes: &mut [u8], pieces: &[Range<usize>], values: &[f32]) {
    let mut values = values.iter();
    for piece in pieces {
        for (place, value) in bytes[piece.clone()].chunks_exact_mut(4).zip(values.by_ref()) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// Writes the files of data, then the model: whoever sees the new model sees
/// its data. No file of data is written over another file, since a model
/// without its own data would be neither the old nor the new one.
pub(super) fn write(model: &[u8], files: &Files, out: &Path) -> Result<(), OnnxError> {
    let folder = out.parent().unwrap_or(Path::new(""));
    for location in files.keys() {
        let path = folder.join(location);
        let occupied = |what| OnnxError::Occupied {
            path: path.clone(),
            what,
        };
        if path == out {
            return Err(occupied("is to be the model"));
        }
        if fs::symlink_metadata(&path).is_ok() {
            return Err(occupied("is there already"));
        }
    }
    let mut written = Vec::new();
    let outcome = write_all(model, files, folder, out, &mut written);
    if outcome.is_err() {
        // Half an output is none. What cannot be removed does no harm without its model.
        written.iter().for_each(|path| drop(fs::remove_file(path)));
    }
    outcome
}

fn write_all(
    model: &[u8],
    files: &Files,
    folder: &Path,
    out: &Path,
    written: &mut Vec<PathBuf>,
) -> Result<(), OnnxError> {
    for (location, bytes) in files {
        let path = folder.join(location);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        write_atomically(&path, |file| file.write_all(bytes)).map_err(at(&path))?;
        written.push(path);
    }
    write_atomically(out, |file| file.write_all(model)).map_err(at(out))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> OnnxError + use<> {
    let path = path.to_owned();
    move |source| OnnxError::Write { path, source }
}
