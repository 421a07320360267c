//! A cascade (arXiv 2409.07577, §3.4): beside the mask that the artefact holds,
//! the *dispatcher*'s, one *expert* mask for each group of a site's pictures.
//!
//! Experts start where the dispatcher ended, so each is coded as a delta to it.
//! [`Router`] says from the dispatcher's embedding which expert a picture is for,
//! [`Joint`] makes one embedding of those of the networks that ran.

mod router;
mod section;

pub use router::{Group, Inference, Joint, NoInference, Projection, Router, unit};
pub use section::{ExpertSizes, MOST_COMPONENTS, MOST_EXPERTS};

use super::artefact::{self, Artefact, Coded, Coding};
use super::error::Unfit;
use super::header::Decoded;
use super::{Header, Level, Limits, Mask, MaskError, apply, format};
use crate::base::Weights;
use crate::domain::Digest;

/// An expert that is to be written.
#[derive(Debug, Clone)]
pub struct NewExpert {
    /// Its mask, over the dispatcher's tensors and with its moved statistics, settled.
    pub mask: Mask,
    /// The digest of its weights.
    pub weights: Digest,
}

/// The experts of an artefact, as far as the file alone says.
#[derive(Debug, Clone, PartialEq)]
pub struct Experts {
    /// Which expert a picture is for.
    pub router: Router,
    /// What makes one embedding of several.
    pub joint: Joint,
    /// Bytes of the section's parts.
    pub sizes: ExpertSizes,
    masks: Vec<Expert>,
    /// The section itself: a delta to another artefact carries it along.
    section: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
struct Expert {
    weights: Digest,
    coded: Coded,
}

/// Writes an artefact whose mask, the dispatcher's, is followed by experts.
/// What holds for [`encode`](super::encode) holds for each mask.
pub fn encode_cascade(
    header: &Header,
    dispatcher: &Mask,
    base: &Weights,
    router: &Router,
    joint: &Joint,
    experts: &[NewExpert],
) -> Result<Vec<u8>, MaskError> {
    let coded = experts.iter().map(|expert| {
        let mask = &expert.mask;
        mask.check(base.architecture).map_err(Unfit::of_caller)?;
        let same = mask.tensors.keys().eq(dispatcher.tensors.keys())
            && mask.norms.keys().eq(dispatcher.norms.keys());
        if !same {
            return Err(MaskError::Mismatch(
                "an expert masks or moves other tensors than its dispatcher",
            ));
        }
        artefact::encode(mask, base, Level::Auto, Some(dispatcher), None)
    });
    let coded = coded.collect::<Result<Vec<_>, _>>()?;
    let section = section::write(router, joint, experts, &coded, base.architecture.embedding_dim)?;
    format::encode_parts(header, dispatcher, base, &Coding::default(), Some(&section))
}

impl Experts {
    /// Reads the section of an artefact with `header`.
    pub(super) fn read(section: &[u8], header: &Decoded, limits: &mut Limits) -> Result<Self, MaskError> {
        // Once as it is, once taken apart.
        limits.reserve(2 * section.len())?;
        let read = section::read(section, header.architecture.embedding_dim)?;
        let expert = |(weights, [bits, norms]): (Digest, [&[u8]; 2])| {
            let coded = Coded::read(header, bits, norms, true, limits)?;
            Ok(Expert { weights, coded })
        };
        Ok(Self {
            router: read.router,
            joint: read.joint,
            sizes: read.sizes,
            masks: read
                .experts
                .into_iter()
                .map(expert)
                .collect::<Result<_, MaskError>>()?,
            section: section.to_vec(),
        })
    }

    /// How many experts there are.
    pub fn count(&self) -> usize {
        self.masks.len()
    }

    /// The digest of the weights of expert `number`, from 1; none if there is no such expert.
    pub fn weights(&self, number: usize) -> Option<Digest> {
        self.expert(number).ok().map(|expert| expert.weights)
    }

    /// The section's bytes.
    pub(super) fn section(&self) -> &[u8] {
        &self.section
    }

    fn expert(&self, number: usize) -> Result<&Expert, MaskError> {
        let found = number.checked_sub(1).and_then(|at| self.masks.get(at));
        found.ok_or(MaskError::NoSuchExpert {
            number,
            count: self.count(),
        })
    }
}

impl Artefact {
    /// The mask of expert `number`, from 1. `dispatcher` is the artefact's own mask over `base`.
    pub fn expert_mask(&self, number: usize, dispatcher: &Mask, base: &Weights) -> Result<Mask, MaskError> {
        let Some(experts) = &self.experts else {
            return Err(MaskError::NoSuchExpert { number, count: 0 });
        };
        let expert = experts.expert(number)?;
        let planes = artefact::planes(Some(dispatcher), None, &self.masked, base)?;
        expert.coded.open(&planes, self, base)
    }

    /// The weights of all networks of a cascade, each checked against its digest: the dispatcher's, then each
    /// expert's. Those of a single mask are alone.
    pub fn networks(&self, base: &Weights) -> Result<Vec<Weights>, MaskError> {
        self.each_network(base).collect()
    }

    /// Checks what [`Artefact::networks`] checks, one network in memory at a time.
    pub fn check_networks(&self, base: &Weights) -> Result<(), MaskError> {
        self.each_network(base).try_for_each(|network| network.map(drop))
    }

    fn each_network(&self, base: &Weights) -> impl Iterator<Item = Result<Weights, MaskError>> {
        let dispatcher = self.mask(base);
        let count = self.experts.as_ref().map_or(0, Experts::count);
        (0..=count).map(move |number| self.network(number, dispatcher.as_ref().map_err(Clone::clone)?, base))
    }

    /// The weights of expert `number`, from 1, checked against their digest.
    pub fn expert_weights(&self, number: usize, base: &Weights) -> Result<Weights, MaskError> {
        match &self.experts {
            Some(experts) if (1..=experts.count()).contains(&number) => {
                self.network(number, &self.mask(base)?, base)
            }
            experts => Err(MaskError::NoSuchExpert {
                number,
                count: experts.as_ref().map_or(0, Experts::count),
            }),
        }
    }

    /// The weights of network `number`, 0 being the dispatcher's, checked against their digest.
    fn network(&self, number: usize, dispatcher: &Mask, base: &Weights) -> Result<Weights, MaskError> {
        match self.experts.as_ref().and_then(|experts| experts.weights(number)) {
            None => checked(dispatcher, base, self.header.weights),
            Some(weights) => checked(&self.expert_mask(number, dispatcher, base)?, base, weights),
        }
    }
}

/// The weights of `mask`, if their digest is the promised one.
fn checked(mask: &Mask, base: &Weights, expected: Digest) -> Result<Weights, MaskError> {
    let masked = apply(mask, base.clone())?;
    match masked.digest() {
        given if given == expected => Ok(masked),
        given => Err(MaskError::WrongWeights { expected, given }),
    }
}

#[cfg(test)]
mod tests;
