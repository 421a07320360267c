//! Workers that asked for work. They hold no state: this is for people.

use std::time::Duration;

use super::dialect::{Count, text};
use super::{CatalogError, Tx};
use crate::domain::{JobId, Timestamp};
use crate::wire::v1::workers::Worker;

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCard {
    /// A name that stays the same while its process lives.
    pub name: String,
    /// What it computes on, such as `cpu` or `cuda:0 NVIDIA H100`.
    pub device: String,
    /// That device's memory; 0: not known.
    pub memory_bytes: u64,
    /// Its version of Katagami.
    pub version: String,
}

#[derive(sqlx::FromRow)]
struct WorkerRow {
    name: String,
    device: String,
    memory_bytes: Count,
    version: String,
    last_seen_at: Timestamp,
    job: Option<JobId>,
}

impl From<WorkerRow> for Worker {
    fn from(row: WorkerRow) -> Self {
        Self {
            name: row.name,
            device: row.device,
            memory_bytes: row.memory_bytes.0,
            version: row.version,
            last_seen_at: row.last_seen_at,
            job: row.job,
        }
    }
}

/// Remembers that a worker asked for work.
pub async fn seen(tx: &mut Tx, worker: &WorkerCard) -> Result<(), CatalogError> {
    const SQL: &str = "INSERT INTO worker (name, device, memory_bytes, version, last_seen_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO UPDATE SET device = excluded.device,
            memory_bytes = excluded.memory_bytes, version = excluded.version, last_seen_at = excluded.last_seen_at";
    let now = tx.now().await?;
    on!(tx, db => {
        sqlx::query(SQL).bind(text(&worker.name)).bind(text(&worker.device)).bind(Count(worker.memory_bytes))
            .bind(text(&worker.version)).bind(now).execute(db).await?;
    });
    Ok(())
}

/// The workers that were heard of within `lately`, by name, and what each runs.
pub async fn list(tx: &mut Tx, lately: Duration) -> Result<Vec<Worker>, CatalogError> {
    // A worker has one job at a time; a lost one may still count until it is reaped.
    const SQL: &str = "SELECT name, device, memory_bytes, version, last_seen_at,
            (SELECT id FROM job WHERE job.worker = worker.name AND state = 'running' ORDER BY started_at DESC LIMIT 1)
                AS job
        FROM worker WHERE last_seen_at >= $1 ORDER BY name";
    let since = tx.now().await?.before(lately);
    let rows: Vec<WorkerRow> = on!(tx, db => sqlx::query_as(SQL).bind(since).fetch_all(db).await?);
    Ok(rows.into_iter().map(Worker::from).collect())
}

/// Forgets workers that were not heard of since `before`.
pub async fn sweep(tx: &mut Tx, before: Timestamp) -> Result<u64, CatalogError> {
    const SQL: &str = "DELETE FROM worker WHERE last_seen_at < $1";
    Ok(on!(tx, db => sqlx::query(SQL).bind(before).execute(db).await?.rows_affected()))
}
