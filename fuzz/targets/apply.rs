//! Any bytes as a whole file, with its own checksum and with a right one, laid over a base. What is applied has
//! the digest that the file names, or nothing is.
#![no_main]

use katagami::mask::Level;
use katagami::mask::apply_artefact_with;
use katagami_fuzz::{BASE, coding, read, seal};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for file in [input.to_vec(), seal(input.to_vec())] {
        let Ok(artefact) = read(&file) else { continue };
        let delta = artefact.header.parent.is_some();
        if let Ok(weights) = apply_artefact_with(&artefact, BASE.clone(), &coding(delta, Level::Fast)) {
            assert_eq!(weights.digest(), artefact.header.weights);
        }
    }
});
