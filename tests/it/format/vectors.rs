//! The test vectors: artefacts in `tests/vectors`, and what they hold in its `index.json`.

use std::fs;
use std::path::{Path, PathBuf};

use katagami::base::Weights;
use katagami::domain::{Digest, View};
use katagami::mask::cascade::{Experts, Group, Joint, NewExpert, Projection, Router, encode_cascade};
use katagami::mask::{
    Artefact, Bits, Coding, Level, Limits, Mask, Prior, apply, apply_artefact_with, decode, encode_with,
};
use serde::{Deserialize, Serialize};

use crate::support::{generated_base, header_of};

/// All vectors, and the digest of the base that they are for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Index {
    pub base: String,
    pub vectors: Vec<Vector>,
}

/// One artefact, and what a decoder must find in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vector {
    pub file: String,
    /// `fast` or `best`.
    pub level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<String>,
    pub holds: Contents,
}

/// What `tests/format/decoder.py` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    pub tensors: Vec<Tensor>,
    pub norms: Vec<Norm>,
    /// The digest of the masked weights.
    pub weights: String,
    /// Of a cascade: what each expert holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<Vec<Contents>>,
    /// Of a cascade: the expert for each probe ([`probe`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<usize>>,
    /// Of a cascade: the joint embedding of one probe for each network, as float32 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joint: Option<String>,
}

/// An embedding to ask routers about.
fn probe(number: usize, length: usize) -> Vec<f32> {
    let value = |at: usize| ((at * 7_919 + number * 104_729) % 1_009) as f32 - 504.0;
    (0..length).map(|at| value(at) / 512.0).collect()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    pub index: usize,
    pub name: String,
    pub dropped: usize,
    /// The SHA-256 of its packed bits.
    pub bits: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Norm {
    pub index: usize,
    pub name: String,
    /// The SHA-256 of its float32 values.
    pub values: String,
}

/// The folder of the vectors.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// The base of the vectors.
pub fn base() -> Weights {
    generated_base(4)
}

/// The list of the vectors.
pub fn index() -> Index {
    let text = fs::read(folder().join("index.json")).expect("there is a list of vectors");
    serde_json::from_slice(&text).unwrap()
}

impl Vector {
    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(folder().join(&self.file)).unwrap()
    }

    /// What it is coded with.
    pub fn needs(&self, base: &Weights) -> Needs {
        let read = |name: &String| fs::read(folder().join(name)).unwrap();
        Needs {
            parent: self.parent.as_ref().map(|name| {
                let parent = decode(&read(name), Limits::default()).unwrap();
                parent.mask(base).unwrap()
            }),
            prior: self
                .prior
                .as_ref()
                .map(|name| Prior::decode(&read(name), Limits::default()).unwrap()),
        }
    }

    /// The level that it was coded at.
    pub fn level(&self) -> Level {
        match self.level.as_str() {
            "fast" => Level::Fast,
            "best" => Level::Best,
            "auto" => Level::Auto,
            other => panic!("{other} is no level"),
        }
    }
}

/// What a vector is coded with besides the base.
#[derive(Debug, Default)]
pub struct Needs {
    pub parent: Option<Mask>,
    pub prior: Option<Prior>,
}

impl Needs {
    pub fn coding(&self, level: Level) -> Coding<'_> {
        Coding {
            level,
            parent: self.parent.as_ref(),
            prior: self.prior.as_ref(),
        }
    }
}

/// What `artefact` holds, in the words of the index.
pub fn contents(artefact: &Artefact, base: &Weights, coding: &Coding) -> Contents {
    let mask = artefact.mask_with(base, coding).unwrap();
    let weights = apply_artefact_with(artefact, base.clone(), coding).unwrap();
    let own = of_mask(&mask, base, &weights);
    let Some(experts) = &artefact.experts else {
        return own;
    };
    let length = base.architecture.embedding_dim;
    let of_expert = |number: usize| {
        let expert = artefact.expert_mask(number, &mask, base).unwrap();
        of_mask(&expert, base, &artefact.expert_weights(number, base).unwrap())
    };
    let probes: Vec<_> = (0..8).map(|number| probe(number, length)).collect();
    let networks = (0..=experts.count()).map(|network| (network, probes[network].as_slice()));
    let joint = experts.joint.of(networks).into_iter().flat_map(f32::to_le_bytes);
    Contents {
        experts: Some((1..=experts.count()).map(of_expert).collect()),
        routes: Some(
            probes
                .iter()
                .map(|probe| experts.router.expert_of(probe) + 1)
                .collect(),
        ),
        joint: Some(hex::encode(joint.collect::<Vec<u8>>())),
        ..own
    }
}

