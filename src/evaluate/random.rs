//! Chance as an argument: numbers that depend on a key and a counter alone.
//!
//! Every draw, fold and resample has a key of its own, so no result depends on
//! which thread asked first. The mixer is SplitMix64's (Steele, Lea and Flood,
//! "Fast splittable pseudorandom number generators", 2014).

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A stream of numbers; the `n`-th one is a function of the key and `n`.
#[derive(Debug, Clone)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// The stream of `seed` for the thing that `path` numbers, such as `[repeat, class]`.
    pub fn new(seed: u64, path: &[u64]) -> Self {
        let key = path.iter().fold(mix(seed.wrapping_add(GOLDEN)), |key, part| {
            mix(key.rotate_left(23) ^ mix(part.wrapping_add(GOLDEN)))
        });
        Self { key, counter: 0 }
    }

    /// The stream of one resample of a paired bootstrap: all figures share it.
    pub(super) fn of_resample(seed: u64, resample: u64) -> Self {
        Self::new(seed, &[0x70_6169_7265, resample])
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        mix(self.key.wrapping_add(self.counter.wrapping_mul(GOLDEN)))
    }

    /// A number below `bound`. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Puts `items` into an order drawn from this stream (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A standard normal number (Box and Muller), for synthetic embeddings.
    #[cfg(test)]
    pub(crate) fn normal(&mut self) -> f32 {
        let mut open = || ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        let (radius, angle) = (open(), open());
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_itself_and_no_other() {
        let first = |seed, path: &[u64]| Stream::new(seed, path).bits();
        assert_eq!(first(1, &[2, 3]), first(1, &[2, 3]));
        let others = [
            first(2, &[2, 3]),
            first(1, &[3, 2]),
            first(1, &[2]),
            first(1, &[2, 3, 0]),
        ];
        assert!(others.iter().all(|other| *other != first(1, &[2, 3])));
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut stream = Stream::new(7, &[]);
        let mut counts = [0_u32; 5];
        (0..50_000).for_each(|_| counts[stream.below(5)] += 1);
        assert!(
            counts.iter().all(|count| count.abs_diff(10_000) < 400),
            "{counts:?}"
        );
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<usize> = (0..100).collect();
        Stream::new(1, &[]).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
