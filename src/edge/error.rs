//! Why a device's model is not the one that it should be.

use std::path::{Path, PathBuf};

use crate::base::ImportError;
use crate::client::ClientError;
use crate::domain::{Digest, ErrorKind, Problem, SiteName};
use crate::mask::{ApplyError, MaskError};

/// Why a device's model is not the one that it should be.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The server was not reached or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file could not be read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another agent has the folder.
    #[error("another agent looks after `{}`; stop it first, or give another --dir", .0.display())]
    Busy(PathBuf),
    /// The folder belongs to a device of another site.
    #[error("`{}` belongs to site {own}, this token to site {given}; give another --dir", folder.display())]
    OtherSite {
        /// The folder.
        folder: PathBuf,
        /// Its site.
        own: SiteName,
        /// The token's.
        given: SiteName,
    },
    /// The token is no device's.
    #[error("this token belongs to no device ({0}); make one with `katagami device token`")]
    NoDevice(ClientError),
    /// The given file is another base.
    #[error("`{}` is base {given}, the server's is {expected}; give that one, or leave --base out to fetch it", path.display())]
    OtherBase {
        /// The file.
        path: PathBuf,
        /// The server's base.
        expected: Digest,
        /// The file's.
        given: Digest,
    },
    /// The server's base needs a newer program.
    #[error("the server's base has architecture `{0}`, which this program does not know; update Katagami")]
    UnknownArchitecture(String),
    /// The fetched base is not what the server said.
    #[error("the server's base has weights {given}, its manifest says {expected}; tell the operator")]
    WrongBase {
        /// What the manifest says.
        expected: Digest,
        /// What came.
        given: Digest,
    },
    /// A base cannot be read.
    #[error(transparent)]
    Base(#[from] ImportError),
    /// A mask is wrong.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// A mask could not be applied.
    #[error(transparent)]
    Apply(ApplyError),
    /// A mask was made for other inputs.
    #[error("mask {artefact} was trained with preprocessing {given}, the base has {expected}; it was not applied", artefact = artefact.short(), given = given.short(), expected = expected.short())]
    OtherPreprocessing {
        /// The artefact.
        artefact: Digest,
        /// The base's preprocessing.
        expected: Digest,
        /// The mask's.
        given: Digest,
    },
    /// A mask was made for another site.
    #[error("mask {artefact} belongs to site {given}, this device to {expected}; it was not applied", artefact = artefact.short())]
    ForeignMask {
        /// The artefact.
        artefact: Digest,
        /// The device's site.
        expected: SiteName,
        /// The mask's.
        given: SiteName,
    },
    /// The server names another version than the mask.
    #[error("the server sent mask {given} as mask {expected}; it was not applied")]
    OtherVersion {
        /// What the server said.
        expected: u32,
        /// What the mask says.
        given: u32,
    },
    /// A delta was made for another mask, or by a version that writes artefacts in another way.
    #[error("the delta leads to artefact {given}, not to {expected}", given = given.short(), expected = expected.short())]
    DeltaAstray {
        /// The artefact that the channel points at.
        expected: Digest,
        /// What came out.
        given: Digest,
    },
    /// A mask that was refused before is still what the channel points at.
    #[error("{0}")]
    StillUnfit(String),
    /// A stored model changed.
    #[error("model `{}` is damaged: its weights are {}, not {}; `katagami edge pull` repairs it", path.display(), given.as_deref().unwrap_or("unreadable"), expected.short())]
    Damaged {
        /// The model's file.
        path: PathBuf,
        /// What its weights should be.
        expected: Digest,
        /// What they are, shortened; none if the file cannot be read as a model.
        given: Option<String>,
    },
    /// Nothing was pulled yet.
    #[error("`{}` has no model yet; run `katagami edge pull`", .0.display())]
    Empty(PathBuf),
    /// There is no model to go back to.
    #[error("`{}` has no previous model to go back to", .0.display())]
    NoPrevious(PathBuf),
    /// The command after a switch failed.
    #[error("the command after the switch to {} failed ({reason}); {outcome}", new.short())]
    SwitchCommand {
        /// The model that was switched to.
        new: Digest,
        /// How it failed.
        reason: String,
        /// What was done.
        outcome: &'static str,
    },
}

impl EdgeError {
    pub(super) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Whether the mask itself is unfit for this device, so that fetching it again changes nothing.
    pub fn is_of_the_mask(&self) -> bool {
        matches!(
            self,
            Self::Mask(_)
                | Self::OtherPreprocessing { .. }
                | Self::ForeignMask { .. }
                | Self::OtherVersion { .. }
        )
    }
}

/// What is wrong with a mask is told alike, whether it was found before or while it was laid over the base.
impl From<ApplyError> for EdgeError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Mask(error) => Self::Mask(error),
            other => Self::Apply(other),
        }
    }
}

impl Problem for EdgeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Client(error) | Self::NoDevice(error) => error.kind(),
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
                _ => ErrorKind::Unavailable,
            },
            Self::Busy(_) => ErrorKind::Conflict,
            Self::Base(error) => error.kind(),
            Self::Mask(error) => error.kind(),
            Self::Apply(error) => error.kind(),
            Self::Empty(_) | Self::NoPrevious(_) => ErrorKind::NotFound,
            Self::SwitchCommand { .. } => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Client(error) => error.code(),
            Self::NoDevice(_) => "no_device",
            Self::Io { .. } => "file_unusable",
            Self::Busy(_) => "agent_runs",
            Self::OtherSite { .. } => "folder_of_other_site",
            Self::OtherBase { .. } => "other_base",
            Self::UnknownArchitecture(_) => "architecture_unknown",
            Self::WrongBase { .. } => "base_damaged",
            Self::Base(error) => error.code(),
            Self::Mask(error) => error.code(),
            Self::Apply(error) => error.code(),
            Self::OtherPreprocessing { .. } => "other_preprocessing",
            Self::ForeignMask { .. } => "mask_of_other_site",
            Self::OtherVersion { .. } => "other_version",
            Self::DeltaAstray { .. } => "delta_astray",
            Self::StillUnfit(_) => "mask_unfit",
            Self::Damaged { .. } => "model_damaged",
            Self::Empty(_) => "no_model",
            Self::NoPrevious(_) => "no_previous_model",
            Self::SwitchCommand { .. } => "switch_command_failed",
        }
    }
}
