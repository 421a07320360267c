//! An artefact as bytes. `docs/mask-format.md` is the specification.

use super::artefact::{Artefact, Body, Coded, Coding, Sizes};
use super::cascade::Experts;
use super::error::Unfit;
use super::header::{self, Header};
use super::{Limits, Mask, MaskError, packed};
use crate::base::{Architecture, Weights, architecture};
use crate::domain::Digest;

/// The newest format version that is read: that of a cascade.
pub const VERSION: u16 = 3;
/// The version of a single mask, which [`encode`] writes: programs that know no cascades read it.
const SINGLE: u16 = 2;

/// The first bytes. As in PNG, a transfer that changes line ends or cuts the eighth bit breaks them.
const MAGIC: [u8; 8] = *b"\x89KGM\r\n\x1a\n";
/// Magic and version; the lengths of the parts follow.
const PREFIX: usize = 8 + 2;
const CHECKSUM: usize = 32;

/// Writes an artefact that stands for itself. See [`encode_with`].
pub fn encode(header: &Header, mask: &Mask, base: &Weights) -> Result<Vec<u8>, MaskError> {
    encode_with(header, mask, base, &Coding::default())
}

/// Writes an artefact. The mask must fit the base's architecture, its
/// statistics must be settled ([`Mask::settle`]), and header and coding must
/// agree on parent and prior.
pub fn encode_with(
    header: &Header,
    mask: &Mask,
    base: &Weights,
    coding: &Coding,
) -> Result<Vec<u8>, MaskError> {
    encode_parts(header, mask, base, coding, None)
}

/// As [`encode_with`], followed by the section of a cascade's experts, if there is one.
pub(super) fn encode_parts(
    header: &Header,
    mask: &Mask,
    base: &Weights,
    coding: &Coding,
    experts: Option<&[u8]>,
) -> Result<Vec<u8>, MaskError> {
    mask.check(base.architecture).map_err(Unfit::of_caller)?;
    header::check(header).map_err(MaskError::Mismatch)?;
    let (bits, norms) = coding.encode(header, mask, base)?;
    let mut parts = vec![header::encode(header, mask, base.architecture), bits, norms];
    parts.extend(experts.map(<[u8]>::to_vec));
    let mut file = MAGIC.to_vec();
    file.extend(if experts.is_some() { VERSION } else { SINGLE }.to_le_bytes());
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
    if !(1..=VERSION).contains(&version) {
        return Err(MaskError::UnsupportedVersion(version));
    }
    let parts = if version <= SINGLE { 3 } else { 4 };
    let prefix = PREFIX + 4 * parts;
    let lengths = file.get(PREFIX..prefix).ok_or(MaskError::Truncated)?;
    let lengths: Vec<usize> = (lengths.as_chunks::<4>().0.iter())
        .map(|length| u32::from_le_bytes(*length) as usize)
        .collect();
    let content = lengths
        .iter()
        .try_fold(prefix, |sum, length| sum.checked_add(*length));
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
    let (header, rest) = content[prefix..].split_at(lengths[0]);
    let (bits, rest) = rest.split_at(lengths[1]);
    let (norms, experts) = rest.split_at(lengths[2]);

    // The message's fields are copied out of the header, none more than once.
    limits.reserve(header.len())?;
    let decoded = header::decode(header, lookup)?;
    let body = if version == 1 {
        let mask = packed::read(&decoded, bits, norms, &mut limits)?;
        mask.check(decoded.architecture).map_err(Unfit::of_file)?;
        Body::Plain(mask)
    } else {
        let delta = decoded.header.parent.is_some();
        Body::Coded(Coded::read(&decoded, bits, norms, delta, &mut limits)?)
    };
    let experts = if parts == 4 {
        Some(Experts::read(experts, &decoded, &mut limits)?)
    } else {
        None
    };
    Ok(Artefact {
        header: decoded.header,
        architecture: decoded.architecture,
        version,
        sizes: Sizes {
            frame: prefix + CHECKSUM,
            header: lengths[0],
            bits: lengths[1],
            norms: lengths[2],
            experts: experts.as_ref().map(|experts| experts.sizes),
        },
        masked: decoded.masked,
        moved: decoded.moved,
        body,
        experts,
    })
}
