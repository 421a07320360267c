//! Checkpoints: the whole state of a training as bytes, so that another
//! process, or another machine, goes on from there and, with the same execution
//! profile (device, threads), ends with the same bits. With another one it goes
//! on, too; the artefact's header names the last.
//!
//! A checkpoint says what training it belongs to; one of another training is
//! refused by name. It is read against the lengths that base and recipe ask
//! for, so that no number in it makes its reader allocate.

use std::fmt;

use super::TrainError;
use super::sealed;
use crate::domain::Digest;

/// The first bytes; the last one is the format's version.
const MAGIC: [u8; 8] = *b"KGMCKPT\x01";

/// zstd's level: scores are noise in their low bits, more effort gains nothing.
const LEVEL: i32 = 1;

/// Everything that determines a training. Two with the same identity go
/// through the same states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The base's canonical digest.
    pub base: Digest,
    /// The digest of the preprocessing.
    pub preprocessing: Digest,
    /// The digest of the recipe, as it is carried out.
    pub recipe: Digest,
    /// The digest of the images in the order in which they are trained on.
    pub images: Digest,
    /// The digest of the scores that it began with.
    pub start: Digest,
    /// The seed.
    pub seed: u64,
}

impl Identity {
    /// What of this another identity has otherwise.
    fn difference(&self, other: &Self) -> Option<Part> {
        [
            (self.base == other.base, Part::Base),
            (self.preprocessing == other.preprocessing, Part::Preprocessing),
            (self.recipe == other.recipe, Part::Recipe),
            (self.images == other.images, Part::Images),
            (self.start == other.start, Part::Start),
            (self.seed == other.seed, Part::Seed),
        ]
        .into_iter()
        .find_map(|(same, part)| (!same).then_some(part))
    }
}

/// A part of a training's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The base.
    Base,
    /// The preprocessing.
    Preprocessing,
    /// The recipe.
    Recipe,
    /// The images.
    Images,
    /// The scores that it began with.
    Start,
    /// The seed.
    Seed,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "another base",
            Self::Preprocessing => "another preprocessing",
            Self::Recipe => "another recipe",
            Self::Images => "other images",
            Self::Start => "another start",
            Self::Seed => "another seed",
        })
    }
}

/// The state of a training between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Steps done.
    pub step: u32,
    /// Seconds spent on them, by all processes.
    pub seconds: f64,
    /// Embeddings in the queue, of each large crop.
    pub queued: u32,
    /// The loss of each step done.
    pub losses: Vec<f64>,
    /// Scores, head, queue and statistics, in the order of the session; all
    /// finite. Their number is a function of base and recipe.
    pub numbers: Vec<f32>,
}

/// Writes a checkpoint.
pub fn encode(identity: &Identity, state: &State) -> Vec<u8> {
    let mut content = Vec::new();
    for digest in [
        &identity.base,
        &identity.preprocessing,
        &identity.recipe,
        &identity.images,
        &identity.start,
    ] {
        content.extend(digest.as_bytes());
    }
    content.extend(identity.seed.to_le_bytes());
    content.extend(state.step.to_le_bytes());
    content.extend(state.seconds.to_le_bytes());
    content.extend(state.queued.to_le_bytes());
    let mut body = Vec::with_capacity(state.losses.len() * 8 + state.numbers.len() * 4);
    body.extend(state.losses.iter().flat_map(|loss| loss.to_le_bytes()));
    body.extend(state.numbers.iter().flat_map(|number| number.to_le_bytes()));
    let compressed = zstd::bulk::compress(&body, LEVEL).expect("zstd compresses what is in memory");
    content.extend(compressed);
    sealed::seal(MAGIC, &content)
}

