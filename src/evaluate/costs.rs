//! What the answers cost: for sites where a missed crack is dearer than a good
//! part thrown away.
//!
//! The probe's probabilities take all classes as equally frequent; here they
//! are weighed by the classes' shares of the labelled images, and the answer
//! is the one whose expected cost is least (Elkan, "The foundations of
//! cost-sensitive learning", 2001). The figure is the mean over the images as
//! they are, so the set should hold classes about as the line does.

use super::draws::{Drawn, Pair, Times, draw};
use super::paired::Resampling;
use super::probe::OutOfFold;

/// The mean cost of an image; less is better. `costs[truth][answer]`, square.
pub(super) fn cost(
    base: &OutOfFold,
    mask: &OutOfFold,
    labels: &[usize],
    costs: &[Vec<f64>],
    classes: &[Vec<usize>],
    resampling: &Resampling,
) -> Drawn {
    let (base, mask) = (paid(base, labels, costs), paid(mask, labels, costs));
    let mean = |paid: &[f64], times: &Times| {
        let (mut sum, mut images) = (0.0, 0.0);
        for (paid, times) in paid.iter().zip(times) {
            sum += f64::from(*times) * paid;
            images += f64::from(*times);
        }
        sum / images
    };
    let [drawn] = draw(classes, resampling, true, |times| -> [Pair; 1] {
        [(mean(&base, times), mean(&mask, times))]
    });
    drawn
}

/// What each image costs, the mean over the repeats.
fn paid(of: &OutOfFold, labels: &[usize], costs: &[Vec<f64>]) -> Vec<f64> {
    let mut shares = vec![0.0; costs.len()];
    labels
        .iter()
        .for_each(|label| shares[*label] += 1.0 / labels.len() as f64);
    let mut paid = vec![0.0; labels.len()];
    for run in &of.runs {
        for ((paid, scores), label) in paid.iter_mut().zip(run).zip(labels) {
            *paid += costs[*label][cheapest(scores, &shares, costs)] / of.runs.len() as f64;
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
        let figure = cost(&base, &mask, &labels, &costs, &classes, &Resampling::default()).figure();
        assert!((figure.base.value - (0.5 + 0.5 + 8.0) / 4.0).abs() < 1e-12);
        assert!((figure.mask.value - (0.5 + 1.0) / 4.0).abs() < 1e-12);
        assert!((figure.difference.value - 7.5 / 4.0).abs() < 1e-12);
    }
}
