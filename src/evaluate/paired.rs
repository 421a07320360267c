//! Two models on the same images: the difference and its interval.
//!
//! Both models answer the same questions: the same images, folds and draws. A
//! paired bootstrap (Efron 1979, percentile interval) draws images within each
//! class and takes along *all* answers to a drawn image, of both models and all
//! repeats: an image is one cluster, however often it was asked about. Where
//! the training images are themselves a draw (few-shot), runs are drawn too
//! (the pigeonhole bootstrap: Owen 2007), which is rather too wide than too narrow.
//!
//! The trap: models are not trained anew in a resample. The interval says how
//! far other images to *ask about* would move the difference, not other images
//! to learn from.

use rayon::prelude::*;

use super::confusion::by_class;
use super::draws::Drawn;
use super::embeddings::EvaluateError;
use super::random::Stream;
use crate::domain::report::Figure;

/// How intervals are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resampling {
    /// Resamples. Default 2000: enough for two stable digits.
    pub resamples: u64,
    /// Whether runs are drawn as well as images.
    pub runs_too: bool,
    /// The seed.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self {
            resamples: 2_000,
            runs_too: false,
            seed: 0,
        }
    }
}

/// `answers[run][image]`: whether the model was right, `None` where it was not asked.
pub type Answers = Vec<Vec<Option<bool>>>;

/// The answers of one run that asked about every image.
pub fn one_run(answers: &[usize], labels: &[usize]) -> Answers {
    vec![
        answers
            .iter()
            .zip(labels)
            .map(|(answer, label)| Some(answer == label))
            .collect(),
    ]
}

/// Balanced accuracy of base and mask and their paired difference. Both must
/// have been asked the same questions.
pub fn compare(
    base: &Answers,
    mask: &Answers,
    labels: &[usize],
    resampling: &Resampling,
) -> Result<Figure, EvaluateError> {
    Ok(drawn(base, mask, labels, resampling)?.figure())
}

/// As [`compare`], with every draw: for intervals at another confidence.
pub(super) fn drawn(
    base: &Answers,
    mask: &Answers,
    labels: &[usize],
    resampling: &Resampling,
) -> Result<Drawn, EvaluateError> {
    let questions = Questions::new(base, mask, labels)?;
    let once = vec![1; base.len()];
    let sums = questions.sums(&once);
    let every = |_: usize, images: &[usize], add: &mut dyn FnMut(usize)| images.iter().for_each(|i| add(*i));
    let at = questions.balanced(&sums, every);
    let draws = (0..resampling.resamples.max(1))
        .into_par_iter()
        .map(|resample| {
            let mut stream = Stream::of_resample(resampling.seed, resample);
            let redrawn = resampling.runs_too.then(|| {
                let mut times = vec![0; base.len()];
                (0..base.len()).for_each(|_| times[stream.below(base.len())] += 1);
                questions.sums(&times)
            });
            questions.balanced(redrawn.as_ref().unwrap_or(&sums), |_, images, add| {
                (0..images.len()).for_each(|_| add(images[stream.below(images.len())]));
            })
        })
        .collect();
    Ok(Drawn {
        at,
        draws,
        less_is_better: false,
    })
}

/// Right answers of base and mask about one image, and how often it was asked about.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    base: f64,
    mask: f64,
    asked: f64,
}

/// Answers of both models, known to pair up.
struct Questions<'a> {
    base: &'a Answers,
    mask: &'a Answers,
    /// Images that were asked about, by class.
    classes: Vec<Vec<usize>>,
    images: usize,
}

impl<'a> Questions<'a> {
    fn new(base: &'a Answers, mask: &'a Answers, labels: &[usize]) -> Result<Self, EvaluateError> {
        let unpaired = |left, right| EvaluateError::Unpaired { left, right };
        if base.len() != mask.len() {
            return Err(unpaired(base.len(), mask.len()));
        }
        let asked = |run: &[Option<bool>]| run.iter().filter(|answer| answer.is_some()).count();
        for (base, mask) in base.iter().zip(mask) {
            if base.len() != labels.len() || mask.len() != labels.len() {
                return Err(unpaired(base.len().min(mask.len()), labels.len()));
            }
            if base
                .iter()
                .zip(mask)
                .any(|(base, mask)| base.is_some() != mask.is_some())
            {
                return Err(unpaired(asked(base), asked(mask)));
            }
        }
        let mut classes = by_class(labels);
        for images in &mut classes {
            images.retain(|image| base.iter().any(|run| run[*image].is_some()));
        }
        classes.retain(|images| !images.is_empty());
        if classes.is_empty() {
            return Err(EvaluateError::TooFew { found: 0, needed: 1 });
        }
        Ok(Self {
            base,
            mask,
            classes,
            images: labels.len(),
        })
    }

