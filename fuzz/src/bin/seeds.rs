//! Writes the seed corpora: `seeds FOLDER` makes `FOLDER/<target>/…`.

use std::path::Path;
use std::{env, fs, io};

use katagami::mask::{Level, Mask, encode_with};
use katagami_fuzz::{BASE, PRIOR, cascade, coding, header, mask, moved, parts};

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).expect("seeds FOLDER");
    let folder = Path::new(&folder);
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    write("delta", "prior", &PRIOR.encode().expect("it compresses"))?;
    for (name, floats) in [("raw", false), ("floats", true)] {
        write("onnx", name, &export(floats))?;
    }
    let cascade = cascade();
    let [.., experts] = parts::<4>(&cascade);
    write("experts", "two", experts)?;
    write("apply", "cascade", &cascade)?;
    for (name, mask) in masks() {
        for (level, level_name) in [(Level::Fast, "fast"), (Level::Best, "best")] {
            for (target, delta) in [("coder", false), ("delta", true)] {
                let file =
                    encode_with(&header(&mask, delta), &mask, &BASE, &coding(delta, level)).expect("it fits");
                let name = format!("{name}-{level_name}-{target}");
                let [header, bits, norms] = parts(&file);
                write("header", &name, header)?;
                write(target, &name, &[&[norms.len() as u8], bits, norms].concat())?;
                write("apply", &name, &file)?;
                write("apply", &format!("{name}-unsealed"), &file[..file.len() - 32])?;
            }
        }
    }
    Ok(())
}

fn masks() -> Vec<(String, Mask)> {
    let shares = [0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.9];
    let mut masks: Vec<_> = shares.map(|share| (format!("{share}"), mask(share, 7))).to_vec();
    masks.push(("moved".to_owned(), moved(mask(0.01, 8), 0.01)));
    masks.push(("moved-far".to_owned(), moved(mask(0.0, 9), 3.0)));
    masks.push(("over-nothing".to_owned(), Mask::default()));
    masks
}

/// An ONNX export of [`BASE`]: each tensor as an initialiser, in `float_data` or as raw bytes, and the nodes
/// that read them.
fn export(floats: bool) -> Vec<u8> {
    let tensors = BASE.architecture.tensors.iter().zip(&BASE.values);
    let initialisers = tensors.map(|(spec, values)| {
        let dims = spec.shape.iter().flat_map(|dim| number(1, *dim as u64));
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let data = field(if floats { 4 } else { 9 }, &data);
        field(
            5,
            &[dims.collect(), number(2, 1), field(8, spec.name.as_bytes()), data].concat(),
        )
    });
    let node = |kind: &str, inputs: &[&str], output: &str| {
        let inputs = inputs.iter().flat_map(|input| field(1, input.as_bytes()));
        field(
            1,
            &[
                inputs.collect(),
                field(2, output.as_bytes()),
                field(4, kind.as_bytes()),
            ]
            .concat(),
        )
    };
    let nodes = [
        node("Conv", &["x", "depthwise"], "a"),
        node(
            "BatchNormalization",
            &["a", "weight", "bias", "running_mean", "running_var"],
            "b",
        ),
        node("Conv", &["b", "pointwise"], "c"),
        node("Conv", &["c", "kernel"], "d"),
    ];
    let graph: Vec<u8> = nodes.into_iter().chain(initialisers).flatten().collect();
    [number(1, 8), field(7, &graph)].concat()
}

/// A protobuf field of bytes.
fn field(tag: u64, content: &[u8]) -> Vec<u8> {
    [
        varint(tag << 3 | 2),
        varint(content.len() as u64),
        content.to_vec(),
    ]
    .concat()
}

/// A protobuf field of one number.
fn number(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
