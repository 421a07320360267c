//! Asks what a channel points at, for as few bytes as there is a way for: none
//! for an artefact that is here, those of a delta to one that is here, those of its form for who holds the
//! population prior, else all of it.
//!
//! Whatever way it came, the artefact is the same file with the same digest, so
//! nothing that comes after has to know. A way that fails is logged and left for the next one.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::pull::{LONGEST_MASK, blocking};
use super::{DeviceFolder, EdgeError, Slot, prior, verify};
use crate::base::{Weights, import};
use crate::client::{AnnouncedMask, Announcement, ChannelMask, ChannelState, Client};
use crate::domain::{ChannelName, Digest, SiteName, delta};
use crate::mask::{self, MaskError};

/// What getting a mask's artefact took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fetched {
    /// Bytes that were fetched, those of a delta that led nowhere included.
    pub bytes: u64,
    /// Bytes of the artefact.
    pub artefact_bytes: u64,
    /// Whether it came as a delta.
    pub delta: bool,
    /// Whether it came coded with the population prior.
    #[serde(default)]
    pub with_prior: bool,
}

/// A mask that is here.
#[derive(Debug, Clone, Copy)]
struct Here {
    slot: Slot,
    artefact: Digest,
}

/// What `channel` points at, and what it took to get its mask. `known` need not be sent again.
pub(super) async fn ask(
    client: &Client,
    folder: &Arc<DeviceFolder>,
    site: &SiteName,
    channel: &ChannelName,
    known: Option<Digest>,
) -> Result<(ChannelState, Fetched), EdgeError> {
    let mut fetched = Fetched::default();
    let here = here(folder)?;
    if !here.is_empty() {
        match client.announced_mask(site, channel, known).await? {
            Announcement::Unchanged => return Ok((ChannelState::Unchanged, fetched)),
            Announcement::Mask(wanted) => {
                let mut short = short_way(client, folder, site, &here, &wanted, &mut fetched).await;
                if short.is_none() {
                    short = prior::short_way(client, folder, site, &wanted, &mut fetched).await;
                }
                if let Some(bytes) = short {
                    fetched.artefact_bytes = wanted.bytes;
                    let mask = ChannelMask {
                        version: Some(wanted.version),
                        digest: wanted.digest,
                        bytes,
                    };
                    return Ok((ChannelState::Mask(mask), fetched));
                }
            }
            Announcement::Unclear => {}
        }
    }
    let state = client.channel_mask(site, channel, known, LONGEST_MASK).await?;
    if let ChannelState::Mask(mask) = &state {
        fetched.artefact_bytes = mask.bytes.len() as u64;
        fetched.bytes += fetched.artefact_bytes;
    }
    Ok((state, fetched))
}

/// The mask that runs and the one before it. None while the plain base runs: its channel mostly points at
/// none, and an answer without content cannot say so.
fn here(folder: &DeviceFolder) -> Result<Vec<Here>, EdgeError> {
    let of = |weights: Option<Digest>| {
        let slot = folder.slot(&weights?)?;
        let artefact = slot.release.digest()?;
        Some(Here { slot, artefact })
    };
    let Some(current) = of(folder.current()?) else {
        return Ok(Vec::new());
    };
    let previous = of(folder.state()?.previous);
    Ok([current].into_iter().chain(previous).collect())
}

/// The artefact `wanted`, if it is here or if the server has a delta to what runs here.
async fn short_way(
    client: &Client,
    folder: &Arc<DeviceFolder>,
    site: &SiteName,
    here: &[Here],
    wanted: &AnnouncedMask,
    fetched: &mut Fetched,
) -> Option<Bytes> {
    let (digest, version) = (wanted.digest, wanted.version);
    if let Some(same) = here.iter().find(|here| here.artefact == digest) {
        let bytes = fs::read(folder.artefact(&same.slot.weights)).ok();
        // A damaged one comes whole: disks that lose bits are rarer than reasons for more ways.
        return bytes.filter(|bytes| Digest::of(bytes) == digest).map(Bytes::from);
    }
    let parent = *here.first().filter(|_| delta::may_help(wanted.bytes))?;
    let sent = client
        .mask_delta(site, version, &parent.artefact, wanted.bytes)
        .await;
    let restored = match sent {
        Ok(None) => return None,
        Ok(Some(sent)) => {
            fetched.bytes += sent.len() as u64;
            blocking(folder, move |folder| restored(folder, &parent, &sent, digest)).await
        }
        Err(error) => Err(error.into()),
    };
    match restored {
        Ok(bytes) => {
            fetched.delta = true;
            Some(bytes)
        }
        Err(error) => {
            tracing::warn!(%error, %version, "the delta is of no use, fetching the whole mask");
            None
        }
    }
}

/// The artefact with digest `expected`, out of a delta to a mask that is here.
fn restored(folder: &DeviceFolder, parent: &Here, sent: &[u8], expected: Digest) -> Result<Bytes, EdgeError> {
    let path = folder.artefact(&parent.slot.weights);
    let before = fs::read(&path).map_err(EdgeError::at(&path))?;
    whole(folder, &parent.slot.base, expected, |weights| {
        mask::delta::restore(&before, sent, weights)
    })
}

/// The artefact with digest `expected` that `restore` makes of a short form, with the weights of `base`.
pub(super) fn whole(
    folder: &DeviceFolder,
    base: &Digest,
    expected: Digest,
    restore: impl FnOnce(&Weights) -> Result<Vec<u8>, MaskError>,
) -> Result<Bytes, EdgeError> {
    let architecture =
        verify::architecture_of(folder, base).ok_or_else(|| EdgeError::Empty(folder.root().to_owned()))?;
    let whole = restore(&import(architecture, &folder.model(base))?)?;
    match Digest::of(&whole) {
        given if given == expected => Ok(whole.into()),
        given => Err(EdgeError::DeltaAstray { expected, given }),
    }
}
