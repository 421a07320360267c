//! How good embeddings are, and whether a mask's are better than its base's.
//!
//! Plain functions of embeddings and labels: no network, no files, no clock.
//! Chance comes from seeds, through streams that no thread order can disturb.
//!
//! The protocol, always on the same images for base and mask:
//! - [`knn`]: leave-one-out nearest neighbours, cosine;
//! - [`probe`]: logistic regression, repeated stratified 5-fold, the same folds;
//! - [`few_shot`]: 400 draws of 10 images per class, the same draws;
//! - [`paired`]: balanced accuracies and their difference with 95 % intervals;
//! - from the probe's answers, on the same draws: each class and slice
//!   (`groups`), recall at a rate of false alarms (`alarms`), cost (`costs`);
//! - without labels: [`rank`] (effective rank, decay, collapse; of images and of
//!   their patches), [`retrieval`] (instance retrieval, neighbourhood stability)
//!   and [`clusters`] (whether two halves are sorted alike).
//!
//! [`labelled`] and [`label_free`] run all of it and fill the report's figures.
//! What the figures mean for a release is `domain::gate`'s to say.

mod alarms;
pub mod clusters;
pub mod confusion;
mod costs;
mod draws;
pub mod embeddings;
pub mod few_shot;
mod groups;
mod heard;
pub mod knn;
pub mod label_errors;
pub mod outliers;
pub mod paired;
pub mod probe;
pub mod random;
pub mod rank;
pub mod retrieval;
pub mod sample;
mod solver;
mod spectrum;
#[cfg(test)]
mod synthetic;

use crate::domain::image::Metadata;
use crate::domain::report::{Both, Kpi, LabelFree, LabelledFigures, Widened};
pub use embeddings::{Embeddings, EvaluateError};
pub use heard::Heard;

use draws::Drawn;
use few_shot::FewShotSettings;
use knn::KnnSettings;
use paired::Resampling;
use probe::ProbeSettings;

/// How base and mask are compared.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Settings {
    /// Nearest neighbours.
    pub knn: KnnSettings,
    /// The linear probe.
    pub probe: ProbeSettings,
    /// The probe on a few images.
    pub few_shot: FewShotSettings,
    /// Intervals; `runs_too` is set for few-shot draws whatever it says.
    pub resampling: Resampling,
}

/// What is asked of labelled images besides the plain figures.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Which figure the site judges by.
    pub kpi: &'a Kpi,
    /// The name of each class, by its label.
    pub classes: &'a [&'a str],
    /// Metadata of each image, which makes the slices; may be empty.
    pub metadata: &'a [Metadata],
    /// Images of each class in the set of which these are a sample, by label; empty: these are all.
    pub whole: &'a [usize],
    /// Masks that these images have judged before.
    pub judged_before: u32,
}

/// Compares base and mask on labelled images: asks both, then [`compared`].
pub fn labelled(
    base: &Embeddings,
    mask: &Embeddings,
    labels: &[usize],
    asked: &Asked,
    settings: &Settings,
) -> Result<LabelledFigures, EvaluateError> {
    let [base, mask] = [base, mask].map(|of| Heard::of(of, labels, settings));
    compared(&base?, &mask?, labels, asked, settings)
}

