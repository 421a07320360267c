//! `/v1/priors`

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{Digest, Timestamp};

/// A population prior: what the masks of several sites over one base have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Prior {
    /// The base whose masks it is for.
    pub base: Digest,
    /// Its version, which counts up within the base.
    pub version: u32,
    /// The digest of what it says: artefacts that need it name it by this.
    pub digest: Digest,
    /// SHA-256 of its file: the strong `ETag` of its bytes.
    pub file: Digest,
    /// Bytes of its file.
    pub bytes: u64,
    /// How many sites it was learned from, a mask of each.
    pub sites: u32,
    /// When it was made.
    pub made_at: Timestamp,
}
