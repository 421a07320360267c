//! `/v1/sites/{site}/devices`

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{ChannelName, DeviceId, Digest, MaskVersion, SiteName, Timestamp};

/// Enrols a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Its name for people, such as `line-a-camera-3`.
    pub name: String,
    /// The channel that it follows. Default `stable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelName>,
}

/// A device and the token that it was given; the token is shown this once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnrolledDevice {
    /// The device.
    pub device: Device,
    /// Its token.
    pub token: String,
}

/// A device of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Its identifier.
    pub id: DeviceId,
    /// Its site.
    pub site: SiteName,
    /// Its name.
    pub name: String,
    /// The channel that it follows.
    pub channel: ChannelName,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// What it said then.
    pub status: Option<DeviceStatus>,
}

/// What a device says of itself: `PUT /v1/device/status` with its own token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceStatus {
    /// The mask that it runs; none: the plain base.
    pub mask: Option<MaskVersion>,
    /// The digest of that mask's artefact.
    pub digest: Option<Digest>,
    /// The digest of the weights that it runs.
    pub weights: Option<Digest>,
    /// The channel that it follows.
    pub channel: ChannelName,
    /// The agent's version.
    pub agent: String,
    /// What went wrong last, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Who a device is: `GET /v1/device` with its own token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Myself {
    /// The device.
    pub device: Device,
    /// The base that the server serves.
    pub base: Option<Digest>,
}
