//! The report: the evidence kept with a mask, as versioned JSON.
//!
//! Everything that a person is shown of a mask, or that the gate has judged it
//! by, is in here. Fields are added, never changed; a reader refuses a format
//! that it does not know.

use serde::{Deserialize, Serialize};

use super::gate::{Evidence, GateSettings, LabelledEvidence, Verdict};
use super::groups::{self, ConfusionFigures, GroupFigure};
use super::health::EmbeddingHealth;
pub use super::kpi::Kpi;
use super::view::View;

/// The format that is written.
const FORMAT: u32 = 1;

/// A figure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// The interval's lower end.
    pub lower: f64,
    /// The interval's upper end.
    pub upper: f64,
}

impl Estimate {
    /// A figure without uncertainty.
    pub const fn exact(value: f64) -> Self {
        Self {
            value,
            lower: value,
            upper: value,
        }
    }

    /// Whether all three are numbers and the interval is not upside down.
    pub fn is_sound(&self) -> bool {
        [self.value, self.lower, self.upper]
            .iter()
            .all(|figure| figure.is_finite())
            && self.lower <= self.upper
    }
}

/// Base and mask on the same images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Figure {
    /// The base.
    pub base: Estimate,
    /// The mask (or the control in its place).
    pub mask: Estimate,
    /// Mask less base, paired: narrower than the two intervals suggest. Above zero is
    /// always better: of costs it is base less mask.
    pub difference: Estimate,
}

/// Balanced accuracies of base and mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LabelledFigures {
    /// Labelled images.
    pub images: usize,
    /// Classes among them.
    pub classes: usize,
    /// Images of the smallest class.
    pub smallest_class: usize,
    /// Leave-one-out nearest neighbours.
    pub knn: Figure,
    /// The linear probe under repeated stratified cross-validation.
    pub probe: Figure,
    /// The probe on a few images of each class; absent where a class has too few.
    pub few_shot: Option<Figure>,
    /// The figure that the site's KPI defines: recall at a rate of false alarms, or the cost of an image.
    #[serde(default)]
    pub defined: Option<Figure>,
    /// The KPI's difference as the gate reads it once the set has judged other masks.
    #[serde(default)]
    pub widened: Option<Widened>,
    /// Each class, then each slice.
    #[serde(default)]
    pub groups: Vec<GroupFigure>,
    /// What was taken for what.
    #[serde(default)]
    pub confusion: Option<ConfusionFigures>,
}

/// A difference whose interval allows for the masks that the same labelled
/// images have judged before: the k-th mask is judged at a confidence of
/// 1 − .05 / k (Bonferroni over the k masks so far).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Widened {
    /// Masks that these images have judged before.
    pub judged_before: u32,
    /// The interval's confidence.
    pub confidence: f64,
    /// The difference of the KPI with that interval.
    pub difference: Estimate,
}

impl Widened {
    /// The confidence at which a mask is judged after `judged_before` others.
    pub fn confidence(judged_before: u32) -> f64 {
        1.0 - 0.05 / (f64::from(judged_before) + 1.0)
    }
}

impl LabelledFigures {
    /// The figure of `kpi`.
    pub fn of(&self, kpi: &Kpi) -> Option<&Figure> {
        match kpi {
            Kpi::Probe => Some(&self.probe),
            Kpi::Knn => Some(&self.knn),
            Kpi::FewShot => self.few_shot.as_ref(),
            Kpi::RecallAtFalseAlarm { .. } | Kpi::Cost { .. } => self.defined.as_ref(),
        }
    }
}

/// How embeddings fill their space.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SpaceFigures {
    /// Exponential of the entropy of the centred singular values (RankMe).
    pub effective_rank: f64,
    /// Exponent of the decay of the eigenvalues (α-ReQ); best near 1, absent of too few images.
    #[serde(default)]
    pub decay: Option<f64>,
    /// Mean cosine of all pairs; 1 = collapsed to one direction.
    pub mean_cosine: f64,
    /// Mean deviation per dimension of unit embeddings times the root of their
    /// width; about 1 = spread evenly, 0 = collapsed.
    pub spread: f64,
}

/// Signals that need no labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LabelFree {
    /// Images that they rest on.
    pub images: usize,
    /// The base's space.
    pub base: SpaceFigures,
    /// The mask's space.
    pub mask: SpaceFigures,
    /// Share of images that find themselves in another view.
    pub retrieval: Figure,
    /// Mean share of the base's nearest neighbours that the mask keeps.
    pub stability: f64,
    /// How alike two halves of the images are sorted into groups; absent of too few images.
    #[serde(default)]
    pub clusters: Option<Both>,
    /// Effective rank of what patches of an image differ by: what its embedding, a mean
    /// over them, cannot show. Absent where the last feature map has one patch.
    #[serde(default)]
    pub patches: Option<Both>,
}

