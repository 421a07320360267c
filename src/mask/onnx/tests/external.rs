//! Data in files beside the model.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message as _;
use tempfile::TempDir;

use super::encode::{Attribute, Model, base, bytes_of, export, masked, reading, tensor};
use super::{CHANGED, OnnxError};
use crate::base::Weights;
use crate::mask::onnx::apply_to_onnx;

/// A folder with the export of the base, and an empty one for what comes out.
struct Folders {
    root: TempDir,
    base: Weights,
    masked: Weights,
}

impl Folders {
    fn new() -> Self {
        let base = base();
        let masked = masked(&base, &CHANGED);
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("in")).unwrap();
        fs::create_dir(root.path().join("out")).unwrap();
        Self { root, base, masked }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn apply(&self, model: &Model) -> Result<(), OnnxError> {
        fs::write(self.at("in/model.onnx"), model.bytes()).unwrap();
        let (export, out) = (self.at("in/model.onnx"), self.at("out/model.onnx"));
        apply_to_onnx(&self.base, &self.masked, &export, &out)
    }

    #[track_caller]
    fn refused(&self, model: &Model) -> String {
        let sentence = self.apply(model).unwrap_err().to_string();
        let left: Vec<_> = fs::read_dir(self.at("out")).unwrap().collect();
        assert!(left.is_empty(), "refused, yet written: {left:?}");
        sentence
    }
}

/// The initialisers whose data the tests move.
const MOVED: [&str; 3] = ["conv1.weight", "conv2.weight", "bn2.weight"];

#[test]
fn data_beside_the_model_is_copied_beside_the_output_and_patched_there() {
    let folders = Folders::new();
    let mut model = export(&folders.base);
    model.move_beside(&MOVED, &folders.at("in"), "data/weights.bin");
    let data = fs::read(folders.at("in/data/weights.bin")).unwrap();
    folders.apply(&model).unwrap();

    let mut expected = export(&folders.masked);
    let elsewhere = tempfile::tempdir().unwrap();
    expected.move_beside(&MOVED, elsewhere.path(), "data/weights.bin");
    let read = |path: &Path| fs::read(path).unwrap();
    assert_eq!(read(&folders.at("out/model.onnx")), expected.bytes());
    assert_eq!(
        read(&folders.at("out/data/weights.bin")),
        read(&elsewhere.path().join("data/weights.bin"))
    );
    assert_eq!(read(&folders.at("in/data/weights.bin")), data, "the export stays");
}

#[test]
fn files_that_only_constants_lie_in_are_copied_too() {
    let folders = Folders::new();
    fs::write(folders.at("in/constants"), [7; 8]).unwrap();
    let mut model = export(&folders.base);
    let mut constant = tensor("c", &[2], &[]);
    constant.beside(&[("location", "constants")]);
    let mut node = reading("Constant", &[], "c");
    node.attribute.push(Attribute {
        t: Some(constant),
        g: None,
    });
    model.graph.node.push(node);
    folders.apply(&model).unwrap();
    assert_eq!(fs::read(folders.at("out/constants")).unwrap(), [7; 8]);
}

