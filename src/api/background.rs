//! What runs on its own: leases that ran out, blobs that nobody needs, old
//! events, fresh pointers. Each loop calls a function that does it once.

use std::time::Duration;

use super::state::App;
use crate::blobs;
use crate::catalog::{CatalogError, events, idempotency, tokens, workers};
use crate::domain::Timestamp;
use crate::scheduler;

/// How often pointers and tokens are looked at even if nothing woke anybody.
const LOOK: Duration = Duration::from_secs(5);
/// How often blobs are collected and old entries swept.
const SWEEP: Duration = Duration::from_mins(1);
/// How far before the last look the tokens that ended are looked for: longer
/// than any transaction that ends one takes to commit.
const MARGIN: Duration = Duration::from_mins(2);

/// Loads what is kept in memory and starts the loops, which end at shutdown.
pub async fn spawn(app: &App) -> Result<(), CatalogError> {
    let seen = app.pointers.load(&app.catalog).await?;
    let known = app.catalog.read().await?.now().await?;
    app.tasks.spawn(refresh(app.clone(), seen, known));
    app.tasks
        .spawn(repeat(app.clone(), app.config.scheduler.reap_every, "reap", reap));
    app.tasks.spawn(repeat(app.clone(), SWEEP, "collect", collect));
    app.tasks.spawn(repeat(app.clone(), SWEEP, "sweep", sweep));
    Ok(())
}

/// Keeps pointers and tokens fresh.
async fn refresh(app: App, mut seen: i64, mut known: Timestamp) {
    // Subscribed before the first look: nothing is missed in between.
    let mut woken = app.catalog.notified();
    loop {
        match app.pointers.refresh(&app.catalog, seen).await {
            Ok(newest) => seen = newest,
            Err(error) => tracing::warn!(%error, "the channels' pointers may be old"),
        }
        match forget_ended(&app, known).await {
            Ok(now) => known = now,
            Err(error) => tracing::warn!(%error, "tokens that ended may still be taken"),
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = woken.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Forgets tokens that ended since `known`, and answers until when that is known now.
pub async fn forget_ended(app: &App, known: Timestamp) -> Result<Timestamp, CatalogError> {
    let mut tx = app.catalog.read().await?;
    let (ended, now) = tokens::ended_since(&mut tx, before(known, MARGIN)).await?;
    app.tokens.forget(&ended);
    Ok(now)
}

/// The time that lies `by` before `time`.
fn before(time: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_sub(by))
}

async fn repeat<F>(app: App, every: Duration, what: &'static str, once: fn(App) -> F)
where
    F: Future<Output = Result<(), String>> + Send,
{
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        if let Err(error) = once(app.clone()).await {
            tracing::warn!(error, what, "a background task failed; it is tried again");
        }
    }
}

async fn reap(app: App) -> Result<(), String> {
    scheduler::reap_once(&app.catalog)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

async fn collect(app: App) -> Result<(), String> {
    let grace = app.config.storage.blob_grace;
    let collected = blobs::collect::once(&app.catalog, &app.blobs, grace).await;
    collected.map(drop).map_err(|error| error.to_string())
}

async fn sweep(app: App) -> Result<(), String> {
    let swept = async {
        let mut tx = app.catalog.begin().await?;
        let now = tx.now().await?;
        let storage = &app.config.storage;
        events::sweep(&mut tx, before(now, storage.event_retention)).await?;
        idempotency::sweep(&mut tx, before(now, storage.idempotency_retention)).await?;
        workers::sweep(&mut tx, before(now, storage.event_retention)).await?;
        tx.commit().await
    };
    swept.await.map_err(|error: CatalogError| error.to_string())
}
