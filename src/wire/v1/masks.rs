//! `/v1/sites/{site}/masks`
//!
//! The report at `…/masks/{version}/report` is [`crate::domain::report::Report`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::priors::Prior;
use crate::domain::{Digest, JobId, MaskVersion, SiteName, Timestamp, View};

/// A mask of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Mask {
    /// Its site.
    pub site: SiteName,
    /// Its version.
    pub version: MaskVersion,
    /// SHA-256 of the artefact: the strong `ETag` of its bytes.
    pub digest: Digest,
    /// Bytes of the artefact.
    pub bytes: u64,
    /// The base that it is bound to.
    pub base: Digest,
    /// The view that it was trained with, and that its pictures must have.
    pub view: View,
    /// The digest of the masked weights.
    pub weights: Digest,
    /// The job that made it.
    pub job: JobId,
    /// The mask that its training started from.
    pub parent: Option<MaskVersion>,
    /// Weights that it drops.
    pub flips: u64,
    /// The gate's verdict: `passed`, `held` or `refused`.
    pub verdict: String,
    /// Why it did not pass, for people.
    pub reasons: Vec<String>,
    /// The digest of its report.
    pub report: Digest,
    /// The KPI of the base.
    pub kpi_base: Option<f64>,
    /// The KPI of the mask.
    pub kpi_mask: Option<f64>,
    /// The paired difference of the KPI with its 95 % interval: value, lower, upper.
    pub kpi_difference: Option<[f64; 3]>,
    /// When it was published.
    pub created_at: Timestamp,
}

/// A mask coded with a population prior, which yields it for whoever holds that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaskWithPrior {
    /// The prior that it needs, whose digest is the last part of its address.
    pub prior: Prior,
    /// SHA-256 of it: the strong `ETag` of its bytes.
    pub digest: Digest,
    /// Bytes of it.
    pub bytes: u64,
}

/// A delta that yields a mask, for whoever holds the artefact of its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaskDelta {
    /// The mask that it needs.
    pub parent: MaskVersion,
    /// SHA-256 of that mask's artefact: the last part of the delta's address.
    pub parent_digest: Digest,
    /// SHA-256 of the delta: the strong `ETag` of its bytes.
    pub digest: Digest,
    /// Bytes of the delta.
    pub bytes: u64,
}
