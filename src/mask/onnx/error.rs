//! Why a mask was not laid over an ONNX file, and which export works.

use std::path::PathBuf;

use super::EXPORT;
use crate::domain::{ErrorKind, Problem};

/// Why no ONNX file was written. The sentences say which export works.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A file cannot be read.
    #[error("`{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("`{}`: {source}", path.display())]
    Write {
        /// Where it was to go.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Base and masked weights are of different architectures (the caller's fault).
    #[error("base and masked weights are of different architectures")]
    Mismatch,
    /// The bytes are no ONNX model.
    #[error("this is no whole ONNX model ({0}); export it again")]
    Malformed(&'static str),
    /// It would take more memory than allowed.
    #[error("the ONNX model with its data takes more memory than its limit allows")]
    LimitExceeded,
    /// Integers stand for its weights.
    #[error("the export is quantised ({0}), so the base's weights are not in it; lay the mask over the float32 export and quantise what comes out. {export}", export = EXPORT)]
    Quantised(String),
    /// Its weights have another precision.
    #[error("the export has weights of {given} where the base has float32 (`{tensor}`); lay the mask over the float32 export and convert what comes out. {export}", export = EXPORT)]
    Precision {
        /// The type of its weights.
        given: &'static str,
        /// The first tensor of the base that is not there.
        tensor: String,
    },
    /// BatchNorm was merged into the convolutions.
    #[error("the export is folded: it has {found} of the base's {of} BatchNorm layers, the others are merged into the weights of convolutions, which are no longer the base's. {export}", export = EXPORT)]
    Folded {
        /// How many BatchNorm layers it has.
        found: usize,
        /// How many the base has.
        of: usize,
    },
    /// Nothing of the base is in it.
    #[error("no tensor of the base is in this export; it is of another base, of masked weights, or was optimised. {export}", export = EXPORT)]
    AnotherBase,
    /// Not all of the base is in it.
    #[error("`{tensor}` of the base is not in this export, which has {found} of its {of} tensors; it is of another base or version of it, or was optimised. {export}", export = EXPORT)]
    Missing {
        /// The first tensor of the base that is not there.
        tensor: String,
        /// How many are.
        found: usize,
        /// How many the base has.
        of: usize,
    },
    /// A tensor that the mask changes is read by nothing that this program knows.
    #[error("`{tensor}` is in the export, but {reader} where a layer of the base is expected. {export}", export = EXPORT)]
    NoPlace {
        /// The tensor.
        tensor: String,
        /// What reads it, as a clause.
        reader: String,
    },
    /// One initialiser may be several tensors, which the mask makes different.
    #[error("initialiser `{initialiser}` can be {first} as well as {second}: their content in the base is equal, the mask makes it different, and the graph does not tell them apart. {export}", export = EXPORT)]
    Ambiguous {
        /// The initialiser's name.
        initialiser: String,
        /// One thing that it can be.
        first: String,
        /// Another.
        second: String,
    },
    /// It names a file where none may be read or written.
    #[error(
        "the model's data is said to be in `{0}`, which is not below the model's folder; keep model and data together"
    )]
    Outside(String),
    /// Its data is in other files, and only bytes were given.
    #[error(
        "the model's data is in other files; give the model's path, or export it with external_data=False"
    )]
    Beside,
    /// A place in another file is not there, or overlaps another one.
    #[error("the model's data in `{location}` {what}; export it again")]
    External {
        /// The other file.
        location: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Data would be written over a file.
    #[error("the model's data would be written to `{}`, which {what}; choose an --out in another folder, or export with external_data=False", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
}

impl Problem for OnnxError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::IsADirectory => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
            Self::Write { .. } => ErrorKind::Unavailable,
            Self::LimitExceeded => ErrorKind::TooLarge,
            Self::Occupied { .. } => ErrorKind::Conflict,
            _ => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "onnx_unreadable",
            Self::Write { .. } => "onnx_unwritable",
            Self::Mismatch => "mask_mismatch",
            Self::Malformed(_) => "onnx_malformed",
            Self::LimitExceeded => "onnx_limit",
            Self::Quantised(_) => "onnx_quantised",
            Self::Precision { .. } => "onnx_precision",
            Self::Folded { .. } => "onnx_folded",
            Self::AnotherBase => "onnx_of_another_base",
            Self::Missing { .. } => "onnx_tensor_missing",
            Self::NoPlace { .. } => "onnx_tensor_misplaced",
            Self::Ambiguous { .. } => "onnx_ambiguous",
            Self::Outside(_) => "onnx_data_outside",
            Self::Beside => "onnx_data_beside",
            Self::External { .. } => "onnx_data_wrong",
            Self::Occupied { .. } => "onnx_data_occupied",
        }
    }
}

/// A text of the file for a sentence: short, and without control codes.
pub(super) fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .take(80)
        .flat_map(char::escape_debug)
        .collect()
}
