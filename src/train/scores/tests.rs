use proptest::prelude::*;

use super::*;
use crate::base::{Role, architecture};
use crate::train::recipe::{EvidenceRule, Granularity, MaskRule, Order};

/// The rule of momentum at a rate of .1.
fn rule(normalise: bool) -> MaskRule {
    MaskRule {
        rate: 0.1,
        momentum: 0.9,
        normalise,
        skip_first: 0,
        ..Recipe::factory().mask
    }
}

/// One step at the full rate.
fn advance(scores: &mut Scores, base: &Weights, gradient: Vec<f32>, mask: &MaskRule) {
    step_at(scores, base, gradient, mask, 0);
}

fn step_at(scores: &mut Scores, base: &Weights, gradient: Vec<f32>, mask: &MaskRule, step: u32) {
    let recipe = Recipe {
        mask: mask.clone(),
        ..Recipe::factory()
    };
    let at = At {
        step,
        steps: 1_000_000,
    };
    scores.descend(base, &[gradient], &recipe, at).unwrap();
}

/// Only the first convolution has other weights than 0.
fn base(values: &[f32]) -> (Weights, usize) {
    let architecture = architecture("efficientnet_lite0").unwrap();
    let mut all: Vec<Vec<f32>> = architecture
        .tensors
        .iter()
        .map(|spec| vec![0.0; spec.len()])
        .collect();
    let index = architecture
        .tensors
        .iter()
        .position(|spec| matches!(spec.role, Role::Convolution { .. }))
        .unwrap();
    all[index][..values.len()].copy_from_slice(values);
    (
        Weights {
            architecture,
            values: all,
        },
        index,
    )
}

#[test]
fn the_gradient_passes_straight_through_the_threshold() {
    let (base, index) = base(&[2.0, -3.0]);
    let mut scores = Scores::keeping_all(&base, &[index]);
    let mut gradient = vec![0.0; base.values[index].len()];
    gradient[..2].copy_from_slice(&[0.5, 0.5]);
    advance(&mut scores, &base, gradient, &rule(false));
    let after = &scores.tensors[&index].scores;
    assert_eq!(after[..3], [1.0 - 0.1 * 1.0, 1.0 + 0.1 * 1.5, 1.0]);
}

#[test]
fn a_weight_falls_when_its_gradient_keeps_its_sign_and_can_rise_again() {
    let (base, index) = base(&[1.0, 1.0]);
    let mut scores = Scores::keeping_all(&base, &[index]);
    let mut push = |first: f32, times: u32| {
        let mut gradient = vec![0.0; base.values[index].len()];
        gradient[0] = first;
        for _ in 0..times {
            advance(&mut scores, &base, gradient.clone(), &rule(false));
        }
        scores.mask().dropped()
    };
    assert_eq!(push(1.0, 6), 1);
    assert_eq!(push(-1.0, 40), 0);
}

