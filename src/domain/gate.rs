//! The gate: decides from evidence whether a mask may be released.
//!
//! With labels the paired difference of the KPI decides, and a class or slice
//! that pays for the mean holds the mask. What passes is shown at a confidence
//! that allows for the masks that the same images have judged before; what is
//! worse is refused without that allowance. Without labels, a mask
//! passes only if instance retrieval *and* effective rank have gained and no
//! signal has lost: three label-free updates of seven made k-NN worse in
//! arXiv 2409.07577, and one set measured here lost accuracy while its
//! effective rank rose by 2 %, which is why a gain of rank starts at 5 %.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::groups::{GroupFigure, GroupKind};
use super::report::{Both, Estimate, LabelFree, Widened};

/// What the gate knows of a mask.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// The best checkpoint is the base itself: no bit has fallen.
    pub unchanged: bool,
    /// The comparison on labelled images, if there are any.
    pub labelled: Option<LabelledEvidence>,
    /// The signals without labels; read only where `labelled` is `None`.
    pub label_free: Option<LabelFree>,
    /// Classes and slices that the mask is worse for, the greatest loss first.
    pub worse: Vec<GroupFigure>,
}

/// The paired difference of the KPI and on how much it rests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelledEvidence {
    /// How much better the mask's KPI is than the base's, with its 95 % interval.
    pub difference: Estimate,
    /// The same if the images have judged masks before; absent: they have not.
    pub widened: Option<Widened>,
    /// One whole of the KPI: the margin is a share of it.
    pub unit: f64,
    /// Labelled images that it rests on.
    pub images: usize,
    /// Images of the smallest class.
    pub smallest_class: usize,
}

/// What the gate asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct GateSettings {
    /// How much worse than the base still counts as no worse. Default .01; of
    /// costs, that share of the greatest one.
    pub margin: f64,
    /// Loss of a class or slice of at least 50 images that holds a mask even if
    /// its interval does not show it. Default .1.
    pub group_loss: f64,
    /// Labelled images of each class below which no interval is believed
    /// (a bootstrap of a handful of images is far too narrow). Default 10.
    pub least_per_class: usize,
    /// Share of effective rank that counts as gained. Default .05.
    pub rank_gain: f64,
    /// Share of effective rank that counts as lost. Default .05.
    pub rank_loss: f64,
    /// Rise of the mean pairwise cosine that counts as collapsing. Default .1.
    pub cosine_rise: f64,
    /// Share of neighbours that must stay. Default .3.
    pub least_stability: f64,
    /// Fall of cluster stability that counts as lost. Default .2.
    pub cluster_loss: f64,
    /// How much farther from 1 the decay's exponent may get. Default .5.
    pub decay_drift: f64,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            margin: 0.01,
            group_loss: 0.1,
            least_per_class: 10,
            rank_gain: 0.05,
            rank_loss: 0.05,
            cosine_rise: 0.1,
            least_stability: 0.3,
            cluster_loss: 0.2,
            decay_drift: 0.5,
        }
    }
}

/// The gate's decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// No worse, and a shown benefit.
    Passed,
    /// A person with the right and a reason may release it.
    Held {
        /// Why it did not pass.
        reasons: Vec<Reason>,
    },
    /// Shown to be worse: only an admin may force it.
    Refused {
        /// Why.
        reasons: Vec<Reason>,
    },
}

impl Verdict {
    /// The verdict in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Held { .. } => "held",
            Self::Refused { .. } => "refused",
        }
    }

    /// Why the mask did not pass; empty if it did.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Passed => &[],
            Self::Held { reasons } | Self::Refused { reasons } => reasons,
        }
    }

    /// Whether the job is to end with `no improvement found` and no mask version.
    pub fn is_no_improvement(&self) -> bool {
        self.reasons().contains(&Reason::NoImprovement)
    }
}

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
    /// A label-free signal shows no gain.
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
            Self::SignalNotGained { signal } => write!(f, "{signal} shows no gain"),
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

/// Judges a mask. Doing nothing never passes: a benefit must be shown. Nor does
/// what makes a class or slice worse, which is the first reason given.
pub fn judge(evidence: &Evidence, settings: &GateSettings) -> Verdict {
    if evidence.unchanged {
        return held(Reason::NoImprovement);
    }
    let whole = match (&evidence.labelled, &evidence.label_free) {
        (Some(labelled), _) => judge_labelled(labelled, settings),
        (None, Some(signals)) => judge_signals(signals, settings),
        (None, None) => held(Reason::NoEvidence),
    };
    let worse = evidence.worse.iter().map(Reason::from);
    let reasons: Vec<Reason> = worse.chain(whole.reasons().iter().cloned()).collect();
    match whole {
        Verdict::Refused { .. } => Verdict::Refused { reasons },
        Verdict::Passed if reasons.is_empty() => Verdict::Passed,
        Verdict::Passed | Verdict::Held { .. } => Verdict::Held { reasons },
    }
}

fn held(reason: Reason) -> Verdict {
    Verdict::Held {
        reasons: vec![reason],
    }
}

