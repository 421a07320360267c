//! The KPI: which figure a mask is judged by.
//!
//! Three figures are the same everywhere. Two a site defines itself: the
//! recall of defects at a rate of false alarms that its line bears, and the
//! cost of what is taken for what. Their shape is checked where they are read,
//! their classes where a job is placed ([`Kpi::check`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Images of each class that a few-shot probe learns from.
pub const SHOTS: u64 = 10;
/// Nearest neighbours that vote.
pub const NEIGHBOURS: u64 = 20;
/// Most classes of a cost matrix.
const MOST_CLASSES: usize = 64;
/// Longest name of a class, in bytes, as validation sets take it.
const LONGEST_NAME: usize = 128;
/// Greatest rate of false alarms: half of the good parts.
const GREATEST_RATE: f64 = 0.5;

/// Costs by true class, then by answer. The diagonal may be left out: 0.
pub type Costs = BTreeMap<String, BTreeMap<String, f64>>;

/// Which figure the gate judges by. As JSON a word (`"probe"`), or an object
/// with `name` where the site defines it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Document")]
pub enum Kpi {
    /// Balanced accuracy of the linear probe.
    #[default]
    Probe,
    /// Balanced accuracy of nearest neighbours.
    Knn,
    /// Balanced accuracy of the probe on a few labelled images.
    FewShot,
    /// Share of all images that are not `normal` and that the probe finds, at
    /// the threshold that at most a share of `rate` of the normal ones exceeds.
    RecallAtFalseAlarm {
        /// The class of good parts.
        normal: String,
        /// False alarms among them: above 0, at most .5.
        rate: f64,
    },
    /// Expected cost of an image, the probe answering what costs least. Lower is better.
    Cost {
        /// What it costs to take one class for another.
        costs: Costs,
    },
}

/// [`Kpi`] as JSON.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
enum Document {
    /// A figure that is the same everywhere.
    Word(Word),
    /// A figure that the site defines.
    Defined(Defined),
}

#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = KpiWord)]
#[serde(rename_all = "kebab-case")]
enum Word {
    /// Balanced accuracy of the linear probe.
    Probe,
    /// Balanced accuracy of nearest neighbours.
    Knn,
    /// Balanced accuracy of the probe on a few labelled images.
    FewShot,
}

#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DefinedKpi)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Defined {
    /// Share of the images that are not `normal` and that are found.
    RecallAtFalseAlarm {
        /// The class of good parts.
        normal: String,
        /// False alarms among them: above 0, at most .5.
        rate: f64,
    },
    /// Expected cost of an image; lower is better.
    Cost {
        /// By true class, then by answer; the diagonal may be left out.
        costs: BTreeMap<String, BTreeMap<String, f64>>,
    },
}

/// Why a KPI cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KpiError {
    /// No figure has that name.
    #[error("there is no figure `{0}`; use probe, knn, few-shot, recall-at-false-alarm or cost")]
    NoSuchFigure(String),
    /// It has not the fields that its name asks for.
    #[error(
        "the KPI is not as expected ({0}); write probe, knn, few-shot, \
         {{\"name\": \"recall-at-false-alarm\", \"normal\": CLASS, \"rate\": 0.05}} or \
         {{\"name\": \"cost\", \"costs\": {{CLASS: {{CLASS: NUMBER}}}}}}"
    )]
    Shape(String),
    /// The rate is no rate.
    #[error("{0} is no rate of false alarms; use a number above 0 and at most {GREATEST_RATE}")]
    Rate(String),
    /// A cost is negative or no number.
    #[error("taking `{truth}` for `{answer}` cannot cost {cost}; use a number of 0 or more")]
    WrongCost {
        /// The true class.
        truth: String,
        /// The answer.
        answer: String,
        /// What was given.
        cost: String,
    },
    /// The matrix has too few or too many classes, or nothing costs anything.
    #[error(
        "the cost matrix needs 2 to {MOST_CLASSES} classes with names of 1 to {LONGEST_NAME} bytes and one cost above 0"
    )]
    Matrix,
    /// The validation set has no such class.
    #[error("the KPI names class `{given}`, but the validation split has {known}")]
    NoSuchClass {
        /// The name given.
        given: String,
        /// The classes that there are.
        known: String,
    },
    /// A pair of classes has no cost.
    #[error("the cost matrix does not say what it costs to take `{truth}` for `{answer}`; add it")]
    NoCost {
        /// The true class.
        truth: String,
        /// The answer.
        answer: String,
    },
    /// A class is too small for the figure: it could not be answered, or not be asked about.
    #[error(
        "{kpi} needs {needed} images of each class in the validation split, and `{class}` has {found}; \
         add images or choose another KPI"
    )]
    TooFewOfAClass {
        /// The figure.
        kpi: &'static str,
        /// Images that it needs of each class.
        needed: u64,
        /// The class.
        class: String,
        /// Its images.
        found: u64,
    },
    /// Too few normal images to speak of such a rate.
    #[error(
        "a false-alarm rate of {rate} needs {needed} images of class `{normal}` in the validation split, and it has {found}; \
         add images or raise the rate"
    )]
    TooFewNormal {
        /// The class of good parts.
        normal: String,
        /// The rate.
        rate: String,
        /// Its images.
        found: u64,
        /// Images needed for one false alarm.
        needed: u64,
    },
}

