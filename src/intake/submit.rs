//! An upload's files, on their way into the site: read one by one, looked at
//! on all cores, stored in batches, answered in the order sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, FuturesOrdered};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::answers::{rejected, taken};
use super::sidecars::{self, Sidecars};
use super::{Intake, IntakeError, Rejection, WAITING, check, kib};
use crate::catalog::images::{Inserted, NewImage};
use crate::catalog::{CatalogError, blobs, images, rejections, sites};
use crate::domain::health::Look;
use crate::domain::image::Caption;
use crate::domain::{Digest, SiteName};
use crate::wire::v1::images::{Fate, Received};

/// Most files that are stored and answered together.
const BATCH: usize = 64;
/// How long a file that was looked at waits for others to be stored with.
const PATIENCE: Duration = Duration::from_millis(250);

/// A file of an upload.
#[derive(Debug)]
pub struct Incoming {
    /// Its name as sent.
    pub name: String,
    /// What the factory said of it.
    pub caption: Option<Caption>,
    /// What it holds.
    pub content: Content,
}

/// What a file of an upload holds.
#[derive(Debug)]
pub enum Content {
    /// All its bytes.
    Whole(Bytes),
    /// A caption as JSON; the name, less `.json`, says of which file.
    Sidecar(Bytes),
    /// Nothing that can be used.
    Rejected(Rejection),
}

/// What stage one makes of a file.
enum Step {
    Image {
        name: String,
        digest: Digest,
        bytes: Bytes,
        caption: Option<Caption>,
        waits: OwnedSemaphorePermit,
    },
    Caption {
        image: Digest,
        caption: Caption,
    },
    Rejected(Received),
}

/// What stage two makes of it.
enum Looked {
    New {
        image: NewImage,
        bytes: Bytes,
        /// Freed when the file is stored.
        _waits: OwnedSemaphorePermit,
    },
    Known {
        name: String,
        digest: Digest,
        caption: Option<Caption>,
    },
    Caption {
        image: Digest,
        caption: Caption,
    },
    Rejected(Received),
}

/// Takes in the files of an upload and answers each of them once it is stored
/// for good. Dropped in between, what was answered stays. An error ends it.
pub fn submit(
    intake: &Intake,
    site: &SiteName,
    by: &str,
    files: impl Stream<Item = Incoming> + Send + 'static,
) -> impl Stream<Item = Result<Received, IntakeError>> + Send + 'static {
    let steps = Steps {
        intake: intake.clone(),
        site: site.clone(),
        files: Some(files.boxed()),
        sidecars: Sidecars::default(),
        waiting: Arc::new(Semaphore::new(WAITING >> 10)),
        begun: false,
    };
    let steps = futures::stream::try_unfold(steps, |mut steps| async move {
        Ok::<_, IntakeError>(steps.next().await?.map(|step| (step, steps)))
    });
    let (looking, storing) = (
        (intake.clone(), site.clone()),
        (intake.clone(), site.clone(), by.to_owned()),
    );
    // Tasks of their own, which end with this stream: a client that does not read its
    // answers must not hold a decoder, or SQLite's writer, by not polling.
    let looked = steps
        .map(move |step| {
            let (intake, site) = looking.clone();
            let task = tokio::spawn(async move { intake.look(&site, step?).await });
            AbortOnDropHandle::new(task)
        })
        // One more than there are decoders, so that none of them waits for a file.
        .buffered(intake.limits.concurrent_decodes.max(1) + 1)
        .map(|task| task.map_err(IntakeError::from).flatten());
    tokio_stream::StreamExt::chunks_timeout(looked, BATCH, PATIENCE)
        .then(move |batch| {
            let (intake, site, by) = storing.clone();
            let task = tokio::spawn(async move { intake.store(&site, &by, batch).await });
            AbortOnDropHandle::new(task)
        })
        .flat_map(|task| futures::stream::iter(task.unwrap_or_else(|error| vec![Err(error.into())])))
}

/// Stage one: gives files their digests and their captions.
struct Steps {
    intake: Intake,
    site: SiteName,
    /// None once the upload has ended.
    files: Option<BoxStream<'static, Incoming>>,
    sidecars: Sidecars,
    /// KiB of files that were read and not stored yet. Of this upload alone: a sender
    /// who does not read the answers holds up nobody else.
    waiting: Arc<Semaphore>,
    begun: bool,
}

impl Steps {
    async fn next(&mut self) -> Result<Option<Step>, IntakeError> {
        if !std::mem::replace(&mut self.begun, true) {
            sites::needed(&mut self.intake.catalog.read().await?, &self.site).await?;
        }
        while let Some(files) = &mut self.files {
            let Some(file) = files.next().await else {
                self.files = None;
                break;
            };
            if let Some(step) = self.step(file).await? {
                return Ok(Some(step));
            }
        }
        let left = self.sidecars.left_over();
        Ok(left.map(|name| Step::Rejected(rejected(name, None, &Rejection::CaptionAlone))))
    }

    async fn step(&mut self, file: Incoming) -> Result<Option<Step>, IntakeError> {
        let Incoming {
            name,
            caption,
            content,
        } = file;
        match content {
            Content::Rejected(why) => Ok(Some(Step::Rejected(rejected(name, None, &why)))),
            Content::Sidecar(bytes) => {
                let subject = sidecars::subject(&name).unwrap_or(&name);
                let came = sidecars::caption(&bytes).and_then(|caption| self.sidecars.came(subject, caption));
                Ok(match came {
                    Ok(None) => None,
                    Ok(Some((image, caption))) => Some(Step::Caption { image, caption }),
                    Err(why) => Some(Step::Rejected(rejected(name, None, &why))),
                })
            }
            Content::Whole(bytes) => {
                let digest = check::digest(&bytes).await?;
                let caption = caption.or_else(|| self.sidecars.of(&name));
                if caption.is_none() {
                    self.sidecars.without(&name, digest);
                }
                let size = kib(bytes.len() as u64, WAITING);
                let waits = self.waiting.clone().acquire_many_owned(size).await;
                let waits = waits.expect("nobody closes the bound on waiting files");
                Ok(Some(Step::Image {
                    name,
                    digest,
                    bytes,
                    caption,
                    waits,
                }))
            }
        }
    }
}

