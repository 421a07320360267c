//! Labels that the other images contradict.
//!
//! Confident learning in its simplest form (Northcutt, Jiang, Chuang 2021,
//! "Confident learning: estimating uncertainty in dataset labels"): out of
//! sample, a label is doubted if another class is surely likelier. Where the
//! paper has a threshold for each class, votes here weigh as much as a class is
//! rare, and one threshold serves all. Two judges must agree, because a small
//! set makes either of them wrong by itself: nearest neighbours, leave-one-out,
//! for the likely class, and the linear probe, which has to miss the label in
//! every repeat of its cross-validation.

use super::embeddings::{Embeddings, EvaluateError};
use super::knn::neighbours;
use super::probe::{Gram, ProbeSettings, cross_validate};

/// How labels are doubted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelSettings {
    /// Neighbours that vote. Default 10.
    pub neighbours: usize,
    /// Least share of the weighted votes of the likely class. Default .75, which is eight of ten
    /// where classes are of one size. There, of labels that nobody can tell apart, about one in
    /// twenty looks that sure by chance.
    pub sure: f64,
    /// Least share of the neighbours themselves that have the likely class, however rare it is:
    /// of a class of one in forty a single neighbour weighs more than nine others. Default .3.
    pub least: f64,
    /// The probe.
    pub probe: ProbeSettings,
}

impl Default for LabelSettings {
    fn default() -> Self {
        Self {
            neighbours: 10,
            sure: 0.75,
            least: 0.3,
            probe: ProbeSettings {
                repeats: 3,
                ..ProbeSettings::default()
            },
        }
    }
}

/// A doubted label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Doubt {
    /// The image.
    pub image: usize,
    /// The class that the other images say it has.
    pub likely: usize,
    /// Share of the weighted votes for it.
    pub votes: f64,
}

/// The labels that are doubted, the surest doubts first. Classes that are too
/// small to be folded are an error, as everywhere.
pub fn label_errors(
    embeddings: &Embeddings,
    labels: &[usize],
    settings: &LabelSettings,
) -> Result<Vec<Doubt>, EvaluateError> {
    embeddings.paired_with(labels.len())?;
    let answers = cross_validate(&Gram::new(embeddings), labels, &settings.probe)?.right(labels);
    let missed = |image: usize| answers.iter().all(|run| run[image] == Some(false));
    let classes = labels.iter().max().map_or(0, |greatest| greatest + 1);
    let k = settings.neighbours.clamp(1, labels.len() - 1);
    let mut sizes = vec![0.0; classes];
    labels.iter().for_each(|label| sizes[*label] += 1.0);
    let least = settings.least * k as f64;
    // [images, classes]: neighbours of each class.
    let found: Vec<Vec<f64>> = neighbours(embeddings, k)
        .iter()
        .map(|found| {
            let mut votes = vec![0.0; classes];
            found.iter().for_each(|(_, other)| votes[labels[*other]] += 1.0);
            votes
        })
        .collect();
    let doubt = |image: usize| {
        let weighted: Vec<f64> = (found[image].iter().zip(&sizes))
            .map(|(votes, size)| if *votes > 0.0 { votes / size } else { 0.0 })
            .collect();
        let all: f64 = weighted.iter().sum();
        let votes: Vec<f64> = weighted.iter().map(|votes| votes / all).collect();
        let likely =
            (0..classes).find(|class| votes[*class] >= settings.sure && found[image][*class] >= least)?;
        (likely != labels[image] && missed(image)).then_some(Doubt {
            image,
            likely,
            votes: votes[likely],
        })
    };
    let mut doubts: Vec<Doubt> = (0..labels.len()).filter_map(doubt).collect();
    doubts.sort_by(|a, b| b.votes.total_cmp(&a.votes).then(a.image.cmp(&b.image)));
    Ok(doubts)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic;
    use super::*;

    fn doubted(values: &[f32], labels: &[usize]) -> Vec<Doubt> {
        label_errors(
            &Embeddings::new(values, 30).unwrap(),
            labels,
            &LabelSettings::default(),
        )
        .unwrap()
    }

    #[test]
    fn wrong_labels_are_found_with_the_right_class_and_right_ones_left_alone() {
        let (values, truth) = synthetic::gaussians(300, 30, 3, 4.0, 11);
        let mut labels = truth.clone();
        let wrong = [4, 50, 97, 151, 233];
        for image in wrong {
            labels[image] = (truth[image] + 1) % 3;
        }
        let found = doubted(&values, &labels);
        for image in wrong {
            let doubt = found.iter().find(|doubt| doubt.image == image);
            assert_eq!(
                doubt.map(|doubt| doubt.likely),
                Some(truth[image]),
                "{image}: {found:?}"
            );
        }
        assert!(found.len() <= wrong.len() + 3, "{found:?}");
        assert!(doubted(&values, &truth).len() <= 3);
    }

    #[test]
    fn what_cannot_be_told_apart_is_hardly_doubted() {
        let (values, labels) = synthetic::gaussians(300, 30, 2, 0.0, 3);
        let found = doubted(&values, &labels);
        assert!(found.len() < 20, "{} of 300", found.len());
    }

    #[test]
    fn a_rare_class_is_not_taken_for_an_error() {
        let (values, truth) = synthetic::gaussians(300, 30, 2, 2.5, 5);
        // Nine in ten of one class.
        let kept: Vec<usize> = (0..300)
            .filter(|image| truth[*image] == 0 || image % 20 == 1)
            .collect();
        let values: Vec<f32> = kept
            .iter()
            .flat_map(|image| values[image * 30..][..30].to_vec())
            .collect();
        let labels: Vec<usize> = kept.iter().map(|image| truth[*image]).collect();
        assert!(doubted(&values, &labels).len() <= 2);
    }

    #[test]
    fn one_neighbour_of_a_rare_class_makes_no_doubt() {
        let (values, _) = synthetic::gaussians(400, 30, 2, 0.0, 9);
        // Nobody can tell them apart, and one in forty is of the second class.
        let labels: Vec<usize> = (0..400).map(|image| usize::from(image % 40 == 7)).collect();
        let found = doubted(&values, &labels);
        assert!(
            found.iter().filter(|doubt| doubt.likely == 1).count() <= 2,
            "{found:?}"
        );
    }

    #[test]
    fn classes_too_small_to_be_folded_are_an_error() {
        let (values, _) = synthetic::gaussians(20, 30, 2, 2.5, 5);
        let mut labels = vec![0; 20];
        labels[3] = 1;
        let embeddings = Embeddings::new(&values, 30).unwrap();
        let refused = label_errors(&embeddings, &labels, &LabelSettings::default());
        assert!(matches!(refused, Err(EvaluateError::TooFew { .. })));
    }
}
