//! How good embeddings are, and whether a mask's are better than its base's.
//!
//! Plain functions of embeddings and labels: no network, no files, no clock.
//! Chance comes from seeds, through streams that no thread order can disturb.
//!
//! The protocol, always on the same images for base and mask:
//! - [`knn`]: leave-one-out nearest neighbours, cosine;
//! - [`probe`]: logistic regression, repeated stratified 5-fold, the same folds;
//! - [`few_shot`]: 20 draws of 10 images per class, the same draws;
//! - [`paired`]: balanced accuracies and their difference with 95 % intervals;
//! - without labels: [`rank`] (effective rank, collapse) and [`retrieval`]
//!   (instance retrieval, neighbourhood stability).
//!
//! [`labelled`] and [`label_free`] run all of it and fill the report's figures.
//! What the figures mean for a release is `domain::gate`'s to say.

pub mod confusion;
pub mod embeddings;
pub mod few_shot;
pub mod knn;
pub mod label_errors;
pub mod outliers;
pub mod paired;
pub mod probe;
pub mod random;
pub mod rank;
pub mod retrieval;
mod solver;
mod spectrum;
#[cfg(test)]
mod synthetic;

use crate::domain::report::{LabelFree, LabelledFigures};
pub use embeddings::{Embeddings, EvaluateError};

use few_shot::FewShotSettings;
use knn::KnnSettings;
use paired::{Resampling, one_run};
use probe::{Gram, ProbeSettings};

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

/// Compares base and mask on labelled images.
pub fn labelled(
    base: &Embeddings,
    mask: &Embeddings,
    labels: &[usize],
    settings: &Settings,
) -> Result<LabelledFigures, EvaluateError> {
    base.paired_with(labels.len())?;
    mask.paired_with(labels.len())?;
    let smallest_class = probe::smallest_class(labels)?;
    let neighbours = |of| knn::leave_one_out(of, labels, &settings.knn).map(|found| one_run(&found, labels));
    let knn = paired::compare(
        &neighbours(base)?,
        &neighbours(mask)?,
        labels,
        &settings.resampling,
    )?;
    let (base, mask) = (Gram::new(base), Gram::new(mask));
    let probed = |of| probe::cross_validate(of, labels, &settings.probe);
    let probe = paired::compare(&probed(&base)?, &probed(&mask)?, labels, &settings.resampling)?;
    let shots = |of| few_shot::few_shot(of, labels, &settings.few_shot);
    let few_shot = if smallest_class > settings.few_shot.shots {
        let resampling = Resampling {
            runs_too: true,
            ..settings.resampling
        };
        Some(paired::compare(
            &shots(&base)?,
            &shots(&mask)?,
            labels,
            &resampling,
        )?)
    } else {
        None
    };
    let classes = confusion::by_class(labels).len();
    Ok(LabelledFigures {
        images: labels.len(),
        classes,
        smallest_class,
        knn,
        probe,
        few_shot,
    })
}

/// Two views (augmentations) of the same images in one model's space.
#[derive(Debug, Clone, Copy)]
pub struct Views<'a> {
    /// The plain images; rank, collapse and stability are taken from these.
    pub first: Embeddings<'a>,
    /// The same images, in the same order, seen otherwise.
    pub second: Embeddings<'a>,
}

/// Compares base and mask without labels. Both must show the same views.
pub fn label_free(base: &Views, mask: &Views, settings: &Settings) -> Result<LabelFree, EvaluateError> {
    let images = base.first.images();
    mask.first.paired_with(images)?;
    let neighbours = settings.knn.neighbours.min(images.saturating_sub(1)).max(1);
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::gate::{Evidence, GateSettings, LabelledEvidence, judge};

    #[test]
    fn a_better_mask_passes_the_gate_and_the_base_itself_does_not() {
        let (base, labels) = synthetic::gaussians(300, 30, 2, 0.5, 1);
        let (mask, _) = synthetic::gaussians(300, 30, 2, 1.5, 1);
        let rows = |values| Embeddings::new(values, 30).unwrap();
        let verdict = |mask| {
            let figures = labelled(&rows(&base), &rows(mask), &labels, &Settings::default()).unwrap();
            let LabelledFigures {
                images,
                smallest_class,
                probe,
                ..
            } = figures;
            let labelled = Some(LabelledEvidence {
                difference: probe.difference,
                images,
                smallest_class,
            });
            judge(
                &Evidence {
                    labelled,
                    ..Evidence::default()
                },
                &GateSettings::default(),
            )
        };
        assert_eq!(verdict(&mask).word(), "passed");
        assert_eq!(verdict(&base).word(), "held");
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
        };
        assert_eq!(verdict(&collapsed).word(), "refused");
    }
}
