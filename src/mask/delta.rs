//! Short forms of whole artefacts, for whoever holds something already: deltas to another mask of the site,
//! and artefacts coded with the population prior. Made by a server, undone by a device.
//!
//! What a short form yields is the whole artefact itself, byte for byte: the mask
//! is decoded with what the device holds and written anew, as its trainer wrote
//! it. So a device that was sent one holds the same file, with the same digest,
//! as one that was sent all of it, and can be sent a delta to it the next time. A
//! cascade's experts are deltas already and travel as they are.

use super::cascade::Experts;
use super::format::encode_parts;
use super::{Artefact, Coding, Header, Limits, Mask, MaskError, Prior, decode};
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
    written_whole(artefact, base, &coding)
}

/// As [`make`], for whoever holds `prior` instead of a parent.
pub fn make_with_prior(prior: &Prior, whole: &[u8], base: &Weights) -> Result<Option<Vec<u8>>, MaskError> {
    let (artefact, mask) = read(whole, base)?;
    let header = Header {
        prior: Some(prior.digest()),
        ..artefact.header
    };
    let coding = Coding {
        prior: Some(prior),
        ..Coding::default()
    };
    let experts = artefact.experts.as_ref().map(Experts::section);
    let short = encode_parts(&header, &mask, base, &coding, experts)?;
    let restored = restore_with_prior(prior, &short, base)?;
    Ok((restored == whole).then_some(short))
}

/// As [`restore`], of what [`make_with_prior`] made ([`MaskError::PriorMissing`] with another prior).
pub fn restore_with_prior(prior: &Prior, short: &[u8], base: &Weights) -> Result<Vec<u8>, MaskError> {
    let artefact = decode(short, Limits::default())?;
    if artefact.header.prior.is_none() {
        return Err(MaskError::Corrupt("it is not coded with a prior"));
    }
    let coding = Coding {
        prior: Some(prior),
        ..Coding::default()
    };
    written_whole(artefact, base, &coding)
}

/// The mask of a short form, as its trainer wrote it.
fn written_whole(short: Artefact, base: &Weights, coding: &Coding) -> Result<Vec<u8>, MaskError> {
    let mask = short.mask_with(base, coding)?;
    let experts = short.experts.as_ref().map(Experts::section);
    let header = Header {
        parent: None,
        prior: None,
        ..short.header
    };
    encode_parts(&header, &mask, base, &Coding::default(), experts)
}

fn read(whole: &[u8], base: &Weights) -> Result<(Artefact, Mask), MaskError> {
    let artefact = decode(whole, Limits::default())?;
    let mask = artefact.mask(base)?;
    Ok((artefact, mask))
}
