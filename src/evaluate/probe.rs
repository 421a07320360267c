//! The linear probe: regularised multinomial logistic regression.
//!
//! Embeddings are standardised dimension by dimension once, over all images
//! given. No label is used for that, and base and mask are treated alike, so
//! it favours neither; it lets all folds and draws share one matrix of scalar
//! products ([`Gram`]), which is what makes hundreds of fits cheap. Classes
//! weigh the same in the loss, as they do in balanced accuracy.
//!
//! Memory is `8 × images²` bytes, and as much again for each fit of which the
//! products of its own images are taken out; so many fits run at once as
//! [`AT_ONCE`] has room for. Validation sets of up to some thousands.

use rayon::prelude::*;

use super::confusion::by_class;
use super::embeddings::{Embeddings, EvaluateError, dot, gram};
use super::paired::Answers;
use super::random::Stream;
use super::solver::{Problem, log_sum};

/// Bytes that the products of all fits under way may take.
const AT_ONCE: usize = 2 << 30;

/// How a probe is cross-validated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeSettings {
    /// Penalty: half of it times the squared length of the weights is added to
    /// the mean loss. Two classes have one vector of weights between them, more
    /// have one each. Default .05 (scikit-learn's `C` = 1 / (l2 × images)).
    pub l2: f64,
    /// Folds. Default 5.
    pub folds: usize,
    /// Repeats, each with folds of its own. Default 5.
    pub repeats: usize,
    /// The seed of the folds.
    pub seed: u64,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            l2: 0.05,
            folds: 5,
            repeats: 5,
            seed: 0,
        }
    }
}

/// Scalar products of all pairs of standardised embeddings.
pub struct Gram {
    products: Vec<f64>,
    images: usize,
}

impl Gram {
    /// Standardises `embeddings` and multiplies all pairs.
    pub fn new(embeddings: &Embeddings) -> Self {
        let products = gram(&embeddings.centred(true), embeddings.dim());
        Self {
            products,
            images: embeddings.images(),
        }
    }

    /// The number of images.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Trains on the images `train` and gives the classes of the images `test`.
    pub fn fit_and_classify(&self, train: &[usize], test: &[usize], labels: &[usize], l2: f64) -> Vec<usize> {
        let scores = self.fit_and_score(train, test, labels, l2);
        scores.iter().map(|scores| best(scores)).collect()
    }

    /// Trains on the images `train` and gives, for each of the images `test`,
    /// the logarithm of the probability of each class, as if all classes were
    /// equally frequent; minus infinity for a class that `train` lacks.
    pub fn fit_and_score(&self, train: &[usize], test: &[usize], labels: &[usize], l2: f64) -> Vec<Vec<f64>> {
        let own: Vec<usize> = train.iter().map(|image| labels[*image]).collect();
        let present = by_class(&own);
        let classes = own.iter().max().map_or(0, |greatest| greatest + 1);
        let mut weights = vec![0.0; train.len()];
        for images in &present {
            let weight = 1.0 / (present.len() * images.len()) as f64;
            images.iter().for_each(|image| weights[*image] = weight);
        }
        let mut products = Vec::with_capacity(train.len() * train.len());
        for image in train {
            let row = &self.products[image * self.images..][..self.images];
            products.extend(train.iter().map(|other| row[*other]));
        }
        let fit = Problem {
            gram: &products,
            labels: &own,
            classes,
            weights: &weights,
            // Here two classes have half of their one vector each, at half its squared length.
            l2: if present.len() == 2 { 2.0 * l2 } else { l2 },
        }
        .solve();
        let score = |image: &usize| {
            let row = &self.products[image * self.images..][..self.images];
            let products: Vec<f64> = train.iter().map(|other| row[*other]).collect();
            let mut scores = vec![f64::NEG_INFINITY; classes];
            for images in &present {
                let class = own[images[0]];
                scores[class] = dot(&products, &fit.coefficients[class]) + fit.intercepts[class];
            }
            let total = log_sum(&scores);
            scores.iter_mut().for_each(|score| *score -= total);
            scores
        };
        test.iter().map(score).collect()
    }
}

/// The class of the greatest score; of equal ones the first.
fn best(scores: &[f64]) -> usize {
    let mut best = (f64::NEG_INFINITY, 0);
    for (class, score) in scores.iter().enumerate() {
        if *score > best.0 {
            best = (*score, class);
        }
    }
    best.1
}

/// What probes said of images that they had not seen.
pub struct OutOfFold {
    /// `runs[repeat][image][class]`: logarithms of probabilities, as [`Gram::fit_and_score`] gives them.
    pub runs: Vec<Vec<Vec<f64>>>,
}