fn of_mask(mask: &Mask, base: &Weights, weights: &Weights) -> Contents {
    let name = |index: usize| base.architecture.tensors[index].name.clone();
    let values = |values: &Vec<f32>| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let tensors = mask.tensors.iter().map(|(&index, bits)| Tensor {
        index,
        name: name(index),
        dropped: bits.count_zeros(),
        bits: Digest::of(bits.as_bytes()).to_string(),
    });
    let norms = mask.norms.iter().map(|(&index, moved)| Norm {
        index,
        name: name(index),
        values: Digest::of(&values(moved)).to_string(),
    });
    Contents {
        tensors: tensors.collect(),
        norms: norms.collect(),
        weights: weights.digest().to_string(),
        experts: None,
        routes: None,
        joint: None,
    }
}

/// Writes the cascade `artefact` again.
fn again(artefact: &Artefact, experts: &Experts, base: &Weights) -> Vec<u8> {
    let mask = artefact.mask(base).unwrap();
    let expert = |number: usize| NewExpert {
        mask: artefact.expert_mask(number, &mask, base).unwrap(),
        weights: experts.weights(number).unwrap(),
    };
    let all: Vec<_> = (1..=experts.count()).map(expert).collect();
    encode_cascade(
        &artefact.header,
        &mask,
        base,
        &experts.router,
        &experts.joint,
        &all,
    )
    .unwrap()
}

#[test]
fn vectors_hold_what_their_list_says_and_are_written_the_same_again() {
    let base = base();
    if std::env::var_os("KATAGAMI_WRITE_GOLDEN").is_some() {
        write(&base);
    }
    let index = index();
    assert_eq!(index.base, base.digest().to_string());
    for vector in &index.vectors {
        let bytes = vector.bytes();
        let needs = vector.needs(&base);
        let coding = needs.coding(vector.level());
        let artefact = decode(&bytes, Limits::default()).unwrap();
        assert_eq!(
            contents(&artefact, &base, &coding),
            vector.holds,
            "{}",
            vector.file
        );
        let mask = artefact.mask_with(&base, &coding).unwrap();
        let again = match &artefact.experts {
            None => encode_with(&artefact.header, &mask, &base, &coding).unwrap(),
            Some(experts) => again(&artefact, experts, &base),
        };
        assert!(again == bytes, "{} is written otherwise today", vector.file);
    }
}

// How they are made.

/// A few small tensors: a kernel, a vector, a depthwise kernel, a 1×1 convolution.
const FEW: &[&str] = &[
    "_conv_stem.weight",
    "_bn0.bias",
    "_blocks.0._depthwise_conv.weight",
    "_blocks.0._project_conv.weight",
];
/// More of them, so that 1 % is something.
const SOME: &[&str] = &[
    "_blocks.1._expand_conv.weight",
    "_blocks.1._depthwise_conv.weight",
    "_blocks.1._project_conv.weight",
];
/// 1,152 rows of 192: 1 % is enough for the model `fast`.
const WIDE: &str = "_blocks.13._expand_conv.weight";
/// 480 rows of 80: 5 % is.
const NARROW: &str = "_blocks.7._expand_conv.weight";
/// More than 2^20 weights, and what comes after them.
const MANY: &[&str] = &[
    "_blocks.14._expand_conv.weight",
    "_blocks.14._project_conv.weight",
    "_blocks.15._expand_conv.weight",
    "_blocks.15._project_conv.weight",
    "_conv_head.weight",
    "_bn1.bias",
];

/// A view that says something in every field.
const VIEW: &str = r#"{"region": {"left": 0.125, "top": 0.0625, "width": 0.5, "height": 0.9},
    "tiles": {"columns": 3, "rows": 2, "overlap": 0.0001}, "size": 128, "bit-depth": "full-range"}"#;

