//! What can go wrong with blobs.

use crate::domain::{Digest, ErrorKind, Problem};

/// Why a blob was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not there.
    #[error("blob {} is not in the store", .0.short())]
    Missing(Digest),
    /// What lies under its key are other bytes.
    #[error("blob {} is damaged in the store: its bytes have digest {}; restore it from a backup", wanted.short(), found.short())]
    Damaged {
        /// The blob.
        wanted: Digest,
        /// The digest of what lies there.
        found: Digest,
    },
    /// What was sent is not what was announced.
    #[error("the bytes have digest {}, not {} as announced; send them again", found.short(), announced.short())]
    OtherBytes {
        /// What was announced.
        announced: Digest,
        /// What came.
        found: Digest,
    },
    /// More bytes came than are allowed.
    #[error("the file has more than {0} bytes, which is the limit")]
    TooLarge(u64),
    /// The stream of bytes broke off; nothing was stored.
    #[error("the transfer broke off ({0}); send the file again")]
    BrokenOff(String),
    /// The store is configured wrongly.
    #[error("`{given}` is no place for blobs: {reason}")]
    Location {
        /// What was given.
        given: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// The folder for what is being received cannot be written.
    #[error("cannot write in {}: {source}", path.display())]
    Spool {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The object store failed.
    #[error("the blob store does not answer as it should ({0}); try again later")]
    Store(#[source] object_store::Error),
}

impl Problem for BlobError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) => ErrorKind::NotFound,
            Self::Damaged { .. } => ErrorKind::Internal,
            Self::OtherBytes { .. } | Self::BrokenOff(_) | Self::Location { .. } => ErrorKind::Invalid,
            Self::TooLarge(_) => ErrorKind::TooLarge,
            Self::Spool { .. } | Self::Store(_) => ErrorKind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "no_such_blob",
            Self::Damaged { .. } => "blob_damaged",
            Self::OtherBytes { .. } => "digest_mismatch",
            Self::TooLarge(_) => "file_too_large",
            Self::BrokenOff(_) => "transfer_broken_off",
            Self::Location { .. } => "blob_location",
            Self::Spool { .. } | Self::Store(_) => "blob_store_unavailable",
        }
    }
}
