//! Files that a site sent and that were rejected: for who wonders where they
//! are. Only the newest are kept, so that nobody can fill the database with them.

use super::dialect::{Count, text};
use super::{CatalogError, Tx, sites};
use crate::domain::{SiteName, Timestamp};
use crate::wire::v1::health::{RejectedFile, Rejections};
use crate::wire::v1::images::Received;

/// Most rejections of a site that are kept.
const MOST: i64 = 1_000;

/// Keeps rejections, each in the place of the same file's before, and drops the
/// oldest beyond [`MOST`]. Locks the site: call it last, after images were
/// added. Records nothing: the one who sent the files was answered.
pub async fn record(tx: &mut Tx, site: &SiteName, rejected: &[&Received]) -> Result<(), CatalogError> {
    const SAME: &str = "DELETE FROM rejection WHERE site = $1 AND name = $2";
    const SQL: &str = "INSERT INTO rejection (site, name, code, detail, at) VALUES ($1, $2, $3, $4, $5)";
    const OLDEST: &str = "DELETE FROM rejection WHERE site = $1 AND id <=
        (SELECT id FROM rejection WHERE site = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
    if rejected.is_empty() {
        return Ok(());
    }
    sites::lock(tx, site).await?;
    let now = tx.now().await?;
    for file in rejected {
        let name = text(&file.name);
        let (code, detail) = (file.code.as_deref(), file.detail.as_deref());
        on!(tx, db => {
            sqlx::query(SAME).bind(site).bind(&name).execute(&mut *db).await?;
            sqlx::query(SQL).bind(site).bind(&name).bind(code.unwrap_or_default())
                .bind(text(detail.unwrap_or_default())).bind(now).execute(&mut *db).await?;
        });
    }
    on!(tx, db => { sqlx::query(OLDEST).bind(site).bind(MOST).execute(db).await?; });
    Ok(())
}

#[derive(sqlx::FromRow)]
struct RejectionRow {
    name: String,
    code: String,
    detail: String,
    at: Timestamp,
}

/// How many rejections of a site are kept, and the newest `most` of them.
pub async fn newest(tx: &mut Tx, site: &SiteName, most: usize) -> Result<Rejections, CatalogError> {
    const COUNT: &str = "SELECT COUNT(*) FROM rejection WHERE site = $1";
    const SQL: &str =
        "SELECT name, code, detail, at FROM rejection WHERE site = $1 ORDER BY id DESC LIMIT $2";
    let count: Count = on!(tx, db => sqlx::query_scalar(COUNT).bind(site).fetch_one(db).await?);
    let rows: Vec<RejectionRow> =
        on!(tx, db => sqlx::query_as(SQL).bind(site).bind(most as i64).fetch_all(db).await?);
    let file = |row: RejectionRow| RejectedFile {
        name: row.name,
        code: row.code,
        detail: row.detail,
        at: row.at,
    };
    Ok(Rejections {
        count: count.0,
        newest: rows.into_iter().map(file).collect(),
    })
}
