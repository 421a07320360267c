//! Where channels point, in memory: a device's question costs no query.
//!
//! Loaded at the start, then kept fresh by the catalog's events, which reach
//! every server ([`Pointers::apply`] takes no step back, whatever the order).
//! Small artefacts that were read lately are kept beside it.

use std::collections::{HashMap, VecDeque};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use crate::catalog::{Catalog, CatalogError, Tx, channels, events, masks};
use crate::domain::{ChannelName, Digest, MaskVersion, SiteName};
use crate::wire::v1::events::Happening;

/// What a channel points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The mask.
    pub version: MaskVersion,
    /// The digest of its artefact.
    pub digest: Digest,
    /// Bytes of its artefact.
    pub bytes: u64,
}

/// A channel's pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    /// Counts its moves.
    pub revision: u64,
    /// Where to; `None`: devices run the plain base.
    pub target: Option<Target>,
}

/// All channels' pointers, and some artefacts.
#[derive(Debug, Default)]
pub struct Pointers {
    table: RwLock<HashMap<(SiteName, ChannelName), Pointer>>,
    artefacts: RwLock<Artefacts>,
}

/// Artefacts by digest, the oldest one going first.
#[derive(Debug, Default)]
struct Artefacts {
    kept: HashMap<Digest, Bytes>,
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Artefacts {
    /// Most bytes kept.
    const BUDGET: usize = 64 << 20;
    /// A larger artefact is read anew each time.
    const LARGEST: usize = 4 << 20;
}

impl Pointers {
    /// Where a channel points; `None`: it was never moved.
    pub fn get(&self, site: &SiteName, channel: &ChannelName) -> Option<Pointer> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&(site.clone(), channel.clone())).copied()
    }

    /// Takes a pointer over unless a newer one is there.
    pub fn apply(&self, site: SiteName, channel: ChannelName, pointer: Pointer) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let known = table.entry((site, channel)).or_insert(pointer);
        if known.revision < pointer.revision {
            *known = pointer;
        }
    }

    /// Loads all channels, and answers the event up to which that is the whole truth.
    pub async fn load(&self, catalog: &Catalog) -> Result<i64, CatalogError> {
        let mut tx = catalog.read().await?;
        let seen = events::newest(&mut tx).await?;
        for pointed in channels::pointers(&mut tx).await? {
            let target = pointed.mask.map(|mask| Target {
                version: mask.version,
                digest: mask.artefact,
                bytes: mask.bytes,
            });
            // Older than anything that an event can tell.
            let pointer = Pointer { revision: 0, target };
            self.apply(pointed.site, pointed.channel, pointer);
        }
        Ok(seen)
    }

    /// Looks at what happened after event `seen`, and answers the last event looked at.
    pub async fn refresh(&self, catalog: &Catalog, mut seen: i64) -> Result<i64, CatalogError> {
        const BATCH: u32 = 500;
        loop {
            let mut tx = catalog.read().await?;
            let happened = events::after(&mut tx, seen, None, BATCH).await?;
            for event in &happened {
                if let (Some(site), Happening::ChannelMoved { channel, .. }) = (&event.site, &event.what) {
                    self.reload(&mut tx, site, channel).await?;
                }
            }
            seen = happened.last().map_or(seen, |event| event.id);
            if happened.len() < BATCH as usize {
                return Ok(seen);
            }
        }
    }

    /// Reads one channel anew.
    pub async fn reload(
        &self,
        tx: &mut Tx,
        site: &SiteName,
        channel: &ChannelName,
    ) -> Result<(), CatalogError> {
        let Some(channel) = channels::get(tx, site, channel).await? else {
            return Ok(());
        };
        let bytes = match channel.mask {
            Some(version) => masks::get(tx, site, version).await?.map(|mask| mask.bytes),
            None => None,
        };
        let target = match (channel.mask, channel.digest, bytes) {
            (Some(version), Some(digest), Some(bytes)) => Some(Target {
                version,
                digest,
                bytes,
            }),
            _ => None,
        };
        let revision = channel.revision;
        self.apply(channel.site, channel.name, Pointer { revision, target });
        Ok(())
    }

    /// An artefact that was read lately.
    pub fn artefact(&self, digest: &Digest) -> Option<Bytes> {
        let artefacts = self.artefacts.read().unwrap_or_else(PoisonError::into_inner);
        artefacts.kept.get(digest).cloned()
    }

    /// Whether an artefact of that size is worth keeping.
    pub fn may_keep(bytes: u64) -> bool {
        bytes <= Artefacts::LARGEST as u64
    }

    /// Keeps an artefact.
    pub fn keep(&self, digest: Digest, artefact: Bytes) {
        let mut artefacts = self.artefacts.write().unwrap_or_else(PoisonError::into_inner);
        if artefact.len() > Artefacts::LARGEST || artefacts.kept.contains_key(&digest) {
            return;
        }
        artefacts.bytes += artefact.len();
        artefacts.order.push_back(digest);
        artefacts.kept.insert(digest, artefact);
        while artefacts.bytes > Artefacts::BUDGET {
            let Some(oldest) = artefacts.order.pop_front() else {
                return;
            };
            let gone = artefacts.kept.remove(&oldest).unwrap_or_default();
            artefacts.bytes -= gone.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_never_steps_back() {
        let pointers = Pointers::default();
        let (site, channel): (SiteName, ChannelName) = ("osaka".parse().unwrap(), "stable".parse().unwrap());
        let at = |revision| Pointer {
            revision,
            target: None,
        };
        for revision in [2, 1, 3, 2] {
            pointers.apply(site.clone(), channel.clone(), at(revision));
        }
        assert_eq!(pointers.get(&site, &channel), Some(at(3)));
    }

    #[test]
    fn kept_artefacts_stay_within_their_budget() {
        let pointers = Pointers::default();
        let piece = Bytes::from(vec![0; Artefacts::LARGEST]);
        let digests: Vec<Digest> = (0..20_u8).map(|number| Digest::of(&[number])).collect();
        for digest in &digests {
            pointers.keep(*digest, piece.clone());
        }
        assert!(pointers.artefact(&digests[0]).is_none());
        assert!(pointers.artefact(&digests[19]).is_some());
        assert!(pointers.artefacts.read().unwrap().bytes <= Artefacts::BUDGET);
    }
}
