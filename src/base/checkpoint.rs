//! Files of others: safetensors and PyTorch's two formats, as named tensors.
//!
//! The format is told by the content, never by the file's name.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::pickle::{self, ElementType, Pickle, TensorView, Value};

/// A tensor as a file gives it.
#[derive(Debug, Clone)]
pub(super) struct FileTensor {
    /// The shape.
    pub(super) shape: Vec<usize>,
    /// Its elements, or the name of the type that a base cannot have.
    pub(super) elements: Result<Vec<f32>, String>,
}

/// All tensors of a file by the names that the file gives them.
pub(super) type FileTensors = HashMap<String, FileTensor>;

/// Why a file could not be read as weights at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The content is of no known format.
    #[error("it is neither safetensors nor a PyTorch checkpoint")]
    UnknownFormat,
    /// A safetensors file is damaged.
    #[error("its safetensors header is damaged or it is cut short ({0})")]
    Safetensors(String),
    /// A PyTorch checkpoint is damaged or asks for more than tensors.
    #[error("as a PyTorch checkpoint, {0}")]
    Pickle(String),
    /// The bytes of a tensor are missing.
    #[error("the bytes of tensor `{0}` are missing or cut short")]
    MissingBytes(String),
    /// The archive of a PyTorch checkpoint is damaged.
    #[error("its archive is damaged ({0})")]
    Archive(String),
}

impl From<pickle::PickleError> for CheckpointError {
    fn from(error: pickle::PickleError) -> Self {
        Self::Pickle(error.to_string())
    }
}

/// Reads all tensors of a file.
pub(super) fn read(bytes: &[u8]) -> Result<FileTensors, CheckpointError> {
    // A safetensors file begins with its header's length and the header's `{`.
    if bytes.get(8) == Some(&b'{') {
        read_safetensors(bytes)
    } else if bytes.starts_with(b"PK\x03\x04") {
        read_zip(bytes)
    } else if bytes.first() == Some(&0x80) {
        read_legacy(bytes)
    } else {
        Err(CheckpointError::UnknownFormat)
    }
}

fn read_safetensors(bytes: &[u8]) -> Result<FileTensors, CheckpointError> {
    let file =
        SafeTensors::deserialize(bytes).map_err(|error| CheckpointError::Safetensors(error.to_string()))?;
    let tensors = file.iter().map(|(name, view)| {
        let elements = match view.dtype() {
            Dtype::F32 => Ok(floats(ElementType::F32, view.data())),
            Dtype::F16 => Ok(floats(ElementType::F16, view.data())),
            Dtype::BF16 => Ok(floats(ElementType::BF16, view.data())),
            other => Err(format!("{other:?}")),
        };
        (
            name.to_owned(),
            FileTensor {
                shape: view.shape().to_vec(),
                elements,
            },
        )
    });
    Ok(tensors.collect())
}

/// The format since PyTorch 1.6: a zip of `NAME/data.pkl` and `NAME/data/KEY`.
fn read_zip(bytes: &[u8]) -> Result<FileTensors, CheckpointError> {
    let damaged = |error: zip::result::ZipError| CheckpointError::Archive(error.to_string());
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let description = archive
        .file_names()
        .find(|name| name.ends_with("data.pkl"))
        .map(str::to_owned)
        .ok_or_else(|| CheckpointError::Archive("it has no data.pkl".to_owned()))?;
    let folder = description.trim_end_matches("data.pkl").to_owned();
    // PyTorch stores without compression, so no member can be longer than the file.
    let mut member = |name: &str| -> Result<Vec<u8>, CheckpointError> {
        let file = archive.by_name(name).map_err(damaged)?;
        if file.compression() != zip::CompressionMethod::Stored {
            return Err(CheckpointError::Archive(format!(
                "`{name}` is compressed, which PyTorch never does"
            )));
        }
        let mut content = Vec::new();
        file.take(bytes.len() as u64)
            .read_to_end(&mut content)
            .map_err(|error| CheckpointError::Archive(error.to_string()))?;
        Ok(content)
    };
    let views = tensors_of(&pickle::read(&member(&description)?)?.value);
    let mut storages = HashMap::new();
    for (name, view) in &views {
        let key = &view.storage.key;
        if !storages.contains_key(key.as_ref()) {
            let content = member(&format!("{folder}data/{key}"))
                .map_err(|_| CheckpointError::MissingBytes(name.clone()))?;
            storages.insert(key.to_string(), content);
        }
    }
    gather(views, |key| storages.get(key).map(Vec::as_slice))
}

