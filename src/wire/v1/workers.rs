//! `/v1/workers`

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{JobId, Timestamp};

/// A worker that asked for work lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// What it computes on.
    pub device: String,
    /// That device's memory in bytes; 0: not known.
    pub memory_bytes: u64,
    /// Its version of Katagami.
    pub version: String,
    /// When it was last heard of.
    pub last_seen_at: Timestamp,
    /// The job that it runs.
    pub job: Option<JobId>,
}
