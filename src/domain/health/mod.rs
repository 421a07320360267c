//! Data health: what may be wrong with a site's images, before anything is
//! trained on them.
//!
//! A finding lists images and says why. It deletes nothing: whoever agrees
//! leaves its images out of the next snapshot ([`Exclusion`]). [`findings`]
//! judges by what intake measured of each picture; what only embeddings can
//! tell comes with a report ([`EmbeddingHealth`]), since embedding needs a worker.

mod alike;
mod rules;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Digest;
use super::image::PerceptualHash;

pub use alike::Likenesses;
pub use rules::{FEWEST_COMPARED, findings};

/// Most images that a report lists of one finding, as many as it looks at of those that train; the count says how many there are.
pub const MOST_LISTED: usize = 1_000;

/// What may be wrong with an image.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FindingCode {
    /// Its stored file can no longer be decoded.
    Unreadable,
    /// The pixels of an image received before, in another file.
    ExactDuplicate,
    /// It looks like an image received before.
    NearDuplicate,
    /// Nearly black, or far darker than the site's images.
    Dark,
    /// Nearly white, or far brighter than the site's images.
    Bright,
    /// Far more pixels at the ends of the scale than the site's images have.
    Clipped,
    /// Far less sharp than the site's images.
    Blurred,
    /// One flat grey, or far less to see than on the site's images.
    LowInformation,
    /// Another size or shape than the site's images.
    OddSize,
    /// Alone in the base's space of embeddings.
    Outlier,
    /// In a small group away from the rest, in the base's space of embeddings.
    OffTopic,
    /// Labelled otherwise than its neighbours and a probe say; of the validation set.
    LabelError,
}

impl FindingCode {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Self; 12] = [
        Self::Unreadable,
        Self::ExactDuplicate,
        Self::NearDuplicate,
        Self::Dark,
        Self::Bright,
        Self::Clipped,
        Self::Blurred,
        Self::LowInformation,
        Self::OddSize,
        Self::Outlier,
        Self::OffTopic,
        Self::LabelError,
    ];

    /// Whether a training's report finds it, in the base's space.
    pub const fn is_of_embeddings(self) -> bool {
        matches!(self, Self::Outlier | Self::OffTopic | Self::LabelError)
    }

    /// The code as one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::ExactDuplicate => "exact-duplicate",
            Self::NearDuplicate => "near-duplicate",
            Self::Dark => "dark",
            Self::Bright => "bright",
            Self::Clipped => "clipped",
            Self::Blurred => "blurred",
            Self::LowInformation => "low-information",
            Self::OddSize => "odd-size",
            Self::Outlier => "outlier",
            Self::OffTopic => "off-topic",
            Self::LabelError => "label-error",
        }
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The word is no finding's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no finding `{0}`; there are {list}", list = FindingCode::ALL.map(FindingCode::word).join(", "))]
pub struct NoSuchFinding(String);

impl FromStr for FindingCode {
    type Err = NoSuchFinding;

    fn from_str(text: &str) -> Result<Self, NoSuchFinding> {
        let found = Self::ALL.into_iter().find(|code| code.word() == text);
        found.ok_or_else(|| NoSuchFinding(text.chars().take(80).collect()))
    }
}

/// One thing that may be wrong, and with which images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    /// What.
    pub code: FindingCode,
    /// Why these images, in one sentence with the figures it was judged by.
    pub explanation: String,
    /// How many images.
    pub count: u64,
    /// The images, the worst first; of duplicates in the order received. May be
    /// fewer than `count` where a list is bounded.
    pub images: Vec<Digest>,
}

impl Finding {
    /// A finding of all of `images`.
    pub fn of(code: FindingCode, explanation: String, images: Vec<Digest>) -> Self {
        Self {
            code,
            explanation,
            count: images.len() as u64,
            images,
        }
    }

    /// The finding with at most `most` images listed.
    #[must_use]
    pub fn bounded(mut self, most: usize) -> Self {
        self.images.truncate(most);
        self
    }
}

