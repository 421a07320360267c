//! Moving a channel: load, rule, store, audit in one transaction.

use super::Pointers;
use crate::catalog::channels::Why;
use crate::catalog::{Catalog, CatalogError, Tx, bases, channels, masks, sites};
use crate::domain::channel::{Current, Move, MoveRefused};
use crate::domain::permission::Actor;
use crate::domain::{ChannelName, ErrorKind, Problem, SiteName};
use crate::wire::v1::channels::{Channel, ChannelChange};

/// Why a channel was not moved.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] MoveRefused),
    /// Somebody else moved it.
    #[error(
        "channel `{channel}` of `{site}` is at revision {now}, not {expected}: somebody moved it meanwhile; look at it again"
    )]
    Moved {
        /// The site.
        site: SiteName,
        /// The channel.
        channel: ChannelName,
        /// The revision that the caller has seen.
        expected: u64,
        /// The revision that it is at.
        now: u64,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Problem for ReleaseError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(error) => error.kind(),
            Self::Moved { .. } => ErrorKind::PreconditionFailed,
            Self::Catalog(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused(error) => error.code(),
            Self::Moved { .. } => "channel_moved",
            Self::Catalog(error) => error.code(),
        }
    }
}

/// Moves a channel, if it still is at revision `expected` (`None`: wherever it is).
pub async fn set_channel(
    catalog: &Catalog,
    pointers: &Pointers,
    actor: &Actor,
    site: &SiteName,
    name: &ChannelName,
    change: &ChannelChange,
    expected: Option<u64>,
) -> Result<Channel, ReleaseError> {
    let mut tx = catalog.begin().await?;
    let before = channels::get_for_update(&mut tx, site, name).await?;
    if let Some(expected) = expected.filter(|revision| *revision != before.revision) {
        return Err(ReleaseError::Moved {
            site: site.clone(),
            channel: name.clone(),
            expected,
            now: before.revision,
        });
    }
    let candidate = match change.mask {
        Some(version) => Some((
            masks::candidate(&mut tx, site, version).await?,
            current(&mut tx, site).await?,
        )),
        None => None,
    };
    let asked = Move {
        reason: change.reason.clone(),
        force: change.force,
    };
    let fitted = candidate.as_ref().map(|(mask, current)| (mask, current));
    let (after, overrides) = before.moved_to(fitted, actor, &asked)?;
    let why = Why {
        overrides,
        reason: asked.reason,
    };
    let moved = channels::put(&mut tx, &before, &after, &why, &actor.to_string()).await?;
    tx.commit().await?;
    // Who moved it sees it moved, whether the event has come round or not. A
    // failure here is no failure of the move: the refresher looks again.
    let mut tx = catalog.read().await?;
    if let Err(error) = pointers.reload(&mut tx, site, name).await {
        tracing::warn!(%error, "the pointer of a moved channel will be fresh in a moment");
    }
    Ok(moved)
}

/// What a mask of the site should fit.
async fn current(tx: &mut Tx, site: &SiteName) -> Result<Current, CatalogError> {
    let base = bases::active(tx).await?.ok_or(CatalogError::NoBase)?;
    Ok(Current {
        base: base.manifest.digest,
        view: sites::needed(tx, site).await?.view,
    })
}
