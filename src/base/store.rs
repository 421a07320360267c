//! Bases on disk: `DIR/<digest>/{model.safetensors, manifest.json}`.
//! Written once, never again.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::architecture::InputSizeError;
use super::{
    Architecture, ImportError, Preprocessing, Weights, architecture, import, write_atomically,
    write_safetensors,
};
use crate::domain::{Digest, ErrorKind, Problem, Timestamp};

/// What is known of a base besides its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Manifest {
    /// The SHA-256 of the weights' canonical form: the base's name.
    pub digest: Digest,
    /// The architecture.
    pub architecture: String,
    /// How pictures become its input.
    pub preprocessing: Preprocessing,
    /// The licence of the weights, as an SPDX expression where there is one.
    pub licence: Option<String>,
    /// Where the weights come from.
    pub source: Option<String>,
    /// What the licence asks of those who use them.
    pub terms: Option<String>,
    /// Bytes of the stored file.
    pub bytes: u64,
    /// When it was imported.
    pub imported_at: Timestamp,
}

/// Why a base was not stored or loaded.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk failed.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such base.
    #[error("there is no base `{given}` in `{}`; list them with `katagami base list`", folder.display())]
    NotFound {
        /// The digest, or its beginning, as given.
        given: String,
        /// The folder searched.
        folder: PathBuf,
    },
    /// Several bases begin so.
    #[error("more than one base begins with `{0}`; give more digits")]
    Ambiguous(String),
    /// Its manifest is damaged.
    #[error("`{}` is damaged; import the base again", .0.display())]
    Manifest(PathBuf),
    /// Its weights are damaged.
    #[error("base {expected} is damaged, its weights now have digest {given}; import it again")]
    Damaged {
        /// The base's digest.
        expected: Digest,
        /// That of its file.
        given: Digest,
    },
    /// Its weights cannot be read.
    #[error(transparent)]
    Weights(#[from] ImportError),
    /// It cannot have input of that size.
    #[error(transparent)]
    InputSize(#[from] InputSizeError),
}

impl Problem for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Internal,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Weights(error) => error.kind(),
            _ => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "base_io",
            Self::NotFound { .. } => "no_such_base",
            Self::Ambiguous(_) => "base_ambiguous",
            Self::Manifest(_) => "base_manifest",
            Self::Damaged { .. } => "base_damaged",
            Self::Weights(error) => error.code(),
            Self::InputSize(error) => error.code(),
        }
    }
}

/// What whoever imports a base says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Edge length of the network's input in pixels. Default: the architecture's.
    pub size: Option<u32>,
    /// The licence of the weights.
    pub licence: Option<String>,
    /// Where the weights come from.
    pub source: Option<String>,
    /// What the licence asks of those who use them.
    pub terms: Option<String>,
}

/// A folder of bases.
#[derive(Debug, Clone)]
pub struct BaseStore(PathBuf);

impl BaseStore {
    /// The store in `folder`, which is made when the first base is stored.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The weights file of a base.
    pub fn weights_path(&self, digest: &Digest) -> PathBuf {
        self.0.join(digest.to_string()).join("model.safetensors")
    }

    fn manifest_path(&self, digest: &Digest) -> PathBuf {
        self.0.join(digest.to_string()).join("manifest.json")
    }

    /// Reads weights of `architecture` from a file of others and stores them as a base.
    pub fn import(
        &self,
        architecture: &'static Architecture,
        weights: &Path,
        about: About,
    ) -> Result<Manifest, StoreError> {
        let mut preprocessing = Preprocessing::of_architecture(architecture.name);
        preprocessing.size = about.size.unwrap_or(preprocessing.size);
        architecture.check_size(preprocessing.size)?;
        let weights = import(architecture, weights)?;
        let manifest = Manifest {
            digest: weights.digest(),
            architecture: architecture.name.to_owned(),
            preprocessing,
            licence: about.licence,
            source: about.source,
            terms: about.terms,
            bytes: 0,
            imported_at: Timestamp::now(),
        };
        self.save(&weights, manifest)
    }

    /// Stores a base, weights first, so that a manifest always has its
    /// weights. One that is there already stays as it is; its manifest is answered.
    pub fn save(&self, weights: &Weights, mut manifest: Manifest) -> Result<Manifest, StoreError> {
        if let Ok(stored) = self.manifest(&manifest.digest) {
            return Ok(stored);
        }
        let path = self.weights_path(&manifest.digest);
        let folder = self.0.join(manifest.digest.to_string());
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        write_safetensors(weights, &path).map_err(at(&path))?;
        manifest.bytes = fs::metadata(&path).map_err(at(&path))?.len();
        let path = self.manifest_path(&manifest.digest);
        write_atomically(&path, |file| {
            serde_json::to_writer_pretty(file, &manifest).map_err(io::Error::from)
        })
        .map_err(at(&path))?;
        Ok(manifest)
    }

    fn manifest(&self, digest: &Digest) -> Result<Manifest, StoreError> {
        let path = self.manifest_path(digest);
        let bytes = fs::read(&path).map_err(at(&path))?;
        serde_json::from_slice(&bytes).map_err(|_| StoreError::Manifest(path))
    }

    /// All bases, in the order of their import.
    pub fn list(&self) -> Result<Vec<Manifest>, StoreError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at(&self.0)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(at(&self.0))?.file_name();
            // A folder without a manifest is an import that was cut off.
            if let Some(digest) = name.to_str().and_then(|name| name.parse().ok())
                && self.manifest_path(&digest).exists()
            {
                found.push(self.manifest(&digest)?);
            }
        }
        found.sort_by_key(|manifest| (manifest.imported_at, manifest.digest));
        Ok(found)
    }

    /// The one base whose digest begins with `given`.
    pub fn find(&self, given: &str) -> Result<Manifest, StoreError> {
        let mut matching = self
            .list()?
            .into_iter()
            .filter(|manifest| manifest.digest.to_string().starts_with(given));
        match (matching.next(), matching.next()) {
            (Some(manifest), None) => Ok(manifest),
            (Some(_), Some(_)) => Err(StoreError::Ambiguous(given.to_owned())),
            (None, _) => Err(StoreError::NotFound {
                given: given.to_owned(),
                folder: self.0.clone(),
            }),
        }
    }

    /// Loads a base's weights and checks their digest.
    pub fn load(&self, manifest: &Manifest) -> Result<Weights, StoreError> {
        let path = self.weights_path(&manifest.digest);
        let architecture = architecture(&manifest.architecture)
            .ok_or_else(|| StoreError::Manifest(self.manifest_path(&manifest.digest)))?;
        let weights = import(architecture, &path)?;
        let given = weights.digest();
        if given == manifest.digest {
            Ok(weights)
        } else {
            Err(StoreError::Damaged {
                expected: manifest.digest,
                given,
            })
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}
