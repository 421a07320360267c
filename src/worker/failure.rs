//! Why an attempt came to nothing, and whether another may fare better.

use std::path::PathBuf;

use tokio::task::JoinError;

use super::attempt::AttemptError;
use super::fetch::FetchError;
use super::lease::ProtocolError;
use super::progress::Halt;
use crate::base::ImportError;
use crate::domain::{Digest, ErrorKind, Problem};
use crate::mask::MaskError;
use crate::train::{TrainError, panic_text};

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Base(#[from] ImportError),
    #[error(transparent)]
    Mask(#[from] MaskError),
    #[error("the weights of base {expected} have digest {given}; import the base again on the server")]
    OtherBase { expected: Digest, given: Digest },
    #[error("this worker does not understand its job ({0}); use the same version of worker and server")]
    Assignment(&'static str),
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the attempt broke off: {0}")]
    Panicked(String),
    #[error("an order ended the attempt")]
    Halted(Halt),
}

impl Failure {
    /// Whether another attempt, perhaps on another machine, may fare better.
    pub(super) fn may_pass_again(&self) -> bool {
        match self {
            Self::Attempt(error) => error.may_pass_again(),
            Self::Protocol(error) | Self::Fetch(FetchError::Protocol(error)) => {
                error.is_passing() || matches!(error, ProtocolError::Answer(_))
            }
            Self::Base(_) | Self::Mask(_) | Self::OtherBase { .. } => false,
            Self::Train(error) => !matches!(error.kind(), ErrorKind::Invalid),
            Self::Fetch(FetchError::Cache { .. })
            | Self::Assignment(_)
            | Self::Io { .. }
            | Self::Panicked(_)
            | Self::Halted(_) => true,
        }
    }

    /// The failure of a computation that did not come back.
    pub(super) fn of_join(error: JoinError) -> Self {
        Self::Panicked(match error.try_into_panic() {
            Ok(panic) => panic_text(&*panic),
            Err(_) => "the computation was cancelled".to_owned(),
        })
    }
}
