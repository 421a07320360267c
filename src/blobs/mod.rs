//! Content-addressed storage of everything immutable: images, bases, masks,
//! scores, reports, checkpoints.
//!
//! A blob is known by its SHA-256, never changes and is created if absent.
//! Two writers of one blob write the same bytes, so a store whose
//! create-if-absent isn't atomic (that of the tests, for one) does no harm.
//!
//! The trap: whoever stores a blob first touches its row in the catalog and
//! commits, then puts the bytes, then commits the row that names it. In any
//! other order the collector can take the bytes away in between.

pub mod collect;
mod error;
mod key;
mod leftovers;
mod location;
mod spool;

use std::fmt::Display;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

pub use error::BlobError;
pub use key::BlobKey;
pub use location::BlobLocation;
pub use spool::Spooled;

use crate::domain::{Digest, Digester};

/// What is sent in one piece; larger files go in parts of this size.
const PART: usize = 8 << 20;

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The folder of a local store.
    folder: Option<Arc<PathBuf>>,
    /// Where files lie while they are received.
    spool: Arc<PathBuf>,
}

impl Blobs {
    /// Opens the store at `location`; a folder is made if it is missing, a
    /// bucket is not. Settings of a bucket come from the `AWS_…` variables.
    pub fn open(location: &BlobLocation) -> Result<Self, BlobError> {
        Self::with_settings(location, AmazonS3Builder::from_env())
    }

    /// Opens the store with the given settings instead of variables, named as
    /// these in lower case, such as `aws_endpoint`.
    pub fn open_with<'a>(
        location: &BlobLocation,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BlobError> {
        let mut builder = AmazonS3Builder::new();
        for (name, value) in settings {
            let key: AmazonS3ConfigKey = name.parse().map_err(|_| BlobError::Location {
                given: location.to_string(),
                reason: format!("there is no setting `{name}`"),
            })?;
            builder = builder.with_config(key, value);
        }
        Self::with_settings(location, builder)
    }

