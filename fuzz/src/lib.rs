//! What the targets share: a small base, and frames around bytes that somebody made up.
//!
//! A reader checks the checksum first, so a fuzzer would never get past it: the targets put a right one behind
//! their input.

use std::sync::LazyLock;

use katagami::base::{Role, TensorSpec, Weights, architecture};
use katagami::domain::{Digest, MaskVersion, Timestamp};
use katagami::mask::cascade::{Group, Joint, NewExpert, Projection, Router, encode_cascade};
use katagami::mask::{
    Artefact, Coding, ExecutionProfile, Figures, Header, Level, Limits, Mask, MaskError, Prior,
};
use katagami::mask::{decode_with, encode_with};

/// What any artefact over [`BASE`] may take: the file, and the mask that it expands to.
const MEMORY: usize = 64 << 10;

/// A network of a few small tensors: a depthwise kernel, BatchNorm, a 1×1 convolution that reads it, a kernel.
pub static BASE: LazyLock<Weights> = LazyLock::new(|| {
    let tensors: [(&str, &[usize], Role); 7] = [
        ("depthwise", &[16, 1, 3, 3], Role::Convolution { groups: 16 }),
        ("weight", &[16], Role::NormWeight),
        ("bias", &[16], Role::NormBias),
        ("running_mean", &[16], Role::NormMean),
        ("running_var", &[16], Role::NormVariance),
        ("pointwise", &[80, 16, 1, 1], Role::Convolution { groups: 1 }),
        ("kernel", &[16, 3, 3, 3], Role::Convolution { groups: 1 }),
    ];
    let mut architecture = architecture("resnet18").expect("it is known").clone();
    architecture.embedding_dim = 8;
    architecture.tensors = tensors
        .map(|(name, shape, role)| TensorSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            role,
        })
        .to_vec();
    let value = |tensor: usize, at: usize| {
        let value = chance(tensor as u64, at) as f32 - 0.5;
        if architecture.tensors[tensor].role == Role::NormVariance {
            value + 1.0
        } else {
            value
        }
    };
    let sizes = architecture.tensors.iter().map(TensorSpec::len).enumerate();
    let values = sizes
        .map(|(tensor, size)| (0..size).map(|at| value(tensor, at)).collect())
        .collect();
    Weights {
        architecture: Box::leak(Box::new(architecture)),
        values,
    }
});

/// The mask that deltas are coded against.
pub static PARENT: LazyLock<Mask> = LazyLock::new(|| mask(0.1, 1));

/// The prior that the target `delta` codes with.
pub static PRIOR: LazyLock<Prior> = LazyLock::new(|| Prior::learn(&BASE, &[&mask(0.1, 2), &mask(0.3, 3)]));

