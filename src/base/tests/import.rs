//! Importing: every accepted format gives the same weights, every damage one sentence.

use proptest::prelude::*;

use super::*;
use crate::base::architecture::{Colours, Plan, Role, TensorSpec};
use crate::base::write_safetensors;

mod wrapped;

fn tiny() -> &'static Architecture {
    let spec = |name: &str, shape: &[usize], role| TensorSpec {
        name: name.to_owned(),
        shape: shape.to_vec(),
        role,
    };
    Box::leak(Box::new(Architecture {
        name: "tiny",
        tensors: vec![
            spec("conv.weight", &[2, 1, 1, 1], Role::Convolution { groups: 1 }),
            spec("bn.running_mean", &[2], Role::NormMean),
        ],
        plan: Plan::ResNet {
            bottleneck: false,
            depths: [0; 4],
        },
        embedding_dim: 2,
        nominal_size: 8,
        colours: Colours::ImageNet,
    }))
}

fn tiny_weights() -> Weights {
    Weights {
        architecture: tiny(),
        values: vec![vec![1.5, -2.0], vec![0.25, 4.0]],
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A tensor of a checkpoint: its name, shape, type of storage and the storage's key.
type Entry<'a> = (&'a str, &'a [u8], &'a str, &'a str);

/// A checkpoint's dictionary as PyTorch writes it, by hand.
fn state_dict(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"\x80\x02".to_vec();
    dictionary(&mut out, entries);
    out.push(b'.');
    out
}

fn dictionary(out: &mut Vec<u8>, entries: &[Entry]) {
    out.extend(b"ccollections\nOrderedDict\n)R(");
    for (name, shape, storage, key) in entries {
        text(out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(out, "storage");
        out.extend(format!("ctorch\n{storage}\n").bytes());
        text(out, key);
        text(out, "cpu");
        out.extend(b"K\x02tQK\x00(");
        out.extend(shape.iter().flat_map(|size| [b'K', *size]));
        out.extend(b"t(");
        for axis in 0..shape.len() {
            out.extend([b'K', shape[axis + 1..].iter().product()]);
        }
        out.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    out.push(b'u');
}

const ENTRIES: [Entry; 4] = [
    ("conv.weight", &[2, 1, 1, 1], "FloatStorage", "0"),
    ("bn.running_mean", &[2], "FloatStorage", "1"),
    ("bn.num_batches_tracked", &[], "LongStorage", "2"),
    ("fc.weight", &[2], "FloatStorage", "3"),
];

fn storages() -> Vec<Vec<u8>> {
    let floats = |values: &[f32]| {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    vec![
        floats(&[1.5, -2.0]),
        floats(&[0.25, 4.0]),
        7_i64.to_le_bytes().to_vec(),
        floats(&[9.0, 9.0]),
    ]
}

/// What stands before the description of the tensors in the older format.
const LEGACY: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";

fn legacy() -> Vec<u8> {
    let mut out = LEGACY.to_vec();
    out.extend(state_dict(&ENTRIES));
    out.extend(b"\x80\x02](");
    for (_, _, _, key) in ENTRIES {
        text(&mut out, key);
    }
    out.extend(b"e.");
    for (storage, (_, _, kind, _)) in storages().iter().zip(ENTRIES) {
        let size = if kind == "LongStorage" { 8 } else { 4 };
        out.extend(((storage.len() / size) as i64).to_le_bytes());
        out.extend(storage);
    }
    out
}

fn zipped() -> Vec<u8> {
    zip_of(&state_dict(&ENTRIES))
}

fn zip_of(description: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file("model/data.pkl", stored).unwrap();
    archive.write_all(description).unwrap();
    for (key, storage) in storages().iter().enumerate() {
        archive.start_file(format!("model/data/{key}"), stored).unwrap();
        archive.write_all(storage).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn import_bytes(bytes: &[u8]) -> Result<Weights, ImportError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    import(tiny(), file.path())
}

#[test]
fn the_three_formats_give_the_same_weights() {
    let expected = tiny_weights();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.safetensors");
    write_safetensors(&expected, &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for (format, bytes) in [("safetensors", bytes), ("legacy", legacy()), ("zip", zipped())] {
        let weights = import_bytes(&bytes).unwrap_or_else(|error| panic!("{format}: {error}"));
        assert_eq!(weights.values, expected.values, "{format}");
        assert_eq!(weights.digest(), expected.digest(), "{format}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for whole in [legacy(), zipped()] {
        // The head's storage lies last in the older format and is not needed.
        let needed = if whole[0] == 0x80 {
            whole.len() - 8 - 8
        } else {
            whole.len()
        };
        for length in 0..needed {
            assert!(
                import_bytes(&whole[..length]).is_err(),
                "{length} of {} bytes",
                whole.len()
            );
        }
    }
}

#[test]
fn a_wrong_tensor_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mut weights = tiny_weights();
    weights.values[1][1] = f32::NAN;
    write_safetensors(&weights, &path).unwrap();
    let said = import(tiny(), &path).unwrap_err().to_string();
    assert_eq!(
        said,
        "tensor `bn.running_mean` holds NaN at element 1; a base must be finite"
    );

    let other = crate::base::architecture::architecture("resnet18").unwrap();
    let said = import(other, &path).unwrap_err().to_string();
    assert!(
        said.starts_with("tensor `conv1.weight` of resnet18 is missing"),
        "{said}"
    );
}

#[test]
fn a_negative_variance_is_refused() {
    let mut architecture = tiny().clone();
    architecture.tensors[1].role = Role::NormVariance;
    let architecture: &'static Architecture = Box::leak(Box::new(architecture));
    let mut tensors = checkpoint::read(&legacy()).unwrap();
    assert!(arrange(architecture, tensors.clone()).is_ok());
    tensors.get_mut("bn.running_mean").unwrap().elements = Ok(vec![1.0, -1.0]);
    let said = arrange(architecture, tensors).unwrap_err().to_string();
    assert!(
        said.contains("`bn.running_mean` holds a negative variance"),
        "{said}"
    );
}

#[test]
fn a_foreign_tensor_is_named() {
    let mut bytes = Vec::new();
    let entries = [
        ENTRIES[0],
        ENTRIES[1],
        ("extra.weight", &[2_u8][..], "FloatStorage", "1"),
    ];
    bytes.extend(b"\x80\x02K\x01.\x80\x02K\x01.\x80\x02K\x01.");
    bytes.extend(state_dict(&entries));
    bytes.extend(b"\x80\x02](");
    text(&mut bytes, "0");
    text(&mut bytes, "1");
    bytes.extend(b"e.");
    for storage in &storages()[..2] {
        bytes.extend(2_i64.to_le_bytes());
        bytes.extend(storage);
    }
    let said = import_bytes(&bytes).unwrap_err().to_string();
    assert!(
        said.starts_with("tensor `extra.weight` is no part of tiny"),
        "{said}"
    );
}

proptest! {
    #[test]
    fn no_changed_byte_makes_the_reader_panic(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        for mut bytes in [legacy(), zipped()] {
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = import_bytes(&bytes);
        }
    }
}
