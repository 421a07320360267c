//! A part of a labelled set that is too large to be judged whole: what a probe
//! takes of memory and time grows with the square of the pictures.

/// Most labelled pictures that a model is asked about.
pub const MOST: usize = 8_000;
/// What a class keeps, if it has so many and there is room for as many of each.
const FEWEST: usize = 50;

/// What is asked about of a labelled set.
#[derive(Debug, Default)]
pub struct Sample {
    /// The numbers of its pictures, in their order.
    pub judging: Vec<usize>,
    /// Pictures of each class in the whole set; empty where all are asked about.
    pub whole: Vec<usize>,
}

/// Which of the pictures with these labels to ask about: all, or of more than `most` about so many (at most twice
/// that, where many classes are rare), the classes as frequent as they are but for rare ones, which keep [`FEWEST`].
/// Evenly over their order, so the same ones each time.
pub fn sample(labels: &[usize], most: usize) -> Sample {
    if labels.len() <= most {
        return Sample {
            judging: (0..labels.len()).collect(),
            whole: Vec::new(),
        };
    }
    let classes = labels.iter().max().map_or(0, |last| last + 1);
    let (mut judging, mut whole) = (Vec::with_capacity(most), Vec::with_capacity(classes));
    for class in 0..classes {
        let of: Vec<usize> = (0..labels.len()).filter(|at| labels[*at] == class).collect();
        let share = (of.len() * most).div_ceil(labels.len());
        let kept = share.max(FEWEST.min(most / classes)).min(of.len());
        judging.extend((0..kept).map(|nth| of[nth * of.len() / kept]));
        whole.push(of.len());
    }
    judging.sort_unstable();
    Sample { judging, whole }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rare_class_is_not_thinned_out_of_sight() {
        let labels: Vec<usize> = (0..20_000).map(|at| usize::from(at % 200 == 0)).collect();
        let Sample {
            judging: chosen,
            whole,
        } = sample(&labels, 1_000);
        assert_eq!(whole, [19_900, 100]);
        let rare = chosen.iter().filter(|at| labels[**at] == 1).count();
        assert_eq!((rare, chosen.len()), (FEWEST, 995 + FEWEST));
    }

    proptest! {
        #[test]
        fn a_sample_has_each_class_and_no_picture_twice(
            labels in proptest::collection::vec(0..5_usize, 0..600),
            most in 1..400_usize,
        ) {
            let chosen = sample(&labels, most).judging;
            prop_assert!(chosen.is_sorted_by(|one, next| one < next));
            prop_assert!(chosen.len() <= 2 * most + 5);
            let classes = |of: &mut dyn Iterator<Item = usize>| of.collect::<BTreeSet<usize>>();
            prop_assert_eq!(
                classes(&mut chosen.iter().map(|at| labels[*at])),
                classes(&mut labels.iter().copied())
            );
        }
    }
}
