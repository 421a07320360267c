//! The difference between two models on the same images, with its interval.

use rayon::prelude::*;

/// Draws of the bootstrap: enough for two stable digits of a 95 % interval.
const DRAWS: u64 = 4_000;

/// A difference with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Difference {
    /// Balanced accuracy of the first model (the base).
    pub base: f64,
    /// Balanced accuracy of the second (the mask).
    pub mask: f64,
    /// The lower end of the interval of `mask - base`.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// Balanced accuracy: the mean over classes of the share that is right.
pub fn balanced_accuracy(right: &[bool], labels: &[usize]) -> f64 {
    let classes = by_class(labels);
    let share = |images: &Vec<usize>| {
        images.iter().filter(|image| right[**image]).count() as f64 / images.len() as f64
    };
    classes.iter().map(share).sum::<f64>() / classes.len().max(1) as f64
}

/// Compares two models image by image: a paired bootstrap (Efron 1979) that
/// draws images within each class and takes both models' answers of a drawn
/// image. Neighbours are not drawn anew, so the interval says how far another
/// choice of images to *ask about* would move the difference.
pub fn compare(base: &[bool], mask: &[bool], labels: &[usize], seed: u64) -> Difference {
    let classes = by_class(labels);
    let gain = |image: usize| f64::from(u8::from(mask[image])) - f64::from(u8::from(base[image]));
    let mut drawn: Vec<f64> = (0..DRAWS)
        .into_par_iter()
        .map(|draw| {
            let mut state = seed ^ draw.wrapping_mul(0xd134_2543_de82_ef95);
            let mut next = |bound: usize| {
                // SplitMix64: a stream for each draw, so that threads do not matter.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                ((u128::from(mixed ^ (mixed >> 31)) * bound as u128) >> 64) as usize
            };
            let mean = |images: &Vec<usize>, next: &mut dyn FnMut(usize) -> usize| {
                (0..images.len())
                    .map(|_| gain(images[next(images.len())]))
                    .sum::<f64>()
                    / images.len() as f64
            };
            classes.iter().map(|images| mean(images, &mut next)).sum::<f64>() / classes.len() as f64
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[((drawn.len() - 1) as f64 * share).round() as usize];
    Difference {
        base: balanced_accuracy(base, labels),
        mask: balanced_accuracy(mask, labels),
        lower: at(0.025),
        upper: at(0.975),
    }
}

/// The images of each class that has any.
fn by_class(labels: &[usize]) -> Vec<Vec<usize>> {
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
    fn balanced_accuracy_counts_a_rare_class_as_much_as_a_common_one() {
        let labels = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let right = [true, true, true, true, true, true, true, true, true, false];
        assert!((balanced_accuracy(&right, &labels) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_same_answers_differ_by_exactly_nothing() {
        let labels: Vec<usize> = (0..100).map(|n| n % 2).collect();
        let right: Vec<bool> = (0..100).map(|n| n % 3 > 0).collect();
        let same = compare(&right, &right, &labels, 1);
        assert_eq!((same.lower, same.upper), (0.0, 0.0));
    }

    #[test]
    fn a_clear_gain_lies_above_zero_and_swapping_the_models_mirrors_it() {
        let labels: Vec<usize> = (0..400).map(|n| n % 2).collect();
        let worse: Vec<bool> = (0..400).map(|n| n % 4 > 0).collect();
        let better: Vec<bool> = (0..400).map(|n| n % 8 > 0).collect();
        let gain = compare(&worse, &better, &labels, 1);
        assert!(gain.lower > 0.0, "{gain:?}");
        let loss = compare(&better, &worse, &labels, 1);
        assert!((gain.lower + loss.upper).abs() < 0.01);
    }

    /// Two models that are right as often, on other images: the interval misses 0 in about 5 % of trials.
    #[test]
    fn the_interval_covers_nothing_where_there_is_nothing() {
        let labels: Vec<usize> = (0..200).map(|n| n % 2).collect();
        let answers = |trial: u64, model: u64| -> Vec<bool> {
            let bits =
                |n: u64| (trial * 1_000_003 + model * 7_919 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            (0..200).map(|n| bits(n * 31) % 10 < 7).collect()
        };
        let missed = (0..100).filter(|trial| {
            let nothing = compare(&answers(*trial, 1), &answers(*trial, 2), &labels, *trial);
            nothing.lower > 0.0 || nothing.upper < 0.0
        });
        let missed = missed.count();
        assert!(missed <= 15, "{missed} of 100");
    }
}
