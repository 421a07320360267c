//! Where a blob lies in the store. Nobody else builds such a path.

use std::fmt;

use object_store::path::Path;

use crate::domain::Digest;

/// What all keys begin with.
pub(super) const FOLDER: &str = "sha256";

/// The key of a blob: `sha256/ab/cdef…`, so that no folder holds too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobKey(Digest);

impl BlobKey {
    /// The key of the blob with this digest.
    pub const fn of(digest: &Digest) -> Self {
        Self(*digest)
    }

    pub(super) fn path(self) -> Path {
        Path::from(self.to_string())
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        write!(f, "{FOLDER}/{}/{}", &digits[..2], &digits[2..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_digest_in_two_parts() {
        let digest = Digest::of(b"katagami");
        let key = BlobKey::of(&digest).to_string();
        assert_eq!(key.replace('/', ""), format!("sha256{digest}"));
        assert_eq!(key.split('/').map(str::len).collect::<Vec<_>>(), [6, 2, 62]);
    }
}
