//! Tensors in files beside the model ("external data").

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::error::quoted;
use super::model::{Beside, Model};
use super::{OnnxError, reserve};
use crate::mask::Limits;

/// The files that a model's tensors lie in besides the model, by their path relative to its folder.
pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Reads a regular file, whose length comes from `limits`.
pub(super) fn read(path: &Path, limits: &mut Limits) -> Result<Vec<u8>, OnnxError> {
    let unreadable = |source| OnnxError::Read {
        path: path.to_owned(),
        source,
    };
    // Asked before it is opened: opening a pipe waits for its writer.
    let about = fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "this is not a file");
        return Err(unreadable(source));
    }
    let length = usize::try_from(about.len()).map_err(|_| OnnxError::LimitExceeded)?;
    reserve(limits, length)?;
    let mut bytes = Vec::with_capacity(length);
    File::open(path)
        .and_then(|file| file.take(about.len()).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    Ok(bytes)
}

/// Reads all files that `model`, which lies in `folder`, names, and checks
/// every place in them, whether or not it is one of a base's tensor.
pub(super) fn read_all(folder: &Path, model: &Model, limits: &mut Limits) -> Result<Files, OnnxError> {
    let mut files = Files::new();
    let mut places = Vec::new();
    for beside in model.beside() {
        let wrong = |what| OnnxError::External {
            location: quoted(beside.location),
            what,
        };
        if beside.checksum {
            return Err(wrong("has a checksum, which would be wrong with the mask"));
        }
        let location = location(beside)?;
        if !files.contains_key(&location) {
            files.insert(location.clone(), read_below(folder, &location, beside, limits)?);
        }
        let place = place_in(beside, &files[&location])?;
        if !place.is_empty() {
            reserve(
                limits,
                2 * size_of::<(PathBuf, Range<usize>)>() + location.as_os_str().len(),
            )?;
            places.push((location, place.start, place.end));
        }
    }
    // Where two tensors share bytes, patching one would change the other. The
    // very same place is one content with two names, like two equal tensors.
    places.sort();
    for pair in places.windows(2) {
        let [(file, start, end), (next_file, next_start, next_end)] = pair else {
            continue;
        };
        if file == next_file && next_start < end && (start, end) != (next_start, next_end) {
            return Err(OnnxError::External {
                location: quoted(file.as_os_str().as_encoded_bytes()),
                what: "has tensors that overlap",
            });
        }
    }
    Ok(files)
}

/// The file and the place in it that `beside` names.
pub(super) fn locate(beside: &Beside, files: &Files) -> Result<(PathBuf, Range<usize>), OnnxError> {
    let location = location(beside)?;
    let file = files.get(&location).ok_or(OnnxError::Beside)?;
    Ok((location, place_in(beside, file)?))
}

fn place_in(beside: &Beside, file: &[u8]) -> Result<Range<usize>, OnnxError> {
    let end = match beside.length {
        Some(length) => beside.offset.checked_add(length),
        None => Some((file.len() as u64).max(beside.offset)),
    };
    end.filter(|end| *end <= file.len() as u64)
        .map(|end| beside.offset as usize..end as usize)
        .ok_or_else(|| OnnxError::External {
            location: quoted(beside.location),
            what: "is cut short",
        })
}

/// The path of a file of data, relative to the model's folder and surely below it.
fn location(beside: &Beside) -> Result<PathBuf, OnnxError> {
    let outside = || OnnxError::Outside(quoted(beside.location));
    let text = str::from_utf8(beside.location).map_err(|_| outside())?;
    // A backslash separates folders elsewhere, and the output may be used there.
    if text.contains(['\\', '\0']) {
        return Err(outside());
    }
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return Err(outside()),
        }
    }
    if path.as_os_str().is_empty() {
        return Err(outside());
    }
    Ok(path)
}

/// Reads a file of data, if links do not lead out of the model's folder.
fn read_below(
    folder: &Path,
    location: &Path,
    beside: &Beside,
    limits: &mut Limits,
) -> Result<Vec<u8>, OnnxError> {
    let path = folder.join(location);
    let real = |path: &Path| {
        fs::canonicalize(path).map_err(|source| OnnxError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let found = real(&path)?;
    if !found.starts_with(real(folder)?) {
        return Err(OnnxError::Outside(quoted(beside.location)));
    }
    read(&found, limits)
}
