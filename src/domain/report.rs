//! The report: the evidence kept with a mask, as versioned JSON.
//!
//! Everything that a person is shown of a mask, or that the gate has judged it
//! by, is in here. Fields are added, never changed; a reader refuses a format
//! that it does not know.

use serde::{Deserialize, Serialize};

use super::gate::{Evidence, GateSettings, LabelledEvidence, Verdict};
use super::health::EmbeddingHealth;

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
    /// Mask less base, paired: narrower than the two intervals suggest.
    pub difference: Estimate,
}

/// Which figure the gate judges by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kpi {
    /// Balanced accuracy of the linear probe.
    #[default]
    Probe,
    /// Balanced accuracy of nearest neighbours.
    Knn,
    /// Balanced accuracy of the probe on a few labelled images.
    FewShot,
}

impl Kpi {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Probe, Self::Knn, Self::FewShot];

    /// The KPI as one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Knn => "knn",
            Self::FewShot => "few-shot",
        }
    }

    /// The KPI of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kpi| kpi.word() == word)
    }
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
}

impl LabelledFigures {
    /// The figure of `kpi`.
    pub fn of(&self, kpi: Kpi) -> Option<&Figure> {
        match kpi {
            Kpi::Probe => Some(&self.probe),
            Kpi::Knn => Some(&self.knn),
            Kpi::FewShot => self.few_shot.as_ref(),
        }
    }
}

/// How embeddings fill their space.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SpaceFigures {
    /// Exponential of the entropy of the centred singular values (RankMe).
    pub effective_rank: f64,
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
        figures.as_flattened().iter().all(|figure| figure.is_finite())
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
    /// Wall time.
    pub seconds: f64,
    /// Images trained on in a second.
    pub images_per_second: f64,
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
    /// Judges the evidence and puts everything together. Never judges by
    /// `test`: what people are shown must not have chosen the mask.
    pub fn judged(
        kpi: Kpi,
        validation: Option<LabelledFigures>,
        label_free: Option<LabelFree>,
        training: TrainingFigures,
        images: ImageCounts,
        settings: GateSettings,
    ) -> Self {
        let labelled = validation.as_ref().and_then(|figures| {
            figures.of(kpi).map(|figure| LabelledEvidence {
                difference: figure.difference,
                images: figures.images,
                smallest_class: figures.smallest_class,
            })
        });
        // A validation set that cannot answer the KPI is no licence to ask the weaker signals.
        let signals = label_free.clone().filter(|_| validation.is_none());
        let evidence = Evidence {
            unchanged: training.flips == 0,
            labelled,
            label_free: signals,
        };
        let verdict = super::gate::judge(&evidence, &settings);
        Self {
            version: FORMAT,
            kpi,
            validation,
            test: None,
            random_mask: None,
            label_free,
            training,
            images,
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
