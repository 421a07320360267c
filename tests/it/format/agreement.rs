//! Both decoders agree, on what artefacts hold and on what is none.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use katagami::base::{Weights, architecture};
use katagami::domain::Problem;
use katagami::mask::{Coding, Limits, MaskError, apply_artefact_with, decode};
use serde_json::Value;

use super::vectors::{self, Vector, contents};
use crate::support::stored;

/// What the second decoder says of each file.
fn second(base: &Path, files: &[PathBuf], needs: &[(&str, PathBuf)]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format/decoder.py");
    let mut python = Command::new("python3");
    python.arg("-B").arg(script).arg(base).args(files);
    for (option, path) in needs {
        python.arg(option).arg(path);
    }
    let output = python.output().expect("python3 is installed");
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(answers.len(), files.len(), "{errors}");
    let refused = answers.iter().any(|answer| answer.get("error").is_some());
    assert_eq!(output.status.code(), Some(i32::from(refused)), "{errors}");
    answers
}

/// The second decoder reads zstd by the command of that name.
fn zstd_is_there() -> bool {
    let there = Command::new("zstd")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !there {
        eprintln!("skipped what is behind zstd: there is no command `zstd` for the decoder in Python");
    }
    there
}

fn needs(vector: &Vector) -> Vec<(&'static str, PathBuf)> {
    let path = |name: &String| vectors::folder().join(name);
    let parent = vector.parent.as_ref().map(|name| ("--parent", path(name)));
    let prior = vector.prior.as_ref().map(|name| ("--prior", path(name)));
    parent.into_iter().chain(prior).collect()
}

/// What our decoder says of `bytes`, in the words of the second.
fn first(bytes: &[u8], base: &Weights, coding: &Coding) -> Value {
    let read = || -> Result<Value, MaskError> {
        let artefact = decode(bytes, Limits::default())?;
        apply_artefact_with(&artefact, base.clone(), coding)?;
        if artefact.experts.is_some() {
            artefact.check_networks(base)?;
        }
        Ok(serde_json::to_value(contents(&artefact, base, coding)).unwrap())
    };
    read().unwrap_or_else(|error| serde_json::json!({ "error": error.code() }))
}

/// Writes `files` into `folder` and lets both decoders read them.
fn both_say_the_same(
    files: &[Vec<u8>],
    base: &Weights,
    folder: &Path,
    case: impl Fn(usize) -> String,
) -> Vec<Value> {
    let path = stored(base, folder, "base.safetensors");
    let name = |n: usize| folder.join(format!("{n}.kgm"));
    for (n, file) in files.iter().enumerate() {
        std::fs::write(name(n), file).unwrap();
    }
    let names: Vec<_> = (0..files.len()).map(name).collect();
    let said = second(&path, &names, &[]);
    for (n, (file, second)) in files.iter().zip(&said).enumerate() {
        let first = first(file, base, &Coding::default());
        assert_eq!(of_one_kind(&first), of_one_kind(second), "{}", case(n));
    }
    said
}

/// Damage that drops a whole tensor may be told as either; which is found first is nobody's concern.
fn of_one_kind(answer: &Value) -> Value {
    match answer["error"].as_str() {
        Some("nothing_kept") => serde_json::json!({ "error": "artefact_corrupt" }),
        _ => answer.clone(),
    }
}

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(vectors::folder().join(name)).unwrap()
}

#[test]
fn it_knows_the_same_architectures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format");
    let output = Command::new("python3")
        .args([
            "-B",
            "-c",
            "import decoder, json; print(json.dumps(decoder.ARCHITECTURES))",
        ])
        .current_dir(folder)
        .output()
        .expect("python3 is installed");
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tensors = |name: &str| -> Vec<Value> {
        let tensors = architecture(name).unwrap().tensors.iter();
        tensors
            .map(|spec| serde_json::json!([spec.name, spec.shape]))
            .collect()
    };
    for name in katagami::base::architecture::names() {
        let architecture = architecture(name).unwrap();
        let last = architecture.tensors.last().unwrap().len();
        assert_eq!(
            architecture.embedding_dim, last,
            "the length of an embedding of {name}"
        );
    }
    let ours: serde_json::Map<String, Value> = katagami::base::architecture::names()
        .map(|name| (name.to_owned(), tensors(name).into()))
        .collect();
    assert!(
        theirs == Value::from(ours),
        "an architecture has other tensors than the specification says"
    );
}