#[test]
fn a_location_that_leaves_the_folder_is_refused() {
    let folders = Folders::new();
    fs::write(folders.at("secret"), bytes_of(&folders.base.values[0])).unwrap();
    let secret = folders.at("secret");
    for location in [
        "../secret",
        "data/../../secret",
        secret.to_str().unwrap(),
        "",
        ".",
        "..\\secret",
        "a\0b",
    ] {
        let mut model = export(&folders.base);
        model
            .initialiser("conv1.weight")
            .beside(&[("location", location)]);
        let sentence = folders.refused(&model);
        assert!(
            sentence.contains("not below the model's folder"),
            "{location}: {sentence}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leaves_the_folder_is_refused() {
    let folders = Folders::new();
    fs::write(folders.at("secret"), bytes_of(&folders.base.values[0])).unwrap();
    std::os::unix::fs::symlink(folders.at("secret"), folders.at("in/link")).unwrap();
    let mut model = export(&folders.base);
    model.initialiser("conv1.weight").beside(&[("location", "link")]);
    assert!(folders.refused(&model).contains("not below the model's folder"));
}

#[test]
fn what_is_no_file_or_not_there_is_refused() {
    let folders = Folders::new();
    fs::create_dir(folders.at("in/folder")).unwrap();
    for (location, said) in [("folder", "not a file"), ("nowhere", "No such file")] {
        let mut model = export(&folders.base);
        model
            .initialiser("conv1.weight")
            .beside(&[("location", location)]);
        let sentence = folders.refused(&model);
        assert!(sentence.contains(said), "{sentence}");
    }
}

#[test]
fn places_beyond_the_end_are_refused() {
    let folders = Folders::new();
    fs::write(folders.at("in/data"), bytes_of(&folders.base.values[0])).unwrap();
    let most = u64::MAX.to_string();
    for (offset, length, said) in [
        ("0", "65", "cut short"),
        ("1", "64", "cut short"),
        (&most, "64", "cut short"),
        ("64", &most, "cut short"),
        ("65", "", "no number"),
        ("-1", "64", "no number"),
    ] {
        let mut model = export(&folders.base);
        let entries = [("location", "data"), ("offset", offset), ("length", length)];
        model.initialiser("conv1.weight").beside(&entries);
        let sentence = folders.refused(&model);
        assert!(sentence.contains(said), "{offset} {length}: {sentence}");
    }
    let mut model = export(&folders.base);
    let entries = [("location", "data"), ("offset", "65")];
    model.initialiser("conv1.weight").beside(&entries);
    assert!(folders.refused(&model).contains("cut short"));
}

#[test]
fn tensors_that_share_bytes_or_have_a_checksum_are_refused() {
    let folders = Folders::new();
    fs::write(folders.at("in/data"), bytes_of(&folders.base.values[0])).unwrap();
    let mut model = export(&folders.base);
    model.initialiser("conv1.weight").beside(&[("location", "data")]);
    let mut head = tensor("head", &[2], &[]);
    head.beside(&[("location", "./data"), ("offset", "60")]);
    model.graph.initializer.push(head);
    assert!(folders.refused(&model).contains("overlap"));

    let mut model = export(&folders.base);
    model
        .initialiser("conv1.weight")
        .beside(&[("location", "data"), ("checksum", "0")]);
    assert!(folders.refused(&model).contains("checksum"));
}

#[test]
fn no_file_of_data_is_overwritten() {
    let folders = Folders::new();
    let mut model = export(&folders.base);
    model.move_beside(&MOVED, &folders.at("in"), "data");
    fs::write(folders.at("in/model.onnx"), model.bytes()).unwrap();
    let data = fs::read(folders.at("in/data")).unwrap();
    for (out, said) in [
        ("in/masked.onnx", "there already"),
        ("out/data", "to be the model"),
    ] {
        let out = folders.at(out);
        let refusal = apply_to_onnx(&folders.base, &folders.masked, &folders.at("in/model.onnx"), &out);
        assert!(refusal.unwrap_err().to_string().contains(said));
        assert!(!out.exists());
    }
    assert_eq!(fs::read(folders.at("in/data")).unwrap(), data);
}

#[test]
fn data_is_not_left_behind_without_its_model() {
    let folders = Folders::new();
    let mut model = export(&folders.base);
    model.move_beside(&MOVED, &folders.at("in"), "data");
    // A folder cannot be replaced by a file.
    fs::create_dir(folders.at("out/model.onnx")).unwrap();
    assert!(matches!(folders.apply(&model), Err(OnnxError::Write { .. })));
    assert!(!folders.at("out/data").exists());
}

#[test]
fn a_model_in_memory_reads_no_files() {
    let folders = Folders::new();
    let mut model = export(&folders.base);
    model.move_beside(&MOVED, &folders.at("in"), "data");
    let refusal = super::refused(&folders.base, &folders.masked, &model);
    assert!(matches!(refusal, OnnxError::Beside));
    assert!(Model::decode(&model.bytes()[..]).is_ok());
}
