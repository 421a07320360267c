//! `katagami artefact …` over the real executable.

use katagami::base::{architecture, import};

use crate::support::{artefact_over, generated_base, katagami, stored};

#[test]
fn a_mask_is_explained_verified_and_applied() {
    let folder = tempfile::tempdir().unwrap();
    let base = generated_base(1);
    let base_path = stored(&base, folder.path(), "base.safetensors");
    let (header, bytes) = artefact_over(&base);
    let (mask_path, out) = (
        folder.path().join("mask.kgm"),
        folder.path().join("masked.safetensors"),
    );
    std::fs::write(&mask_path, &bytes).unwrap();
    let (mask, base, out_text) = (
        mask_path.to_str().unwrap(),
        base_path.to_str().unwrap(),
        out.to_str().unwrap(),
    );

    let shown = katagami(folder.path(), &["artefact", "show", mask]).good().out;
    assert!(
        shown.contains("version 1 of site osaka") && shown.contains("_conv_head.weight"),
        "{shown}"
    );
    let json = katagami(folder.path(), &["artefact", "show", mask, "--json"])
        .good()
        .json();
    assert_eq!(json["bytes"]["total"], bytes.len());
    assert_eq!(json["dropped_weights"], 11);
    katagami(folder.path(), &["artefact", "verify", mask, "--base", base]).good();
    katagami(
        folder.path(),
        &["artefact", "apply", mask, "--base", base, "--out", out_text],
    )
    .good();
    let masked = import(architecture("efficientnet_lite0").unwrap(), &out).unwrap();
    assert_eq!(masked.digest(), header.weights);
}

#[test]
fn a_flipped_byte_of_mask_or_base_is_refused_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let base = generated_base(1);
    let base_path = stored(&base, folder.path(), "base.safetensors");
    let (_, bytes) = artefact_over(&base);
    let mask_path = folder.path().join("mask.kgm");
    let out = folder.path().join("masked.safetensors");
    let apply = || {
        let [mask, base, out] = [&mask_path, &base_path, &out].map(|path| path.to_str().unwrap());
        katagami(
            folder.path(),
            &["artefact", "apply", mask, "--base", base, "--out", out],
        )
    };

    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    std::fs::write(&mask_path, flipped).unwrap();
    assert!(apply().refused(2).contains("damaged"));

    std::fs::write(&mask_path, &bytes).unwrap();
    let mut file = std::fs::read(&base_path).unwrap();
    let last = file.len() - 4;
    file[last] ^= 1;
    std::fs::write(&base_path, &file).unwrap();
    let said = apply().refused(1);
    assert!(
        said.contains(&base.digest().to_string()),
        "both digests are named: {said}"
    );
    assert!(!out.exists(), "nothing was written");
}

#[test]
fn names_order_and_other_tensors_of_the_base_file_stay() {
    let folder = tempfile::tempdir().unwrap();
    let base = generated_base(1);
    let path = stored(&base, folder.path(), "base.safetensors");
    // A file as another program may write it: metadata, and a tensor of its own at the end.
    let file = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&file[8..8 + length]).unwrap();
    let data = file.len() - 8 - length;
    header.insert("__metadata__".to_owned(), serde_json::json!({ "format": "pt" }));
    header.insert(
        "_fc.bias".to_owned(),
        serde_json::json!({ "dtype": "F32", "shape": [2], "data_offsets": [data, data + 8] }),
    );
    let header = serde_json::to_vec(&header).unwrap();
    let mut other = (header.len() as u64).to_le_bytes().to_vec();
    other.extend(&header);
    other.extend(&file[8 + length..]);
    other.extend([1, 2, 3, 4, 5, 6, 7, 8]);
    std::fs::write(&path, &other).unwrap();

    let mask = folder.path().join("mask.kgm");
    std::fs::write(&mask, artefact_over(&base).1).unwrap();
    let out = folder.path().join("out.safetensors");
    let [mask, base, out_text] = [&mask, &path, &out].map(|path| path.to_str().unwrap());
    katagami(
        folder.path(),
        &["artefact", "apply", mask, "--base", base, "--out", out_text],
    )
    .good();
    let written = std::fs::read(&out).unwrap();
    assert_eq!(written[..8 + header.len()], other[..8 + header.len()]);
    assert_eq!(written.len(), other.len());
    assert_eq!(written[written.len() - 8..], [1, 2, 3, 4, 5, 6, 7, 8]);
}
