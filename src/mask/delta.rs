//! Deltas between whole artefacts: made by a server, undone by a device.
//!
//! What a delta yields is the whole artefact itself, byte for byte: the mask is
//! decoded with the parent's and written anew, as its trainer wrote it. So a
//! device that was sent a delta holds the same file, with the same digest, as
//! one that was sent all of it, and can be sent a delta to it the next time. A
//! cascade's experts are deltas already and travel as they are.

use super::cascade::Experts;
use super::format::encode_parts;
use super::{Artefact, Coding, Header, Limits, Mask, MaskError, decode};
use crate::base::Weights;
use crate::domain::Digest;

/// The delta that [`restore`] makes the artefact `whole` of, with `parent`; both over `base`.
///
/// None if `whole` cannot be written anew as it is, because another version or
/// level wrote it. Fails if either is no whole artefact over `base`, or if they mask other tensors.
pub fn make(parent: &[u8], whole: &[u8], base: &Weights) -> Result<Option<Vec<u8>>, MaskError> {
    let (_, before) = read(parent, base)?;
    let (artefact, mask) = read(whole, base)?;
    let header = Header {
        parent: Some(Digest::of(parent)),
        ..artefact.header
    };
    let coding = Coding {
        parent: Some(&before),
        ..Coding::default()
    };
    let experts = artefact.experts.as_ref().map(Experts::section);
    let delta = encode_parts(&header, &mask, base, &coding, experts)?;
    let restored = restore(parent, &delta, base)?;
    Ok((restored == whole).then_some(delta))
}

/// The whole artefact that `delta` stands for. `parent` must be the artefact
/// that it names ([`MaskError::ParentMissing`] otherwise). Whoever knows the
/// whole one's digest compares it.
pub fn restore(parent: &[u8], delta: &[u8], base: &Weights) -> Result<Vec<u8>, MaskError> {
    let artefact = decode(delta, Limits::default())?;
    match artefact.header.parent {
        Some(named) if named == Digest::of(parent) => {}
        Some(other) => return Err(MaskError::ParentMissing(other)),
        None => return Err(MaskError::Corrupt("it is no delta")),
    }
    let (_, before) = read(parent, base)?;
    let coding = Coding {
        parent: Some(&before),
        ..Coding::default()
    };
    let mask = artefact.mask_with(base, &coding)?;
    let header = Header {
        parent: None,
        ..artefact.header
    };
    let experts = artefact.experts.as_ref().map(Experts::section);
    encode_parts(&header, &mask, base, &Coding::default(), experts)
}

fn read(whole: &[u8], base: &Weights) -> Result<(Artefact, Mask), MaskError> {
    let artefact = decode(whole, Limits::default())?;
    let mask = artefact.mask(base)?;
    Ok((artefact, mask))
}