/// What a decoded picture is like: plain figures, from which nothing is concluded here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Mean luminance, 0 to 255.
    pub luminance: f64,
    /// The luminance below which one pixel of ten thousand lies, 0 to 255.
    pub darkest: u8,
    /// The luminance above which one pixel of ten thousand lies, 0 to 255.
    pub brightest: u8,
    /// Share of pixels whose luminance is 0 or 255.
    pub clipped: f64,
    /// Entropy of the luminances in bits, 0 to 8.
    pub entropy: f64,
    /// Fine detail by the square of the light, at one size for all pictures: what a
    /// blur takes away. 0 of a flat picture.
    pub sharpness: f64,
    /// The digest of the pixels, whatever the format of the file.
    pub pixels: Digest,
}

/// What became of looking at an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// It was decoded and measured.
    Measured(Quality),
    /// Its stored file cannot be decoded, and why.
    Unreadable(String),
}

/// An image as [`findings`] needs to know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its digest.
    pub digest: Digest,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// What it looks like.
    pub phash: PerceptualHash,
    /// What it is like; none: nobody has looked yet.
    pub look: Option<Look>,
}

/// What a snapshot leaves out: the images of a finding, or one by its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Exclusion {
    /// All images of a finding.
    Finding(FindingCode),
    /// One image.
    Image(Digest),
}

/// The text says nothing that a snapshot can leave out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExclusion {
    /// It is neither a code nor a digest.
    #[error("`{given}` is neither an image's digest (64 hexadecimal digits) nor a finding: {list}",
        list = FindingCode::ALL.map(FindingCode::word).join(", "))]
    Unknown {
        /// What was given.
        given: String,
    },
    /// Its images are of the validation set.
    #[error(
        "`label-error` finds images of the validation set, which no snapshot holds; correct the set instead"
    )]
    Labels,
}

impl FromStr for Exclusion {
    type Err = InvalidExclusion;

    fn from_str(text: &str) -> Result<Self, InvalidExclusion> {
        match text.parse() {
            Ok(FindingCode::LabelError) => Err(InvalidExclusion::Labels),
            Ok(code) => Ok(Self::Finding(code)),
            Err(_) => text
                .parse()
                .map(Self::Image)
                .map_err(|_| InvalidExclusion::Unknown {
                    given: text.chars().take(80).collect(),
                }),
        }
    }
}

impl TryFrom<String> for Exclusion {
    type Error = InvalidExclusion;

    fn try_from(text: String) -> Result<Self, InvalidExclusion> {
        text.parse()
    }
}

impl From<Exclusion> for String {
    fn from(exclusion: Exclusion) -> Self {
        exclusion.to_string()
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finding(code) => code.fmt(f),
            Self::Image(digest) => digest.fmt(f),
        }
    }
}

/// A labelled image whose label is doubted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DoubtedLabel {
    /// The image, of the validation set.
    pub image: Digest,
    /// Its class in the set.
    pub given: String,
    /// The class that the other images say it has.
    pub likely: String,
}

/// What the base's embeddings say of the images of a training and of the validation set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EmbeddingHealth {
    /// Training images that were looked at: all, or a sample by digest.
    pub images: u64,
    /// Labelled images that were looked at.
    pub labelled: u64,
    /// [`FindingCode::Outlier`], [`FindingCode::OffTopic`], [`FindingCode::LabelError`];
    /// at most [`MOST_LISTED`] images each.
    pub findings: Vec<Finding>,
    /// The images of [`FindingCode::LabelError`], with both classes.
    pub labels: Vec<DoubtedLabel>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_as_it_is_written() {
        for code in FindingCode::ALL {
            assert_eq!(code.word().parse(), Ok(code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.word());
        }
        assert!(
            "ugly"
                .parse::<FindingCode>()
                .unwrap_err()
                .to_string()
                .contains("blurred")
        );
    }

    #[test]
    fn an_exclusion_is_a_code_or_a_digest() {
        let digest = Digest::of(b"image");
        assert_eq!(digest.to_string().parse(), Ok(Exclusion::Image(digest)));
        assert_eq!("dark".parse(), Ok(Exclusion::Finding(FindingCode::Dark)));
        let json = serde_json::to_string(&[Exclusion::Finding(FindingCode::OddSize)]).unwrap();
        assert_eq!(json, r#"["odd-size"]"#);
        assert_eq!("label-error".parse::<Exclusion>(), Err(InvalidExclusion::Labels));
        let unknown: Result<Vec<Exclusion>, _> = serde_json::from_str(r#"["ugly"]"#);
        assert!(unknown.unwrap_err().to_string().contains("near-duplicate"));
    }
}