#[test]
fn a_decoder_written_from_the_specification_reads_every_vector() {
    let folder = tempfile::tempdir().unwrap();
    let base = stored(&vectors::base(), folder.path(), "base.safetensors");
    let zstd = zstd_is_there();
    for vector in vectors::index().vectors {
        if vector.prior.is_some() && !zstd {
            continue;
        }
        let said = second(&base, &[vectors::folder().join(&vector.file)], &needs(&vector));
        assert_eq!(
            said,
            [serde_json::to_value(&vector.holds).unwrap()],
            "{}",
            vector.file
        );
    }
}

#[test]
fn it_reads_version_1_too() {
    if !zstd_is_there() {
        return;
    }
    // The base of `src/mask/tests`, which the golden file is for.
    let architecture = architecture("efficientnet_lite0").unwrap();
    let value = |tensor: usize, element: usize| ((tensor * 31 + element * 17) % 1009) as f32 * 0.01 - 5.0;
    let values = architecture.tensors.iter().enumerate();
    let values = values.map(|(t, spec)| (0..spec.len()).map(|e| value(t, e)).collect());
    let base = Weights {
        architecture,
        values: values.collect(),
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.kgm");
    let folder = tempfile::tempdir().unwrap();
    let said = both_say_the_same(&[std::fs::read(golden).unwrap()], &base, folder.path(), |_| {
        "v1".to_owned()
    });
    assert!(said[0].get("weights").is_some(), "{}", said[0]);
}

#[test]
fn without_parent_or_prior_both_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let base = vectors::base();
    let said = both_say_the_same(
        &[vector("delta-best.kgm"), vector("sparse-prior.kgm")],
        &base,
        folder.path(),
        |n| format!("vector {n}"),
    );
    let error = |code| serde_json::json!({ "error": code });
    assert_eq!(said, [error("parent_missing"), error("prior_missing")]);
}

#[test]
fn both_refuse_every_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let whole = vector("one.kgm");
    let files: Vec<_> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    let said = both_say_the_same(&files, &vectors::base(), folder.path(), |n| format!("{n} bytes"));
    assert!(
        said.iter().all(|answer| answer["error"] == "artefact_truncated"),
        "{said:?}"
    );
}

#[test]
fn both_refuse_single_flipped_bits() {
    let folder = tempfile::tempdir().unwrap();
    let whole = vector("statistics.kgm");
    let flipped = |bit: usize| {
        let mut file = whole.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        file
    };
    // Every bit of the frame's beginning, and one in seven of the rest.
    let bits: Vec<_> = (0..22 * 8).chain((22 * 8..whole.len() * 8).step_by(7)).collect();
    let files: Vec<_> = bits.iter().map(|bit| flipped(*bit)).collect();
    let said = both_say_the_same(&files, &vectors::base(), folder.path(), |n| {
        format!("bit {}", bits[n])
    });
    assert!(said.iter().all(|answer| answer.get("error").is_some()));
}

/// Here a flip can give another mask, whose weights have another digest. What is refused, and why, must be
/// the same in both.
#[test]
fn both_say_the_same_of_flips_behind_a_right_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = [
        ("nothing.kgm", 11),
        ("one.kgm", 11),
        ("statistics.kgm", 23),
        ("stored.kgm", 67),
        ("cascade.kgm", 2503),
    ]
    .into_iter()
    .flat_map(|(name, step)| {
        let whole = vector(name);
        let bits = (8 * 8..(whole.len() - 32) * 8).step_by(step);
        bits.map(|bit| {
            (
                format!("bit {bit} of {name}"),
                super::hostile::resealed(&whole, bit),
            )
        })
        .collect::<Vec<_>>()
    })
    .collect();
    let (cases, files): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    both_say_the_same(&files, &vectors::base(), folder.path(), |n| cases[n].clone());
}