/// Compares what base and mask said of labelled images; `settings` are those that they were asked with.
pub fn compared(
    base: &Heard,
    mask: &Heard,
    labels: &[usize],
    asked: &Asked,
    settings: &Settings,
) -> Result<LabelledFigures, EvaluateError> {
    let labels_named = labels.iter().max().map_or(0, |greatest| greatest + 1);
    if labels_named > asked.classes.len() {
        return Err(EvaluateError::Unnamed {
            labels: labels_named,
            names: asked.classes.len(),
        });
    }
    let confidence = Widened::confidence(asked.judged_before);
    let resampling = |kpi: &Kpi| Resampling {
        resamples: if kpi == asked.kpi {
            draws::needed(confidence, settings.resampling.resamples)
        } else {
            settings.resampling.resamples
        },
        runs_too: *kpi == Kpi::FewShot,
        ..settings.resampling
    };
    let smallest_class = base.smallest_class;
    let knn = paired::drawn(&base.knn, &mask.knn, labels, &resampling(&Kpi::Knn))?;
    let few_shot = (base.few_shot.as_ref().zip(mask.few_shot.as_ref()))
        .map(|(base, mask)| paired::drawn(base, mask, labels, &resampling(&Kpi::FewShot)))
        .transpose()?;
    let (base, mask) = (&base.probe, &mask.probe);
    let (base_right, mask_right) = (base.right(labels), mask.right(labels));
    let probe = paired::drawn(&base_right, &mask_right, labels, &resampling(&Kpi::Probe))?;
    let classes = confusion::by_label(labels, asked.classes.len());
    let defined = match Definition::of(asked) {
        None => None,
        Some(Definition::Recall(at)) => Some(alarms::recall(
            base,
            mask,
            labels,
            at,
            &classes,
            &resampling(asked.kpi),
        )),
        Some(Definition::Cost(costs)) => {
            let these: Vec<usize> = classes.iter().map(Vec::len).collect();
            let whole = if asked.whole.is_empty() {
                &these
            } else {
                asked.whole
            };
            Some(costs::cost(
                base,
                mask,
                labels,
                &costs,
                (&classes, whole),
                &resampling(asked.kpi),
            ))
        }
    };
    let judged = match asked.kpi {
        Kpi::Probe => Some(&probe),
        Kpi::Knn => Some(&knn),
        Kpi::FewShot => few_shot.as_ref(),
        Kpi::RecallAtFalseAlarm { .. } | Kpi::Cost { .. } => defined.as_ref(),
    };
    Ok(LabelledFigures {
        images: labels.len(),
        classes: classes.iter().filter(|images| !images.is_empty()).count(),
        smallest_class,
        widened: judged.filter(|_| asked.judged_before > 0).map(|drawn| Widened {
            judged_before: asked.judged_before,
            confidence,
            difference: drawn.difference(confidence),
        }),
        knn: knn.figure(),
        probe: probe.figure(),
        few_shot: few_shot.as_ref().map(Drawn::figure),
        defined: defined.as_ref().map(Drawn::figure),
        groups: groups::figures(
            &base_right,
            &mask_right,
            &classes,
            asked.classes,
            asked.metadata,
            &settings.resampling,
        ),
        confusion: Some(groups::confusion(
            &base.answers(),
            &mask.answers(),
            labels,
            asked.classes,
        )),
    })
}

/// A figure that a site defines, with labels in the place of its classes' names.
enum Definition {
    /// The normal class and the rate of false alarms.
    Recall((usize, f64)),
    /// `costs[truth][answer]`
    Cost(Vec<Vec<f64>>),
}

impl Definition {
    /// None where the KPI is a plain figure, or where it does not fit the
    /// classes (as of a test split that has others than the validation split).
    fn of(asked: &Asked) -> Option<Self> {
        match asked.kpi {
            Kpi::Probe | Kpi::Knn | Kpi::FewShot => None,
            Kpi::RecallAtFalseAlarm { normal, rate } => {
                let at = asked.classes.iter().position(|class| class == normal)?;
                Some(Self::Recall((at, *rate)))
            }
            Kpi::Cost { costs } => {
                let of = |truth: &str, answer: &str| match costs.get(truth)?.get(answer) {
                    None if truth == answer => Some(0.0),
                    cost => cost.copied(),
                };
                let row = |truth: &&str| asked.classes.iter().map(|answer| of(truth, answer)).collect();
                Some(Self::Cost(asked.classes.iter().map(row).collect::<Option<_>>()?))
            }
        }
    }
}

/// Two views (augmentations) of the same images in one model's space.
#[derive(Debug, Clone, Copy)]
pub struct Views<'a> {
    /// The plain images; rank, collapse and stability are taken from these.
    pub first: Embeddings<'a>,
    /// The same images, in the same order, seen otherwise.
    pub second: Embeddings<'a>,
    /// Patches of some of the images less their image's mean; absent of too coarse a feature map.
    pub patches: Option<Embeddings<'a>>,
}

/// What one model makes of images: [`Views`] with what they look at.
#[derive(Debug, Default)]
pub struct Space {
    /// Embeddings `[images, dim]` of the plain images.
    pub whole: Vec<f32>,
    /// The same of their second views.
    pub viewed: Vec<f32>,
    /// Patches `[patches, dim]` of some of the plain images; empty where the last feature map has one, or none.
    pub patches: Vec<f32>,
}