impl OutOfFold {
    /// The likeliest class: `[repeat][image]`.
    pub fn answers(&self) -> Vec<Vec<usize>> {
        let answers = |run: &Vec<Vec<f64>>| run.iter().map(|scores| best(scores)).collect();
        self.runs.iter().map(answers).collect()
    }

    /// Whether that was right.
    pub fn right(&self, labels: &[usize]) -> Answers {
        let right = |run: Vec<usize>| {
            run.iter()
                .zip(labels)
                .map(|(answer, label)| Some(answer == label))
                .collect()
        };
        self.answers().into_iter().map(right).collect()
    }
}

/// Repeated stratified cross-validation: in each run (repeat) every image is
/// asked about once, by a probe that has not seen it. The folds depend on
/// labels and seed alone, so base and mask get the same.
pub fn cross_validate(
    gram: &Gram,
    labels: &[usize],
    settings: &ProbeSettings,
) -> Result<OutOfFold, EvaluateError> {
    if gram.images() != labels.len() {
        return Err(EvaluateError::Unpaired {
            left: gram.images(),
            right: labels.len(),
        });
    }
    let folds = settings.folds.max(2);
    let smallest = smallest_class(labels)?;
    if smallest < folds {
        return Err(EvaluateError::TooFew {
            found: smallest,
            needed: folds,
        });
    }
    let one = |fit: &usize| {
        let (repeat, fold) = (fit / folds, fit % folds);
        let at = stratified_folds(labels, folds, settings.seed, repeat as u64);
        let (test, train): (Vec<usize>, Vec<usize>) = (0..labels.len()).partition(|image| at[*image] == fold);
        let scores = gram.fit_and_score(&train, &test, labels, settings.l2);
        (test, scores)
    };
    let all: Vec<usize> = (0..settings.repeats.max(1) * folds).collect();
    let mut fits: Vec<(Vec<usize>, Vec<Vec<f64>>)> = Vec::with_capacity(all.len());
    for some in all.chunks(at_once(labels.len())) {
        fits.par_extend(some.par_iter().map(one));
    }
    let run = |fits: &[(Vec<usize>, Vec<Vec<f64>>)]| {
        let mut run = vec![Vec::new(); labels.len()];
        for (image, scores) in fits.iter().flat_map(|(test, scores)| test.iter().zip(scores)) {
            run[*image].clone_from(scores);
        }
        run
    };
    Ok(OutOfFold {
        runs: fits.chunks_exact(folds).map(run).collect(),
    })
}

/// Fits that may be under way at once, of so many images.
fn at_once(images: usize) -> usize {
    let products = images * images * size_of::<f64>();
    (AT_ONCE / products.max(1)).max(1)
}

/// Trains on all images of `train` and gives the classes of `test`;
/// standardised by `train` alone.
pub fn classify(
    train: &Embeddings,
    labels: &[usize],
    test: &Embeddings,
    l2: f64,
) -> Result<Vec<usize>, EvaluateError> {
    train.paired_with(labels.len())?;
    smallest_class(labels)?;
    if train.dim() != test.dim() {
        return Err(EvaluateError::Shape {
            values: test.dim(),
            dim: train.dim(),
        });
    }
    let mut both = train.centred(true);
    let moments = train.moments();
    for row in test.rows() {
        both.extend(row.iter().zip(&moments).map(|(value, (mean, deviation))| {
            if *deviation <= 1e-9 * mean.abs() {
                0.0
            } else {
                (f64::from(*value) - mean) / deviation
            }
        }));
    }
    let images = train.images() + test.images();
    let all = Gram {
        products: gram(&both, train.dim()),
        images,
    };
    let (train, test): (Vec<usize>, Vec<usize>) = (0..images).partition(|image| *image < labels.len());
    Ok(all.fit_and_classify(&train, &test, labels, l2))
}

/// Images of the smallest of at least two classes.
pub(super) fn smallest_class(labels: &[usize]) -> Result<usize, EvaluateError> {
    let classes = by_class(labels);
    if classes.len() < 2 {
        return Err(EvaluateError::OneClass);
    }
    Ok(classes.iter().map(Vec::len).min().unwrap_or(0))
}

/// The fold of each image: each class is spread as evenly as it can be.
fn stratified_folds(labels: &[usize], folds: usize, seed: u64, repeat: u64) -> Vec<usize> {
    let mut at = vec![0; labels.len()];
    let mut next = 0; // goes on from class to class, so that folds are of one size too
    for (class, mut images) in by_class(labels).into_iter().enumerate() {
        Stream::new(seed, &[0x66_6f6c_6473, repeat, class as u64]).shuffle(&mut images);
        for image in images {
            at[image] = next % folds;
            next += 1;
        }
    }
    at
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
