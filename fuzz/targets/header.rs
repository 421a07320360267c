//! Any bytes as a header, behind right lengths and checksum, alone and before bits that would fit it.
#![no_main]

use std::sync::LazyLock;

use katagami_fuzz::{BASE, coding, frame, header, mask, parts, read};

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mask = mask(0.01, 1);
    katagami::mask::encode(&header(&mask, false), &mask, &BASE).expect("it fits")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [_, bits, norms] = parts(&FILE);
    for file in [
        frame(2, [input, bits, norms]),
        frame(1, [input, &[], &[]]),
        frame(2, [input, &[0, 0], &[]]),
    ] {
        if let Ok(artefact) = read(&file) {
            let _ = artefact.mask_with(&BASE, &coding(true, katagami::mask::Level::Fast));
            let _ = artefact.coding();
        }
    }
});
