//! Where an interrupted cascade goes on: a checkpoint for each of its trainings
//! that has begun, the dispatcher's first. Those of ended ones are their last
//! states, from which their results come again; what lies between trainings
//! (groups, the joint embedding) is computed anew, to the same bits.

use crate::train::TrainError;
use crate::train::sealed;

/// The first bytes; the last one is the format's version.
const MAGIC: [u8; 8] = *b"KGMCASC\x01";

/// One file of several checkpoints.
pub fn bundle(checkpoints: &[Vec<u8>]) -> Vec<u8> {
    let mut content = (checkpoints.len() as u16).to_le_bytes().to_vec();
    for checkpoint in checkpoints {
        content.extend((checkpoint.len() as u64).to_le_bytes());
        content.extend(checkpoint);
    }
    sealed::seal(MAGIC, &content)
}

/// The checkpoints of a file that [`bundle`] made.
pub fn unbundled(file: &[u8]) -> Result<Vec<Vec<u8>>, TrainError> {
    let read = || {
        let mut reader = sealed::open(MAGIC, file)?;
        let checkpoints = (0..reader.u16()?).map(|_| {
            let length = usize::try_from(reader.u64()?).ok()?;
            reader.take(length).map(<[u8]>::to_vec)
        });
        let checkpoints = checkpoints.collect::<Option<Vec<_>>>()?;
        reader.is_empty().then_some(checkpoints)
    };
    read().ok_or(TrainError::CheckpointDamaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn checkpoints_survive_their_bundle_and_damage_is_refused(
            checkpoints in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
            at in any::<prop::sample::Index>(), to in any::<u8>(),
        ) {
            let mut file = bundle(&checkpoints);
            prop_assert_eq!(&unbundled(&file).unwrap(), &checkpoints);
            let at = at.index(file.len());
            prop_assert!(unbundled(&file[..at]).is_err());
            // Behind a right checksum it may be another bundle, but never a panic.
            let mut content = file[8..file.len() - 32].to_vec();
            if let Some(byte) = content.get_mut(at) {
                *byte = to;
            }
            let _ = unbundled(&sealed::seal(MAGIC, &content));
            file[at] ^= 1;
            prop_assert!(unbundled(&file).is_err());
        }
    }
}
