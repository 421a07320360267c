//! Images that are another one once more.

use std::collections::HashMap;

use crate::domain::image::PerceptualHash;

/// Blocks that a hash is cut into: one more than the bits in which near hashes
/// differ, so that near hashes have at least one block in common.
const BLOCKS: u32 = PerceptualHash::NEAR + 1;

/// Hashes among which near ones are found by their blocks, so that 100,000 images
/// need no ten billion comparisons.
#[derive(Debug, Default)]
pub struct Likenesses(HashMap<(u32, u64), Vec<PerceptualHash>>);

impl Likenesses {
    /// Adds a hash.
    pub fn add(&mut self, hash: PerceptualHash) {
        for block in blocks(hash) {
            self.0.entry(block).or_default().push(hash);
        }
    }

    /// Whether one of them is near `hash`.
    pub fn has_near(&self, hash: PerceptualHash) -> bool {
        let mut candidates = blocks(hash).filter_map(|block| self.0.get(&block)).flatten();
        candidates.any(|other| other.is_near(hash))
    }
}

impl FromIterator<PerceptualHash> for Likenesses {
    fn from_iter<I: IntoIterator<Item = PerceptualHash>>(hashes: I) -> Self {
        let mut all = Self::default();
        hashes.into_iter().for_each(|hash| all.add(hash));
        all
    }
}

/// Which of `hashes` are near an earlier one that is near none itself, in order.
///
/// The first of a family stays and the others are compared with it alone:
/// chains (a is near b, b near c, but a not near c) do not pull in what looks
/// otherwise.
pub(super) fn near_earlier(hashes: &[PerceptualHash]) -> Vec<usize> {
    let (mut first, mut found) = (Likenesses::default(), Vec::new());
    for (at, hash) in hashes.iter().enumerate() {
        if first.has_near(*hash) {
            found.push(at);
        } else {
            first.add(*hash);
        }
    }
    found
}

/// The blocks of a hash, each with its number.
fn blocks(hash: PerceptualHash) -> impl Iterator<Item = (u32, u64)> {
    (0..BLOCKS).map(move |block| (block, of_block(hash, block)))
}

/// The bits of a block.
const fn of_block(hash: PerceptualHash, block: u32) -> u64 {
    let (from, until) = (64 * block / BLOCKS, 64 * (block + 1) / BLOCKS);
    (hash.0 >> from) & ((1 << (until - from)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_found_whichever_bits_differ() {
        // A hash, the same with each run of four and of five bits turned.
        let hash = 0x9e37_79b9_7f4a_7c15_u64;
        for at in 0..60 {
            let four = PerceptualHash(hash ^ (0b1111 << at));
            let five = PerceptualHash(hash ^ (0b1_1111 << at));
            assert_eq!(near_earlier(&[PerceptualHash(hash), four]), [1]);
            assert!(near_earlier(&[PerceptualHash(hash), five]).is_empty());
        }
        let spread = PerceptualHash(hash ^ 0x0001_0001_0001_0001);
        assert_eq!(near_earlier(&[spread, PerceptualHash(hash)]), [1]);
    }

    #[test]
    fn a_chain_does_not_pull_in_what_looks_otherwise() {
        let chain = [0, 0b1111, 0b1111_1111].map(PerceptualHash);
        assert_eq!(near_earlier(&chain), [1]);
    }

    #[test]
    fn the_same_answer_as_by_all_comparisons() {
        let mut state = 1_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        // Families around 40 centres, so that both answers are frequent.
        let centres: Vec<u64> = (0..40).map(|_| (draw() << 33) ^ draw()).collect();
        let member = |draw: &mut dyn FnMut() -> u64| {
            let centre = centres[draw() as usize % centres.len()];
            (0..3).fold(centre, |hash, _| hash ^ (1 << (draw() % 64)))
        };
        let hashes: Vec<PerceptualHash> = (0..400).map(|_| PerceptualHash(member(&mut draw))).collect();
        let mut first: Vec<PerceptualHash> = Vec::new();
        let mut plain = Vec::new();
        for (at, hash) in hashes.iter().enumerate() {
            if first.iter().any(|other| other.is_near(*hash)) {
                plain.push(at);
            } else {
                first.push(*hash);
            }
        }
        assert!(plain.len() > 100 && plain.len() < 380, "{}", plain.len());
        assert_eq!(near_earlier(&hashes), plain);
    }
}