impl Kpi {
    /// The KPI as one word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Knn => "knn",
            Self::FewShot => "few-shot",
            Self::RecallAtFalseAlarm { .. } => "recall-at-false-alarm",
            Self::Cost { .. } => "cost",
        }
    }

    /// What one whole of the figure is: the gate's margin is a share of it.
    /// 1 for shares, the greatest cost for costs.
    pub fn unit(&self) -> f64 {
        match self {
            Self::Cost { costs } => costs
                .values()
                .flat_map(BTreeMap::values)
                .copied()
                .fold(0.0, f64::max),
            _ => 1.0,
        }
    }

    /// Images that it needs of each class: `few-shot` one to ask about beside those that it learns from;
    /// `knn`, by the votes of so many neighbours, as many as outvote all other classes without the image
    /// itself.
    pub fn least_of_a_class(&self, neighbours: u64) -> u64 {
        match self {
            Self::FewShot => SHOTS + 1,
            Self::Knn => neighbours / 2 + 1,
            Self::Probe | Self::RecallAtFalseAlarm { .. } | Self::Cost { .. } => 0,
        }
    }

    /// Compares it with the classes of a validation split and their numbers of images.
    pub fn check(&self, classes: &BTreeMap<&str, u64>) -> Result<(), KpiError> {
        self.check_with(classes, NEIGHBOURS)
    }

    /// As [`Kpi::check`], where so many neighbours vote.
    pub fn check_with(&self, classes: &BTreeMap<&str, u64>, neighbours: u64) -> Result<(), KpiError> {
        let known = |class: &str| {
            classes.contains_key(class).then_some(()).ok_or_else(|| {
                let names: Vec<String> = classes.keys().take(20).map(|name| format!("`{name}`")).collect();
                KpiError::NoSuchClass {
                    given: class.to_owned(),
                    known: names.join(", "),
                }
            })
        };
        match self {
            Self::Probe | Self::Knn | Self::FewShot => {
                let needed = self.least_of_a_class(neighbours);
                match classes.iter().find(|(_, images)| **images < needed) {
                    None => Ok(()),
                    Some((class, found)) => Err(KpiError::TooFewOfAClass {
                        kpi: self.word(),
                        needed,
                        class: (*class).to_owned(),
                        found: *found,
                    }),
                }
            }
            Self::RecallAtFalseAlarm { normal, rate } => {
                known(normal)?;
                let (found, needed) = (classes[normal.as_str()], (1.0 / rate - 1e-9).ceil() as u64);
                if found >= needed {
                    return Ok(());
                }
                Err(KpiError::TooFewNormal {
                    normal: normal.clone(),
                    rate: rate.to_string(),
                    found,
                    needed,
                })
            }
            Self::Cost { costs } => {
                let mut named = costs.iter().flat_map(|(truth, row)| row.keys().chain([truth]));
                named.try_for_each(|class| known(class))?;
                for (truth, answer) in pairs(classes.keys().copied()) {
                    if costs.get(truth).and_then(|row| row.get(answer)).is_none() {
                        return Err(KpiError::NoCost {
                            truth: truth.to_owned(),
                            answer: answer.to_owned(),
                        });
                    }
                }
                Ok(())
            }
        }
    }

    fn shaped(self) -> Result<Self, KpiError> {
        let usable = |name: &str| (1..=LONGEST_NAME).contains(&name.len());
        match &self {
            Self::Probe | Self::Knn | Self::FewShot => {}
            Self::RecallAtFalseAlarm { normal, rate } => {
                if !usable(normal) {
                    return Err(KpiError::Shape("`normal` names no class".to_owned()));
                }
                if !(*rate > 0.0 && *rate <= GREATEST_RATE) {
                    return Err(KpiError::Rate(rate.to_string()));
                }
            }
            Self::Cost { costs } => {
                for (truth, row) in costs {
                    let wrong = row.iter().find(|(_, cost)| !(cost.is_finite() && **cost >= 0.0));
                    if let Some((answer, cost)) = wrong {
                        return Err(KpiError::WrongCost {
                            truth: truth.clone(),
                            answer: answer.clone(),
                            cost: cost.to_string(),
                        });
                    }
                }
                let narrow = costs.values().all(|row| row.len() <= MOST_CLASSES);
                let mut names = costs.iter().flat_map(|(truth, row)| row.keys().chain([truth]));
                let named = names.all(|name| usable(name));
                if !(2..=MOST_CLASSES).contains(&costs.len()) || !narrow || !named || self.unit() <= 0.0 {
                    return Err(KpiError::Matrix);
                }
            }
        }
        Ok(self)
    }
}

