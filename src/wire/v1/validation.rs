//! `/v1/sites/{site}/validation`

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{Timestamp, ValidationVersion};
use crate::wire::v1::images::Received;

/// How many images of a class a validation set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ClassCounts {
    /// That the gate judges by.
    pub validation: u64,
    /// That neither training nor gate reads.
    pub test: u64,
}

/// A version of a site's validation set. Immutable; the newest one judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ValidationSet {
    /// Its version.
    pub version: ValidationVersion,
    /// Images.
    pub images: u64,
    /// Images by class.
    pub classes: BTreeMap<String, ClassCounts>,
    /// Masks that the images of its validation split have judged. The more, the wider the gate's interval.
    #[serde(default)]
    pub judged_masks: u64,
    /// When it was set.
    pub created_at: Timestamp,
    /// Who set it.
    pub created_by: String,
}

/// The answer to setting a validation set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ValidationReceived {
    /// The new version.
    pub set: ValidationSet,
    /// Files that are no part of it, and why.
    pub rejected: Vec<Received>,
}