/// Reads a checkpoint of the training `identity`, which takes `steps` and whose
/// state has `numbers`. Anything else is refused.
pub fn decode(
    checkpoint: &[u8],
    identity: &Identity,
    steps: u32,
    numbers: usize,
) -> Result<State, TrainError> {
    let mut reader = sealed::open(MAGIC, checkpoint).ok_or(TrainError::CheckpointDamaged)?;
    let mut read = || {
        let found = Identity {
            base: reader.digest()?,
            preprocessing: reader.digest()?,
            recipe: reader.digest()?,
            images: reader.digest()?,
            start: reader.digest()?,
            seed: reader.u64()?,
        };
        Some((found, reader.u32()?, reader.f64()?, reader.u32()?))
    };
    let (found, step, seconds, queued) = read().ok_or(TrainError::CheckpointDamaged)?;
    if let Some(part) = identity.difference(&found) {
        return Err(TrainError::CheckpointOfAnother(part));
    }
    if step > steps {
        return Err(TrainError::CheckpointDamaged);
    }
    let losses = step as usize * size_of::<f64>();
    let body = reader
        .expand(losses + numbers * size_of::<f32>())
        .ok_or(TrainError::CheckpointDamaged)?;
    let (losses, numbers) = body.split_at(losses);
    let losses: Vec<f64> = (losses.as_chunks::<8>().0.iter())
        .map(|raw| f64::from_le_bytes(*raw))
        .collect();
    let numbers = floats(numbers);
    let finite = seconds.is_finite()
        && losses.iter().all(|loss| loss.is_finite())
        && numbers.iter().all(|number| number.is_finite());
    if !finite {
        return Err(TrainError::CheckpointDamaged);
    }
    Ok(State {
        step,
        seconds,
        queued,
        losses,
        numbers,
    })
}

/// Little-endian numbers; an incomplete last one is left out.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    (bytes.as_chunks::<4>().0.iter())
        .map(|raw| f32::from_le_bytes(*raw))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity() -> Identity {
        Identity {
            base: Digest::of(b"base"),
            preprocessing: Digest::of(b"preprocessing"),
            recipe: Digest::of(b"recipe"),
            images: Digest::of(b"images"),
            start: Digest::of(b"start"),
            seed: 7,
        }
    }

    fn state() -> State {
        State {
            step: 3,
            seconds: 4.5,
            queued: 2,
            losses: vec![4.0, 3.5, 3.25],
            numbers: (0..100_u8).map(|n| f32::from(n) / 7.0).collect(),
        }
    }

    #[test]
    fn a_state_survives_its_bytes() {
        let bytes = encode(&identity(), &state());
        assert_eq!(decode(&bytes, &identity(), 10, 100).unwrap(), state());
    }

    #[test]
    fn a_checkpoint_of_another_training_is_refused_by_name() {
        let bytes = encode(&identity(), &state());
        let refused = |other: Identity| decode(&bytes, &other, 10, 100).unwrap_err().to_string();
        let recipe = Digest::of(b"another");
        assert!(refused(Identity { recipe, ..identity() }).contains("another recipe"));
        assert!(
            refused(Identity {
                seed: 8,
                ..identity()
            })
            .contains("another seed")
        );
        let images = Digest::of(b"another");
        assert!(refused(Identity { images, ..identity() }).contains("other images"));
        // More steps than there are, or another number of numbers: no checkpoint of this training.
        assert!(decode(&bytes, &identity(), 2, 100).is_err());
        for numbers in [0, 99, 101] {
            assert!(decode(&bytes, &identity(), 10, numbers).is_err());
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let mut diverged = state();
        diverged.numbers[5] = f32::NAN;
        assert!(decode(&encode(&identity(), &diverged), &identity(), 10, 100).is_err());
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_refused_and_never_panic(at in 0_usize..500, bit in 0_u32..8, cut in 0_usize..500) {
            let bytes = encode(&identity(), &state());
            let mut flipped = bytes.clone();
            let at = at % bytes.len();
            flipped[at] ^= 1 << bit;
            prop_assert!(decode(&flipped, &identity(), 10, 100).is_err());
            prop_assert!(decode(&bytes[..cut % bytes.len()], &identity(), 10, 100).is_err());
        }

        #[test]
        fn any_bytes_with_a_right_checksum_never_panic(content in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&sealed::seal(MAGIC, &content), &identity(), 10, 100);
            let mut own = encode(&identity(), &state());
            own.truncate(own.len() - 32 - content.len().min(60));
            own.extend(&content);
            let _ = decode(&sealed::seal(MAGIC, &own[8..]), &identity(), 10, 100);
        }
    }
}
