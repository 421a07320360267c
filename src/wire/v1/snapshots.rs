//! `/v1/sites/{site}/snapshots`

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::health::Exclusion;
use crate::domain::snapshot::ImageFilter;
use crate::domain::{Digest, SiteName, SnapshotId, Timestamp, ValidationVersion};

/// Makes a snapshot: a frozen list of the images that match now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewSnapshot {
    /// Which images; empty = all.
    pub filter: ImageFilter,
    /// What is left out although it matches: codes of findings (`GET health`),
    /// such as `blurred`, and digests of images. Nothing is deleted.
    #[schema(value_type = Vec<String>)]
    pub exclude: Vec<Exclusion>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// Its identifier.
    pub id: SnapshotId,
    /// Its site.
    pub site: SiteName,
    /// The digest of its list of images: the same images, the same digest.
    pub digest: Digest,
    /// What it was made from.
    pub filter: ImageFilter,
    /// Images in it.
    pub images: u64,
    /// Images left out because they are, or nearly are, in the validation set.
    pub left_out: u64,
    /// What was to be left out besides: codes of findings, and images.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub exclude: Vec<Exclusion>,
    /// Images left out because of that.
    #[serde(default)]
    pub excluded: u64,
    /// The validation set that they were compared with.
    pub validation: Option<ValidationVersion>,
    /// Whether an image of it is deleted: nothing can be trained on it until that is submitted again.
    pub incomplete: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The images of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotImages {
    /// Their digests, in ascending order.
    pub images: Vec<Digest>,
    /// Those that match and were left out because of `exclude`.
    #[serde(default)]
    pub excluded: Vec<ExcludedImage>,
}

/// An image that a snapshot leaves out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExcludedImage {
    /// Its digest.
    pub image: Digest,
    /// The findings that it was in when the snapshot was made; its own digest if it was named.
    #[schema(value_type = Vec<String>)]
    pub reasons: Vec<Exclusion>,
}
