//! The arithmetic coder: one bit at a time, each with its probability.
//!
//! A 64-bit interval whose settled top bytes are written at once, as in
//! Mahoney's lpaq; no carry can reach them. One trait serves writer and
//! reader, so that one walk over a mask is both encoder and decoder: they
//! cannot disagree.

use super::logistic::ONE;

/// Codes bits of given probability.
pub(super) trait BitCoder {
    /// Whether the bits come out of this coder rather than going in.
    const READS: bool;

    /// Codes a bit that is 1 with `probability` 65,536ths. A reader ignores `bit` and returns the one it read.
    fn code(&mut self, bit: bool, probability: u32) -> bool;
}

/// The interval [low, high], and where a probability splits it.
struct Interval {
    low: u64,
    high: u64,
}

impl Interval {
    const WHOLE: Self = Self {
        low: 0,
        high: u64::MAX,
    };

    /// The last value that means 1.
    #[inline]
    fn split(&self, probability: u32) -> u64 {
        debug_assert!((1..ONE).contains(&probability));
        self.low + ((self.high - self.low) >> 16) * u64::from(probability)
    }

    #[inline]
    fn take(&mut self, bit: bool, split: u64) {
        if bit {
            self.high = split;
        } else {
            self.low = split + 1;
        }
    }

    /// The top byte if it is settled; the interval moves on to the next.
    #[inline]
    fn settled(&mut self) -> Option<u8> {
        if (self.low ^ self.high) >> 56 != 0 {
            return None;
        }
        let byte = (self.high >> 56) as u8;
        self.low <<= 8;
        self.high = (self.high << 8) | 0xff;
        Some(byte)
    }
}

/// Writes bits.
pub(super) struct Writer {
    interval: Interval,
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            interval: Interval::WHOLE,
            bytes: Vec::new(),
        }
    }

    /// The fewest bytes that name a value in the interval; a reader takes what is missing as zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let Interval { low, high } = self.interval;
        for kept in 0..=8 {
            let below = u64::MAX.checked_shr(8 * kept).unwrap_or(0);
            let Some(value) = low.checked_add(below).map(|value| value & !below) else {
                continue;
            };
            if value <= high {
                self.bytes.extend(&value.to_be_bytes()[..kept as usize]);
                break;
            }
        }
        while self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
        self.bytes
    }
}

impl BitCoder for Writer {
    const READS: bool = false;

    #[inline]
    fn code(&mut self, bit: bool, probability: u32) -> bool {
        let split = self.interval.split(probability);
        self.interval.take(bit, split);
        while let Some(byte) = self.interval.settled() {
            self.bytes.push(byte);
        }
        bit
    }
}

/// Reads bits.
pub(super) struct Reader<'a> {
    interval: Interval,
    value: u64,
    rest: std::slice::Iter<'a, u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self {
            interval: Interval::WHOLE,
            value: 0,
            rest: bytes.iter(),
        };
        (0..8).for_each(|_| reader.shift());
        reader
    }

    #[inline]
    fn shift(&mut self) {
        self.value = (self.value << 8) | u64::from(self.rest.next().copied().unwrap_or(0));
    }
}

impl BitCoder for Reader<'_> {
    const READS: bool = true;

    #[inline]
    fn code(&mut self, _: bool, probability: u32) -> bool {
        let split = self.interval.split(probability);
        let bit = self.value <= split;
        self.interval.take(bit, split);
        while self.interval.settled().is_some() {
            self.shift();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_come_back(
            bits in proptest::collection::vec((any::<bool>(), 1..ONE), 0..2_000)
        ) {
            let (mut writer, mut cost) = (Writer::new(), 0.0);
            for (bit, probability) in &bits {
                writer.code(*bit, *probability);
                let share = f64::from(*probability) / f64::from(ONE);
                cost -= if *bit { share } else { 1.0 - share }.log2();
            }
            let bytes = writer.finish();
            prop_assert!(bytes.len() as f64 <= cost / 8.0 + 2.0, "{} bytes, {cost} bits", bytes.len());
            let mut reader = Reader::new(&bytes);
            for (bit, probability) in &bits {
                prop_assert_eq!(reader.code(false, *probability), *bit);
            }
        }
    }

    #[test]
    fn the_unlikely_and_the_certain_survive_side_by_side() {
        let probabilities = [1, ONE - 1, 1, ONE / 2];
        let bits = (0..50_000).map(|n| (n % 7 == 0, probabilities[n % 4]));
        let mut writer = Writer::new();
        bits.clone().for_each(|(bit, probability)| {
            writer.code(bit, probability);
        });
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        for (bit, probability) in bits {
            assert_eq!(reader.code(false, probability), bit);
        }
    }
}
