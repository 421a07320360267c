//! The gate: decides from evidence whether a mask may be released.
//!
//! With labels the paired difference of the KPI decides, and a class or slice
//! that pays for the mean holds the mask. What passes is shown at a confidence
//! that allows for the masks that the same images have judged before; what is
//! worse is refused without that allowance. Without labels, a mask
//! passes only if instance retrieval has gained *and* detail has: effective
//! rank rose, or that of patches has not fallen. No signal may have lost, and
//! BatchNorm's statistics must be the base's: three label-free updates of seven
//! made k-NN worse in arXiv 2409.07577.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::groups::GroupFigure;
pub use super::reason::{Reason, Signal};
use super::report::{Both, Estimate, LabelFree, Widened};

/// What the gate knows of a mask.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// The best checkpoint is the base itself: no bit has fallen.
    pub unchanged: bool,
    /// Its statistics of BatchNorm are not the base's.
    pub own_statistics: bool,
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
    /// Images without labels below which their signals release nothing: of a handful, one more that
    /// finds itself is a gain, and every signal is chance. Default 64.
    pub least_images: usize,
    /// By how much the share of images that find themselves in another view must have gained at
    /// the least (the lower end of its interval), or half of what the base leaves to gain if that
    /// is less. Default .015.
    pub retrieval_gain: f64,
    /// Share of effective rank that counts as gained. Default .05.
    pub rank_gain: f64,
    /// Share of effective rank that counts as lost. Default .05.
    pub rank_loss: f64,
    /// Share of effective rank that counts as lost where that of patches has not fallen: pictures of
    /// a class may have become more alike, and what they show is there still. Such patches stand for
    /// a gain of rank, too. Not above `rank-loss`: patches are not asked. Default .2.
    pub parting_loss: f64,
    /// Share of the mean distance between embeddings (1 less their mean pairwise
    /// cosine) that counts as lost: they collapse. Default 1/3.
    pub distance_loss: f64,
    /// Share of neighbours that must stay. Default .3.
    pub least_stability: f64,
    /// Fall of cluster stability that counts as lost. Default .2.
    pub cluster_loss: f64,
    /// How much farther from 1 the decay's exponent may get. Default .5.
    pub decay_drift: f64,
    /// What `distance-loss` has replaced: read in reports and settings of before, and not asked.
    #[doc(hidden)]
    #[serde(rename = "cosine-rise", skip_serializing)]
    #[schema(ignore)]
    pub former_rise: IgnoredAny,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            margin: 0.01,
            group_loss: 0.1,
            least_per_class: 10,
            least_images: 64,
            retrieval_gain: 0.015,
            rank_gain: 0.05,
            rank_loss: 0.05,
            parting_loss: 0.2,
            distance_loss: 1.0 / 3.0,
            least_stability: 0.3,
            cluster_loss: 0.2,
            decay_drift: 0.5,
            former_rise: IgnoredAny,
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

/// Judges a mask. Doing nothing never passes: a benefit must be shown. Nor does
/// what makes a class or slice worse, which is the first reason given.
pub fn judge(evidence: &Evidence, settings: &GateSettings) -> Verdict {
    if evidence.unchanged {
        return held(Reason::NoImprovement);
    }
    let whole = match (&evidence.labelled, &evidence.label_free) {
        (Some(labelled), _) => judge_labelled(labelled, settings),
        (None, Some(signals)) => match judge_signals(signals, settings) {
            // Measured: all signals gained where moved statistics alone cost four points of accuracy.
            Verdict::Passed if evidence.own_statistics => held(Reason::MovedStatistics),
            Verdict::Passed if signals.images < settings.least_images => held(Reason::TooFewUnlabelled {
                images: signals.images,
                enough: settings.least_images,
            }),
            verdict => verdict,
        },
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
    let patches_kept = settings.parting_loss > settings.rank_loss
        && (signals.patches).is_some_and(|patches| patches.mask >= patches.base);
    let rank_loss = if patches_kept {
        settings.parting_loss
    } else {
        settings.rank_loss
    };
    let lost = [
        (Signal::Collapse, base.mean_cosine, mask.mean_cosine, {
            1.0 - mask.mean_cosine < (1.0 - base.mean_cosine) * (1.0 - settings.distance_loss)
        }),
        (Signal::EffectiveRank, base.effective_rank, mask.effective_rank, {
            mask.effective_rank < base.effective_rank * (1.0 - rank_loss)
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
    // Mean cosine and rank see one thing, how much of the space is filled, and it may be less because
    // classes part: two faces of one loss are no two losses.
    let [collapse, rank, retrieval_lost, neighbours] = lost.map(|(.., lost)| lost);
    let losses = [collapse || rank, retrieval_lost, neighbours];
    match losses.into_iter().filter(|lost| *lost).count() {
        0 => {}
        // One loss alone decides nothing, in either direction.
        1 => return Verdict::Held { reasons },
        _ => return Verdict::Refused { reasons },
    }
    let reasons = further_lost(signals, settings);
    if !reasons.is_empty() {
        return Verdict::Held { reasons };
    }
    let gained = [
        (Signal::InstanceRetrieval, {
            let lower = retrieval.difference.lower;
            lower > 0.0 && lower >= settings.retrieval_gain.min((1.0 - retrieval.base.value) / 2.0)
        }),
        (Signal::EffectiveRank, {
            patches_kept || mask.effective_rank > base.effective_rank * (1.0 + settings.rank_gain.max(0.0))
        }),
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

/// Signals whose loss holds and never refuses: the first two rest on the same spectra
/// and groups as the ones above.
fn further_lost(signals: &LabelFree, settings: &GateSettings) -> Vec<Reason> {
    let decay = (signals.base.decay.zip(signals.mask.decay))
        .filter(|(base, mask)| (mask - 1.0).abs() > (base - 1.0).abs() + settings.decay_drift);
    let both = |both: &Both| (both.base, both.mask);
    let clusters =
        (signals.clusters.as_ref().map(both)).filter(|(base, mask)| *mask < base - settings.cluster_loss);
    let patches =
        (signals.patches.as_ref().map(both)).filter(|(base, mask)| *mask < base * (1.0 - settings.rank_loss));
    let found = [
        (Signal::Decay, decay),
        (Signal::ClusterStability, clusters),
        (Signal::PatchRank, patches),
    ];
    (found.into_iter())
        .filter_map(|(signal, lost)| lost.map(|(base, mask)| Reason::SignalLost { signal, base, mask }))
        .collect()
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
