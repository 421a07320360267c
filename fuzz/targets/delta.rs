//! Any bytes as bits and statistics coded against a parent and a population prior; and as a prior.
#![no_main]

use katagami::mask::{Limits, Prior};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    katagami_fuzz::bits_and_statistics(input, true);
    let _ = Prior::decode(input, Limits::new(1 << 20));
});