    fn with_settings(location: &BlobLocation, builder: AmazonS3Builder) -> Result<Self, BlobError> {
        let refused = |error: &dyn Display| BlobError::Location {
            given: location.to_string(),
            reason: error.to_string(),
        };
        match location {
            BlobLocation::Folder(folder) => {
                let spool = folder.join("spool");
                std::fs::create_dir_all(&spool).map_err(|error| refused(&error))?;
                let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| refused(&error))?;
                Ok(Self {
                    store: Arc::new(store.with_fsync(true)),
                    folder: Some(Arc::new(folder.clone())),
                    spool: Arc::new(spool),
                })
            }
            BlobLocation::S3 { bucket, prefix } => {
                // Who names a plain endpoint means it: no second setting for that.
                let plain = builder
                    .get_config_value(&AmazonS3ConfigKey::Endpoint)
                    .is_some_and(|endpoint| endpoint.starts_with("http://"));
                let builder = if plain {
                    builder.with_allow_http(true)
                } else {
                    builder
                };
                let bucket = builder.with_bucket_name(bucket).build();
                let bucket = bucket.map_err(|error| refused(&error))?;
                Ok(Self {
                    store: Arc::new(PrefixStore::new(bucket, prefix.as_str())),
                    folder: None,
                    spool: Arc::new(std::env::temp_dir()),
                })
            }
        }
    }

    /// Stores bytes unless they are there, and answers their digest.
    pub async fn put(&self, bytes: Bytes) -> Result<Digest, BlobError> {
        let digest = Digest::of(&bytes);
        self.put_known(&digest, bytes).await?;
        Ok(digest)
    }

    /// As [`put`](Self::put), for whoever has digested the bytes already.
    pub(crate) async fn put_known(&self, digest: &Digest, bytes: Bytes) -> Result<(), BlobError> {
        let path = BlobKey::of(digest).path();
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&path, bytes.into(), options).await {
            // Some stores answer a lost race of equal puts with a failed precondition.
            Ok(_)
            | Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(())
            }
            Err(error) => Err(BlobError::Store(error)),
        }
    }

    /// Receives a stream of at most `most` bytes in bounded memory, and stores it only
    /// if it is what `announced` says. A failed stream leaves nothing.
    pub async fn put_stream<E: Display>(
        &self,
        announced: &Digest,
        stream: impl Stream<Item = Result<Bytes, E>>,
        most: u64,
    ) -> Result<u64, BlobError> {
        let spooled = self.spool(stream, most).await?;
        if spooled.digest() != *announced {
            return Err(BlobError::OtherBytes {
                announced: *announced,
                found: spooled.digest(),
            });
        }
        let bytes = spooled.bytes();
        self.put_spooled(spooled).await?;
        Ok(bytes)
    }

    /// Receives a stream of at most `most` bytes without storing it: for whoever has to
    /// learn the digest first.
    pub async fn spool<E: Display>(
        &self,
        stream: impl Stream<Item = Result<Bytes, E>>,
        most: u64,
    ) -> Result<Spooled, BlobError> {
        Spooled::receive(&self.spool, stream, most).await
    }

    /// Stores what was received unless it is there.
    pub async fn put_spooled(&self, mut spooled: Spooled) -> Result<(), BlobError> {
        let digest = spooled.digest();
        let lost = |source| BlobError::Spool {
            path: self.spool.to_path_buf(),
            source,
        };
        if spooled.bytes() <= PART as u64 {
            let bytes = spooled.next(PART).await.map_err(lost)?;
            return self.put_known(&digest, bytes).await;
        }
        if self.exists(&digest).await? {
            return Ok(());
        }
        let path = BlobKey::of(&digest).path();
        let mut upload = self.store.put_multipart(&path).await.map_err(BlobError::Store)?;
        let sent: Result<(), BlobError> = async {
            loop {
                let part = spooled.next(PART).await.map_err(lost)?;
                if part.is_empty() {
                    return upload.complete().await.map(|_| ()).map_err(BlobError::Store);
                }
                upload.put_part(part.into()).await.map_err(BlobError::Store)?;
            }
        }
        .await;
        if sent.is_err() {
            // The parts that were sent cost money until they are aborted.
            let _ = upload.abort().await;
        }
        sent
    }

    /// The bytes of a blob, checked against its digest.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let found = self.store.get(&BlobKey::of(digest).path()).await;
        let found = found.map_err(|error| of_blob(digest, error))?;
        let bytes = found.bytes().await.map_err(|error| of_blob(digest, error))?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(BlobError::Damaged {
                wanted: *digest,
                found,
            }),
        }
    }

    /// A part of a blob. Nothing checks it: whoever puts parts together checks the whole.
    pub async fn get_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes, BlobError> {
        let part = self.store.get_range(&BlobKey::of(digest).path(), range).await;
        part.map_err(|error| of_blob(digest, error))
    }

    /// A blob piece by piece. If its bytes are not those of its digest, the last piece is
    /// an error instead, so that a reader never takes the whole for good.
    pub async fn stream(
        &self,
        digest: &Digest,
    ) -> Result<BoxStream<'static, Result<Bytes, BlobError>>, BlobError> {
        let wanted = *digest;
        let found = self.store.get(&BlobKey::of(digest).path()).await;
        let pieces = found.map_err(|error| of_blob(digest, error))?.into_stream();
        // Holds one piece back, because only the end tells whether it may be given away.
        let state = (pieces, Digester::default(), None::<Bytes>, false);
        let checked = futures::stream::unfold(
            state,
            move |(mut pieces, mut digester, mut held, ended)| async move {
                if ended {
                    return None;
                }
                loop {
                    match pieces.next().await {
                        Some(Ok(piece)) => {
                            digester.update(&piece);
                            if let Some(ready) = held.replace(piece) {
                                return Some((Ok(ready), (pieces, digester, held, false)));
                            }
                        }
                        Some(Err(error)) => {
                            return Some((Err(of_blob(&wanted, error)), (pieces, digester, None, true)));
                        }
                        None => {
                            let found = digester.clone().finish();
                            let last = match held {
                                _ if found != wanted => Err(BlobError::Damaged { wanted, found }),
                                Some(piece) => Ok(piece),
                                None => return None,
                            };
                            return Some((last, (pieces, digester, None, true)));
                        }
                    }
                }
            },
        );
        Ok(checked.boxed())
    }

    /// The size of a blob; none: it is not there.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        match self.store.head(&BlobKey::of(digest).path()).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(BlobError::Store(error)),
        }
    }

    /// Whether a blob is there.
    pub async fn exists(&self, digest: &Digest) -> Result<bool, BlobError> {
        Ok(self.size(digest).await?.is_some())
    }

    /// Removes what killed servers left of blobs that never became whole, from a
    /// local folder, if nobody wrote to it for `grace`. Answers how many files.
    pub async fn remove_leftovers(&self, grace: Duration) -> Result<u64, BlobError> {
        let Some(folder) = self.folder.clone() else {
            return Ok(0);
        };
        let path = folder.to_path_buf();
        let removed = tokio::task::spawn_blocking(move || leftovers::remove(&folder, grace)).await;
        removed
            .unwrap_or_else(|error| Err(error.into()))
            .map_err(|source| BlobError::Spool { path, source })
    }

    /// Deletes a blob; one that is not there is as good as deleted.
    pub async fn delete(&self, digest: &Digest) -> Result<(), BlobError> {
        match self.store.delete(&BlobKey::of(digest).path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(BlobError::Store(error)),
        }
    }
}

fn of_blob(digest: &Digest, error: object_store::Error) -> BlobError {
    match error {
        object_store::Error::NotFound { .. } => BlobError::Missing(*digest),
        other => BlobError::Store(other),
    }
}
