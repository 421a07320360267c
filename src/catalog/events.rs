//! What happened, for those who watch. Events are durable, so that a reader
//! that was away reads on from the last one that it saw.

use super::dialect::{Json, PerDialect};
use super::{CatalogError, Tx, database};
use crate::domain::{SiteName, Timestamp};
use crate::wire::v1::events::{Event, Happening};

#[derive(sqlx::FromRow)]
struct EventRow {
    id: i64,
    at: Timestamp,
    site: Option<SiteName>,
    what: Json<Happening>,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            site: row.site,
            what: row.what.0,
        }
    }
}

/// Records what happens with this transaction's commit, which wakes those who watch.
/// The catalog's own functions have recorded what they did.
pub fn record(tx: &mut Tx, site: Option<&SiteName>, what: Happening) {
    tx.happenings.push((site.cloned(), what));
}

/// Writes what was recorded: the last thing that a transaction does.
///
/// A reader asks for what comes after the last id that it saw, so ids must
/// become visible in their order. SQLite has one writer. On PostgreSQL ids are
/// given out before commits, in any order: there the advisory lock lets one
/// transaction at a time take ids and commit.
pub(super) async fn write(tx: &mut Tx) -> Result<(), CatalogError> {
    /// Any number that no other lock of this database uses.
    const LOCK: PerDialect = PerDialect {
        postgres: "SELECT 1 FROM (SELECT pg_advisory_xact_lock(7305808869)) AS locked",
        sqlite: "SELECT 1",
    };
    const SQL: &str = "INSERT INTO event (at, site, what) VALUES ($1, $2, $3)";
    const NOTIFY: PerDialect = PerDialect {
        postgres: "SELECT 1 FROM (SELECT pg_notify($1, '')) AS notified",
        sqlite: "SELECT 1 WHERE $1 IS NOT NULL",
    };
    let happenings = std::mem::take(&mut tx.happenings);
    let (lock, notify) = (tx.text(LOCK), tx.text(NOTIFY));
    on!(tx, db => { sqlx::query(lock).execute(db).await?; });
    let now = tx.now().await?;
    for (site, what) in happenings {
        on!(tx, db => { sqlx::query(SQL).bind(now).bind(site).bind(Json(what)).execute(db).await?; });
    }
    on!(tx, db => { sqlx::query(notify).bind(database::CHANNEL).execute(db).await?; });
    Ok(())
}

/// At most `limit` events after the one with `id`, oldest first; of one site,
/// if it is named. Begin with [`newest`] to see only what is to come.
pub async fn after(
    tx: &mut Tx,
    id: i64,
    site: Option<&SiteName>,
    limit: u32,
) -> Result<Vec<Event>, CatalogError> {
    const SQL: &str = "SELECT id, at, site, what FROM event
        WHERE id > $1 AND (CAST($2 AS TEXT) IS NULL OR site = $2) ORDER BY id LIMIT $3";
    let rows: Vec<EventRow> = on!(tx, db => {
        sqlx::query_as(SQL).bind(id).bind(site).bind(i64::from(limit)).fetch_all(db).await?
    });
    Ok(rows.into_iter().map(Event::from).collect())
}

/// The id of the newest event; 0 if nothing happened yet.
pub async fn newest(tx: &mut Tx) -> Result<i64, CatalogError> {
    const SQL: &str = "SELECT COALESCE(MAX(id), 0) FROM event";
    Ok(on!(tx, db => sqlx::query_scalar(SQL).fetch_one(db).await?))
}

/// Forgets events before `before`. A reader that was away for longer misses them.
pub async fn sweep(tx: &mut Tx, before: Timestamp) -> Result<u64, CatalogError> {
    const SQL: &str = "DELETE FROM event WHERE at < $1";
    Ok(on!(tx, db => sqlx::query(SQL).bind(before).execute(db).await?.rows_affected()))
}
