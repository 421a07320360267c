//! The contract of a cascade's artefact: what is written is read, what is not right is refused.

use proptest::prelude::*;

use super::*;
use crate::base::{Architecture, Role, TensorSpec, architecture};
use crate::mask::tests::header_of;
use crate::mask::{Bits, decode_with, delta, encode};

/// A few tensors, and embeddings of four numbers.
fn base() -> Weights {
    let mut architecture: Architecture = architecture("resnet18").unwrap().clone();
    architecture.embedding_dim = 4;
    let spec = |(number, shape): (usize, &[usize])| TensorSpec {
        name: format!("{number}"),
        shape: shape.to_vec(),
        role: match (shape.len(), number) {
            (1, 2) => Role::NormMean,
            (1, _) => Role::NormVariance,
            _ => Role::Convolution { groups: 1 },
        },
    };
    let shapes: [&[usize]; 4] = [&[40, 30, 1, 1], &[20, 10, 3, 3], &[6], &[6]];
    architecture.tensors = shapes.into_iter().enumerate().map(spec).collect();
    let value = |at: usize| ((at * 7_919 % 1_009) as f32) / 1_009.0 + 0.01;
    Weights {
        values: (architecture.tensors.iter())
            .map(|spec| (0..spec.len()).map(value).collect())
            .collect(),
        // Leaked: an architecture lives as long as the program.
        architecture: Box::leak(Box::new(architecture)),
    }
}

/// A mask that drops every `every`th weight, `of` of them to begin with, with moved statistics.
fn mask(base: &Weights, every: usize, of: usize) -> Mask {
    let mut mask = Mask::keeping_all(base.architecture, [0, 1]);
    for bits in mask.tensors.values_mut() {
        (of..bits.len()).step_by(every).for_each(|at| bits.set(at, false));
    }
    mask.norms = [2, 3]
        .map(|index| {
            (
                index,
                base.values[index]
                    .iter()
                    .map(|value| value + 0.1 * of as f32)
                    .collect(),
            )
        })
        .into();
    mask.settle(base);
    mask
}

fn projection(rows: usize, seed: usize) -> Projection {
    let row = |row: usize| {
        (0..4)
            .map(|at| ((row + seed * 3 + at * 5) % 7) as f64 - 3.0)
            .collect()
    };
    let mut projection = Projection::rounded(&(0..rows).map(row).collect::<Vec<_>>());
    projection.centred_on(&[vec![0.5; rows]]);
    projection
}

fn group(mean: f32) -> Group {
    Group {
        weight: 0.5,
        mean: vec![mean, -mean],
        factor: vec![1.0, 0.25, 2.0],
    }
}

struct Cascade {
    base: Weights,
    dispatcher: Mask,
    experts: Vec<NewExpert>,
    router: Router,
    joint: Joint,
}

impl Cascade {
    fn new() -> Self {
        let base = base();
        let expert = |mask: Mask| NewExpert {
            weights: apply(&mask, base.clone()).unwrap().digest(),
            mask,
        };
        Self {
            dispatcher: mask(&base, 50, 3),
            experts: vec![expert(mask(&base, 50, 1)), expert(mask(&base, 25, 3))],
            router: Router {
                projection: projection(2, 1),
                groups: vec![group(1.0), group(-1.0)],
            },
            joint: Joint {
                parts: (0..3).map(|network| projection(3, network)).collect(),
            },
            base,
        }
    }

    fn encode(&self) -> Result<Vec<u8>, MaskError> {
        let header = header_of(&self.dispatcher, &self.base);
        let Self {
            base,
            dispatcher,
            experts,
            router,
            joint,
        } = self;
        encode_cascade(&header, dispatcher, base, router, joint, experts)
    }

    fn decode(&self, file: &[u8]) -> Result<Artefact, MaskError> {
        decode_with(file, Limits::new(file.len() * 3 + 10_000), |_| {
            Some(self.base.architecture)
        })
    }
}