fn judge_labelled(evidence: &LabelledEvidence, settings: &GateSettings) -> Verdict {
    let LabelledEvidence {
        difference,
        widened,
        unit,
        images,
        smallest_class,
    } = *evidence;
    let judged = widened.map_or(difference, |widened| widened.difference);
    let margin = settings.margin.max(0.0) * unit;
    if !difference.is_sound() || !judged.is_sound() || !margin.is_finite() {
        return held(Reason::UnusableEvidence);
    }
    if smallest_class < settings.least_per_class {
        return held(Reason::TooFewOfAClass {
            images: smallest_class,
            enough: settings.least_per_class,
        });
    }
    if difference.upper < 0.0 {
        return Verdict::Refused {
            reasons: vec![Reason::Worse {
                upper: difference.upper,
            }],
        };
    }
    if judged.lower > 0.0 {
        return Verdict::Passed;
    }
    let nothing = judged.lower > -margin || (judged.lower == 0.0 && judged.upper == 0.0);
    let mut reasons = vec![if nothing {
        Reason::NoMeasurableEffect
    } else {
        Reason::TooFewImages {
            images,
            enough: enough(&judged, margin, images),
        }
    }];
    if let Some(Widened { judged_before, .. }) = widened {
        reasons.push(Reason::IntervalWidened { judged_before });
    }
    Verdict::Held { reasons }
}

/// How many images would tell: an interval narrows with the root of their
/// number, and tells as soon as it lies above the margin or below zero.
fn enough(difference: &Estimate, margin: f64, images: usize) -> Option<u64> {
    let centre = f64::midpoint(difference.lower, difference.upper);
    let narrow = (centre + margin).max(-centre);
    let half = (difference.upper - difference.lower) / 2.0;
    (narrow > 0.0).then(|| {
        let needed = images as f64 * (half / narrow).powi(2);
        // Less a rounding error, so that 1200.0000001 is not 1201.
        (needed * (1.0 - 1e-9)).ceil().max(images as f64 + 1.0) as u64
    })
}

fn judge_signals(signals: &LabelFree, settings: &GateSettings) -> Verdict {
    if !signals.is_sound() {
        return held(Reason::UnusableEvidence);
    }
    let retrieval = &signals.retrieval;
    let (base, mask) = (&signals.base, &signals.mask);
    let lost = [
        (Signal::Collapse, base.mean_cosine, mask.mean_cosine, {
            mask.mean_cosine > base.mean_cosine + settings.cosine_rise
        }),
        (Signal::EffectiveRank, base.effective_rank, mask.effective_rank, {
            mask.effective_rank < base.effective_rank * (1.0 - settings.rank_loss)
        }),
        (
            Signal::InstanceRetrieval,
            retrieval.base.value,
            retrieval.mask.value,
            { retrieval.difference.upper < 0.0 },
        ),
        (
            Signal::NeighbourhoodStability,
            1.0,
            signals.stability,
            signals.stability < settings.least_stability,
        ),
    ];
    let reasons: Vec<Reason> = (lost.into_iter())
        .filter(|(.., lost)| *lost)
        .map(|(signal, base, mask, _)| Reason::SignalLost { signal, base, mask })
        .collect();
    match reasons.len() {
        0 => {}
        // One signal alone decides nothing, in either direction.
        1 => return Verdict::Held { reasons },
        _ => return Verdict::Refused { reasons },
    }
    let reasons = further_lost(signals, settings);
    if !reasons.is_empty() {
        return Verdict::Held { reasons };
    }
    let gained = [
        (Signal::InstanceRetrieval, retrieval.difference.lower > 0.0),
        (
            Signal::EffectiveRank,
            mask.effective_rank > base.effective_rank * (1.0 + settings.rank_gain.max(0.0)),
        ),
    ];
    if gained.iter().all(|(_, gained)| *gained) {
        return Verdict::Passed;
    }
    let missing = gained.into_iter().filter(|(_, gained)| !gained);
    let mut reasons: Vec<Reason> = missing
        .map(|(signal, _)| Reason::SignalNotGained { signal })
        .collect();
    reasons.insert(0, Reason::NoMeasurableEffect);
    Verdict::Held { reasons }
}

/// Signals that hold and never refuse: the first two rest on the same spectra
/// and groups as the ones above, and two faces of one loss are no two losses.
fn further_lost(signals: &LabelFree, settings: &GateSettings) -> Vec<Reason> {
    let decay = (signals.base.decay.zip(signals.mask.decay)).filter(|(base, mask)| {
        (mask - 1.0).abs() > (base - 1.0).abs() + settings.decay_drift
    });
    let both = |both: &Both| (both.base, both.mask);
    let clusters = (signals.clusters.as_ref().map(both))
        .filter(|(base, mask)| *mask < base - settings.cluster_loss);
    let patches = (signals.patches.as_ref().map(both))
        .filter(|(base, mask)| *mask < base * (1.0 - settings.rank_loss));
    let found = [
        (Signal::Decay, decay),
        (Signal::ClusterStability, clusters),
        (Signal::PatchRank, patches),
    ];
    (found.into_iter())
        .filter_map(|(signal, lost)| {
            lost.map(|(base, mask)| Reason::SignalLost { signal, base, mask })
        })
        .collect()
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