/// A figure of base and mask, without an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Both {
    /// The base.
    pub base: f64,
    /// The mask.
    pub mask: f64,
}

impl LabelFree {
    /// Whether all figures are numbers.
    pub fn is_sound(&self) -> bool {
        let space = |space: &SpaceFigures| [space.effective_rank, space.mean_cosine, space.spread];
        let figures = [space(&self.base), space(&self.mask)];
        let Figure {
            base,
            mask,
            difference,
        } = &self.retrieval;
        let decays = [self.base.decay, self.mask.decay].into_iter().flatten();
        let both = [self.clusters, self.patches].into_iter().flatten();
        let further = both.flat_map(|both| [both.base, both.mask]).chain(decays);
        figures
            .as_flattened()
            .iter()
            .copied()
            .chain(further)
            .all(f64::is_finite)
            && self.stability.is_finite()
            && [base, mask, difference]
                .iter()
                .all(|estimate| estimate.is_sound())
    }
}

/// One point of the loss curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LossPoint {
    /// The step.
    pub step: u64,
    /// The training loss.
    pub loss: f64,
}

/// How much of a tensor is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LayerDensity {
    /// The tensor's name.
    pub tensor: String,
    /// Its weights.
    pub weights: u64,
    /// How many of them are kept.
    pub kept: u64,
}

/// What the training did and what it took.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TrainingFigures {
    /// Loss by step.
    pub loss: Vec<LossPoint>,
    /// Density of each masked tensor, in canonical order.
    pub density: Vec<LayerDensity>,
    /// Weights that fell.
    pub flips: u64,
    /// Bits that differ from the parent mask, if the job started from one.
    pub flips_against_parent: Option<u64>,
    /// BatchNorm statistics that are not as the training began with them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub moved_statistics: u64,
    /// BatchNorm statistics that are not the base's: moved by this training, or by one that it follows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub own_statistics: u64,
    /// The moments that the best was chosen from, where the recipe looks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<MomentFigures>,
    /// The experts of a cascade, whose dispatcher all other figures here are of; empty of a single mask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experts: Vec<ExpertFigures>,
    /// Wall time.
    pub seconds: f64,
    /// Images trained on in a second.
    pub images_per_second: f64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl TrainingFigures {
    /// Whether the best that was found is what the training began with.
    pub fn is_unchanged(&self) -> bool {
        (self.flips == 0 || self.flips_against_parent == Some(0)) && self.moved_statistics == 0
    }

    /// The moment that was kept: that of the greatest worth above nothing.
    pub fn kept_moment(&self) -> Option<&MomentFigures> {
        let worth = |moment: &MomentFigures| moment.worth.unwrap_or(f64::NEG_INFINITY);
        // Of equals the first was kept.
        let best = self
            .moments
            .iter()
            .rev()
            .max_by(|a, b| worth(a).total_cmp(&worth(b)));
        best.filter(|moment| worth(moment) > 0.0)
    }
}

/// A moment of a training that might have been kept, by signals of images held out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MomentFigures {
    /// Steps done.
    pub step: u64,
    /// Weights dropped then.
    pub dropped: u64,
    /// What instance retrieval had gained on the beginning, as a share of images.
    pub retrieval: f64,
    /// Effective rank over that of the beginning.
    pub rank: f64,
    /// The same of patches, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patches: Option<f64>,
    /// What decides; absent where a signal had lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worth: Option<f64>,
}

/// An expert of a cascade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExpertFigures {
    /// Images of its group, which it was trained on.
    pub images: u64,
    /// Their share of all.
    pub share: f64,
    /// Weights that it drops.
    pub dropped: u64,
    /// Bits that differ from the dispatcher's.
    pub flips: u64,
}

/// Which images the training used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageCounts {
    /// Trained on.
    pub used: u64,
    /// Left out because they are, or nearly are, in the validation set.
    pub left_out: u64,
}

/// What the gate asked for and answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GateFigures {
    /// What it asked for.
    pub settings: GateSettings,
    /// What it answered.
    pub verdict: Verdict,
}

/// The evidence kept with a mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Report {
    /// The format of this document.
    pub version: u32,
    /// Classes and slices that the mask is worse for, the greatest loss first: before anything else.
    #[serde(default)]
    pub worse: Vec<GroupFigure>,
    /// Which figure the gate judged by, where there were labels.
    pub kpi: Kpi,
    /// What the gate judged by: the validation set.
    pub validation: Option<LabelledFigures>,
    /// What people are shown: a split that neither training nor gate has read.
    pub test: Option<LabelledFigures>,
    /// The test split again, a random mask of the same density per layer in the mask's place.
    pub random_mask: Option<LabelledFigures>,
    /// Signals that need no labels.
    pub label_free: Option<LabelFree>,
    /// The training.
    pub training: TrainingFigures,
    /// The images.
    pub images: ImageCounts,
    /// How they became input, in training and judging; left out if it is the default.
    #[serde(default, skip_serializing_if = "View::is_default")]
    pub view: View,
    /// The gate.
    pub gate: GateFigures,
    /// What the base's embeddings say of the images; absent where nothing was embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<EmbeddingHealth>,
}

