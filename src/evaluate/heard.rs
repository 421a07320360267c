//! What one model says of labelled images, whoever it is compared with: asked once, however many
//! comparisons it takes part in. Most of the time of a judgement goes into this.

use super::Settings;
use super::embeddings::{Embeddings, EvaluateError};
use super::few_shot::few_shot;
use super::knn::leave_one_out;
use super::paired::{Answers, one_run};
use super::probe::{Gram, OutOfFold, cross_validate, smallest_class};

/// A model's answers to all questions about labelled images.
pub struct Heard {
    /// Whether the nearest neighbours of each image are right.
    pub(super) knn: Answers,
    /// Whether probes of a few images are right; none where the smallest class is too small.
    pub(super) few_shot: Option<Answers>,
    /// What probes say of images that they have not seen.
    pub(super) probe: OutOfFold,
    /// Images of the smallest class.
    pub(super) smallest_class: usize,
}

impl Heard {
    /// Asks the model with these embeddings. Folds and draws depend on `labels` and `settings` alone.
    pub fn of(embeddings: &Embeddings, labels: &[usize], settings: &Settings) -> Result<Self, EvaluateError> {
        embeddings.paired_with(labels.len())?;
        let smallest_class = smallest_class(labels)?;
        let knn = one_run(&leave_one_out(embeddings, labels, &settings.knn)?, labels);
        let gram = Gram::new(embeddings);
        let few_shot = (smallest_class > settings.few_shot.shots)
            .then(|| few_shot(&gram, labels, &settings.few_shot))
            .transpose()?;
        Ok(Self {
            knn,
            few_shot,
            probe: cross_validate(&gram, labels, &settings.probe)?,
            smallest_class,
        })
    }
}
