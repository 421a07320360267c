//! Embeddings agree with the reference implementations on the same input:
//! tests/fixtures/make.py made the expected ones, and says how.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use katagami::base::{Role, TensorSpec, Weights, architecture, import};
use katagami::domain::Digest;

use crate::support::{generated_base, katagami, stored};
use crate::worker::{pictures, worker};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixtures().join(name)).unwrap()).unwrap()
}

/// The picture that tests/fixtures/make.py gives a network of that size: what
/// is neither 64 nor 96 pixels is laid out with 96.ppm, in `folder`.
fn picture(size: u32, folder: &Path) -> PathBuf {
    if [64, 96].contains(&size) {
        return fixtures().join(format!("{size}.ppm"));
    }
    let file = std::fs::read(fixtures().join("96.ppm")).unwrap();
    let pixels = &file[file.len() - 3 * 96 * 96..];
    let mut laid_out = format!("P6 {size} {size} 255\n").into_bytes();
    for (y, x) in (0..size as usize).flat_map(|y| (0..size as usize).map(move |x| (y % 96, x % 96))) {
        laid_out.extend(&pixels[3 * (96 * y + x)..][..3]);
    }
    let path = folder.join(format!("{size}.ppm"));
    std::fs::write(&path, laid_out).unwrap();
    path
}

/// Fails unless max|a−b| ≤ 1e-4 · max|b| for the expected embedding b.
fn agrees(base: &Path, name: &str, size: u32) {
    let expected = fixture("embeddings.json");
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_f64().unwrap())
            .collect()
    };
    let expected = numbers(&expected[format!("{name}/{size}")]);
    let folder = tempfile::tempdir().unwrap();
    let (picture, size_text) = (picture(size, folder.path()), size.to_string());
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
    for (weights, networks) in [
        ("efficientnet_lite1", &[("efficientnet_lite1", 64)][..]),
        ("efficientnet_lite2", &[("efficientnet_lite2", 64)]),
        ("resnet18", &[("resnet18", 64)]),
        ("resnet34", &[("resnet34", 64)]),
        ("resnet50", &[("resnet50", 64)]),
        ("mobilenet_v2", &[("mobilenet_v2", 64), ("mobilenet_v2", 96)]),
        // At the size that they were made for, and at others, for which positions are resampled.
        (
            "vit_small_patch16_224",
            &[
                ("vit_small_patch16_224", 224),
                ("vit_small_patch16_224", 96),
                ("vit_small_patch16_224_dino", 96),
            ],
        ),
        ("vit_small_patch14_dinov2", &[("vit_small_patch14_dinov2", 98)]),
        (
            "vit_small_patch14_reg4_dinov2",
            &[("vit_small_patch14_reg4_dinov2", 98)],
        ),
        (
            "vit_base_patch32_clip_224",
            &[
                ("vit_base_patch32_clip_224", 96),
                ("vit_base_patch32_clip_quickgelu_224", 224),
            ],
        ),
    ] {
        let base = stored(
            &weights_of_the_formula(weights),
            folder.path(),
            "base.safetensors",
        );
        for (network, size) in networks {
            agrees(&base, network, *size);
        }
    }
}

#[test]
fn tensors_are_those_of_the_references_in_their_order() {
    for (name, digest) in fixture("layouts.json").as_object().unwrap() {
        let Some(architecture) = architecture(name) else {
            continue;
        };
        let line = |spec: &TensorSpec| format!("{} {:?}", spec.name, spec.shape);
        let lines: Vec<_> = architecture.tensors.iter().map(line).collect();
        assert_eq!(
            digest,
            &Digest::of(lines.join("\n").as_bytes()).to_string(),
            "{name}"
        );
    }
}

#[test]
fn timms_mobilenet_is_the_same_base() {
    let ours = weights_of_the_formula("mobilenet_v2");
    let layouts = fixture("layouts.json");
    let names = layouts["mobilenetv2_100 of timm"].as_array().unwrap();
    assert_eq!(names.len(), ours.architecture.tensors.len());
    // The same tensors in the same order, under timm's names.
    let mut theirs = ours.architecture.clone();
    for (spec, name) in theirs.tensors.iter_mut().zip(names) {
        spec.name = name.as_str().unwrap().to_owned();
    }
    let theirs = Weights {
        architecture: Box::leak(Box::new(theirs)),
        values: ours.values.clone(),
    };
    let folder = tempfile::tempdir().unwrap();
    let file = stored(&theirs, folder.path(), "timm.safetensors");
    let imported = import(ours.architecture, &file).unwrap();
    assert_eq!(imported.digest(), ours.digest());
}

#[test]
fn input_that_is_no_whole_number_of_patches_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("never-read");
    let [file, size] = [file.to_str().unwrap(), "100"];
    let arch = "vit_small_patch14_dinov2";
    let imported = katagami(
        folder.path(),
        &[
            "base",
            "import",
            "--arch",
            arch,
            "--weights",
            file,
            "--size",
            size,
        ],
    );
    let embedded = worker(&[
        "embed",
        "--base",
        file,
        "--arch",
        arch,
        "--size",
        size,
        "picture.png",
    ]);
    for said in [imported.refused(2), embedded.refused(2)] {
        assert!(said.contains("a multiple of 14, such as 112"), "{said}");
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
        let widest = (3.0 / inputs as f64).sqrt() as f32;
        let value = |element: usize| {
            let mixed = (element as u64 * 2_654_435_761 + index as u64 * 40_503 + 12_345) & 0xffff_ffff;
            let mixed = ((mixed ^ (mixed >> 15)) * 2_246_822_519) & 0xffff_ffff;
            let spread = (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0;
            match spec.role {
                Role::NormWeight | Role::NormVariance | Role::LayerNormWeight | Role::LayerScale => {
                    1.0 + 0.1 * spread
                }
                Role::Convolution { .. } | Role::PatchEmbedding | Role::Linear => spread * widest,
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

/// As a file of a PC with another code page may be called.
#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_utf_8_is_printed_as_far_as_it_can_be() {
    use std::os::unix::ffi::OsStringExt;

    let folder = tempfile::tempdir().unwrap();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    let name = OsString::from_vec(b"caf\xe9.pgm".to_vec());
    let picture = folder.path().join(name);
    std::fs::rename(pictures(folder.path(), 1).join("0.pgm"), &picture).unwrap();
    let fixed = ["embed", "--size", "32", "--device", "cpu", "--base"].map(OsString::from);
    let arguments = [&fixed[..], &[base.into(), picture.into()]].concat();
    let embedded = worker(&arguments).good().json();
    assert!(
        embedded["image"].as_str().unwrap().ends_with("caf\u{fffd}.pgm"),
        "{embedded}"
    );
}
