//! An artefact in memory: what can be said of it without the base, and the mask that it holds with it.

use super::cascade::{ExpertSizes, Experts};
use super::coder::{self, Input, Level, Moved, Payload, Plane};
use super::error::Unfit;
use super::header::{Decoded, Header};
use super::{Limits, Mask, MaskError, Prior};
use crate::base::{Architecture, Role, Weights};
use crate::domain::Digest;

/// A mask with its header, as a file holds them.
#[derive(Debug, Clone, PartialEq)]
pub struct Artefact {
    /// What the mask is bound to and where it comes from.
    pub header: Header,
    /// The architecture that the header names.
    pub architecture: &'static Architecture,
    /// The format version of the file.
    pub version: u16,
    /// Where the bytes of the file go.
    pub sizes: Sizes,
    /// Canonical indices of the masked tensors, in order.
    pub(super) masked: Vec<usize>,
    /// Canonical indices of the BatchNorm statistics that the artefact moves, in order.
    pub(super) moved: Vec<usize>,
    pub(super) body: Body,
    /// The experts of a cascade, whose dispatcher is the artefact's own mask; none of a single mask.
    pub experts: Option<Experts>,
}

/// The bytes of each part of an artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Sizes {
    /// Magic, version, lengths and checksum.
    pub frame: usize,
    /// The header.
    pub header: usize,
    /// The mask's bits, coded.
    pub bits: usize,
    /// BatchNorm statistics.
    pub norms: usize,
    /// A cascade's experts.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub experts: Option<ExpertSizes>,
}

impl Sizes {
    /// The whole file.
    pub fn total(&self) -> usize {
        let experts = self.experts.map_or(0, |experts| experts.total());
        self.frame + self.header + self.bits + self.norms + experts
    }
}

/// The mask of an artefact, as far as the file alone says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    /// Version 1 holds the bits themselves.
    Plain(Mask),
    /// Later versions hold what the base's weights leave open.
    Coded(Coded),
}

/// Bits and statistics of one mask, coded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Coded {
    payload: Payload,
    norms: Vec<u8>,
}

/// What an artefact may be coded with besides the base. The header names both by their digests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Coding<'a> {
    /// How much work goes into small size.
    pub level: Level,
    /// The mask of the artefact `header.parent`, over the same tensors.
    pub parent: Option<&'a Mask>,
    /// The population prior `header.prior`.
    pub prior: Option<&'a Prior>,
}

impl Coded {
    /// Reads the bits and statistics of a mask over the tensors that `decoded` names; of a delta's if `delta`.
    pub(super) fn read(
        decoded: &Decoded,
        bits: &[u8],
        norms: &[u8],
        delta: bool,
        limits: &mut Limits,
    ) -> Result<Self, MaskError> {
        let is_statistic = |index: &usize| {
            let role = decoded.architecture.tensors[*index].role;
            matches!(role, Role::NormMean | Role::NormVariance)
        };
        if decoded.masked.iter().any(is_statistic) {
            return Err(Unfit::MaskedStatistic.of_file());
        }
        if !decoded.moved.iter().all(is_statistic) {
            return Err(Unfit::MovedWeight.of_file());
        }
        let size = |index: &usize| decoded.architecture.tensors[*index].len();
        let sizes: Vec<_> = decoded.masked.iter().map(size).collect();
        // The parts are kept; the mask that they expand to is as long as the architecture says.
        limits.reserve(bits.len() + norms.len())?;
        limits.reserve(sizes.iter().map(|size| size.div_ceil(8)).sum())?;
        limits.reserve(decoded.moved.iter().map(size).sum::<usize>() * size_of::<f32>())?;
        let payload = Payload::read(bits, &sizes, delta)
            .map_err(|coder::Damaged| MaskError::Corrupt("its bits do not decode"))?;
        // Of a delta, the parent decides what is kept.
        let empties = |(flipped, size): (usize, &usize)| flipped >= *size;
        if !delta && payload.flipped().zip(&sizes).any(empties) {
            return Err(Unfit::NothingKept.of_file());
        }
        if norms.is_empty() != decoded.moved.is_empty() {
            return Err(MaskError::Corrupt(
                "its BatchNorm statistics are too few or too many",
            ));
        }
        Ok(Self {
            payload,
            norms: norms.to_vec(),
        })
    }

