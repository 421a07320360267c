//! Takes away what nothing names any more.

use std::time::Duration;

use super::{BlobError, Blobs};
use crate::catalog::{Catalog, CatalogError, blobs};
use crate::domain::{ErrorKind, Problem};

/// Blobs of one transaction: SQLite's only writer waits until their bytes are deleted.
const BATCH: u32 = 32;

/// Why collecting stopped. What was collected before stays collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The blobs.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl Problem for CollectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Catalog(error) => error.kind(),
            Self::Blobs(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Catalog(error) => error.code(),
            Self::Blobs(error) => error.code(),
        }
    }
}

/// Deletes every blob that nothing names and nobody touched for `grace`, and
/// answers how many. `grace` must be longer than an upload takes from its touch
/// to its row, and than a validation set takes to arrive: an hour is usual.
pub async fn once(catalog: &Catalog, blobs: &Blobs, grace: Duration) -> Result<u64, CollectError> {
    let mut collected = 0;
    loop {
        let mut tx = catalog.begin().await?;
        // Locked until the commit: an upload of the same bytes waits in its touch, and
        // then puts them again.
        let unnamed = blobs::collectable(&mut tx, grace, BATCH).await?;
        for digest in &unnamed {
            blobs.delete(digest).await?;
            blobs::forget(&mut tx, digest).await?;
        }
        tx.commit().await?;
        collected += unnamed.len() as u64;
        if unnamed.is_empty() {
            return Ok(collected);
        }
    }
}