/// A number from 0 to 1 that depends on what it is for alone.
fn chance(seed: u64, at: u64) -> f64 {
    let mut mixed = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(at)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 31;
    mixed = mixed.wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 29;
    ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Which weights a mask drops.
#[derive(Clone, Copy)]
enum Taste {
    /// Large weights first, more in some rows and columns, the same ones for every seed: what training does.
    Trained,
    /// Any.
    Random,
    /// As `Trained`, in every 64th row.
    Rows,
}

/// A mask over `names` that drops about `share` of each tensor's weights, but never all.
fn mask(base: &Weights, names: &[&str], share: f64, seed: u64, taste: Taste) -> Mask {
    let indices = names
        .iter()
        .map(|name| base.architecture.index_of(name).expect(name));
    let mut mask = Mask::keeping_all(base.architecture, indices);
    for (index, bits) in &mut mask.tensors {
        let of_tensor = *index as u64;
        let seed = seed * 1_000 + of_tensor;
        let columns = bits.len() / base.architecture.tensors[*index].rows();
        let weight = |at: usize| {
            let (row, column) = ((at / columns) as u64, (at % columns) as u64);
            let trained = f64::from(base.values[*index][at]).powi(4)
                * chance(of_tensor, 1_000_000 + row).powi(2)
                * chance(of_tensor, 2_000_000 + column);
            match taste {
                Taste::Random => 1.0,
                Taste::Rows if row % 64 > 0 => trained * 1e-12,
                Taste::Trained | Taste::Rows => trained,
            }
        };
        // Sampling without replacement by weight: the least -ln(chance) / weight first.
        let key = |at: usize| -chance(seed, at as u64).ln() / weight(at);
        let mut order: Vec<_> = (0..bits.len()).map(|at| (key(at), at)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let dropped = (bits.len() as f64 * share + chance(seed, 3_000_000)) as usize;
        for (_, at) in order.iter().take(dropped.min(bits.len() - 1)) {
            bits.set(*at, false);
        }
    }
    mask
}

/// The mask of a retraining: of every 20 dropped weights one is kept, and as many others drop.
fn retrained(mask: &Mask, seed: u64) -> Mask {
    let mut mask = mask.clone();
    for (index, bits) in &mut mask.tensors {
        let zeros: Vec<_> = bits.zeros().collect();
        for (n, at) in zeros.into_iter().enumerate() {
            if chance(seed, n as u64) < 0.05 {
                let other = (chance(seed + *index as u64, 1_000_000 + n as u64) * bits.len() as f64) as usize;
                bits.set(at, true);
                bits.set(other, false);
            }
        }
    }
    mask
}

/// Moves means and variances of the first BatchNorm, by a little and by a lot.
fn moved(mut mask: Mask, base: &Weights) -> Mask {
    for (name, seed) in [("_bn0.running_mean", 1), ("_bn0.running_var", 2)] {
        let index = base.architecture.index_of(name).unwrap();
        let value = |(at, value): (usize, &f32)| {
            let by = chance(seed, at as u64) as f32;
            if at % 7 == 0 {
                value * 40.0 + by
            } else {
                value * (1.0 + 0.02 * by)
            }
        };
        let values = base.values[index].iter().enumerate().map(value).collect();
        mask.norms.insert(index, values);
    }
    mask.settle(base);
    mask
}

/// A vector to be written: name, mask, parent, prior, level.
struct Draft<'a>(&'a str, Mask, Option<(&'a str, Mask)>, Option<&'a Prior>, Level);

fn write(base: &Weights) {
    let some = [FEW, SOME].concat();
    let narrow = [FEW, &[NARROW]].concat();
    let wide = [FEW, &[WIDE]].concat();
    let trained = |names: &[&str], share, seed| mask(base, names, share, seed, Taste::Trained);

    let mut one = trained(FEW, 0.0, 1);
    one.tensors
        .values_mut()
        .for_each(|bits| *bits = Bits::ones(bits.len()));
    let nothing = one.clone();
    let last = one.tensors.values_mut().last().unwrap();
    last.set(317, false);

    let learned: Vec<_> = (10..16).map(|seed| trained(&some, 0.05, seed)).collect();
    let prior = Prior::learn(base, &learned.iter().collect::<Vec<_>>());
    fs::write(folder().join("prior.kgp"), prior.encode().unwrap()).unwrap();

    let sparse = trained(&some, 94.0 / 6_400.0, 3);
    let five = trained(&some, 0.05, 4);
    let wider = trained(&narrow, 0.05, 5);
    let drafts = [
        Draft("nothing", nothing, None, None, Level::Fast),
        Draft("one", one, None, None, Level::Fast),
        Draft("sparse", sparse.clone(), None, None, Level::Best),
        Draft("view", sparse.clone(), None, None, Level::Best),
        Draft("sparse-prior", sparse.clone(), None, Some(&prior), Level::Best),
        Draft("statistics", moved(sparse, base), None, None, Level::Fast),
        Draft("1-percent-best", trained(&some, 0.01, 6), None, None, Level::Best),
        Draft("1-percent-fast", trained(&wide, 0.01, 7), None, None, Level::Fast),
        Draft("5-percent-best", five.clone(), None, None, Level::Best),
        Draft("5-percent-fast", wider.clone(), None, None, Level::Fast),
        Draft("50-percent-best", trained(FEW, 0.5, 8), None, None, Level::Best),
        Draft("50-percent-fast", trained(&some, 0.5, 9), None, None, Level::Fast),
        Draft(
            "stored",
            mask(base, FEW, 0.5, 2, Taste::Random),
            None,
            None,
            Level::Best,
        ),
        Draft(
            "delta-best",
            retrained(&five, 1),
            Some(("5-percent-best.kgm", five.clone())),
            None,
            Level::Best,
        ),
        Draft(
            "delta-fast",
            retrained(&wider, 2),
            Some(("5-percent-fast.kgm", wider)),
            None,
            Level::Fast,
        ),
        Draft(
            "delta-prior",
            retrained(&five, 3),
            Some(("5-percent-best.kgm", five)),
            Some(&prior),
            Level::Best,
        ),
        Draft(
            "segments",
            mask(base, MANY, 0.004, 17, Taste::Rows),
            None,
            None,
            Level::Fast,
        ),
    ];
    let mut vectors = Vec::new();
    for Draft(name, mask, parent, prior, level) in drafts {
        let mut header = header_of(&mask, base);
        header.prior = prior.map(Prior::digest);
        if name == "view" {
            header.view = View::parse(VIEW).unwrap();
        }
        if let Some((parent, _)) = &parent {
            header.parent = Some(Digest::of(&fs::read(folder().join(parent)).unwrap()));
        }
        let coding = Coding {
            level,
            parent: parent.as_ref().map(|(_, mask)| mask),
            prior,
        };
        let bytes = encode_with(&header, &mask, base, &coding).unwrap();
        fs::write(folder().join(format!("{name}.kgm")), &bytes).unwrap();
        let artefact = decode(&bytes, Limits::default()).unwrap();
        vectors.push(Vector {
            file: format!("{name}.kgm"),
            level: if level == Level::Best { "best" } else { "fast" }.to_owned(),
            parent: parent.as_ref().map(|(name, _)| (*name).to_owned()),
            prior: prior.map(|_| "prior.kgp".to_owned()),
            holds: contents(&artefact, base, &coding),
        });
    }
    let bytes = cascade(base);
    fs::write(folder().join("cascade.kgm"), &bytes).unwrap();
    let artefact = decode(&bytes, Limits::default()).unwrap();
    vectors.push(Vector {
        file: "cascade.kgm".to_owned(),
        level: "auto".to_owned(),
        parent: None,
        prior: None,
        holds: contents(&artefact, base, &Coding::default()),
    });
    let index = Index {
        base: base.digest().to_string(),
        vectors,
    };
    let text = serde_json::to_string_pretty(&index).unwrap();
    fs::write(folder().join("index.json"), text + "\n").unwrap();
}

/// A cascade of two experts, whose statistics have moved, too.
fn cascade(base: &Weights) -> Vec<u8> {
    let dispatcher = moved(mask(base, FEW, 0.02, 20, Taste::Trained), base);
    let expert = |seed: u64| {
        let mask = moved(retrained(&dispatcher, seed), base);
        let weights = apply(&mask, base.clone()).unwrap().digest();
        NewExpert { mask, weights }
    };
    let length = base.architecture.embedding_dim;
    let projection = |rows: u64, seed: u64| {
        let row = |row: u64| {
            let value = |at: usize| chance(seed * 100 + row, at as u64) - 0.5;
            (0..length).map(value).collect()
        };
        let mut projection = Projection::rounded(&(0..rows).map(row).collect::<Vec<_>>());
        let projected = [projection.of(&vec![0.25; length])];
        projection.centred_on(&projected);
        projection
    };
    let group = |mean: f32| Group {
        weight: 0.5 + 0.25 * mean,
        mean: vec![0.3 * mean, -0.3],
        factor: vec![1.0, 0.25, 1.5],
    };
    let router = Router {
        projection: projection(2, 1),
        groups: vec![group(1.0), group(-1.0)],
    };
    let joint = Joint {
        parts: (2..5).map(|network| projection(1, network)).collect(),
    };
    let experts = [expert(21), expert(22)];
    encode_cascade(
        &header_of(&dispatcher, base),
        &dispatcher,
        base,
        &router,
        &joint,
        &experts,
    )
    .unwrap()
}
