//! `/v1/sites/{site}/images`

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::image::Metadata;
use crate::domain::{Digest, Timestamp};

/// An image, known by the SHA-256 of its bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// The name of the file that it came as.
    pub name: String,
    /// Its media type, such as `image/png`.
    pub media_type: String,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// Size of the file.
    pub bytes: u64,
    /// When it was taken, if the factory said so.
    pub captured_at: Option<Timestamp>,
    /// When it was received.
    pub received_at: Timestamp,
    /// What the factory said of it.
    pub metadata: Metadata,
    /// When its bytes were deleted; a tombstone remains.
    pub deleted_at: Option<Timestamp>,
}

/// What became of one submitted file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is a new image of the site.
    Accepted,
    /// The site has it already.
    Duplicate,
    /// It is no image that the site can use; `code` and `detail` say why.
    Rejected,
}

/// The answer for one submitted file. Large answers come as NDJSON: one of these a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Received {
    /// The file's name as sent.
    pub name: String,
    /// What became of it.
    pub fate: Fate,
    /// Its digest, if its bytes were read to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Why it was rejected: a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it was rejected: a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The answer to a submission that is not asked for as NDJSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Submission {
    /// Files accepted.
    pub accepted: u64,
    /// Files that the site had already.
    pub duplicates: u64,
    /// Files rejected.
    pub rejected: u64,
    /// One entry a file, in the order sent.
    pub files: Vec<Received>,
}

/// Query of the list of images. `metadata.KEY=VALUE` may be repeated for different keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most entries of a page: 1 to 1,000. Default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Captured at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub captured_from: Option<Timestamp>,
    /// Captured before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub captured_until: Option<Timestamp>,
    /// Received at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_from: Option<Timestamp>,
    /// Received before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_until: Option<Timestamp>,
    /// Tombstones, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Everything else: `metadata.line=a`.
    #[serde(flatten)]
    pub metadata: BTreeMap<String, String>,
}
