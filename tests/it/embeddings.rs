//! Embeddings agree with the reference implementations on the same input:
//! tests/fixtures/make.py made the expected ones, and says how.

use std::path::{Path, PathBuf};

use katagami::base::{Role, Weights, architecture};

use crate::support::stored;
use crate::worker::worker;

/// Fails unless max|a−b| ≤ 1e-4 · max|b| for the expected embedding b.
fn agrees(base: &Path, name: &str, size: u32) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixtures.join("embeddings.json")).unwrap()).unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_f64().unwrap())
            .collect()
    };
    let expected = numbers(&expected[format!("{name}/{size}")]);
    let (picture, size_text) = (fixtures.join(format!("{size}.ppm")), size.to_string());
    let [base, picture] = [base, &picture].map(|path| path.to_str().unwrap());
    let answer = worker(&[
        "embed", "--base", base, "--arch", name, "--size", &size_text, "--device", "cpu", picture,
    ]);
    let embedding = numbers(&answer.good().json()["embedding"]);
    assert_eq!(embedding.len(), expected.len());
    let greatest = expected.iter().fold(0.0_f64, |greatest, b| greatest.max(b.abs()));
    let apart = embedding
        .iter()
        .zip(&expected)
        .fold(0.0_f64, |apart, (a, b)| apart.max((a - b).abs()));
    assert!(
        apart <= 1e-4 * greatest,
        "{name} at {size} pixels: {apart} apart, {greatest} the greatest"
    );
}

#[test]
fn networks_with_the_formulas_weights_agree_with_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "efficientnet_lite1",
        "efficientnet_lite2",
        "resnet18",
        "resnet34",
        "resnet50",
    ] {
        let base = stored(&weights_of_the_formula(name), folder.path(), "base.safetensors");
        agrees(&base, name, 64);
    }
}

#[test]
fn efficientnet_lite0_with_its_published_weights_agrees_with_the_reference() {
    let base = demo_data().join("efficientnet-lite0.pth");
    assert!(
        base.exists(),
        "{} is missing; `make setup` fetches it",
        base.display()
    );
    for size in [64, 96] {
        agrees(&base, "efficientnet_lite0", size);
    }
}

/// Where `make setup` puts the demo's data; as in scripts/lib.sh.
fn demo_data() -> PathBuf {
    let var = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = var("KATAGAMI_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|cache| cache.join("katagami")))
        .or_else(|| var("HOME").map(|home| home.join(".cache/katagami")));
    cache.unwrap_or_default().join("demo-data")
}

/// The weights of `formula` in tests/fixtures/make.py.
fn weights_of_the_formula(name: &str) -> Weights {
    let architecture = architecture(name).unwrap();
    let values = architecture.tensors.iter().enumerate().map(|(index, spec)| {
        let inputs: usize = spec.shape[1..].iter().product();
        let value = |element: usize| {
            let mixed = (element as u64 * 2_654_435_761 + index as u64 * 40_503 + 12_345) & 0xffff_ffff;
            let mixed = ((mixed ^ (mixed >> 15)) * 2_246_822_519) & 0xffff_ffff;
            let spread = (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0;
            match spec.role {
                Role::NormWeight | Role::NormVariance => 1.0 + 0.1 * spread,
                Role::Convolution { .. } => spread * (3.0 / inputs as f64).sqrt() as f32,
                _ => 0.1 * spread,
            }
        };
        (0..spec.len()).map(value).collect()
    });
    Weights {
        values: values.collect(),
        architecture,
    }
}
