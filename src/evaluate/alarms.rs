//! How many defects are found at a rate of false alarms that a line bears.
//!
//! One class is normal, all others are defects. An image's score is the
//! probe's log-odds that it is not normal, out of fold; the threshold is the
//! lowest that at most `rate` of the normal images exceed. Both are taken anew
//! from each draw of the bootstrap: a threshold is an estimate, too.

use super::draws::{Drawn, Pair, Times, draw};
use super::paired::Resampling;
use super::probe::OutOfFold;
use super::solver::log_sum;

/// Recall of all images that are not of class `normal`, at a threshold that at
/// most a share of `rate` of the normal ones exceed; the mean over the repeats.
pub(super) fn recall(
    base: &OutOfFold,
    mask: &OutOfFold,
    labels: &[usize],
    (normal, rate): (usize, f64),
    classes: &[Vec<usize>],
    resampling: &Resampling,
) -> Drawn {
    let runs = |of: &OutOfFold| of.runs.iter().map(|run| Run::new(run, labels, normal)).collect();
    let (base, mask): (Vec<Run>, Vec<Run>) = (runs(base), runs(mask));
    let mean = |runs: &[Run], times: &Times| {
        runs.iter().map(|run| run.recall(times, rate)).sum::<f64>() / runs.len().max(1) as f64
    };
    let [drawn] = draw(classes, resampling, false, |times| -> [Pair; 1] {
        [(mean(&base, times), mean(&mask, times))]
    });
    drawn
}

/// Scores of one repeat with their images, the most suspicious first.
struct Run {
    normal: Vec<(f64, usize)>,
    defects: Vec<(f64, usize)>,
}

impl Run {
    fn new(scores: &[Vec<f64>], labels: &[usize], normal: usize) -> Self {
        let suspicion = |scores: &Vec<f64>| {
            let mut others = scores.clone();
            let own = others.get(normal).copied().unwrap_or(f64::NEG_INFINITY);
            if let Some(own) = others.get_mut(normal) {
                *own = f64::NEG_INFINITY;
            }
            log_sum(&others) - own
        };
        let mut sorted: Vec<(f64, usize)> = scores.iter().map(suspicion).zip(0..).collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (normal, defects) = sorted
            .into_iter()
            .partition(|(_, image)| labels[*image] == normal);
        Self { normal, defects }
    }

    /// NaN without a defect.
    fn recall(&self, times: &Times, rate: f64) -> f64 {
        let all = |of: &[(f64, usize)]| of.iter().map(|(_, image)| u64::from(times[*image])).sum::<u64>();
        // More by a rounding error, so that .05 of 20 is one.
        let allowed = (all(&self.normal) as f64 * rate + 1e-9).floor() as u64;
        let mut above = 0;
        let threshold = self.normal.iter().find(|(_, image)| {
            above += u64::from(times[*image]);
            above > allowed
        });
        let threshold = threshold.map_or(f64::NEG_INFINITY, |(score, _)| *score);
        let found = self.defects.partition_point(|(score, _)| *score > threshold);
        all(&self.defects[..found]) as f64 / all(&self.defects) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Out-of-fold scores whose suspicion of each image is given.
    fn suspicions(of: &[f64]) -> Vec<Vec<f64>> {
        let of_image = |suspicion: &f64| {
            let total = log_sum(&[0.0, *suspicion]);
            vec![-total, suspicion - total]
        };
        of.iter().map(of_image).collect()
    }

    /// 20 normal images with suspicions 0 to 19, then defects.
    fn run(defects: &[f64]) -> (Run, Vec<u32>) {
        let scores: Vec<f64> = (0..20).map(f64::from).chain(defects.iter().copied()).collect();
        let labels: Vec<usize> = (0..scores.len()).map(|image| usize::from(image >= 20)).collect();
        (Run::new(&suspicions(&scores), &labels, 0), vec![1; labels.len()])
    }

    #[test]
    fn a_constructed_curve_gives_its_known_recalls() {
        let (run, times) = run(&[25.0, 18.5, 17.5, 10.5, -3.0]);
        for (rate, recall) in [
            (0.01, 0.2), // no alarm allowed: above 19
            (0.05, 0.4), // one of twenty: above 18
            (0.1, 0.6),
            (0.45, 0.8),
            (0.5, 0.8),
        ] {
            assert!((run.recall(&times, rate) - recall).abs() < 1e-12, "{rate}");
        }
    }

    #[test]
    fn what_is_as_suspicious_as_the_threshold_is_not_found() {
        let (run, mut times) = run(&[19.0, 18.0]);
        assert_eq!(run.recall(&times, 0.05).to_bits(), 0.5_f64.to_bits());
        // The most suspicious normal image twice in a draw of 20: one alarm is not enough for it.
        times[19] = 2;
        times[0] = 0;
        assert_eq!(run.recall(&times, 0.05).to_bits(), 0.0_f64.to_bits());
        times[20] = 0;
        times[21] = 0;
        assert!(run.recall(&times, 0.05).is_nan());
    }

    #[test]
    fn a_mask_that_finds_more_at_the_same_rate_is_better() {
        let labels: Vec<usize> = (0..60).map(|image| usize::from(image >= 40)).collect();
        let scores = |shift: f64| OutOfFold {
            runs: vec![suspicions(
                &(0..60)
                    .map(|image| {
                        if image < 40 {
                            f64::from(image)
                        } else {
                            f64::from(image) - shift
                        }
                    })
                    .collect::<Vec<_>>(),
            )],
        };
        let classes = [(0..40).collect(), (40..60).collect()];
        let drawn = recall(
            &scores(15.0),
            &scores(0.0),
            &labels,
            (0, 0.05),
            &classes,
            &Resampling::default(),
        );
        let figure = drawn.figure();
        assert!((figure.base.value - 0.35).abs() < 1e-12, "{figure:?}");
        assert!((figure.mask.value - 1.0).abs() < 1e-12);
        assert!(figure.difference.lower > 0.0);
    }
}
