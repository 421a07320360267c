//! The base that the server serves: from the folder of imported bases into
//! blobs and catalog, once.

use std::fs::File;
use std::io::Write as _;

use tokio_util::io::ReaderStream;

use super::blocking::blocking;
use super::error::ApiError;
use super::start::StartError;
use super::state::App;
use crate::base::{Architecture, BaseStore, Manifest, Weights, import};
use crate::blobs::BlobError;
use crate::catalog::{bases, blobs};

/// Who did it, for the audit trail.
const BY: &str = "serve";

/// Makes the base of the settings the active one: the named one, else the
/// catalog's, else the only one in the folder. Without any, the server starts
/// all the same and says how to get one.
pub async fn serve(app: &App) -> Result<(), StartError> {
    let storage = &app.config.storage;
    let store = BaseStore::new(&storage.bases);
    let mut tx = app.catalog.read().await?;
    let active = bases::active(&mut tx).await?;
    let known = match &storage.base {
        Some(given) => {
            let listed = bases::list(&mut tx).await?;
            let mut matching = listed
                .into_iter()
                .filter(|base| base.manifest.digest.to_string().starts_with(given));
            matching.next().filter(|_| matching.next().is_none())
        }
        None => active.clone(),
    };
    drop(tx);
    let chosen = match (known, &storage.base) {
        (Some(base), _) => base.manifest,
        (None, Some(given)) => stored(app, &store, store.find(given)?).await?,
        (None, None) => {
            let mut imported = store.list()?;
            match imported.len() {
                1 => stored(app, &store, imported.remove(0)).await?,
                0 => {
                    tracing::warn!(
                        "there is no base yet: import one with `katagami base import`, then start again"
                    );
                    return Ok(());
                }
                _ => {
                    tracing::warn!(
                        folder = %storage.bases.display(),
                        "there are several bases: choose one with `--base`"
                    );
                    return Ok(());
                }
            }
        }
    };
    if active.is_none_or(|base| base.manifest.digest != chosen.digest) {
        let mut tx = app.catalog.begin().await?;
        bases::activate(&mut tx, &chosen.digest, BY).await?;
        tx.commit().await?;
        tracing::info!(base = %chosen.digest, "the base is active");
    }
    Ok(())
}

/// Puts a base of the folder into blobs and catalog, checked.
async fn stored(app: &App, store: &BaseStore, manifest: Manifest) -> Result<Manifest, StartError> {
    // Whoever serves a base vouches for it: read it all once.
    let (checked, path) = (manifest.clone(), store.weights_path(&manifest.digest));
    let loader = store.clone();
    blocking(move || loader.load(&checked).map(drop)).await?;
    let data = |source| StartError::Data {
        path: path.clone(),
        source,
    };
    let file = File::open(&path).map_err(data)?;
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file), 1 << 20);
    let spooled = app.blobs.spool(stream, u64::MAX).await?;
    let (digest, bytes) = (spooled.digest(), spooled.bytes());
    let mut tx = app.catalog.begin().await?;
    blobs::touch(&mut tx, &digest, bytes).await?;
    tx.commit().await?;
    app.blobs.put_spooled(spooled).await?;
    let mut tx = app.catalog.begin().await?;
    bases::put(&mut tx, &manifest, &digest, BY).await?;
    tx.commit().await?;
    Ok(manifest)
}

/// The weights in the `bytes` of a base's file. To be called where it may block.
pub fn weights(bytes: &[u8], architecture: &'static Architecture) -> Result<Weights, ApiError> {
    let file = tempfile::NamedTempFile::new().and_then(|mut file| file.write_all(bytes).map(|()| file));
    let file = file.map_err(|source| BlobError::Spool {
        path: std::env::temp_dir(),
        source,
    })?;
    Ok(import(architecture, file.path())?)
}
