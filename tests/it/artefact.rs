//! `katagami artefact …` over the real executable.

use katagami::base::{Weights, architecture, import};
use katagami::mask::{Header, Limits, apply, decode, encode};

use crate::support::{Answer, artefact_over, generated_base, katagami, stored};

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
fn what_is_no_base_of_the_mask_and_where_nothing_can_be_written_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let base = generated_base(1);
    let base_path = stored(&base, folder.path(), "base.safetensors");
    let (mask_path, other) = (
        folder.path().join("mask.kgm"),
        folder.path().join("other.safetensors"),
    );
    std::fs::write(&mask_path, artefact_over(&base).1).unwrap();
    let header = br#"{"conv1.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(&other, [&length[..], header, &[0; 4]].concat()).unwrap();
    let [mask, base, other] = [&mask_path, &base_path, &other].map(|path| path.to_str().unwrap());
    let verify = ["artefact", "verify", mask, "--base", other];
    let said = katagami(folder.path(), &verify).refused(2);
    assert!(
        said.contains("other.safetensors` is not the efficientnet_lite0 that the mask is for"),
        "{said}"
    );
    let out = folder.path().join("nowhere/out.safetensors");
    let apply = [
        "artefact",
        "apply",
        mask,
        "--base",
        base,
        "--out",
        out.to_str().unwrap(),
    ];
    let said = katagami(folder.path(), &apply).refused(3);
    assert!(
        said.contains("its folder is not there") && !said.contains("nowhere/.tmp"),
        "{said}"
    );
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

/// A field of an ONNX message.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::bytes::encode(number, &content.to_vec(), &mut bytes);
    bytes
}

/// An ONNX model with the tensors of `weights`, each layer of which is read by `operators`.
fn onnx(weights: &Weights, operators: [&str; 2]) -> Vec<u8> {
    let names: Vec<&[u8]> = (weights.architecture.tensors.iter())
        .map(|spec| spec.name.as_bytes())
        .collect();
    let node = |operator: &str, inputs: &[&[u8]]| {
        let mut node = field(1, b"");
        inputs.iter().for_each(|input| node.extend(field(1, input)));
        node.extend(field(4, operator.as_bytes()));
        field(1, &node)
    };
    let mut graph = Vec::new();
    for layer in names.chunks(5) {
        graph.extend(node(operators[0], &layer[..1]));
        graph.extend(node(operators[1], &layer[1..]));
    }
    for (name, values) in names.iter().zip(&weights.values) {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = [&[0x10, 1][..], &field(8, name), &field(9, &raw)].concat();
        graph.extend(field(5, &tensor));
    }
    field(7, &graph)
}

#[test]
fn an_onnx_export_of_the_base_is_masked_in_place_and_a_quantised_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base = generated_base(1);
    let base_path = stored(&base, folder.path(), "base.safetensors");
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("mask.kgm"), artefact_over(&base).1).unwrap();
    let apply = |export: &str, out: &str| {
        let base = base_path.to_str().unwrap();
        katagami(
            folder.path(),
            &[
                "artefact",
                "apply",
                &at("mask.kgm"),
                "--base",
                base,
                "--onnx",
                &at(export),
                "--out",
                &at(out),
            ],
        )
    };

    let layers = ["Conv", "BatchNormalization"];
    std::fs::write(at("base.onnx"), onnx(&base, layers)).unwrap();
    apply("base.onnx", "masked.onnx").good();
    let base = base_path.to_str().unwrap();
    let (mask, out) = (at("mask.kgm"), at("masked.safetensors"));
    katagami(
        folder.path(),
        &["artefact", "apply", &mask, "--base", base, "--out", &out],
    )
    .good();
    let masked = import(architecture("efficientnet_lite0").unwrap(), out.as_ref()).unwrap();
    assert!(std::fs::read(at("masked.onnx")).unwrap() == onnx(&masked, layers));

    let quantised = onnx(&generated_base(1), ["QLinearConv", "BatchNormalization"]);
    std::fs::write(at("quantised.onnx"), quantised).unwrap();
    let said = apply("quantised.onnx", "none.onnx").refused(2);
    assert!(said.contains("quantised") && said.contains("torch.onnx.export"));
    assert!(!folder.path().join("none.onnx").exists(), "nothing was written");
}

/// Folder, base and two masks of different sites over it: one of format 2, one of the first.
struct TwoMasks {
    folder: tempfile::TempDir,
}

