//! Which blobs are stored, and which of them nobody needs any more.
//!
//! An upload goes: [`touch`], committed; bytes put, if absent; the row that
//! names the blob, in a transaction that calls [`hold`] first. The collector
//! goes: [`collectable`], which locks; bytes deleted; [`forget`]; commit. So
//! either the upload finds its blob fresh, or the collector has finished and
//! the upload puts the bytes again, or [`hold`] says that they are gone.

use std::time::Duration;

use super::dialect::{Count, PerDialect};
use super::{CatalogError, Tx};
use crate::domain::{Digest, Timestamp};

/// True where nothing names `blob.digest`. A row of an image that was deleted
/// does not count: its bytes are to go, snapshots or not.
macro_rules! unreferenced {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " AND NOT EXISTS (SELECT 1 FROM image WHERE image.digest = blob.digest AND deleted_at IS NULL)
              AND NOT EXISTS (SELECT 1 FROM base WHERE base.file = blob.digest)
              AND NOT EXISTS (SELECT 1 FROM validation_image WHERE validation_image.digest = blob.digest)
              AND NOT EXISTS (SELECT 1 FROM checkpoint WHERE checkpoint.digest = blob.digest)
              AND NOT EXISTS (SELECT 1 FROM attempt_blob WHERE attempt_blob.digest = blob.digest)
              AND NOT EXISTS (SELECT 1 FROM job WHERE job.report = blob.digest)
              AND NOT EXISTS (SELECT 1 FROM mask WHERE mask.artefact = blob.digest
                  OR mask.scores = blob.digest OR mask.report = blob.digest)
              AND NOT EXISTS (SELECT 1 FROM mask_delta WHERE mask_delta.artefact = blob.digest)
              AND NOT EXISTS (SELECT 1 FROM prior WHERE prior.file = blob.digest)
              AND NOT EXISTS (SELECT 1 FROM mask_with_prior WHERE mask_with_prior.artefact = blob.digest)",
            $after
        )
    };
}

/// Says that somebody is about to store a blob: keeps it for the grace period,
/// whether its bytes are there already or not. Commit before you put the bytes.
pub async fn touch(tx: &mut Tx, digest: &Digest, bytes: u64) -> Result<(), CatalogError> {
    const SQL: &str = "INSERT INTO blob (digest, bytes, touched_at) VALUES ($1, $2, $3)
        ON CONFLICT (digest) DO UPDATE SET touched_at = excluded.touched_at";
    let now = tx.now().await?;
    on!(tx, db => { sqlx::query(SQL).bind(digest).bind(Count(bytes)).bind(now).execute(db).await?; });
    Ok(())
}

/// Keeps a blob from being collected until this transaction ends and for the
/// grace period after; for the transaction that stores a row which names it.
pub async fn hold(tx: &mut Tx, digest: &Digest) -> Result<(), CatalogError> {
    const SQL: &str = "UPDATE blob SET touched_at = $2 WHERE digest = $1";
    let now: Timestamp = tx.now().await?;
    match on!(tx, db => sqlx::query(SQL).bind(digest).bind(now).execute(db).await?.rows_affected()) {
        0 => Err(CatalogError::BlobGone { digest: *digest }),
        _ => Ok(()),
    }
}

/// Whether the blob was touched and not collected since, and its size.
pub async fn exists(tx: &mut Tx, digest: &Digest) -> Result<Option<u64>, CatalogError> {
    const SQL: &str = "SELECT bytes FROM blob WHERE digest = $1";
    let bytes: Option<Count> = on!(tx, db => sqlx::query_scalar(SQL).bind(digest).fetch_optional(db).await?);
    Ok(bytes.map(|bytes| bytes.0))
}

/// At most `limit` blobs that nothing names and nobody touched for `grace`,
/// locked until this transaction ends. Delete their bytes, then [`forget`] them.
pub async fn collectable(tx: &mut Tx, grace: Duration, limit: u32) -> Result<Vec<Digest>, CatalogError> {
    const LOCK: PerDialect = PerDialect {
        postgres: unreferenced!(
            "SELECT digest FROM blob WHERE touched_at < $1",
            " ORDER BY touched_at LIMIT $2 FOR UPDATE SKIP LOCKED"
        ),
        sqlite: unreferenced!(
            "SELECT digest FROM blob WHERE touched_at < $1",
            " ORDER BY touched_at LIMIT $2"
        ),
    };
    // PostgreSQL decided whether a row is referenced before it locked it.
    // Locked, no new reference can come: FOREIGN KEY and `hold` wait for it.
    const AGAIN: &str = unreferenced!("SELECT digest FROM blob WHERE digest = $1", "");
    let now = tx.now().await?;
    let before = now.before(grace);
    let lock = tx.text(LOCK);
    let locked: Vec<Digest> = on!(tx, db => {
        sqlx::query_scalar(lock).bind(before).bind(i64::from(limit)).fetch_all(db).await?
    });
    let mut collectable = Vec::with_capacity(locked.len());
    for digest in locked {
        let still: Option<Digest> =
            on!(tx, db => sqlx::query_scalar(AGAIN).bind(digest).fetch_optional(db).await?);
        collectable.extend(still);
    }
    Ok(collectable)
}

/// Forgets a blob whose bytes were deleted.
pub async fn forget(tx: &mut Tx, digest: &Digest) -> Result<(), CatalogError> {
    const SQL: &str = "DELETE FROM blob WHERE digest = $1";
    on!(tx, db => { sqlx::query(SQL).bind(digest).execute(db).await?; });
    Ok(())
}

/// How many blobs are stored, and their bytes.
pub async fn stored(tx: &mut Tx) -> Result<(u64, u64), CatalogError> {
    const SQL: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM blob";
    let (count, bytes): (Count, Count) = on!(tx, db => sqlx::query_as(SQL).fetch_one(db).await?);
    Ok((count.0, bytes.0))
}
