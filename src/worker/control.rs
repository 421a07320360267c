//! The control of a comparison: a mask that drops as many weights, but at random.

use std::collections::BTreeMap;

use crate::evaluate::random::Stream;
use crate::mask::{Bits, Mask};

/// A mask that drops as many weights of each tensor as `mask` does, drawn
/// without replacement. What helps as much as `mask` does not need training.
/// BatchNorm statistics are left as in the base.
pub(super) fn random_mask(mask: &Mask, seed: u64) -> Mask {
    let random = |(index, bits): (&usize, &Bits)| {
        let mut stream = Stream::new(seed, &[*index as u64]);
        let mut dropped = std::collections::HashSet::new();
        // Floyd's sampling: one draw for each dropped weight.
        for last in bits.len() - bits.count_zeros()..bits.len() {
            let drawn = stream.below(last + 1);
            if !dropped.insert(drawn) {
                dropped.insert(last);
            }
        }
        let kept = (0..bits.len()).map(|weight| !dropped.contains(&weight));
        (*index, Bits::from_bools(kept))
    };
    Mask {
        tensors: mask.tensors.iter().map(random).collect(),
        norms: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_has_the_same_density_per_layer_at_other_places() {
        let bits = |dropped: usize| Bits::from_bools((0..1_000).map(|weight| weight >= dropped));
        let mask = Mask {
            tensors: [(3, bits(200)), (7, bits(1)), (9, bits(0))].into(),
            norms: BTreeMap::new(),
        };
        let control = random_mask(&mask, 1);
        for (index, bits) in &mask.tensors {
            assert_eq!(control.tensors[index].count_zeros(), bits.count_zeros());
        }
        assert!(control.flips_against(&mask) > 200);
        assert_eq!(control, random_mask(&mask, 1));
        assert_ne!(control, random_mask(&mask, 2));
    }
}