proptest! {
    /// Theorem of the paper: scaling scores (with their start) and rate together changes no bit.
    /// Powers of two, so that float arithmetic scales exactly.
    #[test]
    fn scaling_scores_and_rate_gives_the_same_mask(
        gradients in proptest::collection::vec(proptest::collection::vec(-1.0_f32..1.0, 16), 1..20), power in -4..5_i32,
    ) {
        let (base, index) = base(&[1.5; 16]);
        let factor = 2.0_f32.powi(power);
        let at = |rate: f64| MaskRule { rate, ..rule(false) };
        let mut plain = Scores::keeping_all(&base, &[index]);
        let mut scaled = plain.clone();
        scaled.tensors.get_mut(&index).unwrap().scores.iter_mut().for_each(|score| *score *= factor);
        for step in gradients {
            let mut gradient = vec![0.0; base.values[index].len()];
            gradient[..16].copy_from_slice(&step);
            advance(&mut plain, &base, gradient.clone(), &at(0.25));
            advance(&mut scaled, &base, gradient, &at(0.25 * f64::from(factor)));
        }
        prop_assert_eq!(plain.mask(), scaled.mask());
    }

    /// The other theorem: shifting scores (with their start) and threshold together changes no bit.
    /// Everything is a multiple of 2⁻¹² and small, so that float arithmetic is exact.
    #[test]
    fn shifting_scores_and_threshold_gives_the_same_mask(
        gradients in proptest::collection::vec(proptest::collection::vec(-8_i8..8, 16), 1..8), shift in -16_i8..16,
    ) {
        let (base, index) = base(&[2.0; 16]);
        let shift = f32::from(shift) / 4.0;
        let length = base.values[index].len();
        let rule = MaskRule { rate: 0.25, momentum: 0.5, ..rule(false) };
        let at = |shift: f32| Scores::starting_from([(index, vec![START + shift; length])].into(), THRESHOLD + shift);
        let (mut plain, mut shifted) = (at(0.0), at(shift));
        for step in gradients {
            let mut gradient = vec![0.0; length];
            gradient.iter_mut().zip(&step).for_each(|(to, from)| *to = f32::from(*from) / 4.0);
            for scores in [&mut plain, &mut shifted] {
                // α is 1 while nothing of the tensor has fallen; what follows is no dyadic fraction.
                if scores.dropped() == 0 {
                    advance(scores, &base, gradient.clone(), &rule);
                }
            }
            prop_assert_eq!(plain.mask(), shifted.mask());
        }
        prop_assert_eq!(plain.dropped(), plain.mask().dropped());
    }
}

#[test]
fn a_successor_begins_with_its_parents_mask() {
    let (base, index) = base(&[1.0; 16]);
    let mut parent = Scores::keeping_all(&base, &[index]);
    let mut gradient = vec![0.0; base.values[index].len()];
    gradient[..3].fill(8.0);
    advance(
        &mut parent,
        &base,
        gradient,
        &MaskRule {
            rate: 0.25,
            ..rule(false)
        },
    );
    assert_eq!(parent.dropped(), 3);
    let finals = parent.finals(base.digest());
    let finals = FinalScores::decode(&finals.encode(), &base).unwrap();
    let successor = Scores::succeeding(&finals, &base, &[index]).unwrap();
    assert_eq!(successor.mask(), parent.mask());
    let other = Scores::succeeding(&finals, &base, &[index + 1]).unwrap_err();
    assert!(other.to_string().contains("start from the base"), "{other}");
}

/// Under the rule of evidence with windows of four steps.
fn weighing(price: f64, most: usize) -> MaskRule {
    MaskRule {
        rule: ScoreRule::Evidence,
        evidence: Some(EvidenceRule {
            window: 4,
            confidence: 3.0,
            price,
            most,
            order: Order::Benefit,
        }),
        ..rule(false)
    }
}

/// Four steps in which the first weights have the gradients `steps[step]`, and all others none.
fn window(scores: &mut Scores, base: &Weights, steps: [&[f32]; 4], rule: &MaskRule) {
    for (at, first) in steps.into_iter().enumerate() {
        let mut gradient = vec![0.0; scores.tensors.values().next().unwrap().scores.len()];
        gradient[..first.len()].copy_from_slice(first);
        step_at(scores, base, gradient, rule, at as u32);
    }
}

fn fallen(scores: &Scores) -> Vec<usize> {
    let scored = scores.tensors.values().next().unwrap();
    (0..scored.scores.len())
        .filter(|at| scored.scores[*at] <= 0.0)
        .collect()
}

