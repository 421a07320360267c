//! Where the blobs are: a local folder or a bucket of an S3-compatible store.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BlobError;

/// A place for blobs, written as a path or as `s3://BUCKET[/PREFIX]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BlobLocation {
    /// A local folder.
    Folder(PathBuf),
    /// A bucket. Endpoint, region and credentials come from the usual `AWS_…` variables.
    S3 {
        /// The bucket.
        bucket: String,
        /// What every key in it begins with; may be empty.
        prefix: String,
    },
}

impl FromStr for BlobLocation {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Self, BlobError> {
        let refused = |reason: &str| BlobError::Location {
            given: text.chars().take(120).collect(),
            reason: reason.to_owned(),
        };
        if text.is_empty() {
            return Err(refused("name a folder or s3://BUCKET/PREFIX"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(PathBuf::from(text)));
        };
        if scheme != "s3" {
            return Err(refused("only a folder or s3://BUCKET/PREFIX is"));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['?', '#', '@', ':']) {
            return Err(refused(
                "the name of the bucket is missing or wrong; the endpoint goes into AWS_ENDPOINT_URL",
            ));
        }
        Ok(Self::S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
        })
    }
}

impl TryFrom<String> for BlobLocation {
    type Error = BlobError;

    fn try_from(text: String) -> Result<Self, BlobError> {
        text.parse()
    }
}

impl From<BlobLocation> for String {
    fn from(location: BlobLocation) -> Self {
        location.to_string()
    }
}

impl fmt::Display for BlobLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_survive_their_text() {
        for text in [
            "blobs",
            "/var/lib/katagami/blobs",
            "s3://bucket",
            "s3://bucket/a/b",
        ] {
            assert_eq!(text.parse::<BlobLocation>().unwrap().to_string(), text);
        }
        let slashes: BlobLocation = "s3://bucket/a/".parse().unwrap();
        assert_eq!(slashes.to_string(), "s3://bucket/a");
    }

    #[test]
    fn other_places_are_refused() {
        for text in [
            "",
            "s3://",
            "s3:///prefix",
            "http://host/bucket",
            "s3://key@host/bucket",
        ] {
            assert!(text.parse::<BlobLocation>().is_err(), "{text}");
        }
    }
}
