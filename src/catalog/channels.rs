//! Channels: where each points, and everything that ever moved it.

use serde_json::json;

use super::dialect::{Count, PerDialect, text};
use super::{CatalogError, Tx, audit, events, paging, sites};
use crate::domain::channel;
use crate::domain::{ChannelName, Digest, MaskVersion, SiteName, Timestamp};
use crate::wire::v1::channels::{Channel, ChannelMove};
use crate::wire::v1::events::Happening;
use crate::wire::v1::page::{Page, PageQuery};

/// Where a channel points, for those who are asked by every device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The site.
    pub site: SiteName,
    /// The channel.
    pub channel: ChannelName,
    /// The mask and its artefact; `None`: the plain base.
    pub mask: Option<PointedMask>,
}

/// The mask that a channel points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointedMask {
    /// Its version.
    pub version: MaskVersion,
    /// SHA-256 of its artefact.
    pub artefact: Digest,
    /// Bytes of its artefact.
    pub bytes: u64,
}

/// How a channel is moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Why {
    /// Whether the move overrides the gate or the site's view.
    pub overrides: bool,
    /// Why, in a person's words.
    pub reason: Option<String>,
}

#[derive(sqlx::FromRow)]
struct ChannelRow {
    site: SiteName,
    name: ChannelName,
    mask: Option<MaskVersion>,
    artefact: Option<Digest>,
    bytes: Option<Count>,
    revision: Count,
    updated_at: Timestamp,
}

impl From<ChannelRow> for Channel {
    fn from(row: ChannelRow) -> Self {
        Self {
            site: row.site,
            name: row.name,
            mask: row.mask,
            digest: row.artefact,
            revision: row.revision.0,
            updated_at: Some(row.updated_at),
        }
    }
}

impl From<ChannelRow> for Pointer {
    fn from(row: ChannelRow) -> Self {
        let mask = match (row.mask, row.artefact, row.bytes) {
            (Some(version), Some(artefact), Some(bytes)) => Some(PointedMask {
                version,
                artefact,
                bytes: bytes.0,
            }),
            _ => None,
        };
        Self {
            site: row.site,
            channel: row.name,
            mask,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT channel.site, channel.name, channel.mask, mask.artefact, mask.bytes, channel.revision,
                channel.updated_at
             FROM channel LEFT JOIN mask ON mask.site = channel.site AND mask.version = channel.mask ",
            $rest
        )
    };
}

/// A channel that is about to be moved, kept from being moved by others until
/// this transaction ends. One that was never moved is at revision 0.
pub async fn get_for_update(
    tx: &mut Tx,
    site: &SiteName,
    name: &ChannelName,
) -> Result<channel::Channel, CatalogError> {
    const SQL: PerDialect = locking!(
        "SELECT mask, revision FROM channel WHERE site = $1 AND name = $2",
        "FOR UPDATE"
    );
    let sql = tx.text(SQL);
    let row: Option<(Option<MaskVersion>, Count)> =
        on!(tx, db => sqlx::query_as(sql).bind(site).bind(name).fetch_optional(db).await?);
    if let Some((mask, revision)) = row {
        return Ok(channel::Channel {
            site: site.clone(),
            name: name.clone(),
            mask,
            revision: revision.0,
        });
    }
    sites::needed(tx, site).await?;
    Ok(channel::Channel::new(site.clone(), name.clone()))
}

/// A channel, if it was ever moved.
pub async fn get(tx: &mut Tx, site: &SiteName, name: &ChannelName) -> Result<Option<Channel>, CatalogError> {
    const SQL: &str = select!("WHERE channel.site = $1 AND channel.name = $2");
    let row: Option<ChannelRow> =
        on!(tx, db => sqlx::query_as(SQL).bind(site).bind(name).fetch_optional(db).await?);
    Ok(row.map(Channel::from))
}

/// The channels of a site by name.
pub async fn list(tx: &mut Tx, site: &SiteName) -> Result<Vec<Channel>, CatalogError> {
    const SQL: &str = select!("WHERE channel.site = $1 ORDER BY channel.name");
    let rows: Vec<ChannelRow> = on!(tx, db => sqlx::query_as(SQL).bind(site).fetch_all(db).await?);
    Ok(rows.into_iter().map(Channel::from).collect())
}

