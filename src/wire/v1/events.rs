//! `/v1/events`: what happens, as server-sent events.
//!
//! The event's `id` counts up; a reader that sends the last one that it saw as
//! `Last-Event-ID` misses nothing. `event` is the kind, `data` one [`Event`].

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::job::{JobState, Progress};
use crate::domain::{ChannelName, DeviceId, JobId, MaskVersion, SiteName, SnapshotId, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Counts up.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// On which site.
    pub site: Option<SiteName>,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Happening {
    /// A site was made or changed.
    SiteChanged,
    /// Images were received.
    ImagesReceived {
        /// How many new ones.
        accepted: u64,
    },
    /// A validation set was set.
    ValidationSet {
        /// Its version.
        version: u32,
    },
    /// A snapshot was made.
    SnapshotMade {
        /// It.
        snapshot: SnapshotId,
    },
    /// A job changed its state or went on.
    JobChanged {
        /// The job.
        job: JobId,
        /// Where it is.
        state: JobState,
        /// How far its attempt is.
        progress: Option<Progress>,
    },
    /// A mask was published.
    MaskPublished {
        /// Its version.
        version: MaskVersion,
        /// The gate's verdict.
        verdict: String,
    },
    /// A channel was moved.
    ChannelMoved {
        /// The channel.
        channel: ChannelName,
        /// Where it points.
        mask: Option<MaskVersion>,
    },
    /// A device reported.
    DeviceReported {
        /// The device.
        device: DeviceId,
        /// What it runs.
        mask: Option<MaskVersion>,
    },
}

impl Happening {
    /// The kind as one word: the SSE field `event`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SiteChanged => "site-changed",
            Self::ImagesReceived { .. } => "images-received",
            Self::ValidationSet { .. } => "validation-set",
            Self::SnapshotMade { .. } => "snapshot-made",
            Self::JobChanged { .. } => "job-changed",
            Self::MaskPublished { .. } => "mask-published",
            Self::ChannelMoved { .. } => "channel-moved",
            Self::DeviceReported { .. } => "device-reported",
        }
    }
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only those of this site. A token of a site sees no others anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
}
