//! The paired bootstrap's draws, for any figure: images are drawn within each
//! class, and every figure of both models is computed on the same draw.
//!
//! With the same seed these are the draws of [`super::paired::compare`], so a
//! recall, a slice and the mean differ by what they measure and not by chance.

use rayon::prelude::*;

use super::paired::Resampling;
use super::random::Stream;
use crate::domain::report::{Estimate, Figure};

/// Fewest draws in the thinner tail of an interval, on both sides together.
const DRAWS_OUTSIDE: f64 = 20.0;
/// Most draws of one figure: an interval that asks for more spans all of them.
const MOST_DRAWS: u64 = 20_000;

/// What sums of shares may differ by where they are the same.
const ROUNDING: f64 = 1e-12;

/// Draws that an interval at `confidence` needs, at least `usual` of them.
pub(super) fn needed(confidence: f64, usual: u64) -> u64 {
    let needed = (DRAWS_OUTSIDE / (1.0 - confidence).max(f64::EPSILON)).ceil() as u64;
    needed.min(MOST_DRAWS).max(usual)
}

/// A figure of base and mask on one draw; NaN where the draw does not say.
pub(super) type Pair = (f64, f64);

/// A figure of both models on all images and on every draw.
pub(super) struct Drawn {
    /// On all images.
    pub(super) at: Pair,
    /// On each draw.
    pub(super) draws: Vec<Pair>,
    /// Whether less is better, as of costs.
    pub(super) less_is_better: bool,
}

impl Drawn {
    fn gain(&self, (base, mask): Pair) -> f64 {
        let gain = if self.less_is_better {
            base - mask
        } else {
            mask - base
        };
        // Sums of the same quotients in another order: an interval that ends at 0 must not look above it.
        if gain.abs() < ROUNDING { 0.0 } else { gain }
    }

    fn estimate(&self, confidence: f64, of: impl Fn(Pair) -> f64) -> Estimate {
        let value = of(self.at);
        let mut sorted: Vec<f64> = (self.draws.iter().map(|pair| of(*pair)))
            .filter(|value| !value.is_nan())
            .collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (sorted.len().max(1) - 1) as f64 * share;
            sorted.get(place.round() as usize).copied().unwrap_or(value)
        };
        let outside = (1.0 - confidence) / 2.0;
        Estimate {
            value,
            lower: at(outside),
            upper: at(1.0 - outside),
        }
    }

    /// Base, mask and difference with 95 % intervals.
    pub(super) fn figure(&self) -> Figure {
        Figure {
            base: self.estimate(0.95, |(base, _)| base),
            mask: self.estimate(0.95, |(_, mask)| mask),
            difference: self.difference(0.95),
        }
    }

    /// The difference, above zero where the mask is better, with its interval at `confidence`.
    pub(super) fn difference(&self, confidence: f64) -> Estimate {
        self.estimate(confidence, |pair| self.gain(pair))
    }
}

/// How often each image is drawn: `times[image]`, all 1 for the images as they are.
pub(super) type Times = [u32];

/// Computes `figures` on all images and on each draw of them. `classes` holds
/// the images of each class. Both ends of the answer: figures as `figures` orders them.
pub(super) fn draw<const N: usize>(
    classes: &[Vec<usize>],
    resampling: &Resampling,
    less_is_better: bool,
    figures: impl Fn(&Times) -> [Pair; N] + Sync,
) -> [Drawn; N] {
    let drawn = draw_many(classes, resampling, |times| figures(times).to_vec());
    let mut drawn = drawn.into_iter();
    std::array::from_fn(|_| {
        let drawn = drawn.next().expect("as many figures as on all images");
        Drawn {
            less_is_better,
            ..drawn
        }
    })
}

