//! Snapshots: immutable lists of images that jobs train on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, Digester, Timestamp};

/// Which of a site's images a snapshot takes; an empty filter takes all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImageFilter {
    /// Captured at or after. Images without that time do not match.
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
    /// Metadata that an image must carry, all of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// The digest of a list of images: of their digests in ascending order, so
/// that it depends on nothing but which images they are.
pub fn digest(images: &[Digest]) -> Digest {
    let mut sorted = images.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut digester = Digester::default();
    sorted.iter().for_each(|image| digester.update(image.as_bytes()));
    digester.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_snapshot_knows_no_order() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(digest(&[a, b]), digest(&[b, a, b]));
        assert_ne!(digest(&[a, b]), digest(&[a]));
    }
}