/// The format before: five pickles (magic number, version, system, tensors,
/// keys of the storages), then each storage as its length and its bytes.
fn read_legacy(bytes: &[u8]) -> Result<FileTensors, CheckpointError> {
    let mut rest = bytes;
    let mut next = || -> Result<Pickle, CheckpointError> {
        let pickle = pickle::read(rest)?;
        rest = &rest[pickle.length..];
        Ok(pickle)
    };
    let (_magic, _version, _system) = (next()?, next()?, next()?);
    let description = next()?;
    let views = tensors_of(&description.value);
    let Value::List(keys) = next()?.value else {
        return Err(CheckpointError::Pickle(
            "the list of its storages is missing".to_owned(),
        ));
    };
    let mut storages = HashMap::new();
    for key in keys.borrow().iter() {
        let Value::Text(key) = key else { continue };
        // Storages lie one after the other, those of an optimiser, too. One that the
        // description does not name has no known length and ends the search.
        let Some(element) = description.storages.get(key.as_ref()) else {
            break;
        };
        let Some((length, after)) = rest.split_first_chunk::<8>() else {
            break;
        };
        let length = usize::try_from(i64::from_le_bytes(*length))
            .ok()
            .and_then(|n| n.checked_mul(element.size()));
        let Some(content) = length.and_then(|length| after.get(..length)) else {
            break;
        };
        storages.insert(key.to_string(), content);
        rest = &after[content.len()..];
    }
    gather(views, |key| storages.get(key).copied())
}

/// Under which key a training keeps the network, the first that is there: plain
/// trainings, SwAV and MoCo; torch.hub's; DINO, whose teacher is the one to use.
const NETWORKS: [&str; 4] = ["state_dict", "model", "teacher", "student"];

/// The tensors of a checkpoint's dictionary, in the file's order: those of the
/// outermost, and of the network that it keeps beside other things.
fn tensors_of(value: &Value) -> Vec<(String, TensorView)> {
    let Value::Dict(entries) = value else {
        return Vec::new();
    };
    let entries = entries.borrow();
    let mut tensors = plain_tensors(&entries);
    let under = |wanted: &str| {
        entries.iter().find_map(|(key, value)| match (key, value) {
            (Value::Text(key), Value::Dict(inner)) if key.as_ref() == wanted => Some(inner),
            _ => None,
        })
    };
    if let Some(network) = NETWORKS.into_iter().find_map(under) {
        tensors.extend(plain_tensors(&network.borrow()));
    }
    tensors
}

fn plain_tensors(entries: &[(Value, Value)]) -> Vec<(String, TensorView)> {
    let named = |(key, value): &(Value, Value)| match (key, value) {
        (Value::Text(name), Value::Tensor(view)) => Some((name.to_string(), TensorView::clone(view))),
        _ => None,
    };
    entries.iter().filter_map(named).collect()
}

fn gather<'a>(
    views: Vec<(String, TensorView)>,
    bytes_of: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<FileTensors, CheckpointError> {
    let mut tensors = FileTensors::new();
    for (name, view) in views {
        let missing = || CheckpointError::MissingBytes(name.clone());
        let bytes = bytes_of(&view.storage.key).ok_or_else(missing)?;
        let element = view.storage.element;
        let elements = match element {
            ElementType::F32 | ElementType::F16 | ElementType::BF16 => {
                Ok(strided(&view, &floats(element, bytes)).ok_or_else(missing)?)
            }
            other => Err(format!("{other:?}")),
        };
        tensors.insert(
            name,
            FileTensor {
                shape: view.shape,
                elements,
            },
        );
    }
    Ok(tensors)
}

/// The elements of `view` in row-major order; none if they reach past the storage.
fn strided(view: &TensorView, storage: &[f32]) -> Option<Vec<f32>> {
    let length = view
        .shape
        .iter()
        .try_fold(1_usize, |length, size| length.checked_mul(*size))?;
    // An expanded tensor (stride 0) could ask for more than the file holds.
    if view.shape.len() != view.strides.len() || length > storage.len() {
        return None;
    }
    let mut elements = Vec::with_capacity(length);
    let mut position = vec![0; view.shape.len()];
    for _ in 0..length {
        let steps = position
            .iter()
            .zip(&view.strides)
            .try_fold(view.offset, |at, (index, stride)| {
                at.checked_add(usize::checked_mul(*index, *stride)?)
            })?;
        elements.push(*storage.get(steps)?);
        for axis in (0..position.len()).rev() {
            position[axis] += 1;
            if position[axis] < view.shape[axis] {
                break;
            }
            position[axis] = 0;
        }
    }
    Some(elements)
}

fn floats(element: ElementType, bytes: &[u8]) -> Vec<f32> {
    match element {
        ElementType::F32 => bytes
            .chunks_exact(4)
            .map(|raw| f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
            .collect(),
        ElementType::F16 => bytes
            .chunks_exact(2)
            .map(|raw| f16::from_le_bytes([raw[0], raw[1]]).to_f32())
            .collect(),
        ElementType::BF16 => bytes
            .chunks_exact(2)
            .map(|raw| bf16::from_le_bytes([raw[0], raw[1]]).to_f32())
            .collect(),
        _ => Vec::new(),
    }
}
