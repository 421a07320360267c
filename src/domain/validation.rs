//! Validation sets: labelled images that judge masks and never train them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Digest;

/// The version of a site's validation set: 1, 2, 3 …
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct ValidationVersion(pub u32);

impl fmt::Display for ValidationVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ValidationVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What a labelled image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// The gate judges by it.
    Validation,
    /// Neither training nor gate reads it: what people are shown rests on it.
    Test,
}

impl Split {
    /// The split as one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// The split of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Validation, Self::Test]
            .into_iter()
            .find(|split| split.word() == word)
    }

    /// The split of an image whose set does not say: two fifths are set aside
    /// as test, decided by the image's own digest, so that the same image is
    /// on the same side in every version of the set.
    pub fn of_digest(digest: &Digest) -> Self {
        match digest.as_bytes()[0] % 5 {
            0 | 1 => Self::Test,
            _ => Self::Validation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_two_fifths_are_set_aside() {
        let test = (0..1000_u32)
            .filter(|number| Split::of_digest(&Digest::of(&number.to_le_bytes())) == Split::Test)
            .count();
        assert!((330..470).contains(&test), "{test}");
    }
}