/// From 0 to 1; depends on what it is for alone.
pub fn chance(seed: u64, at: usize) -> f64 {
    let mut mixed =
        (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 31;
    mixed = mixed.wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// A mask over all of [`BASE`] that drops `share` of it.
pub fn mask(share: f64, seed: u64) -> Mask {
    let statistic = |index: &usize| {
        matches!(
            BASE.architecture.tensors[*index].role,
            Role::NormMean | Role::NormVariance
        )
    };
    let mut mask = Mask::keeping_all(
        BASE.architecture,
        (0..BASE.values.len()).filter(|index| !statistic(index)),
    );
    for (index, bits) in &mut mask.tensors {
        (1..bits.len()).for_each(|at| bits.set(at, chance(seed * 100 + *index as u64, at) >= share));
    }
    mask
}

/// `mask` with moved BatchNorm statistics.
pub fn moved(mut mask: Mask, by: f32) -> Mask {
    for index in [3, 4] {
        let values = BASE.values[index].iter().enumerate();
        mask.norms.insert(
            index,
            values
                .map(|(at, value)| value * (1.0 + by * at as f32) + by)
                .collect(),
        );
    }
    mask.settle(&BASE);
    mask
}

/// A header for `mask`.
pub fn header(mask: &Mask, delta: bool) -> Header {
    Header {
        base: BASE.digest(),
        preprocessing: Digest::of(b"preprocessing"),
        view: katagami::domain::View::default(),
        site: "osaka".parse().expect("it is a name"),
        version: MaskVersion(1),
        snapshot: Digest::of(b"snapshot"),
        recipe: Digest::of(b"recipe"),
        job: None,
        profile: ExecutionProfile::default(),
        weights: katagami::mask::apply(mask, BASE.clone())
            .expect("it fits")
            .digest(),
        report: None,
        figures: Figures::default(),
        parent: delta.then(|| Digest::of(b"parent")),
        prior: delta.then(|| PRIOR.digest()),
        software: "fuzz".to_owned(),
        created_at: Timestamp::from_micros(0),
    }
}

/// What artefacts with such a header are coded with.
pub fn coding(delta: bool, level: Level) -> Coding<'static> {
    Coding {
        level,
        parent: delta.then(|| &*PARENT),
        prior: delta.then(|| &*PRIOR),
    }
}

/// A cascade with two experts.
pub fn cascade() -> Vec<u8> {
    let row = |seed: u64, row: usize| (0..8).map(|at| chance(seed, 8 * row + at) - 0.5).collect();
    let projection = |rows: usize, seed: u64| {
        Projection::rounded(&(0..rows).map(|at| row(seed, at)).collect::<Vec<Vec<f64>>>())
    };
    let group = |mean: f32| Group {
        weight: 0.5,
        mean: vec![mean, -mean],
        factor: vec![1.0, 0.25, 2.0],
    };
    let expert = |mask: Mask| NewExpert {
        weights: header(&mask, false).weights,
        mask,
    };
    let router = Router {
        projection: projection(2, 20),
        groups: vec![group(1.0), group(-1.0)],
    };
    let joint = Joint {
        parts: (0..3).map(|network| projection(3, 21 + network)).collect(),
    };
    let dispatcher = moved(mask(0.1, 1), 0.01);
    let experts = [(0.12, 1, 0.01), (0.1, 2, 0.02)];
    let experts = experts.map(|(share, seed, by)| expert(moved(mask(share, seed), by)));
    encode_cascade(
        &header(&dispatcher, false),
        &dispatcher,
        &BASE,
        &router,
        &joint,
        &experts,
    )
    .expect("it fits")
}

/// The parts of an artefact: header, bits, statistics and, of a cascade, experts.
pub fn parts<const N: usize>(file: &[u8]) -> [&[u8]; N] {
    let (lengths, mut rest) = file[10..].split_at(4 * N);
    let mut lengths = lengths.as_chunks::<4>().0.iter();
    [(); N].map(|()| {
        let length = u32::from_le_bytes(*lengths.next().expect("one for each part"));
        rest.split_off(..length as usize).expect("all of it is there")
    })
}

/// An artefact of these parts, with right lengths and checksum.
pub fn frame<const N: usize>(version: u16, parts: [&[u8]; N]) -> Vec<u8> {
    let mut file = b"\x89KGM\r\n\x1a\n".to_vec();
    file.extend(version.to_le_bytes());
    for part in parts {
        file.extend((part.len() as u32).to_le_bytes());
    }
    file.extend(parts.concat());
    seal(file)
}

/// `content` and its checksum.
pub fn seal(mut content: Vec<u8>) -> Vec<u8> {
    content.extend(Digest::of(&content).as_bytes());
    content
}

/// Reads an artefact over [`BASE`], whatever architecture it names, within [`MEMORY`].
pub fn read(file: &[u8]) -> Result<Artefact, MaskError> {
    decode_with(file, Limits::new(file.len() + MEMORY), |_| {
        Some(BASE.architecture)
    })
}

/// Bits and statistics behind a header that fits them: if they are a mask, it must survive being written.
pub fn bits_and_statistics(input: &[u8], delta: bool) {
    static HEADERS: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(delta, with_norms)| {
            let mask = if with_norms {
                moved(mask(0.1, 1), 0.01)
            } else {
                mask(0.1, 1)
            };
            let file = encode_with(&header(&mask, delta), &mask, &BASE, &coding(delta, Level::Fast))
                .expect("it fits");
            parts::<3>(&file)[0].to_vec()
        })
    });
    // The first byte says how long the statistics are; none if 0.
    let Some((norms, input)) = input.split_first() else {
        return;
    };
    let (bits, norms) = input.split_at(input.len().saturating_sub(usize::from(*norms)));
    let header = &HEADERS[2 * usize::from(delta) + usize::from(!norms.is_empty())];
    let file = frame(2, [header, bits, norms]);
    let Ok(artefact) = read(&file) else { return };
    let coding = coding(delta, Level::Fast);
    let Ok(mask) = artefact.mask_with(&BASE, &coding) else {
        return;
    };
    let before = coding.parent.cloned().unwrap_or_default();
    assert_eq!(artefact.flips(), mask.flips_against(&before));
    let again = encode_with(&artefact.header, &mask, &BASE, &coding).expect("what is read can be written");
    let reread = read(&again).expect("what is written can be read");
    assert_eq!(reread.mask_with(&BASE, &coding).expect("and decoded"), mask);
}
