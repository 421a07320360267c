//! Bases: the manifests of those that were imported, and which one is active.

use serde_json::json;

use super::dialect::Json;
use super::{CatalogError, Tx, audit, blobs};
use crate::base::Manifest;
use crate::domain::Digest;
use crate::wire::v1::base::Base;

#[derive(sqlx::FromRow)]
struct BaseRow {
    manifest: Json<Manifest>,
    file: Digest,
    active: bool,
}

impl From<BaseRow> for Base {
    fn from(row: BaseRow) -> Self {
        let manifest = row.manifest.0;
        Self {
            preprocessing: manifest.preprocessing.digest(),
            manifest,
            file: row.file,
            active: row.active,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT manifest, file, active FROM base ", $rest)
    };
}

/// Stores a base whose file is the blob `file`. One that is there stays as it is.
pub async fn put(tx: &mut Tx, manifest: &Manifest, file: &Digest, by: &str) -> Result<Base, CatalogError> {
    const SQL: &str = "INSERT INTO base (digest, manifest, file, active, imported_at)
        VALUES ($1, $2, $3, FALSE, $4) ON CONFLICT (digest) DO NOTHING";
    blobs::hold(tx, file).await?;
    let now = tx.now().await?;
    let new = on!(tx, db => {
        sqlx::query(SQL).bind(manifest.digest).bind(Json(manifest)).bind(file).bind(now)
            .execute(db).await?.rows_affected()
    });
    if new > 0 {
        audit::record(tx, by, "base_imported", None, json!(manifest)).await?;
    }
    get(tx, &manifest.digest).await?.ok_or(CatalogError::NoBase)
}

/// Makes a base the one that new jobs use and devices hold.
pub async fn activate(tx: &mut Tx, base: &Digest, by: &str) -> Result<Base, CatalogError> {
    // Two statements: within one, the other row could still be active when the
    // index that allows one is checked.
    const NONE: &str = "UPDATE base SET active = FALSE WHERE active AND digest <> $1";
    const ONE: &str = "UPDATE base SET active = TRUE WHERE digest = $1 AND NOT active";
    let found = get(tx, base).await?.ok_or(CatalogError::NoBase)?;
    on!(tx, db => { sqlx::query(NONE).bind(base).execute(db).await?; });
    let changed = on!(tx, db => sqlx::query(ONE).bind(base).execute(db).await?.rows_affected());
    if changed > 0 {
        audit::record(tx, by, "base_activated", None, json!({"base": base})).await?;
    }
    Ok(Base {
        active: true,
        ..found
    })
}

/// The active base, if there is one.
pub async fn active(tx: &mut Tx) -> Result<Option<Base>, CatalogError> {
    const SQL: &str = select!("WHERE active");
    let row: Option<BaseRow> = on!(tx, db => sqlx::query_as(SQL).fetch_optional(db).await?);
    Ok(row.map(Base::from))
}

/// The base of that canonical digest.
pub async fn get(tx: &mut Tx, base: &Digest) -> Result<Option<Base>, CatalogError> {
    const SQL: &str = select!("WHERE digest = $1");
    let row: Option<BaseRow> = on!(tx, db => sqlx::query_as(SQL).bind(base).fetch_optional(db).await?);
    Ok(row.map(Base::from))
}

/// All bases, the newest first. There are few.
pub async fn list(tx: &mut Tx) -> Result<Vec<Base>, CatalogError> {
    const SQL: &str = select!("ORDER BY imported_at DESC, digest");
    let rows: Vec<BaseRow> = on!(tx, db => sqlx::query_as(SQL).fetch_all(db).await?);
    Ok(rows.into_iter().map(Base::from).collect())
}