impl Space {
    /// The two views, to be compared with another model's.
    pub fn views(&self, dim: usize) -> Result<Views<'_>, EvaluateError> {
        Ok(Views {
            first: Embeddings::new(&self.whole, dim)?,
            second: Embeddings::new(&self.viewed, dim)?,
            patches: match self.patches.as_slice() {
                [] => None,
                patches => Some(Embeddings::new(patches, dim)?),
            },
        })
    }
}

/// Compares base and mask without labels. Both must show the same views.
pub fn label_free(base: &Views, mask: &Views, settings: &Settings) -> Result<LabelFree, EvaluateError> {
    let images = base.first.images();
    mask.first.paired_with(images)?;
    // Of few images, so many neighbours would be nearly all others: two spaces that have nothing in common
    // would share them by chance.
    let neighbours = settings.knn.neighbours.min(images / 8).max(1);
    let found = |views: &Views| {
        let found = retrieval::finds_itself(&views.first, &views.second)?;
        Ok::<_, EvaluateError>(vec![found.into_iter().map(Some).collect()])
    };
    Ok(LabelFree {
        images,
        base: rank::space(&base.first)?,
        mask: rank::space(&mask.first)?,
        retrieval: paired::compare(
            &found(base)?,
            &found(mask)?,
            &vec![0; images],
            &settings.resampling,
        )?,
        stability: retrieval::stability(&base.first, &mask.first, neighbours)?,
        clusters: both(clusters(&base.first)?, clusters(&mask.first)?),
        patches: both(
            base.patches.as_ref().map(rank::effective_rank),
            mask.patches.as_ref().map(rank::effective_rank),
        ),
    })
}

