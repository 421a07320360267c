//! `/v1/sites/{site}/health`

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::health::{DoubtedLabel, Finding, FindingCode};
use crate::domain::{JobId, Timestamp};

/// Most images that are listed of a finding.
pub const MOST_LISTED: u32 = 10_000;

/// What may be wrong with a site's images and with its validation set. Nothing
/// is deleted for it: make a snapshot that leaves findings out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Images of the site.
    pub images: u64,
    /// Those that nobody has looked at yet, since they came before intake did.
    /// Each question looks at some more of them: ask again until none is left.
    pub unmeasured: u64,
    /// What was found; what was not is left out. `images` of each is bounded by `limit`.
    pub findings: Vec<Finding>,
    /// The images of the finding `label-error` with both classes, if it is there.
    pub labels: Vec<DoubtedLabel>,
    /// The job whose report has what embeddings tell (`outlier`, `off-topic`,
    /// `label-error`): the newest that has any of it, less images deleted and labels corrected
    /// since. None: there is none yet.
    pub judged_by: Option<JobId>,
    /// Submitted files that were rejected: no images of the site, shown for who wonders where they are.
    pub rejected: Rejections,
}

/// Files that a site sent and that were rejected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Rejections {
    /// How many are kept: at most the newest 1,000. A file that is sent again counts once.
    pub count: u64,
    /// The newest, bounded by `limit`.
    pub newest: Vec<RejectedFile>,
}

/// A file that was rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RejectedFile {
    /// Its name as sent.
    pub name: String,
    /// Why: a stable code.
    pub code: String,
    /// Why: a sentence.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// Which findings, and how many images of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct HealthQuery {
    /// Only this finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<FindingCode>,
    /// Most images listed of a finding: up to 10,000. Default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
