//! The scores that a training ends with, in a compact form: what a successor
//! starts from. They stay on the server; devices get the bits only.
//!
//! Half precision: the last bits of a score tell nothing, its side of the
//! threshold all. High and low bytes lie apart, which compresses better.

use std::collections::BTreeMap;

use half::f16;

use super::TrainError;
use super::sealed;
use crate::base::{Architecture, Weights};
use crate::domain::Digest;
use crate::mask::Bits;

/// The first bytes; the last one is the format's version.
const MAGIC: [u8; 8] = *b"KGMSCOR\x01";

/// zstd's level: written once a training.
const LEVEL: i32 = 9;

/// Scores by canonical index, and the base that they belong to. A score above
/// 0 keeps its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct FinalScores {
    /// The base's canonical digest.
    pub base: Digest,
    /// The scores of each masked tensor, as long as the tensor.
    pub tensors: BTreeMap<usize, Vec<f32>>,
}

impl FinalScores {
    /// The compact form. What was above 0 stays so, and what was not stays that.
    pub fn encode(&self) -> Vec<u8> {
        let mut content = self.base.as_bytes().to_vec();
        content.extend((self.tensors.len() as u16).to_le_bytes());
        for index in self.tensors.keys() {
            content.extend((*index as u16).to_le_bytes());
        }
        let halves: Vec<[u8; 2]> = self
            .tensors
            .values()
            .flatten()
            .map(|score| half(*score))
            .collect();
        let mut planes: Vec<u8> = halves.iter().map(|half| half[1]).collect();
        planes.extend(halves.iter().map(|half| half[0]));
        content.extend(zstd::bulk::compress(&planes, LEVEL).expect("zstd compresses what is in memory"));
        sealed::seal(MAGIC, &content)
    }

    /// The bits of the mask that these scores make.
    pub fn bits(&self) -> BTreeMap<usize, Bits> {
        let bits = |scores: &Vec<f32>| Bits::from_bools(scores.iter().map(|score| *score > 0.0));
        (self.tensors.iter())
            .map(|(index, scores)| (*index, bits(scores)))
            .collect()
    }

    /// Reads scores for `base`; those of another base are refused.
    pub fn decode(bytes: &[u8], base: &Weights) -> Result<Self, TrainError> {
        let own = base.digest();
        let (found, tensors) = read(bytes, base.architecture).ok_or(TrainError::ScoresDamaged)?;
        if found != own {
            return Err(TrainError::ScoresOfAnother {
                expected: own,
                given: found,
            });
        }
        Ok(Self { base: own, tensors })
    }
}

type Scores = BTreeMap<usize, Vec<f32>>;

fn read(bytes: &[u8], architecture: &Architecture) -> Option<(Digest, Scores)> {
    let mut reader = sealed::open(MAGIC, bytes)?;
    let base = reader.digest()?;
    let mut lengths = BTreeMap::new();
    for _ in 0..reader.u16()? {
        let index = usize::from(reader.u16()?);
        lengths.insert(index, architecture.tensors.get(index)?.len());
    }
    let total: usize = lengths.values().sum();
    let planes = reader.expand(2 * total)?;
    let (high, low) = planes.split_at(total);
    let mut scores = (high.iter().zip(low)).map(|(high, low)| f16::from_le_bytes([*low, *high]).to_f32());
    let tensors: Scores = lengths
        .into_iter()
        .map(|(index, length)| (index, scores.by_ref().take(length).collect()))
        .collect();
    let finite = tensors.values().flatten().all(|score| score.is_finite());
    finite.then_some((base, tensors))
}

fn half(score: f32) -> [u8; 2] {
    let rounded = f16::from_f32(score.clamp(-f16::MAX.to_f32(), f16::MAX.to_f32()));
    let rounded = match rounded {
        // Too small for a half, but above the threshold.
        zero if zero.to_f32() == 0.0 && score > 0.0 => f16::MIN_POSITIVE_SUBNORMAL,
        other => other,
    };
    rounded.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::architecture;

    fn base() -> Weights {
        let architecture = architecture("resnet18").unwrap();
        let values = architecture.tensors.iter().map(|spec| vec![0.5; spec.len()]);
        Weights {
            architecture,
            values: values.collect(),
        }
    }

    #[test]
    fn scores_of_another_base_and_damaged_ones_are_refused() {
        let base = base();
        let scores = FinalScores {
            base: base.digest(),
            tensors: [(0, vec![1.0; base.values[0].len()])].into(),
        };
        let bytes = scores.encode();
        assert_eq!(FinalScores::decode(&bytes, &base).unwrap(), scores);
        let mut other = base.clone();
        other.values[0][0] = 0.25;
        let said = FinalScores::decode(&bytes, &other).unwrap_err().to_string();
        assert!(said.contains(&other.digest().to_string()), "{said}");
        for at in [0, 9, 50, bytes.len() - 40, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(FinalScores::decode(&flipped, &base).is_err());
            assert!(FinalScores::decode(&bytes[..at], &base).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_score_keeps_its_side_and_nearly_its_value(score in prop_oneof![-4.0_f32..4.0, -1e-9_f32..1e-9, Just(0.0_f32), any::<f32>()]) {
            prop_assume!(score.is_finite());
            let back = f16::from_le_bytes(half(score)).to_f32();
            prop_assert_eq!(back > 0.0, score > 0.0);
            if score.abs() < 4.0 {
                prop_assert!((back - score).abs() < 2e-3);
            }
        }

        #[test]
        fn any_bytes_with_a_right_checksum_never_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&sealed::seal(MAGIC, &content), architecture("resnet18").unwrap());
        }
    }
}
