//! What can go wrong with the catalog, and whose fault it is.

use crate::domain::{
    AttemptId, ChannelName, DeviceId, Digest, ErrorKind, JobId, MaskVersion, Problem, SiteName, SnapshotId,
    TokenId, ValidationVersion,
};

/// Why the catalog did not do it. The sentences never show SQL: what the
/// database said is the source of [`CatalogError::Database`], for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The name is taken.
    #[error("there is a site `{site}` already; choose another name")]
    SiteExists {
        /// The name.
        site: SiteName,
    },
    /// There is no such site.
    #[error("there is no site `{site}`; list them with `katagami site list`")]
    NoSuchSite {
        /// The name asked for.
        site: SiteName,
    },
    /// There is no such image, or it was deleted.
    #[error("site `{site}` has no image {digest}; list them with `katagami images list {site}`")]
    NoSuchImage {
        /// The site.
        site: SiteName,
        /// The digest asked for.
        digest: Digest,
    },
    /// There is no such validation set.
    #[error("site `{site}` has no validation set {version}; set one with `katagami validation set {site}`")]
    NoSuchValidationSet {
        /// The site.
        site: SiteName,
        /// The version asked for.
        version: ValidationVersion,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot {snapshot}; list them with `katagami snapshot list`")]
    NoSuchSnapshot {
        /// The snapshot asked for.
        snapshot: SnapshotId,
    },
    /// An image of the snapshot was deleted.
    #[error("images of snapshot {snapshot} were deleted, so nothing can be trained on it; make a new one")]
    SnapshotIncomplete {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// There is no such job.
    #[error("there is no job {job}; list them with `katagami job list`")]
    NoSuchJob {
        /// The job asked for.
        job: JobId,
    },
    /// The job has ended and cannot change any more.
    #[error("job {job} has ended ({state}); start a new one")]
    JobEnded {
        /// The job.
        job: JobId,
        /// How.
        state: &'static str,
    },
    /// There is no such population prior.
    #[error("there is no prior {prior}; list them with `katagami prior list`")]
    NoSuchPrior {
        /// The digest asked for.
        prior: Digest,
    },
    /// There is no such mask.
    #[error("site `{site}` has no mask {version}; list them with `katagami mask list {site}`")]
    NoSuchMask {
        /// The site.
        site: SiteName,
        /// The version asked for.
        version: MaskVersion,
    },
    /// The channel was never moved.
    #[error("site `{site}` has no channel `{channel}`; a channel begins with its first release")]
    NoSuchChannel {
        /// The site.
        site: SiteName,
        /// The channel asked for.
        channel: ChannelName,
    },
    /// Somebody else moved the channel.
    #[error("channel `{channel}` of `{site}` was moved meanwhile; look at it again and repeat the change")]
    ChannelMoved {
        /// The site.
        site: SiteName,
        /// The channel.
        channel: ChannelName,
    },
    /// There is no such device.
    #[error("there is no device {device}; list them with `katagami device list`")]
    NoSuchDevice {
        /// The device asked for.
        device: DeviceId,
    },
    /// The name is taken.
    #[error("site `{site}` has a device `{name}` already; choose another name")]
    DeviceExists {
        /// The site.
        site: SiteName,
        /// The name.
        name: String,
    },
    /// There is no such token.
    #[error("there is no token {token}; list them with `katagami admin token list`")]
    NoSuchToken {
        /// The token asked for.
        token: TokenId,
    },
    /// No base is active, or there is no such base.
    #[error("the server has no base yet; import one with `katagami base import` and activate it")]
    NoBase,
    /// The attempt does not hold the job any more: somebody else may.
    #[error("attempt {attempt} has lost its lease; drop its results, another attempt has the job")]
    LeaseLost {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A result names bytes that the attempt did not upload.
    #[error("attempt {attempt} has not uploaded blob {digest}; upload it first")]
    NotUploaded {
        /// The attempt.
        attempt: AttemptId,
        /// The blob.
        digest: Digest,
    },
    /// The blob was collected before anything named it.
    #[error("the bytes of {digest} are not stored any more; send them again")]
    BlobGone {
        /// The blob.
        digest: Digest,
    },
    /// A cursor that no list gave.
    #[error("`{given}` is no cursor of this list; leave it out to begin at the first page")]
    InvalidCursor {
        /// What was given.
        given: String,
    },
    /// The migrations do not fit the database.
    #[error("the database has another schema than this version of Katagami needs: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The database failed.
    #[error("{}", if is_passing(.0) { "the database is not there now; try again in a moment" }
        else { "the catalog failed; the server's log says why" })]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl CatalogError {
    /// Whether the database refused a row because it names one that is not there.
    pub(super) fn is_orphan(error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation)
    }
}

/// Whether the same question may be answered in a moment: the database cannot
/// be reached, or chose this transaction to lose.
fn is_passing(error: &sqlx::Error) -> bool {
    // serialization_failure, deadlock_detected, cannot_connect_now, admin_shutdown,
    // crash_shutdown, too_many_connections; SQLITE_BUSY.
    const PASSING: [&str; 7] = ["40001", "40P01", "57P03", "57P01", "57P02", "53300", "5"];
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| PASSING.contains(&code.as_ref())),
        _ => false,
    }
}

impl Problem for CatalogError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchSite { .. }
            | Self::NoSuchImage { .. }
            | Self::NoSuchValidationSet { .. }
            | Self::NoSuchSnapshot { .. }
            | Self::NoSuchJob { .. }
            | Self::NoSuchMask { .. }
            | Self::NoSuchPrior { .. }
            | Self::NoSuchChannel { .. }
            | Self::NoSuchDevice { .. }
            | Self::NoSuchToken { .. }
            | Self::NoBase => ErrorKind::NotFound,
            Self::SiteExists { .. }
            | Self::DeviceExists { .. }
            | Self::SnapshotIncomplete { .. }
            | Self::JobEnded { .. }
            | Self::LeaseLost { .. }
            | Self::NotUploaded { .. }
            | Self::BlobGone { .. } => ErrorKind::Conflict,
            Self::ChannelMoved { .. } => ErrorKind::PreconditionFailed,
            Self::InvalidCursor { .. } => ErrorKind::Invalid,
            Self::Database(error) if is_passing(error) => ErrorKind::Unavailable,
            Self::Migration(_) | Self::Database(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::SiteExists { .. } => "site_exists",
            Self::NoSuchSite { .. } => "no_such_site",
            Self::NoSuchImage { .. } => "no_such_image",
            Self::NoSuchValidationSet { .. } => "no_such_validation_set",
            Self::NoSuchSnapshot { .. } => "no_such_snapshot",
            Self::SnapshotIncomplete { .. } => "snapshot_incomplete",
            Self::NoSuchJob { .. } => "no_such_job",
            Self::JobEnded { .. } => "job_ended",
            Self::NoSuchMask { .. } => "no_such_mask",
            Self::NoSuchPrior { .. } => "no_such_prior",
            Self::NoSuchChannel { .. } => "no_such_channel",
            Self::ChannelMoved { .. } => "channel_moved",
            Self::NoSuchDevice { .. } => "no_such_device",
            Self::DeviceExists { .. } => "device_exists",
            Self::NoSuchToken { .. } => "no_such_token",
            Self::NoBase => "no_base",
            Self::LeaseLost { .. } => "lease_lost",
            Self::NotUploaded { .. } => "not_uploaded",
            Self::BlobGone { .. } => "blob_gone",
            Self::InvalidCursor { .. } => "invalid_cursor",
            Self::Migration(_) => "schema",
            Self::Database(_) => "database",
        }
    }
}