    /// The mask of `artefact`'s tensors and statistics that this codes, over `planes` of `base`.
    pub(super) fn open(
        &self,
        planes: &[Plane],
        artefact: &Artefact,
        base: &Weights,
    ) -> Result<Mask, MaskError> {
        let damaged = |coder::Damaged| MaskError::Corrupt("its bits do not decode");
        let bits = self.payload.decode(planes).map_err(damaged)?;
        let moved: Vec<_> = (artefact.moved.iter())
            .map(|index| moved(*index, base))
            .collect::<Option<_>>()
            .ok_or(Unfit::MovedWeight.of_file())?;
        let norms = coder::decode_statistics(&self.norms, &moved)
            .map_err(|coder::Damaged| MaskError::Corrupt("its BatchNorm statistics do not decode"))?;
        let mask = Mask {
            tensors: artefact.masked.iter().copied().zip(bits).collect(),
            norms: artefact.moved.iter().copied().zip(norms).collect(),
        };
        mask.check(artefact.architecture).map_err(Unfit::of_file)?;
        Ok(mask)
    }
}

impl Artefact {
    /// How many weights are masked at all: kept and dropped ones.
    pub fn weights(&self) -> usize {
        self.masked
            .iter()
            .map(|index| self.architecture.tensors[*index].len())
            .sum()
    }

    /// How many weights of each masked tensor are flipped, by canonical index: dropped, or of a delta
    /// dropped and kept again where its parent did otherwise.
    pub fn flips_by_tensor(&self) -> Vec<(usize, usize)> {
        match &self.body {
            Body::Plain(mask) => mask
                .tensors
                .iter()
                .map(|(index, bits)| (*index, bits.count_zeros()))
                .collect(),
            Body::Coded(Coded { payload, .. }) => {
                self.masked.iter().copied().zip(payload.flipped()).collect()
            }
        }
    }

    /// How many weights are flipped in all.
    pub fn flips(&self) -> usize {
        self.flips_by_tensor().iter().map(|(_, flips)| flips).sum()
    }

    /// The share of masked weights that is kept, 1 for a mask over nothing; of a delta the parent decides it.
    pub fn density(&self) -> Option<f64> {
        match (self.header.parent, self.weights()) {
            (Some(_), _) => None,
            (None, 0) => Some(1.0),
            (None, weights) => Some(1.0 - self.flips() as f64 / weights as f64),
        }
    }

    /// How its bits are coded, in words for people.
    pub fn coding(&self) -> String {
        match &self.body {
            Body::Plain(_) => "packed bits behind zstd".to_owned(),
            Body::Coded(Coded { payload, .. }) => format!(
                "level {}; of two weights one twice as large is taken to be {:.0} times as likely to go",
                if payload.is_best() { "best" } else { "fast" },
                payload.tilt().exp()
            ),
        }
    }

    /// The mask, decoded with the base that it is bound to; another base is refused.
    pub fn mask(&self, base: &Weights) -> Result<Mask, MaskError> {
        self.mask_with(base, &Coding::default())
    }

    /// As [`Artefact::mask`], for an artefact that needs its parent or a prior.
    pub fn mask_with(&self, base: &Weights, coding: &Coding) -> Result<Mask, MaskError> {
        // The digest takes as long as the decoding; what a wrong base decodes to is thrown away.
        let (given, mask) = rayon::join(|| base.digest(), || self.decoded(base, coding));
        if given != self.header.base {
            return Err(MaskError::WrongBase {
                expected: self.header.base,
                given,
            });
        }
        mask
    }

    fn decoded(&self, base: &Weights, coding: &Coding) -> Result<Mask, MaskError> {
        let coded = match &self.body {
            Body::Plain(mask) => return Ok(mask.clone()),
            Body::Coded(coded) => coded,
        };
        if base.architecture != self.architecture {
            return Err(MaskError::Mismatch("the base has another architecture"));
        }
        let (parent, prior) = coding.needed_by(&self.header)?;
        coded.open(&planes(parent, prior, &self.masked, base)?, self, base)
    }
}

