//! A part of a labelled set that is too large to be judged whole: what a probe
//! takes of memory and time grows with the square of the pictures.

/// Most labelled pictures that a model is asked about.
pub const MOST: usize = 8_000;
/// What a class keeps, if it has so many and there is room for as many of each.
const FEWEST: usize = 50;

/// Which of the pictures with these labels to ask about: all, or of more than `most` about so many (at most twice
/// that, where many classes are rare), the classes as frequent as they are but for rare ones, which keep [`FEWEST`].
/// Evenly over their order, so the same ones each time.
pub fn sample(labels: &[usize], most: usize) -> Vec<usize> {
    if labels.len() <= most {
        return (0..labels.len()).collect();
    }
    let classes = labels.iter().max().map_or(0, |last| last + 1);
    let mut chosen = Vec::with_capacity(most);
    for class in 0..classes {
        let of: Vec<usize> = (0..labels.len()).filter(|at| labels[*at] == class).collect();
        let share = (of.len() * most).div_ceil(labels.len());
        let kept = share.max(FEWEST.min(most / classes)).min(of.len());
        chosen.extend((0..kept).map(|nth| of[nth * of.len() / kept]));
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rare_class_is_not_thinned_out_of_sight() {
        let labels: Vec<usize> = (0..20_000).map(|at| usize::from(at % 200 == 0)).collect();
        let chosen = sample(&labels, 1_000);
        let rare = chosen.iter().filter(|at| labels[**at] == 1).count();
        assert_eq!((rare, chosen.len()), (FEWEST, 995 + FEWEST));
    }

    proptest! {
        #[test]
        fn a_sample_has_each_class_and_no_picture_twice(
            labels in proptest::collection::vec(0..5_usize, 0..600),
            most in 1..400_usize,
        ) {
            let chosen = sample(&labels, most);
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
