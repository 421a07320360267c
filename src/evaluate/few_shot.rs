//! The probe on a few labelled images: what a site with ten per class can expect.

use rayon::prelude::*;

use super::confusion::by_class;
use super::embeddings::EvaluateError;
use super::paired::Answers;
use super::probe::{Gram, smallest_class};
use super::random::Stream;
use crate::domain::kpi::SHOTS;

/// How few-shot probes are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FewShotSettings {
    /// Images of each class to train on. Default 10.
    pub shots: usize,
    /// Draws. Default 400: of a hundred, chance alone moves a difference by .003 (standard
    /// error, solar cells), as much as trainings of several seeds differ.
    pub draws: usize,
    /// The probe's penalty; see [`super::probe::ProbeSettings::l2`].
    pub l2: f64,
    /// The seed of the draws.
    pub seed: u64,
}

impl Default for FewShotSettings {
    fn default() -> Self {
        Self {
            shots: SHOTS as usize,
            draws: 400,
            l2: 0.05,
            seed: 0,
        }
    }
}

/// Trains a probe on each draw and asks about all other images: one run for
/// each draw. Draws depend on labels and seed alone, so base and mask get the
/// same. Compare with [`super::paired::Resampling::runs_too`].
pub fn few_shot(gram: &Gram, labels: &[usize], settings: &FewShotSettings) -> Result<Answers, EvaluateError> {
    if gram.images() != labels.len() {
        return Err(EvaluateError::Unpaired {
            left: gram.images(),
            right: labels.len(),
        });
    }
    let shots = settings.shots.max(1);
    let smallest = smallest_class(labels)?;
    if smallest <= shots {
        return Err(EvaluateError::TooFew {
            found: smallest,
            needed: shots + 1,
        });
    }
    let classes = by_class(labels);
    let run = |draw: usize| {
        let mut train = Vec::with_capacity(shots * classes.len());
        for (class, images) in classes.iter().enumerate() {
            let mut images = images.clone();
            Stream::new(settings.seed, &[0x73_686f_7473, draw as u64, class as u64]).shuffle(&mut images);
            train.extend_from_slice(&images[..shots]);
        }
        train.sort_unstable();
        let test: Vec<usize> = (0..labels.len())
            .filter(|image| train.binary_search(image).is_err())
            .collect();
        let answers = gram.fit_and_classify(&train, &test, labels, settings.l2);
        let mut run = vec![None; labels.len()];
        for (image, answer) in test.into_iter().zip(answers) {
            run[image] = Some(answer == labels[image]);
        }
        run
    };
    Ok((0..settings.draws.max(1)).into_par_iter().map(run).collect())
}

#[cfg(test)]
mod tests {
    use super::super::embeddings::Embeddings;
    use super::super::paired::{Resampling, compare};
    use super::super::synthetic::gaussians;
    use super::*;

    fn accuracy(separation: f32) -> f64 {
        let (values, labels) = gaussians(150, 24, 3, separation, 8);
        let gram = Gram::new(&Embeddings::new(&values, 24).unwrap());
        let answers = few_shot(&gram, &labels, &FewShotSettings::default()).unwrap();
        assert_eq!(answers.len(), 400);
        assert!(
            answers.iter().all(|run| run.iter().flatten().count() == 120),
            "what was learned is not asked"
        );
        compare(&answers, &answers, &labels, &Resampling::default())
            .unwrap()
            .mask
            .value
    }

    #[test]
    fn separate_classes_are_learned_from_ten_and_noise_is_chance() {
        assert!(accuracy(5.0) > 0.99);
        let noise = accuracy(0.0);
        assert!((0.26..0.41).contains(&noise), "{noise}");
    }

    #[test]
    fn too_small_a_class_is_said() {
        let (values, mut labels) = gaussians(60, 4, 2, 0.0, 8);
        labels.iter_mut().skip(18).for_each(|label| *label = 0);
        let gram = Gram::new(&Embeddings::new(&values, 4).unwrap());
        let refused = few_shot(&gram, &labels, &FewShotSettings::default()).unwrap_err();
        assert_eq!(refused, EvaluateError::TooFew { found: 9, needed: 11 });
    }
}