/// All pairs of two different names.
fn pairs<'a>(names: impl Iterator<Item = &'a str> + Clone) -> impl Iterator<Item = (&'a str, &'a str)> {
    let others = names.clone();
    names
        .flat_map(move |one| others.clone().map(move |other| (one, other)))
        .filter(|(one, other)| one != other)
}

impl TryFrom<Value> for Kpi {
    type Error = KpiError;

    fn try_from(value: Value) -> Result<Self, KpiError> {
        let name = match &value {
            Value::String(word) => Some(word.as_str()),
            other => other.get("name").and_then(Value::as_str),
        };
        let names = ["probe", "knn", "few-shot", "recall-at-false-alarm", "cost"];
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            return Err(KpiError::NoSuchFigure(name.chars().take(40).collect()));
        }
        let shape = |error: serde_json::Error| KpiError::Shape(error.to_string().chars().take(200).collect());
        let word = |word| match word {
            Word::Probe => Self::Probe,
            Word::Knn => Self::Knn,
            Word::FewShot => Self::FewShot,
        };
        if value.is_string() {
            return serde_json::from_value(value).map(word).map_err(shape);
        }
        match serde_json::from_value(value).map_err(shape)? {
            Defined::RecallAtFalseAlarm { normal, rate } => Self::RecallAtFalseAlarm { normal, rate },
            Defined::Cost { costs } => Self::Cost { costs },
        }
        .shaped()
    }
}

impl From<Kpi> for Document {
    fn from(kpi: Kpi) -> Self {
        match kpi {
            Kpi::Probe => Self::Word(Word::Probe),
            Kpi::Knn => Self::Word(Word::Knn),
            Kpi::FewShot => Self::Word(Word::FewShot),
            Kpi::RecallAtFalseAlarm { normal, rate } => {
                Self::Defined(Defined::RecallAtFalseAlarm { normal, rate })
            }
            Kpi::Cost { costs } => Self::Defined(Defined::Cost { costs }),
        }
    }
}

/// The word, or the JSON of a figure that a site defines.
impl fmt::Display for Kpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe | Self::Knn | Self::FewShot => f.write_str(self.word()),
            defined => f.write_str(&serde_json::to_string(defined).map_err(|_| fmt::Error)?),
        }
    }
}

impl FromStr for Kpi {
    type Err = KpiError;

    fn from_str(text: &str) -> Result<Self, KpiError> {
        if !text.trim_start().starts_with('{') {
            return Value::String(text.to_owned()).try_into();
        }
        let value: Value = serde_json::from_str(text).map_err(|error| KpiError::Shape(error.to_string()))?;
        value.try_into()
    }
}

impl utoipa::PartialSchema for Kpi {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        Document::schema()
    }
}