/// As [`draw`], of as many figures as there happen to be.
pub(super) fn draw_many(
    classes: &[Vec<usize>],
    resampling: &Resampling,
    figures: impl Fn(&Times) -> Vec<Pair> + Sync,
) -> Vec<Drawn> {
    let images = classes.iter().flatten().max().map_or(0, |last| last + 1);
    let all = figures(&vec![1; images]);
    let draws: Vec<Vec<Pair>> = (0..resampling.resamples.max(1))
        .into_par_iter()
        .map(|resample| {
            let mut stream = Stream::of_resample(resampling.seed, resample);
            let mut times = vec![0; images];
            for of_class in classes {
                (0..of_class.len()).for_each(|_| times[of_class[stream.below(of_class.len())]] += 1);
            }
            figures(&times)
        })
        .collect();
    let of = |(figure, at): (usize, Pair)| Drawn {
        at,
        draws: draws.iter().map(|draw| draw[figure]).collect(),
        less_is_better: false,
    };
    all.into_iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::paired::{Answers, compare};
    use super::*;

    #[test]
    fn the_draws_are_those_of_the_mean() {
        let labels: Vec<usize> = (0..120).map(|image| image % 3).collect();
        let mut stream = Stream::new(3, &[]);
        let mut right = |share| (0..120).map(|_| stream.below(10) < share).collect::<Vec<bool>>();
        let (base, mask) = (right(6), right(8));
        let classes: Vec<Vec<usize>> = (0..3).map(|class| (class..120).step_by(3).collect()).collect();
        let resampling = Resampling::default();
        let [drawn] = draw(&classes, &resampling, false, |times| {
            let balanced = |right: &[bool]| {
                let recall = |class: &Vec<usize>| {
                    let of = |image: &usize| f64::from(times[*image]) * f64::from(u8::from(right[*image]));
                    class.iter().map(of).sum::<f64>() / 40.0
                };
                classes.iter().map(recall).sum::<f64>() / 3.0
            };
            [(balanced(&base), balanced(&mask))]
        });
        let answers = |right: &[bool]| -> Answers { vec![right.iter().copied().map(Some).collect()] };
        let paired = compare(&answers(&base), &answers(&mask), &labels, &resampling).unwrap();
        let figure = drawn.figure();
        for (one, other) in [
            (figure.base, paired.base),
            (figure.mask, paired.mask),
            (figure.difference, paired.difference),
        ] {
            for (one, other) in [
                (one.value, other.value),
                (one.lower, other.lower),
                (one.upper, other.upper),
            ] {
                assert!((one - other).abs() < 1e-9, "{one} {other}");
            }
        }
    }

    #[test]
    fn more_confidence_is_wider_and_asks_for_more_draws() {
        assert_eq!(needed(0.95, 2_000), 2_000);
        assert_eq!(needed(0.999, 2_000), 20_000);
        assert_eq!(needed(1.0, 2_000), MOST_DRAWS);
        let drawn = Drawn {
            at: (0.0, 0.5),
            draws: (0..2_001).map(|draw| (0.0, f64::from(draw) / 2_000.0)).collect(),
            less_is_better: false,
        };
        let (usual, wide) = (drawn.difference(0.95), drawn.difference(0.995));
        assert!((usual.lower - 0.025).abs() < 1e-9 && (usual.upper - 0.975).abs() < 1e-9);
        assert!((wide.lower - 0.0025).abs() < 1e-9 && (wide.upper - 0.9975).abs() < 1e-9);
    }

    #[test]
    fn a_tie_that_rounding_parts_is_no_gain() {
        let (base, mask) = (0.1 + 0.2, 0.3);
        assert_ne!(mask - base, 0.0);
        let drawn = Drawn {
            at: (base, mask),
            draws: vec![(base, mask), (mask, base)],
            less_is_better: false,
        };
        assert_eq!(drawn.difference(0.95), Estimate::exact(0.0));
    }

    #[test]
    fn less_is_better_turns_the_difference_and_nothing_else() {
        let drawn = Drawn {
            at: (3.0, 2.0),
            draws: vec![(3.0, 2.0)],
            less_is_better: true,
        };
        let figure = drawn.figure();
        assert_eq!((figure.base.value, figure.mask.value), (3.0, 2.0));
        assert_eq!(figure.difference, Estimate::exact(1.0));
    }
}