/// `content` behind a checksum that is right.
fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let checksum = Digest::of(&content);
    content.extend(checksum.as_bytes());
    content
}

#[test]
fn a_cascade_that_is_written_is_read_and_stands_for_its_dispatcher() {
    let cascade = Cascade::new();
    let file = cascade.encode().unwrap();
    let read = cascade.decode(&file).unwrap();
    assert_eq!(read.version, 3);
    assert_eq!(read.sizes.total(), file.len());
    assert_eq!(read.mask(&cascade.base).unwrap(), cascade.dispatcher);
    let experts = read.experts.as_ref().unwrap();
    assert_eq!(
        (&experts.router, &experts.joint),
        (&cascade.router, &cascade.joint)
    );
    for (at, expert) in cascade.experts.iter().enumerate() {
        let mask = read
            .expert_mask(at + 1, &cascade.dispatcher, &cascade.base)
            .unwrap();
        assert_eq!(mask, expert.mask);
        assert_eq!(experts.weights(at + 1), Some(expert.weights));
    }
    let networks = read.networks(&cascade.base).unwrap();
    let digests: Vec<_> = networks.iter().map(Weights::digest).collect();
    let promised = cascade.experts.iter().map(|expert| expert.weights);
    assert_eq!(
        digests,
        [read.header.weights]
            .into_iter()
            .chain(promised)
            .collect::<Vec<_>>()
    );
    assert_eq!(read.expert_weights(2, &cascade.base).unwrap(), networks[2]);
    for number in [0, 3] {
        let said = read.expert_weights(number, &cascade.base).unwrap_err();
        assert_eq!(said, MaskError::NoSuchExpert { number, count: 2 });
    }
}

#[test]
fn a_single_mask_is_written_as_ever_and_has_no_experts() {
    let Cascade { base, dispatcher, .. } = Cascade::new();
    let file = encode(&header_of(&dispatcher, &base), &dispatcher, &base).unwrap();
    let read = decode_with(&file, Limits::default(), |_| Some(base.architecture)).unwrap();
    assert_eq!((read.version, &read.experts), (2, &None));
    assert_eq!(read.networks(&base).unwrap().len(), 1);
    let said = read.expert_weights(1, &base).unwrap_err().to_string();
    assert!(said.contains("a single mask"), "{said}");
}

#[test]
fn an_expert_costs_what_it_flips() {
    let bytes = |cascade: &Cascade| {
        let read = cascade.decode(&cascade.encode().unwrap()).unwrap();
        read.sizes.experts.unwrap().masks
    };
    let other = bytes(&Cascade::new());
    let mut cascade = Cascade::new();
    for expert in &mut cascade.experts {
        expert.mask = cascade.dispatcher.clone();
    }
    let same = bytes(&cascade);
    // Two digests, four lengths; heads, counts, and statistics, which are coded against the base.
    assert!(same <= 2 * (32 + 8 + 40) && same < other, "{same} {other}");
}

#[test]
fn what_does_not_belong_together_is_not_written() {
    type Damage = fn(&mut Cascade);
    let damages: [Damage; 10] = [
        |cascade| drop(cascade.experts.pop()),
        |cascade| drop(cascade.router.groups.pop()),
        |cascade| drop(cascade.joint.parts.pop()),
        |cascade| cascade.joint.parts[1] = projection(2, 0),
        |cascade| cascade.router.projection = projection(3, 1),
        |cascade| cascade.router.groups[0].weight = 0.0,
        |cascade| cascade.router.groups[1].mean[0] = f32::NAN,
        // A diagonal of the factor.
        |cascade| cascade.router.groups[1].factor[2] = -1.0,
        |cascade| drop(cascade.experts[0].mask.tensors.remove(&1)),
        |cascade| drop(cascade.experts[0].mask.norms.remove(&2)),
    ];
    for (number, damage) in damages.iter().enumerate() {
        let mut cascade = Cascade::new();
        damage(&mut cascade);
        assert!(
            matches!(cascade.encode(), Err(MaskError::Mismatch(_))),
            "{number}"
        );
    }
    let mut cascade = Cascade::new();
    cascade.experts[1]
        .mask
        .tensors
        .insert(0, Bits::from_bools((0..1_200).map(|_| false)));
    assert!(matches!(cascade.encode(), Err(MaskError::NothingKept(_))));
}

