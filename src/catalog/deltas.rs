//! Deltas between the artefacts of a site: which ones devices will ask for,
//! which ones are there, and which ones nobody needs any more.

use super::dialect::Count;
use super::{CatalogError, Tx, blobs};
use crate::domain::{Digest, MaskVersion, SiteName};
use crate::wire::v1::masks::MaskDelta;

/// A delta that devices will ask for and that nobody made yet.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Wanted {
    /// The site.
    pub site: SiteName,
    /// The mask that it yields.
    pub version: MaskVersion,
    /// That mask's artefact.
    pub artefact: Digest,
    /// Bytes of that artefact.
    #[sqlx(try_from = "Count")]
    pub bytes: u64,
    /// The mask that it needs.
    pub parent: MaskVersion,
    /// That mask's artefact.
    pub parent_artefact: Digest,
    /// The base of both.
    pub base: Digest,
}

/// At most `limit` deltas to make. Devices go from what their channel points at to the
/// site's newest mask, which is released next as a rule; and from what it
/// pointed at before its last move to what it points at now, be it older.
pub async fn wanted(tx: &mut Tx, limit: u32) -> Result<Vec<Wanted>, CatalogError> {
    const SQL: &str = "WITH step AS (
            SELECT site, mask AS parent, (SELECT MAX(version) FROM mask AS newest
                WHERE newest.site = channel.site AND newest.verdict <> 'refused') AS version
            FROM channel
            UNION
            SELECT channel_move.site, from_mask, to_mask FROM channel_move JOIN channel
                ON channel.site = channel_move.site AND channel.name = channel_move.channel
                AND channel.revision = channel_move.revision
        )
        SELECT step.site, mask.version, mask.artefact, mask.bytes, step.parent,
            parent.artefact AS parent_artefact, mask.base
        FROM step
            JOIN mask ON mask.site = step.site AND mask.version = step.version
            JOIN mask AS parent ON parent.site = step.site AND parent.version = step.parent
                AND parent.base = mask.base
        WHERE step.parent <> step.version AND NOT EXISTS (SELECT 1 FROM mask_delta AS made
            WHERE made.site = step.site AND made.version = step.version AND made.parent = step.parent)
        ORDER BY step.site, step.version, step.parent LIMIT $1";
    Ok(on!(tx, db => sqlx::query_as(SQL).bind(i64::from(limit)).fetch_all(db).await?))
}

/// Stores what became of a wanted delta: its blob with its size, or that none
/// is worth it. If another server was faster, its delta stays.
pub async fn put(tx: &mut Tx, wanted: &Wanted, made: Option<(Digest, u64)>) -> Result<(), CatalogError> {
    const SQL: &str = "INSERT INTO mask_delta (site, version, parent, artefact, bytes, made_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (site, version, parent) DO NOTHING";
    let (artefact, bytes) = made.unzip();
    if let Some(artefact) = &artefact {
        blobs::hold(tx, artefact).await?;
    }
    let now = tx.now().await?;
    on!(tx, db => {
        sqlx::query(SQL).bind(&wanted.site).bind(wanted.version).bind(wanted.parent).bind(artefact)
            .bind(bytes.map(Count)).bind(now).execute(db).await?;
    });
    Ok(())
}

/// Forgets deltas at neither end of which a channel is: no device of theirs is
/// on its way. Answers how many.
pub async fn forget_dead(tx: &mut Tx) -> Result<u64, CatalogError> {
    const SQL: &str = "DELETE FROM mask_delta WHERE NOT EXISTS (SELECT 1 FROM channel
        WHERE channel.site = mask_delta.site AND channel.mask IN (mask_delta.version, mask_delta.parent))";
    Ok(on!(tx, db => sqlx::query(SQL).execute(db).await?.rows_affected()))
}

#[derive(sqlx::FromRow)]
struct DeltaRow {
    parent: MaskVersion,
    parent_digest: Digest,
    digest: Digest,
    bytes: Count,
}

impl From<DeltaRow> for MaskDelta {
    fn from(row: DeltaRow) -> Self {
        Self {
            parent: row.parent,
            parent_digest: row.parent_digest,
            digest: row.digest,
            bytes: row.bytes.0,
        }
    }
}

/// The deltas that yield a mask, by parent. There are few.
pub async fn list(
    tx: &mut Tx,
    site: &SiteName,
    version: MaskVersion,
) -> Result<Vec<MaskDelta>, CatalogError> {
    const SQL: &str = "SELECT mask_delta.parent, parent.artefact AS parent_digest,
            mask_delta.artefact AS digest, mask_delta.bytes
        FROM mask_delta JOIN mask AS parent ON parent.site = mask_delta.site AND parent.version = mask_delta.parent
        WHERE mask_delta.site = $1 AND mask_delta.version = $2 AND mask_delta.artefact IS NOT NULL
        ORDER BY mask_delta.parent";
    let rows: Vec<DeltaRow> =
        on!(tx, db => sqlx::query_as(SQL).bind(site).bind(version).fetch_all(db).await?);
    Ok(rows.into_iter().map(MaskDelta::from).collect())
}
