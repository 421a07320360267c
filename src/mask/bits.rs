//! A packed set of bits: one per weight, 1 = kept.

/// `len` bits, packed from the least significant bit of each byte. Bits past
/// the end are always 0, so that equal sets have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits {
    bytes: Vec<u8>,
    len: usize,
}

impl Bits {
    /// `len` bits, all 1.
    pub fn ones(len: usize) -> Self {
        let mut bits = Self {
            bytes: vec![0xff; len.div_ceil(8)],
            len,
        };
        bits.clear_tail();
        bits
    }

    /// One bit for each item of `kept`.
    pub fn from_bools(kept: impl ExactSizeIterator<Item = bool>) -> Self {
        let mut bits = Self {
            bytes: vec![0; kept.len().div_ceil(8)],
            len: kept.len(),
        };
        for (index, kept) in kept.enumerate() {
            bits.bytes[index / 8] |= u8::from(kept) << (index % 8);
        }
        bits
    }

    /// Takes packed bytes; none if their number does not fit `len` or a bit past the end is 1.
    pub fn from_bytes(bytes: Vec<u8>, len: usize) -> Option<Self> {
        let mut bits = Self { bytes, len };
        let last = bits.bytes.last().copied();
        if bits.bytes.len() != len.div_ceil(8) {
            return None;
        }
        bits.clear_tail();
        (bits.bytes.last().copied() == last).then_some(bits)
    }

    /// The packed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no bit.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bit `index`. Panics past the end, as a slice does.
    pub fn get(&self, index: usize) -> bool {
        assert!(index < self.len, "bit {index} of {}", self.len);
        self.bytes[index / 8] >> (index % 8) & 1 == 1
    }

    /// Sets bit `index`. Panics past the end, as a slice does.
    pub fn set(&mut self, index: usize, kept: bool) {
        assert!(index < self.len, "bit {index} of {}", self.len);
        let bit = 1 << (index % 8);
        if kept {
            self.bytes[index / 8] |= bit;
        } else {
            self.bytes[index / 8] &= !bit;
        }
    }

    /// How many bits are 1.
    pub fn count_ones(&self) -> usize {
        self.bytes.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// How many bits are 0.
    pub fn count_zeros(&self) -> usize {
        self.len - self.count_ones()
    }

    /// How many bits differ from `other`, which must be as long.
    pub fn distance(&self, other: &Self) -> usize {
        assert_eq!(self.len, other.len, "bits of different lengths");
        self.bytes
            .iter()
            .zip(&other.bytes)
            .map(|(a, b)| (a ^ b).count_ones() as usize)
            .sum()
    }

    /// 1 where both have the same bit; `other` must be as long.
    #[must_use]
    pub fn agreement(&self, other: &Self) -> Self {
        assert_eq!(self.len, other.len, "bits of different lengths");
        let bytes = self
            .bytes
            .iter()
            .zip(&other.bytes)
            .map(|(a, b)| !(a ^ b))
            .collect();
        let mut bits = Self { bytes, len: self.len };
        bits.clear_tail();
        bits
    }

    /// All bits in order.
    pub fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        (0..self.len).map(|index| self.get(index))
    }

    /// The positions of the zeros in order: the dropped weights.
    pub fn zeros(&self) -> impl Iterator<Item = usize> + '_ {
        self.bytes.iter().enumerate().flat_map(move |(at, byte)| {
            // Whole bytes of ones, nearly all of a mask, cost one comparison.
            let used = if *byte == u8::MAX {
                0
            } else {
                8.min(self.len - at * 8)
            };
            (0..used)
                .filter(move |bit| byte >> bit & 1 == 0)
                .map(move |bit| at * 8 + bit)
        })
    }

    fn clear_tail(&mut self) {
        if let (Some(last), used @ 1..) = (self.bytes.last_mut(), self.len % 8) {
            *last &= (1 << used) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_survive_packing(kept in proptest::collection::vec(any::<bool>(), 0..100)) {
            let bits = Bits::from_bools(kept.iter().copied());
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), kept.clone());
            prop_assert_eq!(bits.count_zeros(), kept.iter().filter(|kept| !**kept).count());
            let zeros = (0..kept.len()).filter(|index| !kept[*index]).collect::<Vec<_>>();
            prop_assert_eq!(bits.zeros().collect::<Vec<_>>(), zeros);
            let again = Bits::from_bytes(bits.as_bytes().to_vec(), kept.len());
            prop_assert_eq!(again, Some(bits));
        }
    }

    #[test]
    fn a_bit_past_the_end_is_refused() {
        assert_eq!(Bits::from_bytes(vec![0b1000], 3), None);
        assert_eq!(Bits::from_bytes(vec![0, 0], 3), None);
        assert_eq!(Bits::from_bytes(vec![0b111], 3), Some(Bits::ones(3)));
    }
}