    /// Sums over runs, each counted `times[run]` times.
    fn sums(&self, times: &[u32]) -> Vec<Sum> {
        let mut sums = vec![Sum::default(); self.images];
        for ((base, mask), times) in self.base.iter().zip(self.mask).zip(times) {
            let times = f64::from(*times);
            for ((sum, base), mask) in sums.iter_mut().zip(base).zip(mask) {
                if let (Some(base), Some(mask)) = (base, mask) {
                    sum.base += times * f64::from(u8::from(*base));
                    sum.mask += times * f64::from(u8::from(*mask));
                    sum.asked += times;
                }
            }
        }
        sums
    }

    /// Balanced accuracies over the images that `pick` adds for each class.
    fn balanced(
        &self,
        sums: &[Sum],
        mut pick: impl FnMut(usize, &[usize], &mut dyn FnMut(usize)),
    ) -> (f64, f64) {
        let (mut base, mut mask, mut seen) = (0.0, 0.0, 0.0);
        for (class, images) in self.classes.iter().enumerate() {
            let mut total = Sum::default();
            pick(class, images, &mut |image| {
                total.base += sums[image].base;
                total.mask += sums[image].mask;
                total.asked += sums[image].asked;
            });
            // A class may go unasked when the drawn runs all trained on it.
            if total.asked > 0.0 {
                base += total.base / total.asked;
                mask += total.mask / total.asked;
                seen += 1.0;
            }
        }
        (base / f64::max(seen, 1.0), mask / f64::max(seen, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::report::Estimate;

    fn labels(images: usize) -> Vec<usize> {
        (0..images).map(|n| n % 2).collect()
    }

    fn right(images: usize, runs: u64, share: usize, seed: u64) -> Answers {
        let run = |run| {
            let mut stream = Stream::new(seed, &[run]);
            (0..images).map(|_| Some(stream.below(100) < share)).collect()
        };
        (0..runs).map(run).collect()
    }

    #[test]
    fn the_same_answers_differ_by_exactly_nothing() {
        let same = right(100, 3, 70, 1);
        for runs_too in [false, true] {
            let resampling = Resampling {
                runs_too,
                ..Resampling::default()
            };
            let figure = compare(&same, &same, &labels(100), &resampling).unwrap();
            assert_eq!(figure.difference, Estimate::exact(0.0));
        }
    }

    #[test]
    fn a_clear_gain_lies_above_zero_and_swapping_the_models_mirrors_it() {
        let (worse, better) = (right(400, 1, 75, 1), right(400, 1, 90, 2));
        let gain = compare(&worse, &better, &labels(400), &Resampling::default()).unwrap();
        let loss = compare(&better, &worse, &labels(400), &Resampling::default()).unwrap();
        assert!(gain.difference.lower > 0.0, "{gain:?}");
        assert!((gain.difference.lower + loss.difference.upper).abs() < 0.01);
        assert!((gain.difference.value + loss.difference.value).abs() < 1e-12);
    }

    #[test]
    fn repeats_of_the_same_answers_do_not_narrow_the_interval() {
        let (base, mask) = (right(100, 1, 70, 1), right(100, 1, 75, 2));
        let once = compare(&base, &mask, &labels(100), &Resampling::default()).unwrap();
        let often = |answers: &Answers| vec![answers[0].clone(); 20];
        let many = compare(&often(&base), &often(&mask), &labels(100), &Resampling::default()).unwrap();
        assert!((once.difference.lower - many.difference.lower).abs() < 1e-9);
    }

    #[test]
    fn other_questions_cannot_be_compared() {
        let (mut base, mask) = (right(10, 1, 70, 1), right(10, 1, 70, 2));
        base[0][3] = None;
        assert!(compare(&base, &mask, &labels(10), &Resampling::default()).is_err());
        assert!(compare(&mask, &mask, &labels(9), &Resampling::default()).is_err());
    }

    /// Two models that are right as often, on other images: 95 % of intervals hold 0.
    #[test]
    fn the_interval_covers_nothing_where_there_is_nothing() {
        let missed = (0..400).filter(|trial| {
            let (base, mask) = (right(200, 1, 70, 2 * trial), right(200, 1, 70, 2 * trial + 1));
            let resampling = Resampling {
                resamples: 500,
                seed: *trial,
                ..Resampling::default()
            };
            let difference = compare(&base, &mask, &labels(200), &resampling)
                .unwrap()
                .difference;
            difference.lower > 0.0 || difference.upper < 0.0
        });
        let missed = missed.count();
        assert!((8..=36).contains(&missed), "{missed} of 400");
    }
}
