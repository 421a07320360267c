//! Keeps the queue going: hands out leases, and takes back those that ran out.
//!
//! Every loop also exists as a function that does one round, for tests and commands.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::catalog::attempts::Assignment;
use crate::catalog::workers::WorkerCard;
use crate::catalog::{Catalog, CatalogError, events, idempotency, jobs, workers};
use crate::domain::Timestamp;

/// How often a waiting worker looks without having been woken: a job whose
/// waiting time is over wakes nobody.
const LOOK: Duration = Duration::from_secs(2);
/// How long events are kept for readers that were away, keys for requests that
/// are sent again, and workers that were not heard of.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// Gives `worker` the next job for `lease`; waits for one at most `patience`, or until `stop`.
pub async fn lease(
    catalog: &Catalog,
    worker: &WorkerCard,
    lease: Duration,
    patience: Duration,
    stop: &CancellationToken,
) -> Result<Option<Assignment>, CatalogError> {
    let until = Instant::now() + patience;
    // Before the first look: a job that comes between look and subscription
    // would otherwise wake nobody.
    let mut woken = catalog.notified();
    let mut seen = false;
    loop {
        woken.mark_unchanged();
        // The first look writes, so that a waiting worker is seen to be there;
        // the others take the writer only if there is something to do.
        let due = !seen || jobs::is_one_due(&mut catalog.read().await?).await?;
        if due {
            let mut tx = catalog.begin().await?;
            let leased = jobs::lease(&mut tx, worker, lease).await?;
            tx.commit().await?;
            if leased.is_some() {
                return Ok(leased);
            }
            seen = true;
        }
        let next = until.min(Instant::now() + LOOK);
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            changed = woken.changed() => if changed.is_err() { return Ok(None) },
            () = tokio::time::sleep_until(next) => if next >= until { return Ok(None) },
        }
    }
}

/// Ends attempts whose lease ran out, and says how many.
pub async fn reap_once(catalog: &Catalog) -> Result<u64, CatalogError> {
    let mut tx = catalog.begin().await?;
    let lost = jobs::reap(&mut tx).await?;
    tx.commit().await?;
    Ok(lost)
}

/// Forgets old events, idempotency keys and workers.
pub async fn sweep_once(catalog: &Catalog) -> Result<(), CatalogError> {
    let mut tx = catalog.begin().await?;
    let now = tx.now().await?.as_micros();
    let before = Timestamp::from_micros(now.saturating_sub(KEPT.as_micros() as i64));
    events::sweep(&mut tx, before).await?;
    idempotency::sweep(&mut tx, before).await?;
    workers::sweep(&mut tx, before).await?;
    tx.commit().await
}

/// Reaps every `every` and sweeps hourly until `stop`. A round that fails is
/// logged; the next one may find the database again.
pub async fn run(catalog: &Catalog, every: Duration, stop: &CancellationToken) {
    // Not at once: workers that could not reach this server while it was down
    // have to find it again first.
    let mut reaping = tokio::time::interval_at(Instant::now() + every, every);
    let mut sweeping = tokio::time::interval(Duration::from_hours(1));
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            _ = reaping.tick() => reap_once(catalog).await.map(drop),
            _ = sweeping.tick() => sweep_once(catalog).await,
        };
        if let Err(error) = done {
            tracing::warn!(%error, source = ?std::error::Error::source(&error), "a round of the scheduler failed");
        }
    }
}
