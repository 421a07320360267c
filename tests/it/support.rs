//! What the tests share: running the executable, a base made of nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use katagami::base::{BaseStore, Manifest, Preprocessing, Role, Weights, architecture, write_safetensors};
use katagami::domain::{Digest, MaskVersion, Timestamp};
use katagami::mask::{ExecutionProfile, Figures, Header, Limits, Mask, apply, decode, encode};

/// What a command answered.
pub struct Answer {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// Fails the test unless the command failed with `code` and one sentence on standard error.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.err.lines().count(), 1, "one sentence: {}", self.err);
        assert!(self.err.starts_with("error: "), "{}", self.err);
        self.err
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Runs `katagami` with its bases in `folder`.
pub fn katagami(folder: &Path, arguments: &[&str]) -> Answer {
    katagami_with(folder, arguments, &[])
}

/// Runs `katagami` with its bases in `folder` and some more variables.
pub fn katagami_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_katagami"))
        .args(arguments)
        .env("KATAGAMI_BASES", folder.join("bases"))
        .envs(variables.iter().copied())
        .output()
        .expect("the executable was built with the tests");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is text");
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    Answer {
        code: status.code(),
        out: text(stdout),
        err: text(stderr),
    }
}

/// EfficientNet-Lite0 with numbers that a seed decides, scaled so that signals
/// neither vanish nor explode; a network, but no trained one.
pub fn generated_base(seed: usize) -> Weights {
    let architecture = architecture("efficientnet_lite0").unwrap();
    let spread = |tensor: usize, element: usize| {
        let mixed = (seed + tensor * 31 + element).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let values = architecture.tensors.iter().enumerate().map(|(tensor, spec)| {
        let inputs: usize = spec.shape[1..].iter().product();
        let value = |element: usize| match spec.role {
            Role::NormWeight | Role::NormVariance => 1.0 + 0.1 * spread(tensor, element),
            Role::Convolution { .. } => spread(tensor, element) * (3.0 / inputs as f32).sqrt(),
            _ => 0.1 * spread(tensor, element),
        };
        (0..spec.len()).map(value).collect()
    });
    Weights {
        values: values.collect(),
        architecture,
    }
}

/// A base without the biases that an untrained network's embeddings are all but made of: it tells pictures apart.
#[cfg(feature = "worker")]
pub fn telling(mut base: Weights) -> Weights {
    for (spec, values) in base.architecture.tensors.iter().zip(&mut base.values) {
        if matches!(spec.role, Role::NormBias | Role::NormMean) {
            values.fill(0.0);
        }
    }
    base
}

/// Imports `weights` into `folder/bases`, for input of `size` pixels (`None`: the
/// architecture's), as if `katagami base import` had.
pub fn imported(weights: &Weights, folder: &Path, size: Option<u32>) {
    let mut preprocessing = Preprocessing::of_architecture(weights.architecture.name);
    preprocessing.size = size.unwrap_or(preprocessing.size);
    let manifest = Manifest {
        digest: weights.digest(),
        architecture: weights.architecture.name.to_owned(),
        preprocessing,
        licence: None,
        source: None,
        terms: None,
        bytes: 0,
        imported_at: Timestamp::from_micros(0),
    };
    BaseStore::new(folder.join("bases"))
        .save(weights, manifest)
        .expect("there is room for a base");
}

/// Writes `weights` into `folder` and answers the path.
pub fn stored(weights: &Weights, folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    write_safetensors(weights, &path).unwrap();
    path
}

/// An artefact over `base` that drops every 40,000th weight of the head convolution.
pub fn artefact_over(base: &Weights) -> (Header, Vec<u8>) {
    let head = base.architecture.index_of("_conv_head.weight").unwrap();
    let mut mask = Mask::keeping_all(base.architecture, [head]);
    let bits = mask.tensors.get_mut(&head).unwrap();
    (0..bits.len())
        .step_by(40_000)
        .for_each(|index| bits.set(index, false));
    let header = header_of(&mask, base);
    let bytes = encode(&header, &mask, base).unwrap();
    (header, bytes)
}

/// The same for pictures of `size` pixels, prepared as the base's architecture prepares them.
pub fn artefact_at(base: &Weights, size: u32) -> Vec<u8> {
    let (header, bytes) = artefact_over(base);
    let mask = decode(&bytes, Limits::default()).unwrap().mask(base).unwrap();
    let preprocessing = Preprocessing {
        size,
        ..Preprocessing::of_architecture(base.architecture.name)
    };
    let preprocessing = preprocessing.digest();
    encode(
        &Header {
            preprocessing,
            ..header
        },
        &mask,
        base,
    )
    .unwrap()
}

/// A mask that drops 2 % of the head convolution, and of these a few others for each version: long enough
/// for deltas between versions to be worth it.
pub fn dense_mask(base: &Weights, version: u32) -> Mask {
    let head = base.architecture.index_of("_conv_head.weight").unwrap();
    let mut mask = Mask::keeping_all(base.architecture, [head]);
    let bits = mask.tensors.get_mut(&head).unwrap();
    let mixed = |index: usize, seed: usize| {
        let mixed = (index ^ seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
    };
    for index in 0..bits.len() {
        let dropped =
            mixed(index, 0).is_multiple_of(50) != mixed(index, version as usize).is_multiple_of(2_000);
        bits.set(index, !dropped);
    }
    mask
}

/// A mask of a factory that has much in common with others: the large convolutions lose a quarter, by
/// `number`, of what lies where a tenth of the rows meets a tenth of the columns, the same for all.
pub fn alike_mask(base: &Weights, number: u32) -> Mask {
    let specs = &base.architecture.tensors;
    let large = |index: &usize| specs[*index].shape.len() == 4 && specs[*index].len() >= 75_000;
    let mut mask = Mask::keeping_all(base.architecture, (0..specs.len()).filter(large));
    let goes = |at: usize, seed: usize, one_in: usize| {
        let mixed = (at ^ seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40).is_multiple_of(one_in)
    };
    for (index, bits) in &mut mask.tensors {
        let columns = bits.len() / specs[*index].rows();
        for at in 0..bits.len() {
            let shared = goes(at / columns, 2 * index, 10) && goes(at % columns, 2 * index + 1, 10);
            bits.set(at, !(shared && goes(at, 1_000 + number as usize, 4)));
        }
    }
    mask
}

/// A header of `mask` over `base`, of a training that never was.
pub fn header_of(mask: &Mask, base: &Weights) -> Header {
    Header {
        base: base.digest(),
        preprocessing: Digest::of(b"preprocessing"),
        view: katagami::domain::View::default(),
        site: "osaka".parse().unwrap(),
        version: MaskVersion(1),
        snapshot: Digest::of(b"snapshot"),
        recipe: Digest::of(b"recipe"),
        job: None,
        profile: ExecutionProfile::default(),
        weights: apply(mask, base.clone()).unwrap().digest(),
        report: None,
        figures: Figures::default(),
        parent: None,
        prior: None,
        software: "test".to_owned(),
        created_at: Timestamp::from_micros(0),
    }
}
