//! Every mask survives: at every level, density and shape, with and without parent and prior.

use proptest::prelude::*;
use rstest::rstest;

use super::super::*;
use super::header_of;
use crate::base::{Role, TensorSpec, Weights, architecture};
use crate::domain::Digest;

/// A number that depends on what it is for alone.
fn mixed(seed: u64, at: usize) -> u64 {
    let mut mixed =
        (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 31;
    mixed = mixed.wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 29
}

/// From 0 to 1.
fn chance(seed: u64, at: usize) -> f64 {
    (mixed(seed, at) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A base of an architecture that has these shapes and no others. With `wild`, its weights have any size that
/// is finite: subnormal, zero, the largest.
fn base_of(shapes: &[Vec<usize>], wild: bool, seed: u64) -> Weights {
    let mut architecture = architecture("resnet18").unwrap().clone();
    architecture.tensors = (shapes.iter().enumerate())
        .map(|(number, shape)| TensorSpec {
            name: format!("{number}"),
            shape: shape.clone(),
            role: match shape.len() {
                1 => Role::NormBias,
                _ => Role::Convolution { groups: 1 },
            },
        })
        .collect();
    let value = |at: usize| {
        let any = f32::from_bits(mixed(seed, at) as u32);
        if wild && any.is_finite() {
            any
        } else {
            chance(seed, at) as f32 - 0.5
        }
    };
    let mut at = 0..;
    let values = (architecture.tensors.iter())
        .map(|spec| at.by_ref().take(spec.len()).map(value).collect())
        .collect();
    Weights {
        // Leaked: an architecture lives as long as the program.
        architecture: Box::leak(Box::new(architecture)),
        values,
    }
}

/// Drops `share` of all weights by chance, and more in some rows than in others; of each tensor one is kept.
fn mask_of(base: &Weights, share: f64, seed: u64) -> Mask {
    let mut mask = Mask::keeping_all(base.architecture, 0..base.values.len());
    for (index, bits) in &mut mask.tensors {
        let columns = bits.len() / base.architecture.tensors[*index].rows();
        for at in 0..bits.len() - 1 {
            let of_row = 2.0 * chance(*index as u64, at / columns);
            // At 1 all go, whatever the row.
            let drops = share >= 1.0 || chance(seed + *index as u64, at) < share * of_row;
            bits.set(at, !drops);
        }
    }
    mask
}

/// Writes `mask` and reads it; the size of its coded bits.
fn survives(mask: &Mask, base: &Weights, coding: &Coding) -> Result<usize, String> {
    let mut header = header_of(mask, base);
    header.parent = coding.parent.map(|_| Digest::of(b"parent"));
    header.prior = coding.prior.map(Prior::digest);
    let file = encode_with(&header, mask, base, coding).map_err(|error| error.to_string())?;
    let artefact = decode_with(&file, Limits::default(), |_| Some(base.architecture));
    let artefact = artefact.map_err(|error| error.to_string())?;
    let read = artefact
        .mask_with(base, coding)
        .map_err(|error| error.to_string())?;
    if read != *mask {
        return Err("another mask was read".to_owned());
    }
    Ok(artefact.sizes.bits)
}

fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        (1..300_usize).prop_map(|n| vec![n]),
        (1..50_usize, 1..50_usize).prop_map(|(rows, columns)| vec![rows, columns, 1, 1]),
        (1..200_usize).prop_map(|rows| vec![rows, 1, 3, 3]),
        (1..12_usize, 1..12_usize).prop_map(|(rows, inputs)| vec![rows, inputs, 5, 5]),
        (1..200_usize).prop_map(|rows| vec![rows, 1]),
        (40..80_usize, 40..80_usize).prop_map(|(rows, columns)| vec![rows, columns]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_mask_survives(
        shapes in proptest::collection::vec(shape(), 1..5),
        wild in any::<bool>(),
        share in prop_oneof![Just(0.0), 0.0..0.01, 0.0..0.5, Just(0.5), 0.5..1.0, Just(1.0)],
        of_parent in 0.0..0.6_f64,
        // A parent that has nothing to do with the mask, one that is the mask itself, none; a prior or none.
        parent in 0..3_u8,
        with_prior in any::<bool>(),
        seed in any::<u32>(),
    ) {
        let seed = u64::from(seed);
        let base = base_of(&shapes, wild, seed);
        let mask = mask_of(&base, share, seed + 100);
        let parent = match parent {
            0 => None,
            1 => Some(mask.clone()),
            _ => Some(mask_of(&base, of_parent, seed + 200)),
        };
        let others = [mask_of(&base, 0.1, seed + 300), mask_of(&base, 0.2, seed + 400)];
        let prior = with_prior.then(|| Prior::learn(&base, &[&others[0], &others[1]]));
        for level in [Level::Fast, Level::Best, Level::Auto] {
            let coding = Coding { level, parent: parent.as_ref(), prior: prior.as_ref() };
            prop_assert!(survives(&mask, &base, &coding).is_ok(), "{level:?}: {:?}", survives(&mask, &base, &coding));
        }
    }
}

/// Tensors that are large enough for the model `fast`, and for two segments.
#[rstest]
fn large_masks_survive(
    #[values(Level::Fast, Level::Best)] level: Level,
    #[values(0.0, 0.001, 0.01, 0.05, 0.25, 0.5)] share: f64,
    #[values(false, true)] with_parent: bool,
) {
    let base = base_of(
        &[vec![1024, 1030], vec![64], vec![600, 1, 3, 3], vec![64, 128]],
        false,
        1,
    );
    let mask = mask_of(&base, share, 2);
    let parent = with_parent.then(|| mask_of(&base, share, 3));
    let coding = Coding {
        level,
        parent: parent.as_ref(),
        prior: None,
    };
    survives(&mask, &base, &coding).unwrap();
}

#[test]
fn what_no_coder_can_compress_costs_a_bit_a_weight() {
    let base = base_of(&[vec![1000, 1000]], false, 1);
    let mut mask = Mask::keeping_all(base.architecture, [0]);
    let bits = mask.tensors.get_mut(&0).unwrap();
    (0..bits.len()).for_each(|at| bits.set(at, chance(7, at) < 0.5));
    for level in [Level::Fast, Level::Best, Level::Auto] {
        let coding = Coding {
            level,
            ..Coding::default()
        };
        let bytes = survives(&mask, &base, &coding).unwrap();
        assert!(
            bytes as f64 * 8.0 <= 1.001 * 1e6,
            "{level:?}: {bytes} bytes for a million weights"
        );
    }
}

#[test]
fn the_same_mask_as_the_parent_costs_nearly_nothing() {
    let base = base_of(&[vec![200, 100], vec![50, 1, 3, 3]], false, 1);
    let mask = mask_of(&base, 0.2, 2);
    let coding = Coding {
        parent: Some(&mask),
        ..Coding::default()
    };
    let bytes = survives(&mask, &base, &coding).unwrap();
    assert!(bytes <= 4, "{bytes} bytes to say that nothing changed");
}

#[test]
fn what_is_dropped_anew_costs_less_where_the_parent_dropped_before() {
    let base = base_of(&[vec![200, 100]], false, 1);
    // So many weights of each of twenty rows from `first` on.
    let drop = |mask: &mut Mask, first: usize, each: usize, seed: u64| {
        let bits = mask.tensors.get_mut(&0).unwrap();
        for at in 0..20 * each {
            let column = (chance(seed, at) * 100.0) as usize;
            bits.set((first + at / each) * 100 + column, false);
        }
    };
    let mut parent = Mask::keeping_all(base.architecture, [0]);
    drop(&mut parent, 0, 5, 1);
    let coding = Coding {
        parent: Some(&parent),
        ..Coding::default()
    };
    let [there, elsewhere] = [0, 100].map(|first| {
        let mut child = parent.clone();
        drop(&mut child, first, 2, 2);
        survives(&child, &base, &coding).unwrap()
    });
    assert!(
        there + 5 < elsewhere,
        "{there} bytes there, {elsewhere} elsewhere"
    );
}
