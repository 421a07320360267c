//! Writes changed weights into a copy of a safetensors file, leaving
//! everything else of it as it was.

use std::collections::HashMap;
use std::path::Path;
use std::{fs, io};

use super::naming::canonical_name;
use super::{Weights, write_atomically};

/// Copies the safetensors file `from` to `to` with the elements of `weights`
/// in it. Names, order, metadata and tensors that are no part of the
/// architecture stay byte for byte; so do the types: a tensor that is not
/// float32 in the file is an error, since its weights could not be kept exactly.
pub fn overlay_safetensors(from: &Path, weights: &Weights, to: &Path) -> io::Result<()> {
    let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut file = fs::read(from)?;
    let (header, data_at) = {
        let (length, rest) = file
            .split_first_chunk::<8>()
            .ok_or_else(|| damaged("it is cut short".to_owned()))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let header = rest
            .get(..length)
            .ok_or_else(|| damaged("its header is cut short".to_owned()))?;
        let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header)?;
        (header, 8 + length)
    };
    let places: HashMap<String, &serde_json::Value> = (header.iter())
        .filter_map(|(name, entry)| Some((canonical_name(weights.architecture, name)?, entry)))
        .collect();
    for (spec, values) in weights.architecture.tensors.iter().zip(&weights.values) {
        let wrong = || {
            damaged(format!(
                "tensor `{}` is not there as float32, as laying a mask over it needs",
                spec.name
            ))
        };
        let entry = places.get(&spec.name).ok_or_else(wrong)?;
        let offset = |index: usize| {
            entry["data_offsets"][index]
                .as_u64()
                .and_then(|at| usize::try_from(at).ok())
        };
        let (begin, end) = (offset(0).ok_or_else(wrong)?, offset(1).ok_or_else(wrong)?);
        let (begin, end) = (data_at.checked_add(begin), data_at.checked_add(end));
        let place = begin
            .zip(end)
            .and_then(|(begin, end)| file.get_mut(begin..end))
            .ok_or_else(wrong)?;
        if entry["dtype"] != "F32" || place.len() != values.len() * 4 {
            return Err(wrong());
        }
        for (bytes, value) in place.chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }
    write_atomically(to, |out| out.write_all(&file))
}
