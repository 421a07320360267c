//! Keeps the queue going: hands out leases, and takes back those that ran out.
//!
//! Every loop also exists as a function that does one round, for tests and commands.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::catalog::attempts::Assignment;
use crate::catalog::workers::WorkerCard;
use crate::catalog::{Catalog, CatalogError, events, idempotency, jobs, workers};

/// How often a waiting worker looks without having been woken: a job whose
/// waiting time is over wakes nobody.
const LOOK: Duration = Duration::from_secs(2);
/// How often old entries are swept.
const SWEEP: Duration = Duration::from_mins(1);

/// How long what only helps is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events, for readers that were away; and workers that were not heard of.
    pub events: Duration,
    /// Keys of requests that may be sent again.
    pub idempotency: Duration,
}

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
pub async fn sweep_once(catalog: &Catalog, kept: &Retention) -> Result<(), CatalogError> {
    let mut tx = catalog.begin().await?;
    let now = tx.now().await?;
    events::sweep(&mut tx, now.before(kept.events)).await?;
    idempotency::sweep(&mut tx, now.before(kept.idempotency)).await?;
    workers::sweep(&mut tx, now.before(kept.events)).await?;
    tx.commit().await
}

/// Reaps every `every` and sweeps every minute until `stop`. A round that fails
/// is logged; the next one may find the database again.
pub async fn run(catalog: &Catalog, every: Duration, kept: &Retention, stop: &CancellationToken) {
    // Not at once: workers that could not reach this server while it was down
    // have to find it again first.
    let later = |every| {
        let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
        // Rounds that were missed are not made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut reaping, mut sweeping) = (later(every), later(SWEEP));
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            _ = reaping.tick() => reap_once(catalog).await.map(drop),
            _ = sweeping.tick() => sweep_once(catalog, kept).await,
        };
        if let Err(error) = done {
            tracing::warn!(%error, source = ?std::error::Error::source(&error), "a round of the scheduler failed");
        }
    }
}
