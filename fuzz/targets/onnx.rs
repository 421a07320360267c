//! Any bytes as an export of the base, to be masked in place. What is refused stays as it was.
#![no_main]

use std::sync::LazyLock;

use katagami::base::Weights;
use katagami::mask::{Limits, apply, onnx::patch_onnx};
use katagami_fuzz::{BASE, PARENT};

static MASKED: LazyLock<Weights> = LazyLock::new(|| apply(&PARENT, BASE.clone()).expect("it fits"));

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut model = input.to_vec();
    match patch_onnx(&BASE, &MASKED, &mut model, Limits::new(4 << 20)) {
        Ok(()) => assert_eq!(model.len(), input.len()),
        Err(_) => assert_eq!(model, input),
    }
});
