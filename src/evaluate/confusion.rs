//! What was taken for what, and balanced accuracy.

use serde::Serialize;

use super::EvaluateError;

/// Counts of answers: `counts[truth][answer]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Counts `answers` against `labels`.
    pub fn of(answers: &[usize], labels: &[usize]) -> Result<Self, EvaluateError> {
        if answers.len() != labels.len() {
            return Err(EvaluateError::Unpaired {
                left: answers.len(),
                right: labels.len(),
            });
        }
        let classes = answers
            .iter()
            .chain(labels)
            .max()
            .map_or(0, |greatest| greatest + 1);
        let mut counts = vec![vec![0; classes]; classes];
        answers
            .iter()
            .zip(labels)
            .for_each(|(answer, label)| counts[*label][*answer] += 1);
        Ok(Self { counts })
    }

    /// How many images of class `truth` were taken for class `answer`.
    pub fn count(&self, truth: usize, answer: usize) -> u64 {
        self.counts
            .get(truth)
            .and_then(|row| row.get(answer))
            .copied()
            .unwrap_or(0)
    }

    /// The mean over classes that occur of the share that is right; a class of
    /// ten images weighs as much as one of a thousand.
    pub fn balanced_accuracy(&self) -> f64 {
        let shares: Vec<f64> = (self.counts.iter().enumerate())
            .filter_map(|(class, row)| {
                let all: u64 = row.iter().sum();
                (all > 0).then(|| row[class] as f64 / all as f64)
            })
            .collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }
}

/// The images of each of `classes` classes, classes and images in order.
pub fn by_label(labels: &[usize], classes: usize) -> Vec<Vec<usize>> {
    let mut by_label = vec![Vec::new(); classes];
    labels
        .iter()
        .enumerate()
        .for_each(|(image, class)| by_label[*class].push(image));
    by_label
}

/// The images of each class that occurs, classes and images in order.
pub(super) fn by_class(labels: &[usize]) -> Vec<Vec<usize>> {
    let mut classes = vec![Vec::new(); labels.iter().max().map_or(0, |greatest| greatest + 1)];
    labels
        .iter()
        .enumerate()
        .for_each(|(image, class)| classes[*class].push(image));
    classes.retain(|images| !images.is_empty());
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_class_counts_as_much_as_a_common_one() {
        let labels = [0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        let confusion = Confusion::of(&[0; 10], &labels).unwrap();
        assert!((confusion.balanced_accuracy() - 0.5).abs() < 1e-12);
        assert_eq!(
            (
                confusion.count(2, 0),
                confusion.count(0, 0),
                confusion.count(9, 9)
            ),
            (1, 9, 0)
        );
    }

    #[test]
    fn answers_and_labels_must_pair_up() {
        assert!(Confusion::of(&[0], &[0, 1]).is_err());
    }
}