impl Coding<'_> {
    /// The coded bits and statistics of `mask`.
    pub(super) fn encode(
        &self,
        header: &Header,
        mask: &Mask,
        base: &Weights,
    ) -> Result<(Vec<u8>, Vec<u8>), MaskError> {
        let (parent, prior) = self.needed_by(header)?;
        encode(mask, base, self.level, parent, prior)
    }

    /// Parent and prior, as far as `header` names them; an error if one that it names is not given.
    fn needed_by(&self, header: &Header) -> Result<(Option<&Mask>, Option<&Prior>), MaskError> {
        let needed = |digest: Option<Digest>, given: bool, missing: fn(Digest) -> MaskError| match digest {
            Some(digest) if !given => Err(missing(digest)),
            Some(_) => Ok(true),
            None => Ok(false),
        };
        let with_parent = needed(header.parent, self.parent.is_some(), MaskError::ParentMissing)?;
        let with_prior = needed(header.prior, self.prior.is_some(), MaskError::PriorMissing)?;
        let prior = self.prior.filter(|_| with_prior);
        if let Some(prior) = prior.filter(|prior| Some(prior.digest()) != header.prior) {
            return Err(MaskError::PriorMissing(header.prior.unwrap_or(prior.base)));
        }
        Ok((self.parent.filter(|_| with_parent), prior))
    }
}

/// The coded bits and statistics of `mask`, with what a reader will hold, too.
pub(super) fn encode(
    mask: &Mask,
    base: &Weights,
    level: Level,
    parent: Option<&Mask>,
    prior: Option<&Prior>,
) -> Result<(Vec<u8>, Vec<u8>), MaskError> {
    let masked: Vec<_> = mask.tensors.keys().copied().collect();
    let planes = planes(parent, prior, &masked, base)?;
    let bits = coder::encode(&planes, &mask.tensors.values().collect::<Vec<_>>(), level);
    let mut norms = Vec::new();
    for (index, values) in &mask.norms {
        let moved = moved(*index, base).ok_or(Unfit::MovedWeight.of_caller())?;
        if moved.settled(values) != *values {
            return Err(MaskError::Mismatch("its BatchNorm statistics are not settled"));
        }
        norms.push((moved, values.as_slice()));
    }
    Ok((bits, coder::encode_statistics(&norms)))
}

/// What the coder sees of each masked tensor.
pub(super) fn planes<'a>(
    parent: Option<&'a Mask>,
    prior: Option<&'a Prior>,
    masked: &[usize],
    base: &'a Weights,
) -> Result<Vec<Plane<'a>>, MaskError> {
    let plane = |index: &usize| {
        let weights = &base.values[*index];
        let parent = match parent {
            Some(parent) => Some(
                parent
                    .tensors
                    .get(index)
                    .filter(|bits| bits.len() == weights.len())
                    .ok_or(MaskError::Mismatch("its parent masks other tensors"))?,
            ),
            None => None,
        };
        Ok(Plane {
            weights,
            rows: base.architecture.tensors[*index].rows(),
            parent,
            prior: prior.and_then(|prior| prior.leaning(*index)),
            input: input(*index, base),
        })
    };
    masked.iter().map(plane).collect()
}

/// The BatchNorm whose channels the columns of tensor `index` read, if they read one's.
pub(super) fn input(index: usize, base: &Weights) -> Option<Input<'_>> {
    let norm = base.architecture.norm_read_by(index)?;
    Some(Input {
        factors: &base.values[norm],
        summands: &base.values[norm + 1],
    })
}

/// The base's statistics at `index`; none if there is a weight.
pub(super) fn moved(index: usize, base: &Weights) -> Option<Moved<'_>> {
    let values = base.values.get(index)?;
    match base.architecture.tensors[index].role {
        Role::NormMean => Some(Moved::Mean {
            base: values,
            variance: base.values.get(index + 1)?,
        }),
        Role::NormVariance => Some(Moved::Variance { base: values }),
        _ => None,
    }
}