#[test]
fn only_a_weight_that_batch_after_batch_speaks_against_falls() {
    let (base, index) = base(&[1.0; 16]);
    let rule = weighing(0.0, 10);
    let mut scores = Scores::keeping_all(&base, &[index]).under(ScoreRule::Evidence);
    // The first is sure, the second greater on average but unsure, the third sure to be kept.
    let steps: [&[f32]; 4] = [
        &[1.0, 9.0, -1.0],
        &[1.1, -4.0, -1.1],
        &[0.9, 6.0, -1.0],
        &[1.0, -3.0, -0.9],
    ];
    window(&mut scores, &base, steps, &rule);
    assert_eq!(fallen(&scores), [0]);
    // It stays while nothing speaks for it, and comes back when the batches agree on that.
    window(&mut scores, &base, [&[]; 4], &rule);
    assert_eq!(fallen(&scores), [0]);
    window(&mut scores, &base, [&[-1.0], &[-1.1], &[-0.9], &[-1.0]], &rule);
    assert_eq!(fallen(&scores), [0_usize; 0]);
}

#[test]
fn so_many_fall_a_window_and_the_greatest_benefit_comes_first() {
    let (base, index) = base(&[1.0; 16]);
    let mut scores = Scores::keeping_all(&base, &[index]).under(ScoreRule::Evidence);
    let sure: &[f32] = &[1.0, 3.0, 2.0, 4.0];
    window(&mut scores, &base, [sure; 4], &weighing(0.0, 2));
    assert_eq!(fallen(&scores), [1, 3]);
    // What has not fallen must show its evidence again.
    window(&mut scores, &base, [&[]; 4], &weighing(0.0, 2));
    assert_eq!(fallen(&scores), [1, 3]);
}

#[test]
fn a_flip_must_bring_more_than_its_bits_cost() {
    let (base, index) = base(&[1.0; 16]);
    let sure: [&[f32]; 4] = [&[1.0, 3.0]; 4];
    let cost = crate::mask::rate::flip_bits(&base, index, 1, 4.0)[0];
    for (gain, expected) in [(0.5, &[0_usize, 1][..]), (2.0, &[1]), (4.0, &[])] {
        let mut scores = Scores::keeping_all(&base, &[index]).under(ScoreRule::Evidence);
        window(&mut scores, &base, sure, &weighing(gain / f64::from(cost), 10));
        assert_eq!(fallen(&scores), expected, "{gain}");
    }
}

#[test]
fn a_filter_falls_as_a_whole_by_the_sum_of_its_weights() {
    let (base, index) = base(&[2.0, -3.0]);
    let mut scores = Scores::keeping_all(&base, &[index]);
    let rows = base.architecture.tensors[index].rows();
    let row = base.values[index].len() / rows;
    let mut gradient = vec![0.0; base.values[index].len()];
    // θ · ∂L/∂W of the first filter: 8, -3, 0, …: 5 in all.
    gradient[..2].copy_from_slice(&[4.0, 1.0]);
    let filters = MaskRule {
        rate: 0.125,
        granularity: Granularity::Filter,
        ..rule(false)
    };
    advance(&mut scores, &base, gradient.clone(), &filters);
    let after = &scores.tensors[&index].scores;
    assert!(after[..row].iter().all(|score| *score == 1.0 - 0.125 * 5.0));
    assert!(after[row..].iter().all(|score| *score == 1.0));
    advance(&mut scores, &base, gradient, &filters);
    let bits = &scores.mask().tensors[&index];
    assert_eq!((scores.dropped(), bits.count_zeros()), (row, row));
    assert!((0..row).all(|weight| !bits.get(weight)), "the first filter");
}

#[test]
fn a_mask_of_single_weights_is_no_parent_of_one_of_filters() {
    let (base, index) = base(&[1.0]);
    let mut recipe = Recipe::factory();
    recipe.mask.granularity = Granularity::Filter;
    let begin = |first: f32| {
        let mut scores = vec![1.0; base.values[index].len()];
        scores[0] = first;
        let parent = FinalScores {
            base: base.digest(),
            tensors: [(index, scores)].into(),
        };
        let norms = BTreeMap::new();
        let start = Start::Parent {
            scores: &parent,
            norms: &norms,
        };
        <Scores as Learner>::begin(&base, &recipe, &[index], start).map(|_| ())
    };
    assert!(begin(1.0).is_ok());
    let said = begin(-1.0).unwrap_err().to_string();
    assert!(said.contains("whole filters"), "{said}");
}