impl Intake {
    /// Stage two: finds out whether the site has the file; decodes it if not.
    async fn look(&self, site: &SiteName, step: Step) -> Result<Looked, IntakeError> {
        let (name, digest, bytes, caption, waits) = match step {
            Step::Image {
                name,
                digest,
                bytes,
                caption,
                waits,
            } => (name, digest, bytes, caption, waits),
            Step::Caption { image, caption } => return Ok(Looked::Caption { image, caption }),
            Step::Rejected(received) => return Ok(Looked::Rejected(received)),
        };
        let known = images::get(&mut self.catalog.read().await?, site, &digest).await?;
        if known.is_some_and(|image| image.deleted_at.is_none()) {
            return Ok(Looked::Known {
                name,
                digest,
                caption,
            });
        }
        let picture = match self.look_at(&bytes).await? {
            Ok(picture) => picture,
            Err(why) => return Ok(Looked::Rejected(rejected(name, Some(digest), &why))),
        };
        let Caption {
            captured_at,
            metadata,
        } = caption.unwrap_or_default();
        let image = NewImage {
            digest,
            name,
            media_type: picture.media_type.to_owned(),
            width: picture.width,
            height: picture.height,
            bytes: bytes.len() as u64,
            phash: picture.phash,
            look: Some(Look::Measured(picture.quality)),
            metadata,
            captured_at,
        };
        Ok(Looked::New {
            image,
            bytes,
            _waits: waits,
        })
    }

    /// Stage three: stores a batch and answers it. An error of stage one or two
    /// comes after the answers of what was looked at before it.
    async fn store(
        &self,
        site: &SiteName,
        by: &str,
        batch: Vec<Result<Looked, IntakeError>>,
    ) -> Vec<Result<Received, IntakeError>> {
        let (mut looked, mut failed) = (Vec::with_capacity(batch.len()), None);
        for one in batch {
            match one {
                Ok(one) => looked.push(one),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let stored = match self.store_looked(site, by, &looked).await {
            // The collector was faster, because the batch took longer than its grace.
            Err(IntakeError::Catalog(CatalogError::BlobGone { .. })) => {
                self.store_looked(site, by, &looked).await
            }
            other => other,
        };
        match stored {
            Ok(received) => received.into_iter().map(Ok).chain(failed.map(Err)).collect(),
            Err(error) => vec![Err(error)],
        }
    }

    /// Touch, put, name: see `blobs`.
    async fn store_looked(
        &self,
        site: &SiteName,
        by: &str,
        looked: &[Looked],
    ) -> Result<Vec<Received>, IntakeError> {
        let new: Vec<(Digest, &Bytes)> = looked
            .iter()
            .filter_map(|one| match one {
                Looked::New { image, bytes, .. } => Some((image.digest, bytes)),
                _ => None,
            })
            .collect();
        self.keep(&new).await?;
        let mut tx = self.catalog.begin().await?;
        let (mut received, mut accepted) = (Vec::with_capacity(looked.len()), 0);
        for one in looked {
            match one {
                Looked::New { image, .. } => {
                    let fate = match images::insert(&mut tx, site, image).await? {
                        Inserted::New | Inserted::Revived => Fate::Accepted,
                        Inserted::Duplicate => Fate::Duplicate,
                    };
                    accepted += u64::from(fate == Fate::Accepted);
                    received.push(taken(image.name.clone(), image.digest, fate));
                }
                Looked::Known {
                    name,
                    digest,
                    caption,
                } => {
                    if let Some(caption) = caption {
                        images::describe(&mut tx, site, digest, caption).await?;
                    }
                    received.push(taken(name.clone(), *digest, Fate::Duplicate));
                }
                Looked::Caption { image, caption } => {
                    images::describe(&mut tx, site, image, caption).await?;
                }
                Looked::Rejected(why) => received.push(why.clone()),
            }
        }
        let rejected: Vec<&Received> = received
            .iter()
            .filter(|file| file.fate == Fate::Rejected)
            .collect();
        rejections::record(&mut tx, site, &rejected).await?;
        if accepted > 0 {
            images::received(&mut tx, site, accepted, by).await?;
        }
        tx.commit().await?;
        Ok(received)
    }

    /// Stores bytes so that the collector leaves them alone until a row names them.
    pub(super) async fn keep(&self, new: &[(Digest, &Bytes)]) -> Result<(), IntakeError> {
        if new.is_empty() {
            return Ok(());
        }
        // In one order everywhere, or two batches with the same files lock each other out.
        let mut sorted = new.to_vec();
        sorted.sort_unstable_by_key(|(digest, _)| *digest);
        sorted.dedup_by_key(|(digest, _)| *digest);
        let mut tx = self.catalog.begin().await?;
        for (digest, bytes) in &sorted {
            blobs::touch(&mut tx, digest, bytes.len() as u64).await?;
        }
        tx.commit().await?;
        let puts = sorted
            .iter()
            .map(|(digest, bytes)| self.blobs.put_known(digest, (*bytes).clone()));
        let puts: FuturesOrdered<_> = puts.collect();
        puts.try_collect::<Vec<()>>().await?;
        Ok(())
    }
}