/// Why a report cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A figure is NaN or infinite, which JSON cannot say.
    #[error("a figure of the report is not a number; was the training stopped when its loss diverged?")]
    NotFinite,
    /// The report is of another format.
    #[error("the report has format {0}, this version of Katagami reads {FORMAT}; update it")]
    Version(u64),
    /// The text is no report.
    #[error("this is no report: {0}")]
    Json(#[from] serde_json::Error),
}

impl Report {
    /// Judges the evidence and puts everything together, with the default view. Never
    /// judges by `test`: what people are shown must not have chosen the mask.
    pub fn judged(
        kpi: Kpi,
        validation: Option<LabelledFigures>,
        label_free: Option<LabelFree>,
        training: TrainingFigures,
        images: ImageCounts,
        settings: GateSettings,
    ) -> Self {
        let labelled = validation.as_ref().and_then(|figures| {
            figures.of(&kpi).map(|figure| LabelledEvidence {
                difference: figure.difference,
                widened: figures.widened,
                unit: kpi.unit(),
                images: figures.images,
                smallest_class: figures.smallest_class,
            })
        });
        let groups = validation.as_ref().map_or(&[][..], |figures| &figures.groups);
        let worse: Vec<GroupFigure> = groups::worse(groups, &settings).into_iter().cloned().collect();
        // A validation set that cannot answer the KPI is no licence to ask the weaker signals.
        let signals = label_free.clone().filter(|_| validation.is_none());
        let evidence = Evidence {
            unchanged: training.is_unchanged(),
            own_statistics: training.own_statistics > 0,
            labelled,
            label_free: signals,
            worse: worse.clone(),
        };
        let verdict = super::gate::judge(&evidence, &settings);
        Self {
            version: FORMAT,
            worse,
            kpi,
            validation,
            test: None,
            random_mask: None,
            label_free,
            training,
            images,
            view: View::default(),
            gate: GateFigures { settings, verdict },
            health: None,
        }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Result<String, ReportError> {
        let text = serde_json::to_string(self)?;
        // serde_json writes what is no number as null, and no reader would take it.
        Self::from_json(&text).map_err(|_| ReportError::NotFinite)?;
        Ok(text)
    }

    /// Reads a report.
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        let document: serde_json::Value = serde_json::from_str(text)?;
        match document.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version != u64::from(FORMAT) => Err(ReportError::Version(version)),
            _ => Ok(serde_json::from_value(document)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(lower: f64, upper: f64) -> LabelledFigures {
        let difference = Estimate {
            value: f64::midpoint(lower, upper),
            lower,
            upper,
        };
        let figure = Figure {
            base: Estimate::exact(0.7),
            mask: Estimate::exact(0.75),
            difference,
        };
        LabelledFigures {
            images: 400,
            classes: 2,
            smallest_class: 90,
            knn: figure,
            probe: figure,
            few_shot: None,
            defined: None,
            widened: None,
            groups: Vec::new(),
            confusion: None,
        }
    }

    fn report(flips: u64, kpi: Kpi) -> Report {
        let training = TrainingFigures {
            flips,
            loss: vec![LossPoint { step: 1, loss: 4.1 }],
            ..Default::default()
        };
        Report::judged(
            kpi,
            Some(figures(0.01, 0.09)),
            None,
            training,
            ImageCounts::default(),
            GateSettings::default(),
        )
    }

    #[test]
    fn a_report_survives_json() {
        let report = report(94, Kpi::Probe);
        assert_eq!(report.gate.verdict, Verdict::Passed);
        assert_eq!(Report::from_json(&report.to_json().unwrap()).unwrap(), report);
    }

    #[test]
    fn the_base_itself_is_no_improvement() {
        assert!(report(0, Kpi::Probe).gate.verdict.is_no_improvement());
    }

    #[test]
    fn a_kpi_that_was_not_measured_is_held() {
        assert_eq!(report(94, Kpi::FewShot).gate.verdict.word(), "held");
    }

    #[test]
    fn what_is_no_number_or_of_another_format_is_refused() {
        let mut diverged = report(94, Kpi::Probe);
        diverged.training.loss[0].loss = f64::NAN;
        assert!(matches!(diverged.to_json(), Err(ReportError::NotFinite)));
        let newer = report(94, Kpi::Probe)
            .to_json()
            .unwrap()
            .replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(Report::from_json(&newer), Err(ReportError::Version(2))));
    }
}