impl TwoMasks {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = generated_base(1);
        stored(&base, folder.path(), "base.safetensors");
        let (header, bytes) = artefact_over(&base);
        std::fs::write(folder.path().join("first.kgm"), &bytes).unwrap();
        let mut mask = decode(&bytes, Limits::default()).unwrap().mask(&base).unwrap();
        let bits = mask.tensors.values_mut().next_back().unwrap();
        (0..5).for_each(|at| bits.set(at * 1_001 + 3, false));
        let header = Header {
            weights: apply(&mask, base.clone()).unwrap().digest(),
            site: "kobe".parse().unwrap(),
            ..header
        };
        let second = encode(&header, &mask, &base).unwrap();
        std::fs::write(folder.path().join("second.kgm"), second).unwrap();
        Self { folder }
    }

    /// Writes `NAME` with the mask of `second.kgm` and so many more dropped weights.
    fn with_drops(&self, name: &str, more: usize) {
        let at = |name: &str| self.folder.path().join(name);
        let base = generated_base(1);
        let second = decode(&std::fs::read(at("second.kgm")).unwrap(), Limits::default()).unwrap();
        let mut mask = second.mask(&base).unwrap();
        let bits = mask.tensors.values_mut().next_back().unwrap();
        (0..more).for_each(|drop| bits.set(drop * 977 % bits.len(), false));
        let header = Header {
            weights: apply(&mask, base.clone()).unwrap().digest(),
            ..second.header
        };
        std::fs::write(at(name), encode(&header, &mask, &base).unwrap()).unwrap();
    }

    /// An `artefact` command with the base; file names are those in the folder.
    fn artefact(&self, args: &[&str]) -> Answer {
        self.run(&[args, &["--base", "base.safetensors"]].concat())
    }

    fn show(&self, file: &str) -> serde_json::Value {
        self.run(&["show", file, "--json"]).good().json()
    }

    fn run(&self, args: &[&str]) -> Answer {
        let folder = self.folder.path();
        let placed = |arg: &&str| {
            let is_file = [".kgm", ".kgp", ".safetensors"]
                .iter()
                .any(|end| arg.ends_with(end));
            if is_file {
                folder.join(arg).to_str().unwrap().to_owned()
            } else {
                (*arg).to_owned()
            }
        };
        let args: Vec<_> = args.iter().map(placed).collect();
        let args: Vec<_> = std::iter::once("artefact")
            .chain(args.iter().map(String::as_str))
            .collect();
        katagami(folder, &args)
    }
}

#[test]
fn a_delta_is_read_with_its_parent_only() {
    let files = TwoMasks::new();
    files.with_drops("parent.kgm", 300);
    files.with_drops("child.kgm", 305);
    let recode = [
        "recode",
        "child.kgm",
        "--parent",
        "parent.kgm",
        "--out",
        "delta.kgm",
    ];
    files.artefact(&recode).good();
    let shown = files.show("delta.kgm");
    assert_eq!(shown["dropped_weights"], serde_json::Value::Null);
    assert!(shown["flipped_weights"].as_u64().unwrap() > 0, "{shown}");
    let shown = files.run(&["show", "delta.kgm"]).good().out;
    assert!(shown.contains("delta to") && shown.contains("FLIPPED"), "{shown}");
    let apply = ["apply", "delta.kgm", "--out", "masked.safetensors"];
    let said = files.artefact(&apply).refused(2);
    assert!(said.contains("delta"), "{said}");
    let wrong = [&apply[..], &["--parent", "second.kgm"]].concat();
    files.artefact(&wrong).refused(2);
    let right = [&apply[..], &["--parent", "parent.kgm"]].concat();
    files.artefact(&right).good();
    let bytes = std::fs::read(files.folder.path().join("child.kgm")).unwrap();
    let full = decode(&bytes, Limits::default()).unwrap();
    let masked = import(full.architecture, &files.folder.path().join("masked.safetensors")).unwrap();
    assert_eq!(masked.digest(), full.header.weights);
}

#[test]
fn a_delta_that_would_not_be_smaller_is_written_in_full() {
    let files = TwoMasks::new();
    files.with_drops("other.kgm", 300);
    let recode = [
        "recode",
        "second.kgm",
        "--parent",
        "other.kgm",
        "--out",
        "full.kgm",
    ];
    let said = files.artefact(&recode).good().out;
    assert!(said.contains("in full"), "{said}");
    let shown = files.run(&["show", "full.kgm"]).good().out;
    assert!(!shown.contains("delta to"), "{shown}");
    files.artefact(&["verify", "full.kgm"]).good();
}

#[test]
fn a_prior_is_learned_and_named_by_what_it_codes() {
    let files = TwoMasks::new();
    files
        .artefact(&["prior", "first.kgm", "--out", "prior.kgp"])
        .good();
    let recode = [
        "recode",
        "second.kgm",
        "--prior",
        "prior.kgp",
        "--level",
        "best",
        "--out",
        "coded.kgm",
    ];
    files.artefact(&recode).good();
    let verify = ["verify", "coded.kgm"];
    let said = files.artefact(&verify).refused(2);
    assert!(said.contains("prior"), "{said}");
    let right = [&verify[..], &["--prior", "prior.kgp"]].concat();
    files.artefact(&right).good();
}

#[test]
fn masks_are_compared_and_merged() {
    let files = TwoMasks::new();
    let diff = files
        .artefact(&["diff", "first.kgm", "second.kgm", "--json"])
        .good()
        .json();
    let total = &diff["total"];
    assert_eq!(
        [&total["first"], &total["second"], &total["both"]].map(|count| count.as_u64().unwrap()),
        [11, 16, 11]
    );
    let stats = files
        .artefact(&["stats", "first.kgm", "second.kgm", "--json"])
        .good()
        .json();
    assert_eq!(stats["pairs"][0]["jaccard"], total["jaccard"]);
    let alone = files.artefact(&["stats", "first.kgm"]).good().out;
    assert!(alone.contains(", 0 whole outputs"), "{alone}");
    for (rule, dropped) in [("union", 16), ("intersection", 11), ("majority", 11)] {
        let merge = [
            "merge",
            "first.kgm",
            "second.kgm",
            "--rule",
            rule,
            "--out",
            "merged.kgm",
        ];
        files.artefact(&merge).good();
        assert_eq!(files.show("merged.kgm")["dropped_weights"], dropped, "{rule}");
        files.artefact(&["verify", "merged.kgm"]).good();
    }
}

#[test]
fn an_artefact_of_the_first_format_is_explained() {
    let files = TwoMasks::new();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1.kgm");
    assert_eq!(files.show(golden)["format"], 1);
    assert_eq!(files.show("second.kgm")["format"], 2);
}
