//! What every handler can reach.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::KnownTokens;
use crate::blobs::Blobs;
use crate::catalog::{Catalog, events};
use crate::config::Config;
use crate::domain::Digest;
use crate::intake::Intake;
use crate::release::Pointers;
use crate::telemetry::Metrics;

/// The server's components. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Components>);

/// The parts of a server; made once by [`super::start`](fn@super::start).
pub struct Components {
    /// The settings that it started with.
    pub config: Config,
    /// The database.
    pub catalog: Catalog,
    /// Everything immutable.
    pub blobs: Blobs,
    /// What takes in files, with the bounds on memory that all uploads share.
    pub intake: Intake,
    /// Where channels point, in memory.
    pub pointers: Pointers,
    /// Tokens that were looked up.
    pub tokens: KnownTokens,
    /// Told when there may be deltas to make: a mask was published, a channel moved.
    pub deltas: Notify,
    /// What is counted.
    pub metrics: Metrics,
    /// Ends everything that runs on its own: loops, event streams, workers.
    pub shutdown: CancellationToken,
    /// What must be waited for at the end. Nothing is spawned beside it.
    pub tasks: TaskTracker,
}

impl App {
    /// Puts the parts together.
    pub fn new(components: Components) -> Self {
        Self(Arc::new(components))
    }

    /// Whether database and blob store answer; else which does not.
    pub async fn answers(&self) -> Result<(), String> {
        let catalog = async {
            let mut tx = self.catalog.read().await?;
            events::newest(&mut tx).await
        };
        if let Err(error) = catalog.await {
            tracing::warn!(%error, "the database does not answer");
            return Err("the database does not answer".to_owned());
        }
        // Any digest will do: the store has to answer, not to have it.
        if let Err(error) = self.blobs.exists(&Digest::of(b"")).await {
            tracing::warn!(%error, "the blob store does not answer");
            return Err("the blob store does not answer".to_owned());
        }
        Ok(())
    }
}

impl Deref for App {
    type Target = Components;

    fn deref(&self) -> &Components {
        &self.0
    }
}
