//! The audit trail: who changed what, when. Nothing here is ever changed or deleted.

use serde_json::Value;

use super::dialect::{Json, text};
use super::{CatalogError, Tx, paging};
use crate::domain::{SiteName, Timestamp};
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::tokens::AuditEntry;

#[derive(sqlx::FromRow)]
struct AuditRow {
    id: i64,
    at: Timestamp,
    actor: String,
    event: String,
    site: Option<SiteName>,
    details: Json<Value>,
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            actor: row.actor,
            event: row.event,
            site: row.site,
            details: row.details.0,
        }
    }
}

/// Records that `by` did `event` (a past participle, such as `channel_moved`),
/// in the transaction that does it. The catalog's own functions that take `by`
/// have recorded what they did.
pub async fn record(
    tx: &mut Tx,
    by: &str,
    event: &'static str,
    site: Option<&SiteName>,
    details: Value,
) -> Result<(), CatalogError> {
    const SQL: &str = "INSERT INTO audit (at, actor, event, site, details) VALUES ($1, $2, $3, $4, $5)";
    let now = tx.now().await?;
    on!(tx, db => {
        sqlx::query(SQL).bind(now).bind(text(by)).bind(event).bind(site).bind(Json(details)).execute(db).await?;
    });
    Ok(())
}

/// The trail, newest first; of one site, if it is named.
pub async fn list(
    tx: &mut Tx,
    site: Option<&SiteName>,
    query: &PageQuery,
) -> Result<Page<AuditEntry>, CatalogError> {
    const SQL: &str = "SELECT id, at, actor, event, site, details FROM audit
        WHERE id < $1 AND (CAST($2 AS TEXT) IS NULL OR site = $2) ORDER BY id DESC LIMIT $3";
    let (size, before) = (
        paging::size(query.limit),
        paging::cursor::<i64>(query.cursor.as_deref())?.unwrap_or(i64::MAX),
    );
    let rows: Vec<AuditRow> = on!(tx, db => {
        sqlx::query_as(SQL).bind(before).bind(site).bind(size as i64 + 1).fetch_all(db).await?
    });
    let entries = rows.into_iter().map(AuditEntry::from).collect();
    Ok(paging::page(entries, size, |entry: &AuditEntry| {
        entry.id.to_string()
    }))
}
