//! What runs on its own: leases that ran out, blobs that nobody needs, old
//! events, fresh pointers, deltas. Each loop calls a function that does it once.

use std::time::Duration;

use super::state::App;
use super::{deltas, priors};
use crate::blobs;
use crate::catalog::{CatalogError, tokens};
use crate::domain::Timestamp;
use crate::scheduler::{self, Retention};

/// How often pointers and tokens are looked at even if nothing woke anybody.
const LOOK: Duration = Duration::from_secs(5);
/// How often blobs are collected.
const COLLECT: Duration = Duration::from_mins(1);
/// How often deltas are looked for even if nobody said that there may be some: another server
/// published a mask and ended before it made them.
const DELTAS: Duration = Duration::from_mins(1);
/// How many times blobs are collected for each time that the whole folder is read for left-overs.
const LEFTOVERS: u64 = 60;
/// How far before the last look the tokens that ended are looked for: longer
/// than any transaction that ends one takes to commit.
const MARGIN: Duration = Duration::from_mins(2);

/// Loads what is kept in memory and starts the loops, which end at shutdown.
pub async fn spawn(app: &App) -> Result<(), CatalogError> {
    let seen = app.pointers.load(&app.catalog).await?;
    let known = app.catalog.read().await?.now().await?;
    app.tasks.spawn(refresh(app.clone(), seen, known));
    app.tasks.spawn(schedule(app.clone()));
    app.tasks.spawn(collect(app.clone()));
    app.tasks.spawn(make_deltas(app.clone()));
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
    let (ended, now) = tokens::ended_since(&mut tx, known.before(MARGIN)).await?;
    app.tokens.forget(&ended);
    Ok(now)
}

async fn schedule(app: App) {
    let storage = &app.config.storage;
    let kept = Retention {
        events: storage.event_retention,
        idempotency: storage.idempotency_retention,
    };
    scheduler::run(
        &app.catalog,
        app.config.scheduler.reap_every,
        &kept,
        &app.shutdown,
    )
    .await;
}

/// Deletes blobs that nothing names, and what is left of those that never became whole.
async fn collect(app: App) {
    let grace = app.config.storage.blob_grace;
    for round in 0_u64.. {
        if round.is_multiple_of(LEFTOVERS)
            && let Err(error) = app.blobs.remove_leftovers(grace).await
        {
            tracing::warn!(%error, "what is left of broken uploads was not removed; it is tried again");
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(COLLECT) => {}
        }
        if let Err(error) = blobs::collect::once(&app.catalog, &app.blobs, grace).await {
            tracing::warn!(%error, "blobs that nothing names were not collected; it is tried again");
        }
    }
}

/// Makes the deltas that devices will ask for, and the masks coded with priors.
async fn make_deltas(app: App) {
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            made = deltas::once(&app) => if let Err(error) = made {
                tracing::warn!(error = error.detail(), "deltas were not made; it is tried again");
            }
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            made = priors::once(&app) => if let Err(error) = made {
                tracing::warn!(error = error.detail(), "masks were not coded with the prior; it is tried again");
            }
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = app.deltas.notified() => {}
            () = tokio::time::sleep(DELTAS) => {}
        }
    }
}