/// Cluster stability; None of too few images.
fn clusters(embeddings: &Embeddings) -> Result<Option<f64>, EvaluateError> {
    match clusters::stability(embeddings, 0) {
        Ok(stability) => Ok(Some(stability)),
        Err(EvaluateError::TooFew { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn both(base: Option<f64>, mask: Option<f64>) -> Option<Both> {
    base.zip(mask).map(|(base, mask)| Both { base, mask })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::gate::{Evidence, GateSettings, judge};
    use crate::domain::report::{ImageCounts, Report, TrainingFigures};

    const ASKED: Asked<'static> = Asked {
        kpi: &Kpi::Probe,
        classes: &["crack", "ok"],
        metadata: &[],
        whole: &[],
        judged_before: 0,
    };

    #[test]
    fn a_better_mask_passes_the_gate_and_the_base_itself_does_not() {
        let (base, labels) = synthetic::gaussians(300, 30, 2, 0.5, 1);
        let (mask, _) = synthetic::gaussians(300, 30, 2, 1.5, 1);
        let rows = |values| Embeddings::new(values, 30).unwrap();
        let verdict = |mask| {
            let figures = labelled(&rows(&base), &rows(mask), &labels, &ASKED, &Settings::default()).unwrap();
            judged(Kpi::Probe, figures).gate.verdict
        };
        assert_eq!(verdict(&mask).word(), "passed");
        assert_eq!(verdict(&base).word(), "held");
    }

    fn judged(kpi: Kpi, figures: LabelledFigures) -> Report {
        let training = TrainingFigures {
            flips: 7,
            ..TrainingFigures::default()
        };
        let settings = GateSettings::default();
        Report::judged(
            kpi,
            Some(figures),
            None,
            training,
            ImageCounts::default(),
            settings,
        )
    }

    #[test]
    fn every_kpi_sees_a_better_mask_and_a_set_that_judged_often_asks_for_more() {
        let (base, labels) = synthetic::gaussians(120, 8, 2, 0.3, 1);
        let (mask, _) = synthetic::gaussians(120, 8, 2, 1.5, 1);
        let rows = |values| Embeddings::new(values, 8).unwrap();
        let recall = r#"{"name": "recall-at-false-alarm", "normal": "ok", "rate": 0.1}"#;
        let cost = r#"{"name": "cost", "costs": {"crack": {"ok": 20}, "ok": {"crack": 1}}}"#;
        for kpi in ["probe", "knn", "few-shot", recall, cost] {
            let kpi: Kpi = kpi.parse().unwrap();
            let figures = |judged_before| {
                let asked = Asked {
                    kpi: &kpi,
                    judged_before,
                    ..ASKED
                };
                labelled(&rows(&base), &rows(&mask), &labels, &asked, &Settings::default()).unwrap()
            };
            let report = judged(kpi.clone(), figures(0));
            assert_eq!(report.gate.verdict.word(), "passed", "{kpi}");
            let again = figures(19);
            let plain = report.validation.unwrap().of(&kpi).unwrap().difference;
            let widened = again.widened.unwrap();
            assert!(widened.difference.lower < plain.lower && widened.difference.upper > plain.upper);
            assert_eq!(
                (widened.judged_before, widened.confidence),
                (19, 1.0 - 0.05 / 20.0)
            );
        }
    }

    #[test]
    fn a_slice_that_the_mask_ruins_holds_it_and_is_said_first() {
        let (base, labels) = synthetic::gaussians(400, 12, 2, 0.4, 1);
        let (better, _) = synthetic::gaussians(400, 12, 2, 2.0, 1);
        let (ruined, _) = synthetic::gaussians(400, 12, 2, -1.0, 1);
        let night = |image: usize| (image / 2).is_multiple_of(8);
        let mask: Vec<f32> = (better.iter().zip(&ruined).enumerate())
            .map(|(at, (better, ruined))| if night(at / 12) { *ruined } else { *better })
            .collect();
        let metadata: Vec<Metadata> = (0..400)
            .map(|image| {
                let shift = if night(image) { "night" } else { "day" };
                let pairs = [("shift".to_owned(), shift.to_owned())];
                Metadata::try_from(std::collections::BTreeMap::from(pairs)).unwrap()
            })
            .collect();
        let rows = |values| Embeddings::new(values, 12).unwrap();
        let asked = Asked {
            metadata: &metadata,
            ..ASKED
        };
        let figures = labelled(&rows(&base), &rows(&mask), &labels, &asked, &Settings::default()).unwrap();
        assert!(figures.probe.difference.lower > 0.0, "the mean gets better");
        let report = judged(Kpi::Probe, figures);
        assert_eq!(report.gate.verdict.word(), "held");
        assert_eq!(report.worse[0].name, "shift=night");
        let first = report.gate.verdict.reasons()[0].to_string();
        assert!(
            first.starts_with("slice `shift=night` (50 images) is worse"),
            "{first}"
        );
        let text = report.to_json().unwrap();
        assert!(
            text.find("shift=night") < text.find("\"validation\""),
            "said first"
        );
    }

    #[test]
    fn few_images_of_spaces_with_nothing_in_common_are_no_neighbours_of_each_other() {
        for images in [20, 40, 65, 120] {
            let spaces = [1, 2].map(|seed| synthetic::gaussians(images, 64, 1, 0.0, seed).0);
            let [base, mask] = spaces.each_ref().map(|values| Views {
                first: Embeddings::new(values, 64).unwrap(),
                second: Embeddings::new(values, 64).unwrap(),
                patches: None,
            });
            let found = label_free(&base, &mask, &Settings::default()).unwrap().stability;
            assert!(
                found < GateSettings::default().least_stability,
                "{found} of {images}"
            );
        }
    }

    #[test]
    fn without_labels_the_base_itself_is_held_and_a_collapse_refused() {
        let (first, _) = synthetic::gaussians(100, 30, 1, 0.0, 1);
        let (noise, _) = synthetic::gaussians(100, 30, 1, 0.0, 2);
        let second: Vec<f32> = first
            .iter()
            .zip(&noise)
            .map(|(value, noise)| value + 0.3 * noise)
            .collect();
        let rows = |values| Embeddings::new(values, 30).unwrap();
        let base = Views {
            first: rows(&first),
            second: rows(&second),
            patches: None,
        };
        let verdict = |mask: &Views| {
            let label_free = label_free(&base, mask, &Settings::default()).unwrap();
            judge(
                &Evidence {
                    label_free: Some(label_free),
                    ..Evidence::default()
                },
                &GateSettings::default(),
            )
        };
        assert_eq!(verdict(&base).word(), "held");
        let flat = |values: &[f32]| {
            values
                .iter()
                .map(|value| 5.0 + 0.01 * value)
                .collect::<Vec<f32>>()
        };
        let (first, second) = (flat(&first), flat(&noise));
        let collapsed = Views {
            first: rows(&first),
            second: rows(&second),
            patches: None,
        };
        assert_eq!(verdict(&collapsed).word(), "refused");
    }
}
