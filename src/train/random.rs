//! Counter-based randomness: a number is a function of what it is drawn for,
//! so nothing depends on the order in which threads draw.

/// What a number is drawn for; keeps draws for different ends independent.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub enum Purpose {
    /// The order of images in an epoch.
    Order = 1,
    /// A crop and its colours.
    Crop,
    /// Which blocks are dropped.
    DropConnect,
    /// First values of the head.
    Head,
    /// A view for the comparison without labels.
    View,
    /// Where the search for groups of images begins.
    Groups,
}

/// A stream of numbers for one purpose at one place.
#[derive(Debug, Clone)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// The stream for `purpose` at `place` (such as step, image and crop).
    pub fn new(seed: u64, purpose: Purpose, place: [u64; 3]) -> Self {
        // Addition, not exclusive or: seed 1 for purpose 2 is not seed 2 for purpose 1.
        let parts = [purpose as u64].into_iter().chain(place);
        let key = parts.fold(seed, |key, part| {
            mix(mix(key ^ GOLDEN).wrapping_add(part).wrapping_add(GOLDEN))
        });
        Self { key, counter: 0 }
    }

    /// The next 64 random bits.
    pub fn next_bits(&mut self) -> u64 {
        self.counter += 1;
        mix(self.key.wrapping_add(self.counter.wrapping_mul(GOLDEN)))
    }

    /// The next number, uniform in [0, 1).
    pub fn next_unit(&mut self) -> f64 {
        (self.next_bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The next number, uniform in [low, high).
    pub fn next_in(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next_unit()
    }

    /// The next toss of a coin.
    pub fn next_coin(&mut self) -> bool {
        self.next_bits() >> 63 == 1
    }
}

/// 2⁶⁴ divided by the golden ratio: steps that meet every value before one twice.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): every bit of the input reaches every bit of the output.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The images of `step`: batches from an order that is drawn anew for each
/// epoch. An incomplete last batch is left out.
pub fn batch(seed: u64, step: u32, images: usize, batch: usize) -> Vec<usize> {
    let batches = images / batch;
    let (epoch, within) = (step as usize / batches, step as usize % batches);
    let rank =
        |image: &usize| Stream::new(seed, Purpose::Order, [epoch as u64, *image as u64, 0]).next_bits();
    let mut order: Vec<usize> = (0..images).collect();
    order.sort_by_cached_key(|image| (rank(image), *image));
    order[within * batch..(within + 1) * batch].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_uniform_and_depend_on_every_part_of_their_place() {
        let mut stream = Stream::new(1, Purpose::Crop, [2, 3, 4]);
        let mean = (0..10_000).map(|_| stream.next_unit()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let first = |seed, purpose, place| Stream::new(seed, purpose, place).next_bits();
        let all = [
            first(1, Purpose::Crop, [2, 3, 4]),
            first(2, Purpose::Crop, [2, 3, 4]),
            first(1, Purpose::Order, [2, 3, 4]),
            first(1, Purpose::Crop, [3, 2, 4]),
            first(1, Purpose::Crop, [2, 3, 0]),
        ];
        let unique: std::collections::HashSet<_> = all.into_iter().collect();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn an_epoch_shows_each_image_at_most_once() {
        let mut shown: Vec<usize> = (0..3).flat_map(|step| batch(7, step, 100, 32)).collect();
        shown.sort_unstable();
        shown.dedup();
        assert_eq!(shown.len(), 96);
        assert_ne!(batch(7, 0, 100, 32), batch(7, 3, 100, 32));
    }
}
