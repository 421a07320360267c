//! The weights of a base in canonical order.

use std::io::{self, Write};
use std::path::Path;

use rayon::prelude::*;

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
        for tensor in &self.values {
            update(&mut digester, tensor);
        }
        digester.finish()
    }

    /// The SHA-256 of each tensor of the canonical form.
    pub fn digests(&self) -> Vec<Digest> {
        let digest = |values: &Vec<f32>| {
            let mut digester = Digester::default();
            update(&mut digester, values);
            digester.finish()
        };
        self.values.par_iter().map(digest).collect()
    }
}

/// Digests `values`, in pieces: a whole tensor as bytes would be a copy of it.
fn update(digester: &mut Digester, values: &[f32]) {
    for piece in values.chunks(1024) {
        digester.update(&little_endian(piece));
    }
}

/// Writes `weights` as safetensors with canonical names in canonical order.
/// The bytes depend on the weights alone. Atomic: the file is whole or not there.
pub fn write_safetensors(weights: &Weights, path: &Path) -> io::Result<()> {
    let mut header = serde_json::Map::new();
    let mut offset = 0;
    for (spec, values) in weights.architecture.tensors.iter().zip(&weights.values) {
        let end = offset + values.len() * size_of::<f32>();
        let entry = serde_json::json!({ "dtype": "F32", "shape": spec.shape, "data_offsets": [offset, end] });
        header.insert(spec.name.clone(), entry);
        offset = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    // The format asks for spaces, so that the data begins at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        weights
            .values
            .iter()
            .try_for_each(|tensor| file.write_all(&little_endian(tensor)))
    })
}

/// Writes a file beside its place, flushes it to disk and renames it into place.
pub fn write_atomically(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let mut writer = io::BufWriter::new(file.as_file_mut());
    content(&mut writer)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The new name itself must survive a power cut, too.
    std::fs::File::open(folder)?.sync_all()
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