/// Where all channels of all sites point.
pub async fn pointers(tx: &mut Tx) -> Result<Vec<Pointer>, CatalogError> {
    const SQL: &str = select!("ORDER BY channel.site, channel.name");
    let rows: Vec<ChannelRow> = on!(tx, db => sqlx::query_as(SQL).fetch_all(db).await?);
    Ok(rows.into_iter().map(Pointer::from).collect())
}

/// Stores `after`, the move of `before` (see [`channel::Channel::moved_to`]).
/// [`CatalogError::ChannelMoved`] if the channel is not at `before` any more.
pub async fn put(
    tx: &mut Tx,
    before: &channel::Channel,
    after: &channel::Channel,
    why: &Why,
    by: &str,
) -> Result<Channel, CatalogError> {
    const FIRST: &str = "INSERT INTO channel (site, name, mask, revision, updated_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (site, name) DO NOTHING";
    const NEXT: &str = "UPDATE channel SET mask = $3, revision = $4, updated_at = $5
        WHERE site = $1 AND name = $2 AND revision = $4 - 1";
    const MOVE: &str = "INSERT INTO channel_move
        (site, channel, revision, from_mask, to_mask, overrides, reason, actor, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let (site, name) = (&after.site, &after.name);
    let now = tx.now().await?;
    let sql = if before.revision == 0 { FIRST } else { NEXT };
    let moved = on!(tx, db => {
        sqlx::query(sql).bind(site).bind(name).bind(after.mask).bind(Count(before.revision + 1)).bind(now)
            .execute(db).await?.rows_affected()
    });
    let lost = || CatalogError::ChannelMoved {
        site: site.clone(),
        channel: name.clone(),
    };
    if moved == 0 {
        return Err(lost());
    }
    on!(tx, db => {
        sqlx::query(MOVE).bind(site).bind(name).bind(Count(before.revision + 1)).bind(before.mask)
            .bind(after.mask).bind(why.overrides).bind(why.reason.as_deref().map(text)).bind(by).bind(now).execute(db).await?;
    });
    let details = json!({
        "channel": name, "from": before.mask, "to": after.mask, "override": why.overrides, "reason": why.reason,
    });
    audit::record(tx, by, "channel_moved", Some(site), details).await?;
    events::record(
        tx,
        Some(site),
        Happening::ChannelMoved {
            channel: name.clone(),
            mask: after.mask,
        },
    );
    get(tx, site, name).await?.ok_or_else(lost)
}

#[derive(sqlx::FromRow)]
struct MoveRow {
    revision: Count,
    from_mask: Option<MaskVersion>,
    to_mask: Option<MaskVersion>,
    overrides: bool,
    reason: Option<String>,
    actor: String,
    at: Timestamp,
}

impl From<MoveRow> for ChannelMove {
    fn from(row: MoveRow) -> Self {
        Self {
            revision: row.revision.0,
            from: row.from_mask,
            to: row.to_mask,
            overrides: row.overrides,
            reason: row.reason,
            actor: row.actor,
            at: row.at,
        }
    }
}

/// The moves of a channel, newest first.
pub async fn history(
    tx: &mut Tx,
    site: &SiteName,
    name: &ChannelName,
    query: &PageQuery,
) -> Result<Page<ChannelMove>, CatalogError> {
    const SQL: &str = "SELECT revision, from_mask, to_mask, overrides, reason, actor, at FROM channel_move
        WHERE site = $1 AND channel = $2 AND revision < $3 ORDER BY revision DESC LIMIT $4";
    let size = paging::size(query.limit);
    let before: i64 = paging::cursor(query.cursor.as_deref())?.unwrap_or(i64::MAX);
    let rows: Vec<MoveRow> = on!(tx, db => {
        sqlx::query_as(SQL).bind(site).bind(name).bind(before).bind(size as i64 + 1).fetch_all(db).await?
    });
    let moves = rows.into_iter().map(ChannelMove::from).collect();
    Ok(paging::page(moves, size, |moved: &ChannelMove| {
        moved.revision.to_string()
    }))
}
