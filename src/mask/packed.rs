//! The bits and statistics of version 1: as they are, the bits behind zstd. Read, no longer written.

use super::header::Decoded;
use super::{Bits, Limits, Mask, MaskError};

/// Reads the bits of the tensors and the statistics that a header names.
pub(super) fn read(
    decoded: &Decoded,
    bits: &[u8],
    norms: &[u8],
    limits: &mut Limits,
) -> Result<Mask, MaskError> {
    let tensors = &decoded.architecture.tensors;
    let bytes_of = |index: &usize| tensors[*index].len().div_ceil(8);
    let expected: usize = decoded.moved.iter().map(|index| tensors[*index].len()).sum();
    if norms.len() != expected * size_of::<f32>() {
        return Err(MaskError::Corrupt(
            "its BatchNorm statistics are too few or too many",
        ));
    }
    let length = decoded.masked.iter().map(bytes_of).sum();
    let packed = expand(bits, length, limits)?;
    // Each tensor's own copy of its bits, and the statistics.
    limits.reserve(length)?;
    limits.reserve(norms.len())?;

    let mut mask = Mask::default();
    let mut rest = packed.as_slice();
    for index in &decoded.masked {
        let (own, after) = rest.split_at(bytes_of(index));
        rest = after;
        let bits = Bits::from_bytes(own.to_vec(), tensors[*index].len())
            .ok_or(MaskError::Corrupt("a bit lies past the end of its tensor"))?;
        mask.tensors.insert(*index, bits);
    }
    let mut floats = norms
        .chunks_exact(4)
        .map(|raw| f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]));
    for index in &decoded.moved {
        let values = floats.by_ref().take(tensors[*index].len()).collect();
        mask.norms.insert(*index, values);
    }
    Ok(mask)
}

/// Expands to exactly `length` bytes, never to more.
fn expand(compressed: &[u8], length: usize, limits: &mut Limits) -> Result<Vec<u8>, MaskError> {
    limits.reserve(length)?;
    let packed = zstd::bulk::decompress(compressed, length)
        .map_err(|_| MaskError::Corrupt("its bits do not expand"))?;
    if packed.len() == length {
        Ok(packed)
    } else {
        Err(MaskError::Corrupt("its bits are too few"))
    }
}
