//! Masks as sets of dropped weights: how much they agree, and what several have in common.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Bits, Mask};
use crate::base::Architecture;

/// How two masks over the same base agree in one tensor, or in all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// Weights that either masks.
    pub weights: usize,
    /// Weights that the first drops.
    pub first: usize,
    /// Weights that the second drops.
    pub second: usize,
    /// Weights that both drop.
    pub both: usize,
}

impl Agreement {
    /// The Jaccard index: the share of the weights dropped by either that both drop; 1 if none drops any.
    pub fn jaccard(&self) -> f64 {
        match self.first + self.second - self.both {
            0 => 1.0,
            either => self.both as f64 / either as f64,
        }
    }

    /// How many weights both would drop by chance, were each mask's drops spread evenly.
    pub fn expected(&self) -> f64 {
        match self.weights {
            0 => 0.0,
            weights => self.first as f64 * self.second as f64 / weights as f64,
        }
    }

    /// How many times more weights both drop than by chance; none if chance gives none.
    pub fn against_chance(&self) -> Option<f64> {
        let expected = self.expected();
        (expected > 0.0).then(|| self.both as f64 / expected)
    }
}

/// How `first` and `second` agree in each tensor that either masks, by canonical index.
pub fn agreement(first: &Mask, second: &Mask) -> BTreeMap<usize, Agreement> {
    let indices = first.tensors.keys().chain(second.tensors.keys());
    let of = |index: usize| {
        let (first, second) = (first.tensors.get(&index), second.tensors.get(&index));
        let dropped = |bits: Option<&Bits>| bits.map_or(0, Bits::count_zeros);
        Agreement {
            weights: first.or(second).map_or(0, Bits::len),
            first: dropped(first),
            second: dropped(second),
            both: match (first, second) {
                (Some(first), Some(second)) => first.zeros().filter(|at| !second.get(*at)).count(),
                _ => 0,
            },
        }
    };
    indices.map(|index| (*index, of(*index))).collect()
}

/// How many outputs (filters of a convolution, rows of a matrix) the mask drops whole. Single dropped weights
/// make what is stored smaller and no inference quicker; a network without these outputs could be built smaller.
pub fn whole_outputs(mask: &Mask, architecture: &Architecture) -> usize {
    let of = |(index, bits): (&usize, &Bits)| {
        let spec = &architecture.tensors[*index];
        let length = bits.len() / spec.rows().max(1);
        let mut dropped = vec![0; spec.rows()];
        bits.zeros().for_each(|at| dropped[at / length] += 1);
        dropped.into_iter().filter(|dropped| *dropped == length).count()
    };
    mask.tensors
        .iter()
        .filter(|(_, bits)| !bits.is_empty())
        .map(of)
        .sum()
}

/// The sum over tensors; chance is that of drops spread over all of them.
pub fn total(agreements: impl IntoIterator<Item = Agreement>) -> Agreement {
    let none = Agreement {
        weights: 0,
        first: 0,
        second: 0,
        both: 0,
    };
    agreements.into_iter().fold(none, |sum, one| Agreement {
        weights: sum.weights + one.weights,
        first: sum.first + one.first,
        second: sum.second + one.second,
        both: sum.both + one.both,
    })
}

/// The mask that drops what at least `votes` of `masks` drop: 1 for the union
/// of their drops, all of them for the intersection, more than half for the
/// majority. Statistics are those of no mask: averages of them are none that any training saw.
pub fn merge(masks: &[&Mask], votes: usize) -> Mask {
    let mut tally: BTreeMap<usize, (usize, BTreeMap<usize, usize>)> = BTreeMap::new();
    for (index, bits) in masks.iter().flat_map(|mask| &mask.tensors) {
        let (len, dropped) = tally.entry(*index).or_default();
        *len = bits.len();
        for at in bits.zeros() {
            *dropped.entry(at).or_default() += 1;
        }
    }
    let tensors = tally.into_iter().map(|(index, (len, dropped))| {
        let mut bits = Bits::ones(len);
        let fallen = dropped.into_iter().filter(|(_, count)| *count >= votes.max(1));
        fallen.for_each(|(at, _)| bits.set(at, false));
        (index, bits)
    });
    Mask {
        tensors: tensors.collect(),
        norms: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(bits: &[bool]) -> Mask {
        let bits = Bits::from_bools(bits.iter().map(|dropped| !dropped));
        Mask {
            tensors: [(0, bits)].into(),
            norms: BTreeMap::new(),
        }
    }

    proptest! {
        #[test]
        fn merging_is_counting_votes(votes in 1_usize..4, bits in proptest::collection::vec(any::<[bool; 3]>(), 1..200)) {
            let masks = [0, 1, 2].map(|who| mask(&bits.iter().map(|bits| bits[who]).collect::<Vec<_>>()));
            let merged = merge(&masks.iter().collect::<Vec<_>>(), votes);
            for (at, bits) in bits.iter().enumerate() {
                let dropping = bits.iter().filter(|dropped| **dropped).count();
                prop_assert_eq!(merged.tensors[&0].get(at), dropping < votes);
            }
        }

        #[test]
        fn agreement_is_that_of_union_and_intersection(bits in proptest::collection::vec(any::<[bool; 2]>(), 1..200)) {
            let [first, second] = [0, 1].map(|who| mask(&bits.iter().map(|bits| bits[who]).collect::<Vec<_>>()));
            let agreement = total(agreement(&first, &second).into_values());
            let (union, intersection) = (merge(&[&first, &second], 1), merge(&[&first, &second], 2));
            prop_assert_eq!(agreement.both, intersection.dropped());
            if union.dropped() > 0 {
                let jaccard = intersection.dropped() as f64 / union.dropped() as f64;
                prop_assert!((agreement.jaccard() - jaccard).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn an_output_counts_once_all_of_its_weights_are_dropped() {
        let resnet = crate::base::architecture("resnet18").unwrap();
        let kernel = (0..resnet.tensors.len())
            .find(|index| resnet.tensors[*index].rows() > 2)
            .unwrap();
        let (spec, mut mask) = (&resnet.tensors[kernel], Mask::keeping_all(resnet, [kernel]));
        assert_eq!(whole_outputs(&mask, resnet), 0);
        let (length, bits) = (spec.len() / spec.rows(), mask.tensors.get_mut(&kernel).unwrap());
        (length..3 * length - 1).for_each(|at| bits.set(at, false));
        assert_eq!(whole_outputs(&mask, resnet), 1);
    }

    #[test]
    fn chance_is_the_product_of_shares() {
        let agreement = Agreement {
            weights: 1_000,
            first: 100,
            second: 50,
            both: 20,
        };
        assert_eq!(
            (agreement.expected(), agreement.against_chance()),
            (5.0, Some(4.0))
        );
        assert!((agreement.jaccard() - 20.0 / 130.0).abs() < 1e-12);
    }
}
