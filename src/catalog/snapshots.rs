//! Snapshots: the filter that they were made from, and the frozen list.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::QueryBuilder;

use super::dialect::{Count, Json};
use super::{CatalogError, Tx, audit, events, paging, sites};
use crate::domain::health::Exclusion;
use crate::domain::snapshot::{self, ImageFilter};
use crate::domain::{Digest, SiteName, SnapshotId, Timestamp, ValidationVersion};
use crate::wire::v1::events::Happening;
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::snapshots::{ExcludedImage, Snapshot};

/// A snapshot whose images were chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// What they were chosen by.
    pub filter: ImageFilter,
    /// What was to be left out.
    pub exclusions: Vec<Exclusion>,
    /// The images that match and were left out because of that, with each reason.
    pub excluded: Vec<(Digest, Exclusion)>,
    /// The images and the sizes of their files.
    pub images: Vec<(Digest, u64)>,
    /// Images left out because they are, or nearly are, in the validation set.
    pub left_out: u64,
    /// The validation set that they were compared with.
    pub validation: Option<ValidationVersion>,
}

#[derive(sqlx::FromRow)]
struct SnapshotRow {
    id: SnapshotId,
    site: SiteName,
    digest: Digest,
    filter: Json<ImageFilter>,
    images: Count,
    left_out: Count,
    exclusions: Json<Vec<Exclusion>>,
    excluded: Count,
    validation: Option<ValidationVersion>,
    incomplete: bool,
    created_at: Timestamp,
}

impl From<SnapshotRow> for Snapshot {
    fn from(row: SnapshotRow) -> Self {
        Self {
            id: row.id,
            site: row.site,
            digest: row.digest,
            filter: row.filter.0,
            images: row.images.0,
            left_out: row.left_out.0,
            exclude: row.exclusions.0,
            excluded: row.excluded.0,
            validation: row.validation,
            incomplete: row.incomplete,
            created_at: row.created_at,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            // Asked, not kept: a deleted image may be submitted again. From the tombstones, which are few.
            "SELECT id, site, digest, filter, images, left_out, exclusions, excluded, validation, created_at,
                EXISTS (SELECT 1 FROM image WHERE image.site = snapshot.site AND image.deleted_at IS NOT NULL
                    AND EXISTS (SELECT 1 FROM snapshot_image AS s
                        WHERE s.snapshot = snapshot.id AND s.digest = image.digest)) AS incomplete
             FROM snapshot ",
            $rest
        )
    };
}

