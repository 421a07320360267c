//! An artefact as bytes. `docs/mask-format.md` is the specification.

use super::error::Unfit;
use super::header::{self, Decoded, Header};
use super::{Bits, Limits, Mask, MaskError, coder};
use crate::base::{Architecture, architecture};
use crate::domain::Digest;

/// The newest format version, which [`encode`] writes.
pub const VERSION: u16 = 1;

/// The first bytes. As in PNG, a transfer that changes line ends or cuts the eighth bit breaks them.
const MAGIC: [u8; 8] = *b"\x89KGM\r\n\x1a\n";
/// Magic, version, and the lengths of the three parts.
const PREFIX: usize = 8 + 2 + 4 * 3;
const CHECKSUM: usize = 32;

/// A mask with its header, as a file holds them.
#[derive(Debug, Clone, PartialEq)]
pub struct Artefact {
    /// What the mask is bound to and where it comes from.
    pub header: Header,
    /// The architecture that the header names.
    pub architecture: &'static Architecture,
    /// The mask.
    pub mask: Mask,
    /// Where the bytes of the file go.
    pub sizes: Sizes,
}

/// The bytes of each part of an artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sizes {
    /// Magic, version, lengths and checksum.
    pub frame: usize,
    /// The header.
    pub header: usize,
    /// The mask's bits, compressed.
    pub bits: usize,
    /// BatchNorm statistics.
    pub norms: usize,
}

impl Sizes {
    /// The whole file.
    pub fn total(&self) -> usize {
        self.frame + self.header + self.bits + self.norms
    }
}

/// Writes an artefact. The mask must fit the architecture.
pub fn encode(header: &Header, mask: &Mask, architecture: &Architecture) -> Result<Vec<u8>, MaskError> {
    mask.check(architecture).map_err(Unfit::of_caller)?;
    header::check(header).map_err(MaskError::Mismatch)?;
    let packed: Vec<u8> = mask
        .tensors
        .values()
        .flat_map(|bits| bits.as_bytes().iter().copied())
        .collect();
    let parts = [
        header::encode(header, mask, architecture),
        coder::compress(&packed)?,
        mask.norms
            .values()
            .flatten()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
    ];
    let mut file = MAGIC.to_vec();
    file.extend(VERSION.to_le_bytes());
    for part in &parts {
        let length =
            u32::try_from(part.len()).map_err(|_| MaskError::Mismatch("a part is longer than 4 GiB"))?;
        file.extend(length.to_le_bytes());
    }
    file.extend(parts.iter().flatten());
    let checksum = Digest::of(&file);
    file.extend(checksum.as_bytes());
    Ok(file)
}

/// Reads an artefact. Nothing of it is believed before its checksum was right.
pub fn decode(file: &[u8], limits: Limits) -> Result<Artefact, MaskError> {
    decode_with(file, limits, architecture)
}

/// As [`decode`], with the caller's own table of architectures.
pub fn decode_with(
    file: &[u8],
    mut limits: Limits,
    lookup: impl Fn(&str) -> Option<&'static Architecture>,
) -> Result<Artefact, MaskError> {
    let shared = MAGIC.len().min(file.len());
    if file[..shared] != MAGIC[..shared] {
        return Err(MaskError::NotAnArtefact);
    }
    let Some((prefix, _)) = file.split_first_chunk::<PREFIX>() else {
        return Err(MaskError::Truncated);
    };
    let version = u16::from_le_bytes([prefix[8], prefix[9]]);
    if version != VERSION {
        return Err(MaskError::UnsupportedVersion(version));
    }
    let length = |part: usize| {
        let at = 10 + 4 * part;
        u32::from_le_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]]) as usize
    };
    let lengths = [length(0), length(1), length(2)];
    let content = lengths
        .iter()
        .try_fold(PREFIX, |sum, length| sum.checked_add(*length));
    let whole = content
        .and_then(|content| content.checked_add(CHECKSUM))
        .ok_or(MaskError::Truncated)?;
    if file.len() < whole {
        return Err(MaskError::Truncated);
    }
    let (content, checksum) = file.split_at(whole - CHECKSUM);
    if checksum != Digest::of(content).as_bytes() {
        return Err(MaskError::Corrupt(
            "its checksum is wrong, or something follows its end",
        ));
    }
    let (header, rest) = content[PREFIX..].split_at(lengths[0]);
    let (bits, norms) = rest.split_at(lengths[1]);

    // The message's fields are copied out of the header, none more than once.
    limits.reserve(header.len())?;
    let decoded = header::decode(header, lookup)?;
    let mask = read_mask(&decoded, bits, norms, &mut limits)?;
    mask.check(decoded.architecture).map_err(Unfit::of_file)?;
    let sizes = Sizes {
        frame: PREFIX + CHECKSUM,
        header: lengths[0],
        bits: lengths[1],
        norms: lengths[2],
    };
    Ok(Artefact {
        header: decoded.header,
        architecture: decoded.architecture,
        mask,
        sizes,
    })
}

/// Reads the bits of the tensors and the statistics that a header names.
fn read_mask(decoded: &Decoded, bits: &[u8], norms: &[u8], limits: &mut Limits) -> Result<Mask, MaskError> {
    let tensors = &decoded.architecture.tensors;
    let bytes_of = |index: &usize| tensors[*index].len().div_ceil(8);
    let expected: usize = decoded.moved.iter().map(|index| tensors[*index].len()).sum();
    if norms.len() != expected * size_of::<f32>() {
        return Err(MaskError::Corrupt(
            "its BatchNorm statistics are too few or too many",
        ));
    }
    let length = decoded.masked.iter().map(bytes_of).sum();
    let packed = coder::expand(bits, length, limits)?;
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
