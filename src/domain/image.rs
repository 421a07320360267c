//! Images: what is known of one besides its bytes, and when two look alike.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Most pairs of metadata that an image may carry.
pub const MOST_PAIRS: usize = 16;
/// Most bytes of a key or a value of metadata.
pub const MOST_BYTES: usize = 128;

/// Flat string metadata of an image, such as `line`, `camera`, `shift` or `product`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
#[schema(value_type = BTreeMap<String, String>)]
pub struct Metadata(BTreeMap<String, String>);

/// Why metadata was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// Too many pairs.
    #[error("an image carries at most {MOST_PAIRS} pairs of metadata, not {0}")]
    TooMany(usize),
    /// A key or value is empty, too long or has control codes.
    #[error(
        "metadata `{0}` is not usable: keys and values are 1 to {MOST_BYTES} bytes without control codes"
    )]
    Unusable(String),
}

impl Metadata {
    /// The pairs, by key.
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Takes the first of `pairs` that an image may carry, and leaves the others
    /// out: for tables whose further columns may hold anything.
    pub fn of_usable(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let usable = pairs
            .into_iter()
            .filter(|(key, value)| is_usable(key) && is_usable(value));
        Self(usable.take(MOST_PAIRS).collect())
    }
}

fn is_usable(text: &str) -> bool {
    (1..=MOST_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = InvalidMetadata;

    fn try_from(pairs: BTreeMap<String, String>) -> Result<Self, InvalidMetadata> {
        if pairs.len() > MOST_PAIRS {
            return Err(InvalidMetadata::TooMany(pairs.len()));
        }
        match pairs
            .iter()
            .find(|(key, value)| !is_usable(key) || !is_usable(value))
        {
            Some((key, _)) => Err(InvalidMetadata::Unusable(
                key.chars().filter(|c| !c.is_control()).take(40).collect(),
            )),
            None => Ok(Self(pairs)),
        }
    }
}

impl From<Metadata> for BTreeMap<String, String> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

/// What a factory says of an image when it submits it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Caption {
    /// When the picture was taken.
    pub captured_at: Option<Timestamp>,
    /// Where and how.
    pub metadata: Metadata,
}

/// A 64-bit perceptual hash: alike pictures have few differing bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PerceptualHash(pub u64);

impl PerceptualHash {
    /// Most differing bits of two pictures that are taken for the same.
    pub const NEAR: u32 = 4;

    /// How many of the 64 bits differ.
    pub const fn distance(self, other: Self) -> u32 {
        (self.0 ^ other.0).count_ones()
    }

    /// Whether two pictures are taken for the same.
    pub const fn is_near(self, other: Self) -> bool {
        self.distance(other) <= Self::NEAR
    }
}

impl fmt::Display for PerceptualHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Result<Metadata, InvalidMetadata> {
        let pairs: BTreeMap<String, String> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Metadata::try_from(pairs)
    }

    #[test]
    fn metadata_is_flat_small_and_printable() {
        assert!(metadata(&[("line", "a"), ("camera", "3")]).is_ok());
        assert!(metadata(&[("line", "")]).is_err());
        assert!(metadata(&[("li\nne", "a")]).is_err());
        assert!(metadata(&[("line", &"a".repeat(129))]).is_err());
        let many: BTreeMap<String, String> = (0..17)
            .map(|number| (number.to_string(), "a".to_owned()))
            .collect();
        assert_eq!(
            Metadata::try_from(many.clone()),
            Err(InvalidMetadata::TooMany(17))
        );
        let long = ("remark".to_owned(), "a".repeat(129));
        let kept = Metadata::of_usable(std::iter::once(long).chain(many));
        assert_eq!(kept.pairs().len(), 16);
        assert!(!kept.pairs().contains_key("remark"));
    }

    #[test]
    fn four_bits_are_near_and_five_are_not() {
        let one = PerceptualHash(0);
        assert!(one.is_near(PerceptualHash(0b1111)));
        assert!(!one.is_near(PerceptualHash(0b1_1111)));
    }
}
