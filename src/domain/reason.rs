//! Why a mask did not pass, as codes with figures and as sentences for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::groups::{GroupFigure, GroupKind};

/// Why a mask did not pass. `Display` gives the sentence for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Reason {
    /// The best checkpoint is the base itself.
    NoImprovement,
    /// Neither labels nor signals were given.
    NoEvidence,
    /// A figure is not a number, or an interval is upside down.
    UnusableEvidence,
    /// BatchNorm's statistics are not the base's, and there are no labels.
    MovedStatistics,
    /// No worse than the base, but no better either.
    NoMeasurableEffect,
    /// The interval is too wide.
    TooFewImages {
        /// Labelled images given.
        images: usize,
        /// How many would suffice if the difference stayed as it is.
        enough: Option<u64>,
    },
    /// A class is too small for any interval.
    TooFewOfAClass {
        /// Images of the smallest class.
        images: usize,
        /// Images of each class that are asked for.
        enough: usize,
    },
    /// So few images without labels say nothing.
    TooFewUnlabelled {
        /// Images given.
        images: usize,
        /// Images that are asked for.
        enough: usize,
    },
    /// The whole interval lies below zero.
    Worse {
        /// Its upper end.
        upper: f64,
    },
    /// The interval is wider than 95 % because these images have judged before.
    IntervalWidened {
        /// How many masks.
        judged_before: u32,
    },
    /// A class pays for the mean.
    ClassWorse {
        /// The class.
        class: String,
        /// Its labelled images.
        images: usize,
        /// Its recall with the mask less that with the base.
        difference: f64,
        /// The upper end of that difference's interval.
        upper: f64,
    },
    /// A slice pays for the mean.
    SliceWorse {
        /// The slice, as `KEY=VALUE`.
        slice: String,
        /// Its labelled images.
        images: usize,
        /// Its balanced accuracy with the mask less that with the base.
        difference: f64,
        /// The upper end of that difference's interval.
        upper: f64,
    },
    /// A label-free signal has lost.
    SignalLost {
        /// Which.
        signal: Signal,
        /// Its figure for the base.
        base: f64,
        /// Its figure for the mask.
        mask: f64,
    },
    /// A label-free signal has not gained as much as the gate asks for.
    SignalNotGained {
        /// Which.
        signal: Signal,
    },
}

/// A label-free signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// How alike all embeddings are.
    Collapse,
    /// How many dimensions are in use.
    EffectiveRank,
    /// Whether a view finds its own image.
    InstanceRetrieval,
    /// Whether images keep their neighbours.
    NeighbourhoodStability,
    /// How fast the eigenvalues fall.
    Decay,
    /// Whether two halves of the images are sorted alike.
    ClusterStability,
    /// How many ways the patches of an image differ by.
    PatchRank,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collapse => "mean pairwise cosine",
            Self::EffectiveRank => "effective rank",
            Self::InstanceRetrieval => "instance retrieval",
            Self::NeighbourhoodStability => "neighbourhood stability",
            Self::Decay => "decay of the eigenvalues",
            Self::ClusterStability => "cluster stability",
            Self::PatchRank => "effective rank of patches",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoImprovement => {
                f.write_str("no improvement found: the best checkpoint is the base itself")
            }
            Self::NoEvidence => {
                f.write_str("there is no evidence: neither labelled images nor label-free signals")
            }
            Self::UnusableEvidence => f.write_str("the evidence is unusable: a figure is not a number"),
            Self::MovedStatistics => f.write_str(
                "statistics of BatchNorm have moved, which only labelled images can tell to be a gain",
            ),
            Self::NoMeasurableEffect => f.write_str("no measurable effect"),
            Self::TooFewImages {
                images,
                enough: Some(enough),
            } => {
                write!(
                    f,
                    "{images} labelled images are too few to tell; about {enough} would suffice"
                )
            }
            Self::TooFewImages { images, enough: None } => {
                write!(f, "{images} labelled images are too few to tell")
            }
            Self::TooFewOfAClass { images, enough } => {
                write!(
                    f,
                    "a class has {images} labelled images, too few to tell; {enough} of each would suffice"
                )
            }
            Self::TooFewUnlabelled { images, enough } => {
                write!(
                    f,
                    "{images} images without labels are too few for their signals to tell; {enough} would suffice"
                )
            }
            Self::Worse { upper } => {
                write!(f, "the mask is worse than the base (by {:.3} or more)", -upper)
            }
            Self::IntervalWidened { judged_before: 1 } => {
                f.write_str("interval widened: this validation set has judged 1 mask before")
            }
            Self::IntervalWidened { judged_before } => {
                write!(
                    f,
                    "interval widened: this validation set has judged {judged_before} masks before"
                )
            }
            Self::ClassWorse {
                class: name,
                images,
                difference,
                upper,
            } => group_worse(f, GroupKind::Class, name, *images, *difference, *upper),
            Self::SliceWorse {
                slice: name,
                images,
                difference,
                upper,
            } => group_worse(f, GroupKind::Slice, name, *images, *difference, *upper),
            Self::SignalLost { signal, base, mask } => {
                write!(f, "{signal} went from {base:.3} to {mask:.3}")
            }
            Self::SignalNotGained { signal } => write!(f, "{signal} has not gained enough"),
        }
    }
}

/// "class `crack` (64 images) is worse with the mask: recall -0.120, at most -0.020"
fn group_worse(
    f: &mut fmt::Formatter<'_>,
    kind: GroupKind,
    name: &str,
    images: usize,
    difference: f64,
    upper: f64,
) -> fmt::Result {
    let figure = match kind {
        GroupKind::Class => "recall",
        GroupKind::Slice => "balanced accuracy",
    };
    let kind = kind.word();
    write!(
        f,
        "{kind} `{name}` ({images} images) is worse with the mask: {figure} {difference:+.3}"
    )?;
    if upper < 0.0 {
        return write!(f, ", at most {upper:+.3}");
    }
    Ok(())
}

impl From<&GroupFigure> for Reason {
    fn from(group: &GroupFigure) -> Self {
        let GroupFigure {
            kind,
            name,
            images,
            difference,
            ..
        } = group;
        let (name, images, upper, difference) = (name.clone(), *images, difference.upper, difference.value);
        match kind {
            GroupKind::Class => Self::ClassWorse {
                class: name,
                images,
                difference,
                upper,
            },
            GroupKind::Slice => Self::SliceWorse {
                slice: name,
                images,
                difference,
                upper,
            },
        }
    }
}
