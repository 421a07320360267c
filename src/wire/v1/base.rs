//! `/v1/base`, `/v1/bases`

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::Manifest;
use crate::domain::Digest;

/// A base as the server serves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Base {
    /// Architecture, preprocessing, licence, canonical digest.
    pub manifest: Manifest,
    /// The digest of its preprocessing, as mask headers name it.
    pub preprocessing: Digest,
    /// SHA-256 of its file: the strong `ETag` of its bytes.
    pub file: Digest,
    /// Whether it is the one that new jobs use and devices hold.
    pub active: bool,
}