#[test]
fn experts_that_do_not_yield_their_weights_are_found() {
    let mut cascade = Cascade::new();
    cascade.experts[1].weights = Digest::of(b"other weights");
    let read = cascade.decode(&cascade.encode().unwrap()).unwrap();
    assert!(matches!(
        read.check_networks(&cascade.base),
        Err(MaskError::WrongWeights { .. })
    ));
    assert!(read.expert_weights(1, &cascade.base).is_ok());
    assert!(matches!(
        read.expert_weights(2, &cascade.base),
        Err(MaskError::WrongWeights { .. })
    ));
}

#[test]
fn every_truncation_and_every_flipped_bit_is_an_error() {
    let cascade = Cascade::new();
    let mut file = cascade.encode().unwrap();
    for length in 0..file.len() {
        assert_eq!(
            cascade.decode(&file[..length]),
            Err(MaskError::Truncated),
            "{length}"
        );
    }
    for bit in 0..file.len() * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(cascade.decode(&file).is_err(), "bit {bit}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn flips_and_cuts_behind_a_right_checksum_give_a_cascade_or_an_error() {
    let cascade = Cascade::new();
    let file = cascade.encode().unwrap();
    let content = &file[..file.len() - 32];
    let try_all = |file: &[u8], networks: bool| {
        if let Ok(read) = cascade.decode(file) {
            // A coder's tables take longer than all else here.
            if networks {
                let _ = read.check_networks(&cascade.base);
            }
            if let Some(experts) = &read.experts {
                let expert = experts.router.expert_of(&[1.0, -2.0, 0.5, 0.0]);
                assert!(expert < experts.count());
                assert_eq!(
                    experts.joint.of([(expert + 1, &[1.0; 4][..])]).len(),
                    experts.joint.width()
                );
            }
        }
    };
    for bit in 0..content.len() * 8 {
        let mut flipped = content.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        try_all(&sealed(flipped), bit % 61 == 0);
    }
    // The experts' part shorter, with a length that agrees.
    let section = cascade.decode(&file).unwrap().sizes.experts.unwrap().total();
    for cut in 1..=section {
        let mut shorter = content[..content.len() - cut].to_vec();
        shorter[22..26].copy_from_slice(&((section - cut) as u32).to_le_bytes());
        assert!(
            matches!(cascade.decode(&sealed(shorter)), Err(MaskError::Corrupt(_))),
            "{cut}"
        );
    }
    let mut longer = content.to_vec();
    longer.push(0);
    longer[22..26].copy_from_slice(&(section as u32 + 1).to_le_bytes());
    assert!(matches!(
        cascade.decode(&sealed(longer)),
        Err(MaskError::Corrupt(_))
    ));
}

#[test]
fn a_budget_counts_each_expert() {
    let cascade = Cascade::new();
    let file = cascade.encode().unwrap();
    let lookup = |_: &str| Some(cascade.base.architecture);
    let least = (0..100_000)
        .step_by(64)
        .find(|bytes| decode_with(&file, Limits::new(*bytes), lookup).is_ok());
    // One bit a weight and four bytes a statistic, three times.
    let expanded = 3 * ((1_200 + 1_800) / 8 + 12 * 4);
    assert!(
        least.is_some_and(|least| least >= expanded && least <= expanded + 3 * file.len()),
        "{least:?}"
    );
}

#[test]
fn a_delta_of_a_cascade_yields_the_whole_cascade() {
    let lite0 = architecture("efficientnet_lite0").unwrap();
    let value = |tensor: usize, at: usize| ((tensor * 31 + at * 17) % 1_009) as f32 * 0.01 - 5.0;
    let values = lite0.tensors.iter().enumerate();
    let base = Weights {
        architecture: lite0,
        values: values
            .map(|(tensor, spec)| (0..spec.len()).map(|at| value(tensor, at)).collect())
            .collect(),
    };
    let tensor = lite0.index_of("_blocks.1._expand_conv.weight").unwrap();
    let mask = |every: usize| {
        let mut mask = Mask::keeping_all(lite0, [tensor]);
        let bits = mask.tensors.get_mut(&tensor).unwrap();
        (0..bits.len()).step_by(every).for_each(|at| bits.set(at, false));
        mask
    };
    let wide = |rows: usize| Projection::rounded(&vec![vec![1.0; 1_280]; rows]);
    let router = Router {
        projection: wide(2),
        groups: vec![group(1.0), group(-1.0)],
    };
    let joint = Joint {
        parts: vec![wide(1); 3],
    };
    let experts = [90, 110].map(|every| NewExpert {
        weights: apply(&mask(every), base.clone()).unwrap().digest(),
        mask: mask(every),
    });
    let before = encode(&header_of(&mask(101), &base), &mask(101), &base).unwrap();
    let dispatcher = mask(100);
    let header = header_of(&dispatcher, &base);
    let whole = encode_cascade(&header, &dispatcher, &base, &router, &joint, &experts).unwrap();
    for (parent, whole) in [(&before, &whole), (&whole, &before)] {
        let delta = delta::make(parent, whole, &base).unwrap().expect("there is one");
        assert!(delta::restore(parent, &delta, &base).unwrap() == *whole);
    }
}

#[test]
fn a_projection_centres_and_scales_what_it_was_made_of() {
    let projection = projection(2, 1);
    assert_eq!(projection.width(), 2);
    let of_zeros = projection.of(&[0.0; 4]);
    assert!(
        of_zeros.iter().all(|value| (value + 0.5).abs() < 1e-6),
        "{of_zeros:?}"
    );
    assert_eq!(Projection::rounded(&[vec![0.0; 4]]).of(&[1.0; 4]), [0.0]);
}

#[test]
fn words_for_inferences_are_read_as_they_are_written() {
    for inference in [Inference::Conditional, Inference::Unconditional] {
        assert_eq!(inference.to_string().parse(), Ok(inference));
    }
    assert_eq!("all".parse::<Inference>(), Err(NoInference));
}

proptest! {
    #[test]
    fn rounding_a_projection_moves_no_product_by_more_than_half_a_step(
        rows in proptest::collection::vec(proptest::collection::vec(-1e3..1e3_f64, 4), 1..4),
        embedding in proptest::collection::vec(-10.0..10.0_f64, 4),
    ) {
        let found = Projection::rounded(&rows).of(&embedding);
        for (row, found) in rows.iter().zip(found) {
            let exact: f64 = row.iter().zip(&embedding).map(|(a, b)| a * b).sum();
            let step = row.iter().fold(0.0_f64, |most, value| most.max(value.abs())) / 127.0;
            let most = embedding.iter().map(|value| value.abs()).sum::<f64>() * step * 0.5001 + 1e-3;
            prop_assert!((exact - found).abs() <= most, "{exact} {found}");
        }
    }

    #[test]
    fn every_picture_has_an_expert_and_its_length_does_not_matter(
        embedding in proptest::collection::vec(-10.0..10.0_f32, 4), factor in 0.1..100.0_f32,
    ) {
        let router = Cascade::new().router;
        let expert = router.expert_of(&embedding);
        prop_assert!(expert < 2);
        let scores = |embedding: &[f32]| {
            let point = router.projection.of(&unit(embedding));
            router.groups.iter().map(|group| group.score(&point)).collect::<Vec<_>>()
        };
        let apart = scores(&embedding);
        // Unless both are as likely.
        if (apart[0] - apart[1]).abs() > 1e-3 {
            let longer: Vec<f32> = embedding.iter().map(|value| value * factor).collect();
            prop_assert_eq!(router.expert_of(&longer), expert);
        }
    }
}
