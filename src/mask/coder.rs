//! How the bits of a mask are stored: packed, then zstd.
//!
//! Everything else in this module sees only [`compress`] and [`expand`], so
//! that a better coder replaces this file and raises the format's version.

use super::{Limits, MaskError};

/// zstd's level: the highest that needs no more memory than the bits themselves.
const LEVEL: i32 = 19;

/// Compresses packed bits.
pub(super) fn compress(packed: &[u8]) -> Result<Vec<u8>, MaskError> {
    zstd::bulk::compress(packed, LEVEL).map_err(|_| MaskError::Mismatch("its bits could not be compressed"))
}

/// Expands to exactly `length` bytes, never to more.
pub(super) fn expand(compressed: &[u8], length: usize, limits: &mut Limits) -> Result<Vec<u8>, MaskError> {
    limits.reserve(length)?;
    let packed = zstd::bulk::decompress(compressed, length)
        .map_err(|_| MaskError::Corrupt("its bits do not expand"))?;
    if packed.len() == length {
        Ok(packed)
    } else {
        Err(MaskError::Corrupt("its bits are too few"))
    }
}
