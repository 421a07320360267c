//! From upload streams to checked images, labelled sets and snapshots.
//!
//! The unit of atomicity is one file: it is decoded whole before anything is
//! stored, then its blob is touched, put, and named by a row. What was stored
//! before an upload broke off stays; sent again, it is a duplicate, and is
//! found so without decoding it again. Files pass one by one, so memory does
//! not grow with the length of an upload.
//!
//! ```text
//! archive.rs   a tar as files, or why an entry is none
//! submit.rs    files → decoded on all cores, in order → stored in batches
//! check.rs     is it a picture? what does it look like? (phash.rs, quality.rs)
//! health.rs    what may be wrong with what a site has
//! ```

mod answers;
mod archive;
mod check;
mod error;
mod health;
mod phash;
mod quality;
mod sidecars;
mod snapshot;
mod submit;
mod upload;
mod validation;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use answers::submission;
pub use check::Picture;
pub use error::{IntakeError, Rejection};
pub use health::SiteHealth;
pub use phash::perceptual_hash;
pub use snapshot::snapshot;
pub use submit::{Content, Incoming, submit};
pub use upload::{image, read, tar};
pub use validation::validation;

use crate::blobs::Blobs;
use crate::catalog::Catalog;
use crate::config::IntakeConfig;

/// Most bytes of files of one upload that wait to be decoded and stored.
const WAITING: usize = 64 << 20;
/// Most bytes that pictures take up while they are decoded, all together.
const DECODING: usize = 128 << 20;

/// What takes in files. Cheap to clone; clones share the bounds of decoding,
/// so make it once.
#[derive(Clone)]
pub struct Intake {
    catalog: Catalog,
    blobs: Blobs,
    limits: IntakeConfig,
    room: Arc<Room>,
}

/// What bounds decoding, whoever uploads how much.
struct Room {
    /// KiB of pictures that are decoded.
    decoding: Arc<Semaphore>,
    /// Threads that decode.
    decoders: Arc<Semaphore>,
}

impl Intake {
    /// Takes files into `catalog` and `blobs`.
    pub fn new(catalog: Catalog, blobs: Blobs, limits: IntakeConfig) -> Self {
        let room = Room {
            decoding: Arc::new(Semaphore::new(DECODING >> 10)),
            decoders: Arc::new(Semaphore::new(limits.concurrent_decodes.max(1))),
        };
        Self {
            catalog,
            blobs,
            limits,
            room: Arc::new(room),
        }
    }

    /// What files may be like.
    pub const fn limits(&self) -> &IntakeConfig {
        &self.limits
    }
}

/// KiB of `bytes`, but never more than the whole of a bound: what is larger goes alone.
fn kib(bytes: u64, bound: usize) -> u32 {
    let kib = usize::try_from(bytes.div_ceil(1024)).unwrap_or(usize::MAX);
    kib.min(bound >> 10) as u32
}
