//! What the answers cost: for sites where a missed crack is dearer than a good
//! part thrown away.
//!
//! The probe's probabilities take all classes as equally frequent; here they
//! are weighed by the classes' shares of the labelled set, and the answer is
//! the one whose expected cost is least (Elkan, "The foundations of
//! cost-sensitive learning", 2001). The figure is the mean over the set as it
//! is, so the set should hold classes about as the line does. Of a sample, in
//! which rare classes are more frequent, each class weighs as in the whole.

use super::draws::{Drawn, Pair, Times, draw};
use super::paired::Resampling;
use super::probe::OutOfFold;

/// The mean cost of an image; less is better. `costs[truth][answer]`, square;
/// `whole[class]` counts the images of the set of which `labels` are a sample.
pub(super) fn cost(
    base: &OutOfFold,
    mask: &OutOfFold,
    labels: &[usize],
    costs: &[Vec<f64>],
    (classes, whole): (&[Vec<usize>], &[usize]),
    resampling: &Resampling,
) -> Drawn {
    let all: usize = whole.iter().sum();
    let shares: Vec<f64> = whole.iter().map(|images| *images as f64 / all as f64).collect();
    let (base, mask) = (
        paid(base, labels, costs, &shares),
        paid(mask, labels, costs, &shares),
    );
    // Images of the whole that one of the sample stands for.
    let stands_for: Vec<f64> = (classes.iter().zip(whole))
        .map(|(images, whole)| *whole as f64 / images.len().max(1) as f64)
        .collect();
    let mean = |paid: &[f64], times: &Times| {
        let (mut sum, mut images) = (0.0, 0.0);
        for ((paid, times), label) in paid.iter().zip(times).zip(labels) {
            let weight = f64::from(*times) * stands_for[*label];
            sum += weight * paid;
            images += weight;
        }
        sum / images
    };
    let [drawn] = draw(classes, resampling, true, |times| -> [Pair; 1] {
        [(mean(&base, times), mean(&mask, times))]
    });
    drawn
}

/// What each image costs, the mean over the repeats.
fn paid(of: &OutOfFold, labels: &[usize], costs: &[Vec<f64>], shares: &[f64]) -> Vec<f64> {
    let mut paid = vec![0.0; labels.len()];
    for run in &of.runs {
        for ((paid, scores), label) in paid.iter_mut().zip(run).zip(labels) {
            *paid += costs[*label][cheapest(scores, shares, costs)] / of.runs.len() as f64;
        }
    }
    paid
}

/// The answer of least expected cost; of equal ones the first.
fn cheapest(scores: &[f64], shares: &[f64], costs: &[Vec<f64>]) -> usize {
    let expected = |answer: usize| -> f64 {
        let of = scores.iter().zip(shares).zip(costs);
        of.map(|((score, share), costs)| score.exp() * share * costs[answer])
            .sum()
    };
    let mut least = (f64::INFINITY, 0);
    for answer in 0..costs.len() {
        let expected = expected(answer);
        if expected < least.0 {
            least = (expected, answer);
        }
    }
    least.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(probabilities: &[[f64; 2]]) -> OutOfFold {
        OutOfFold {
            runs: vec![
                probabilities
                    .iter()
                    .map(|of| of.iter().map(|p| p.ln()).collect())
                    .collect(),
            ],
        }
    }

    #[test]
    fn a_dear_miss_turns_a_doubtful_answer() {
        let even = vec![vec![0.0, 1.0], vec![1.0, 0.0]];
        let dear = vec![vec![0.0, 1.0], vec![20.0, 0.0]];
        let doubtful = [0.8_f64.ln(), 0.2_f64.ln()];
        assert_eq!(cheapest(&doubtful, &[0.5, 0.5], &even), 0);
        assert_eq!(cheapest(&doubtful, &[0.5, 0.5], &dear), 1);
        // Where the class is rare enough, the same doubt is worth nothing.
        assert_eq!(cheapest(&doubtful, &[0.99, 0.01], &dear), 0);
        assert_eq!(cheapest(&[f64::NEG_INFINITY, 0.0], &[0.5, 0.5], &even), 1);
    }

    #[test]
    fn a_known_matrix_gives_its_known_cost_and_less_is_better() {
        let labels = [0, 0, 1, 1];
        let costs = vec![vec![0.5, 1.0], vec![8.0, 0.0]];
        // Certain answers: right, right, missed, right.
        let base = scores(&[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]);
        let mask = scores(&[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]);
        let classes = [vec![0, 1], vec![2, 3]];
        let of = |whole| {
            cost(
                &base,
                &mask,
                &labels,
                &costs,
                (&classes, whole),
                &Resampling::default(),
            )
            .figure()
        };
        let figure = of(&[2, 2]);
        assert!((figure.base.value - (0.5 + 0.5 + 8.0) / 4.0).abs() < 1e-12);
        assert!((figure.mask.value - (0.5 + 1.0) / 4.0).abs() < 1e-12);
        assert!((figure.difference.value - 7.5 / 4.0).abs() < 1e-12);
        // Of a set in which nine of ten are good, these are a sample: its two good ones stand for nine each.
        let figure = of(&[18, 2]);
        assert!((figure.base.value - (9.0 * 1.0 + 8.0) / 20.0).abs() < 1e-12);
        assert!((figure.mask.value - (9.0 * 1.5 + 0.0) / 20.0).abs() < 1e-12);
        assert!(figure.difference.value > 0.0);
    }
}
