//! Whole numbers through the arithmetic coder: how many weights each tensor drops.

use super::Damaged;
use super::adaptive::Counter;
use super::logistic::ONE;
use super::range::BitCoder;

/// The most bits of a number.
const WIDTH: usize = 32;

/// Elias' gamma code with adaptive bits: the length in unary, given the length
/// of the number before, then the bits below the leading one.
pub(super) struct Numbers {
    lengths: Vec<Counter>,
    second: Vec<Counter>,
    before: usize,
}

impl Numbers {
    pub(super) fn new() -> Self {
        let even = |size| vec![Counter::new(ONE / 2, 0); size];
        Self {
            lengths: even((WIDTH + 1) * (WIDTH + 1)),
            second: even(WIDTH + 1),
            before: 0,
        }
    }

    /// Codes `number`, at most `most`.
    pub(super) fn code(&mut self, coder: &mut impl BitCoder, number: u32, most: u32) -> Result<u32, Damaged> {
        let longest = (u32::BITS - most.leading_zeros()) as usize;
        let own = (u32::BITS - number.leading_zeros()) as usize;
        let mut length = 0;
        while length < longest {
            // Lengths near the one before share what they learn.
            let counter = &mut self.lengths[self.before.min(WIDTH) * (WIDTH + 1) + length];
            let more = coder.code(own > length, counter.probability());
            counter.update::<30>(more);
            if !more {
                break;
            }
            length += 1;
        }
        self.before = length;
        let mut value = u32::from(length > 0);
        for place in (0..length.saturating_sub(1)).rev() {
            let bit = number >> place & 1 == 1;
            // Only the bit after the leading one is worth learning.
            let bit = if place + 2 == length {
                let counter = &mut self.second[length];
                let bit = coder.code(bit, counter.probability());
                counter.update::<30>(bit);
                bit
            } else {
                coder.code(bit, ONE / 2)
            };
            value = value << 1 | u32::from(bit);
        }
        if value > most { Err(Damaged) } else { Ok(value) }
    }
}