impl utoipa::ToSchema for Kpi {
    fn name() -> Cow<'static, str> {
        "Kpi".into()
    }

    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        Document::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Kpi, KpiError> {
        text.parse()
    }

    const COST: &str = r#"{"name": "cost", "costs": {"crack": {"ok": 20}, "ok": {"crack": 1, "ok": 0}}}"#;
    const RECALL: &str = r#"{"name": "recall-at-false-alarm", "normal": "ok", "rate": 0.05}"#;

    #[test]
    fn every_kpi_survives_its_text_and_json() {
        for text in ["probe", "knn", "few-shot", COST, RECALL] {
            let kpi = read(text).unwrap();
            assert_eq!(read(&kpi.to_string()).unwrap(), kpi);
            let json = serde_json::to_string(&kpi).unwrap();
            assert_eq!(serde_json::from_str::<Kpi>(&json).unwrap(), kpi);
        }
        assert_eq!(serde_json::to_string(&Kpi::FewShot).unwrap(), "\"few-shot\"");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        for (text, sentence) in [
            ("magic", "there is no figure `magic`"),
            (r#"{"name": "probing"}"#, "there is no figure `probing`"),
            ("cost", "is not as expected"),
            (r#"{"name": "cost"}"#, "missing field `costs`"),
            (r#"{"normal": "ok", "rate": 0.05}"#, "missing field `name`"),
            (
                r#"{"name": "recall-at-false-alarm", "normal": "ok", "rate": 5}"#,
                "5 is no rate",
            ),
            (
                r#"{"name": "recall-at-false-alarm", "normal": "", "rate": 0.1}"#,
                "names no class",
            ),
            (
                r#"{"name": "cost", "costs": {"a": {"b": -1}, "b": {"a": 1}}}"#,
                "cannot cost -1",
            ),
            (
                r#"{"name": "cost", "costs": {"a": {"b": 0}, "b": {"a": 0}}}"#,
                "one cost above 0",
            ),
            (r#"{"name": "cost", "costs": {"a": {"b": 1}}}"#, "2 to 64 classes"),
            (
                r#"{"name": "cost", "costs": [[0, 1], [1, 0]]}"#,
                "is not as expected",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(sentence), "{text}: {error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn classes_and_matrix_must_be_those_of_the_validation_split() {
        let classes = BTreeMap::from([("crack", 30), ("ok", 40)]);
        for text in ["probe", COST, RECALL] {
            assert_eq!(read(text).unwrap().check(&classes), Ok(()));
        }
        let code = |text: &str, classes: &BTreeMap<&str, u64>| {
            read(text).unwrap().check(classes).unwrap_err().to_string()
        };
        let renamed = BTreeMap::from([("defect", 30), ("good", 40)]);
        assert_eq!(
            code(RECALL, &renamed),
            "the KPI names class `ok`, but the validation split has `defect`, `good`"
        );
        assert!(code(COST, &renamed).contains("names class `"));
        let more = BTreeMap::from([("crack", 30), ("ok", 40), ("stain", 10)]);
        assert_eq!(
            code(COST, &more),
            "the cost matrix does not say what it costs to take `crack` for `stain`; add it"
        );
        let eleven = BTreeMap::from([("crack", 11), ("ok", 19)]);
        assert_eq!(Kpi::FewShot.check(&eleven), Ok(()));
        let ten = BTreeMap::from([("crack", 10), ("ok", 19)]);
        assert_eq!(Kpi::Probe.check(&ten), Ok(()));
        let said = Kpi::FewShot.check(&ten).unwrap_err().to_string();
        assert!(
            said.contains("needs 11 images") && said.contains("`crack` has 10"),
            "{said}"
        );
        assert_eq!(Kpi::Knn.check(&eleven), Ok(()));
        assert!(
            Kpi::Knn.check(&ten).is_err(),
            "nine others are outvoted by eleven"
        );
        assert_eq!(Kpi::Knn.check_with(&ten, 18), Ok(()));
        let few = BTreeMap::from([("crack", 30), ("ok", 19)]);
        assert!(code(RECALL, &few).contains("needs 20 images of class `ok`"));
    }

    #[test]
    fn the_unit_of_a_cost_is_the_greatest() {
        assert_eq!(read(COST).unwrap().unit().to_bits(), 20.0_f64.to_bits());
        assert_eq!(Kpi::Knn.unit().to_bits(), 1.0_f64.to_bits());
    }
}