/// Freezes a list of images, and keeps the site locked. An image that was deleted
/// since they were chosen makes the snapshot incomplete from the beginning.
pub async fn create(
    tx: &mut Tx,
    site: &SiteName,
    chosen: &Chosen,
    by: &str,
) -> Result<Snapshot, CatalogError> {
    const SQL: &str = "INSERT INTO snapshot
        (id, site, digest, filter, exclusions, excluded, images, left_out, validation, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    sites::lock(tx, site).await?;
    let mut images = chosen.images.clone();
    images.sort_unstable();
    images.dedup_by_key(|(digest, _)| *digest);
    let digests: Vec<Digest> = images.iter().map(|(digest, _)| *digest).collect();
    let (id, now) = (SnapshotId::generate(), tx.now().await?);
    let mut reasons = chosen.excluded.clone();
    reasons.sort_unstable();
    reasons.dedup();
    let excluded = reasons.chunk_by(|one, other| one.0 == other.0).count() as u64;
    on!(tx, db => {
        sqlx::query(SQL).bind(id).bind(site).bind(snapshot::digest(&digests)).bind(Json(&chosen.filter))
            .bind(Json(&chosen.exclusions)).bind(Count(excluded)).bind(Count(images.len() as u64))
            .bind(Count(chosen.left_out)).bind(chosen.validation).bind(now).execute(db).await?;
    });
    // Both databases limit the parameters of a statement.
    for images in images.chunks(1000) {
        on!(tx, db => {
            let mut insert = QueryBuilder::new("INSERT INTO snapshot_image (snapshot, digest, bytes) ");
            insert.push_values(images, |mut row, (digest, bytes)| {
                row.push_bind(id).push_bind(*digest).push_bind(Count(*bytes));
            });
            insert.build().execute(db).await?;
        });
    }
    for reasons in reasons.chunks(1000) {
        on!(tx, db => {
            let mut insert = QueryBuilder::new("INSERT INTO snapshot_exclusion (snapshot, digest, reason) ");
            insert.push_values(reasons, |mut row, (digest, reason)| {
                row.push_bind(id).push_bind(*digest).push_bind(*reason);
            });
            insert.build().execute(db).await?;
        });
    }
    let details = json!({
        "snapshot": id, "images": images.len(), "left_out": chosen.left_out,
        "exclude": chosen.exclusions, "excluded": excluded,
    });
    audit::record(tx, by, "snapshot_made", Some(site), details).await?;
    events::record(tx, Some(site), Happening::SnapshotMade { snapshot: id });
    needed(tx, id).await
}

/// The snapshot of that identifier, of whatever site.
pub async fn get(tx: &mut Tx, snapshot: SnapshotId) -> Result<Option<Snapshot>, CatalogError> {
    const SQL: &str = select!("WHERE id = $1");
    let row: Option<SnapshotRow> =
        on!(tx, db => sqlx::query_as(SQL).bind(snapshot).fetch_optional(db).await?);
    Ok(row.map(Snapshot::from))
}

/// The snapshot, or [`CatalogError::NoSuchSnapshot`].
pub async fn needed(tx: &mut Tx, snapshot: SnapshotId) -> Result<Snapshot, CatalogError> {
    get(tx, snapshot)
        .await?
        .ok_or(CatalogError::NoSuchSnapshot { snapshot })
}

/// The snapshots of a site, newest first.
pub async fn list(tx: &mut Tx, site: &SiteName, query: &PageQuery) -> Result<Page<Snapshot>, CatalogError> {
    const SQL: &str = select!("WHERE site = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    let size = paging::size(query.limit);
    let before = paging::cursor(query.cursor.as_deref())?.unwrap_or(SnapshotId(uuid::Uuid::max()));
    let rows: Vec<SnapshotRow> = on!(tx, db => {
        sqlx::query_as(SQL).bind(site).bind(before).bind(size as i64 + 1).fetch_all(db).await?
    });
    let snapshots = rows.into_iter().map(Snapshot::from).collect();
    Ok(paging::page(snapshots, size, |snapshot: &Snapshot| {
        snapshot.id.to_string()
    }))
}

/// The images of a snapshot and the sizes of their files, in ascending order of digests.
pub async fn images(tx: &mut Tx, snapshot: SnapshotId) -> Result<Vec<(Digest, u64)>, CatalogError> {
    const SQL: &str = "SELECT digest, bytes FROM snapshot_image WHERE snapshot = $1 ORDER BY digest";
    let rows: Vec<(Digest, Count)> = on!(tx, db => sqlx::query_as(SQL).bind(snapshot).fetch_all(db).await?);
    Ok(rows
        .into_iter()
        .map(|(digest, bytes)| (digest, bytes.0))
        .collect())
}

/// The images that a snapshot leaves out and why, in ascending order of digests.
pub async fn excluded(tx: &mut Tx, snapshot: SnapshotId) -> Result<Vec<ExcludedImage>, CatalogError> {
    const SQL: &str = "SELECT digest, reason FROM snapshot_exclusion WHERE snapshot = $1 ORDER BY digest";
    let rows: Vec<(Digest, Exclusion)> =
        on!(tx, db => sqlx::query_as(SQL).bind(snapshot).fetch_all(db).await?);
    let mut reasons = BTreeMap::<Digest, Vec<Exclusion>>::new();
    for (digest, reason) in rows {
        reasons.entry(digest).or_default().push(reason);
    }
    let of_image = |(image, mut reasons): (Digest, Vec<Exclusion>)| {
        reasons.sort_unstable();
        ExcludedImage { image, reasons }
    };
    Ok(reasons.into_iter().map(of_image).collect())
}
