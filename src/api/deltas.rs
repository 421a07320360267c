//! Makes the deltas that devices will ask for, beside the requests: nobody
//! waits for one, since every mask is served whole.

use std::sync::Arc;

use super::bases;
use super::blocking::blocking;
use super::error::ApiError;
use super::state::App;
use crate::base::{Weights, architecture};
use crate::catalog::deltas::{self, Wanted};
use crate::catalog::{CatalogError, blobs};
use crate::domain::{Digest, delta};
use crate::mask::{self, MaskError};

/// Deltas that are looked up at once.
const BATCH: u32 = 32;

/// The base that was read last: the next mask mostly has the same one.
#[derive(Default)]
pub(super) struct LastBase(Option<(Digest, Arc<Weights>)>);

/// Forgets deltas that nobody needs, makes those that devices will ask for, and answers how many
/// were made. Several servers may make the same one at once; the first one's stays.
pub async fn once(app: &App) -> Result<u64, ApiError> {
    let mut tx = app.catalog.begin().await?;
    deltas::forget_dead(&mut tx).await?;
    tx.commit().await?;
    let (mut made, mut base) = (0, LastBase::default());
    loop {
        let wanted = deltas::wanted(&mut app.catalog.read().await?, BATCH).await?;
        let mut failed = None;
        for wanted in &wanted {
            match make(app, wanted, &mut base).await {
                Ok(bytes) => made += u64::from(bytes.is_some()),
                // One that fails must not keep the others from being made.
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => return Err(error),
            None if wanted.is_empty() => return Ok(made),
            None => {}
        }
    }
}

/// Makes one and stores what became of it: its bytes, or none if it is not worth it.
async fn make(app: &App, wanted: &Wanted, base: &mut LastBase) -> Result<Option<u64>, ApiError> {
    let found = if delta::may_help(wanted.bytes) {
        coded(app, wanted, base).await?
    } else {
        None
    };
    let found = found.filter(|found| delta::is_worthwhile(found.len() as u64, wanted.bytes));
    let Some(found) = found else {
        let mut tx = app.catalog.begin().await?;
        deltas::put(&mut tx, wanted, None).await?;
        tx.commit().await?;
        return Ok(None);
    };
    let (digest, bytes) = stored(app, found).await?;
    let mut tx = app.catalog.begin().await?;
    deltas::put(&mut tx, wanted, Some((digest, bytes))).await?;
    tx.commit().await?;
    let (site, parent, version) = (&wanted.site, wanted.parent, wanted.version);
    tracing::info!(%site, %parent, %version, bytes, whole = wanted.bytes, "made a delta");
    Ok(Some(bytes))
}

/// Stores bytes that were just made as a blob, for a row that is to name it.
pub(super) async fn stored(app: &App, made: Vec<u8>) -> Result<(Digest, u64), ApiError> {
    let (digest, bytes) = (Digest::of(&made), made.len() as u64);
    let mut tx = app.catalog.begin().await?;
    blobs::touch(&mut tx, &digest, bytes).await?;
    tx.commit().await?;
    app.blobs.put_known(&digest, made.into()).await?;
    Ok((digest, bytes))
}

/// The delta; none if there is none between these artefacts.
async fn coded(app: &App, wanted: &Wanted, base: &mut LastBase) -> Result<Option<Vec<u8>>, ApiError> {
    let parent = app.blobs.get(&wanted.parent_artefact).await?;
    let whole = app.blobs.get(&wanted.artefact).await?;
    let weights = base.weights(app, &wanted.base).await?;
    let coded = blocking(move || mask::delta::make(&parent, &whole, &weights)).await;
    Ok(coded.unwrap_or_else(|error| {
        let (site, parent, version) = (&wanted.site, wanted.parent, wanted.version);
        tracing::warn!(%site, %parent, %version, %error, "there is no delta between these masks");
        None
    }))
}

impl LastBase {
    /// The weights of a base.
    pub(super) async fn weights(&mut self, app: &App, digest: &Digest) -> Result<Arc<Weights>, ApiError> {
        if let Some((_, weights)) = self.0.as_ref().filter(|(known, _)| known == digest) {
            return Ok(weights.clone());
        }
        let base = crate::catalog::bases::get(&mut app.catalog.read().await?, digest).await?;
        let base = base.ok_or(CatalogError::NoBase)?;
        let file = app.blobs.get(&base.file).await?;
        let name = base.manifest.architecture;
        let architecture = architecture(&name).ok_or(MaskError::UnknownArchitecture(name))?;
        let read = blocking(move || bases::weights(&file, architecture));
        let weights = Arc::new(read.await?);
        self.0 = Some((*digest, weights.clone()));
        Ok(weights)
    }
}
