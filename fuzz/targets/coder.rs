//! Any bytes as coded bits and statistics.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| katagami_fuzz::bits_and_statistics(input, false));
