//! What became of an upload's files, in numbers.

use super::error::Rejection;
use crate::domain::Digest;
use crate::wire::v1::images::{Fate, Received, Submission};

/// The answer to an upload: its files with their counts.
pub fn submission(files: Vec<Received>) -> Submission {
    let count = |fate| files.iter().filter(|file| file.fate == fate).count() as u64;
    Submission {
        accepted: count(Fate::Accepted),
        duplicates: count(Fate::Duplicate),
        rejected: count(Fate::Rejected),
        files,
    }
}

/// The answer for a file that was rejected.
pub(super) fn rejected(name: String, digest: Option<Digest>, why: &Rejection) -> Received {
    Received {
        name,
        fate: Fate::Rejected,
        digest,
        code: Some(why.code().to_owned()),
        detail: Some(why.to_string()),
    }
}

/// The answer for a file that the site has now.
pub(super) fn taken(name: String, digest: Digest, fate: Fate) -> Received {
    Received {
        name,
        fate,
        digest: Some(digest),
        code: None,
        detail: None,
    }
}
