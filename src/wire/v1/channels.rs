//! `/v1/sites/{site}/channels/{channel}`, `…/history` and the download endpoint `…/mask`

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{ChannelName, Digest, MaskVersion, SiteName, Timestamp};

/// A channel of a site. Its `ETag` is its revision in quotes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// Its site.
    pub site: SiteName,
    /// Its name.
    pub name: ChannelName,
    /// What it points at; none: devices run the plain base.
    pub mask: Option<MaskVersion>,
    /// The digest of that mask's artefact.
    pub digest: Option<Digest>,
    /// Counts its moves.
    pub revision: u64,
    /// When it was moved last.
    pub updated_at: Option<Timestamp>,
}

/// Moves a channel. Send `If-Match` with the channel's `ETag` so that nobody's move is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelChange {
    /// Where to; `null`: to no mask, so that devices run the plain base.
    pub mask: Option<MaskVersion>,
    /// Why. Needed for a mask that the gate held or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Releases a mask that the gate refused; admins only.
    #[serde(default)]
    pub force: bool,
}

/// One move of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelMove {
    /// The revision that it led to.
    pub revision: u64,
    /// Where the channel pointed before.
    pub from: Option<MaskVersion>,
    /// Where since.
    pub to: Option<MaskVersion>,
    /// Whether it overrides the gate.
    #[serde(rename = "override")]
    pub overrides: bool,
    /// Why.
    pub reason: Option<String>,
    /// Who.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}
