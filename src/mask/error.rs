//! What can be wrong with an artefact, and whose fault it is.

use std::path::PathBuf;

use super::arithmetic::NothingKept;
use crate::base::ImportError;
use crate::domain::{Digest, ErrorKind, Problem, View};

/// Why an artefact was not written, read or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The bytes are no artefact at all.
    #[error("this is no mask artefact")]
    NotAnArtefact,
    /// A newer program wrote it.
    #[error("this artefact has format version {0}, this program reads up to {max}; update Katagami", max = super::VERSION)]
    UnsupportedVersion(u16),
    /// It ends too early.
    #[error("the artefact is cut short; fetch it again")]
    Truncated,
    /// Its checksum or its content is wrong.
    #[error("the artefact is damaged ({0}); fetch it again")]
    Corrupt(&'static str),
    /// It would take more memory than allowed.
    #[error("the artefact asks for {needed} bytes of memory and {left} are left of the limit")]
    LimitExceeded {
        /// What it asks for.
        needed: usize,
        /// What is left.
        left: usize,
    },
    /// It is for an architecture that this program does not know.
    #[error("the artefact is for architecture `{0}`, which this program does not know; update Katagami")]
    UnknownArchitecture(String),
    /// It is for another base.
    #[error("the mask is for base {expected}, this is base {given}; fetch the base that the mask names")]
    WrongBase {
        /// The base that the mask is bound to.
        expected: Digest,
        /// The base that was given.
        given: Digest,
    },
    /// It was trained with another view.
    #[error(
        "the mask is for another view of the pictures: it was trained with {expected} ({}) and would be fed {given} ({}); \
         use the mask's own view",
        expected.digest().short(), given.digest().short()
    )]
    OtherView {
        /// The view that the mask was trained with.
        expected: View,
        /// The view that was given.
        given: View,
    },
    /// It is coded against another artefact, which is not at hand.
    #[error(
        "the artefact is a delta to the artefact {0}, which is needed to read it; give that, too, or fetch the whole one"
    )]
    ParentMissing(Digest),
    /// It is coded with a population prior that is not at hand.
    #[error(
        "the artefact is coded with the population prior {0}, which is needed to read it; give that, too, or fetch the artefact that does without"
    )]
    PriorMissing(Digest),
    /// The bytes are no population prior.
    #[error("this is no population prior")]
    NotAPrior,
    /// The masked weights are not those that training saw.
    #[error("the masked weights have digest {given}, the artefact says {expected}; nothing was written")]
    WrongWeights {
        /// What the header says.
        expected: Digest,
        /// What came out.
        given: Digest,
    },
    /// A mask does not fit the architecture (the caller's fault).
    #[error("the mask does not fit the architecture: {0}")]
    Mismatch(&'static str),
    /// The artefact has not so many experts.
    #[error("the artefact has no expert {number}; {}", match count { 0 => "it is a single mask".to_owned(), count => format!("it has experts 1 to {count}") })]
    NoSuchExpert {
        /// Which was asked for.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// Only a single mask will do.
    #[error("the artefact is a cascade with {0} experts, and this works on single masks only")]
    Cascade(usize),
    /// A tensor loses all its weights.
    #[error(transparent)]
    NothingKept(#[from] NothingKept),
}

/// Why a mask fits no artefact of an architecture. The same rules bind writer
/// and reader; only whose fault it is differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    NoSuchTensor,
    MaskedStatistic,
    MovedWeight,
    Length,
    NothingKept,
    NotFinite,
    NegativeVariance,
}

impl Unfit {
    /// The mask came from a caller.
    pub(super) fn of_caller(self) -> MaskError {
        match self {
            Self::NothingKept => MaskError::NothingKept(NothingKept),
            other => MaskError::Mismatch(other.sentence()),
        }
    }

    /// The mask came out of a file.
    pub(super) fn of_file(self) -> MaskError {
        match self {
            Self::NothingKept => MaskError::NothingKept(NothingKept),
            other => MaskError::Corrupt(other.sentence()),
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::NoSuchTensor => "it names a tensor that its architecture has not",
            Self::MaskedStatistic => "it masks a BatchNorm statistic",
            Self::MovedWeight => "it replaces a tensor that is no BatchNorm statistic",
            Self::Length => "a tensor has another length",
            Self::NothingKept => "a mask drops every weight of a tensor",
            Self::NotFinite => "a BatchNorm statistic is not finite",
            Self::NegativeVariance => "a BatchNorm variance is negative",
        }
    }
}

/// Why no masked weights were written to a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The artefact is wrong, or is for another base.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The base cannot be read.
    #[error(transparent)]
    Base(#[from] ImportError),
    /// The masked weights cannot be written.
    #[error("`{}`: {source}", path.display())]
    Write {
        /// Where they were to go.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Problem for ApplyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Mask(error) => error.kind(),
            Self::Base(error) => error.kind(),
            Self::Write { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => {
                ErrorKind::Invalid
            }
            Self::Write { .. } => ErrorKind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Mask(error) => error.code(),
            Self::Base(error) => error.code(),
            Self::Write { .. } => "weights_unwritable",
        }
    }
}

impl Problem for MaskError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::LimitExceeded { .. } => ErrorKind::TooLarge,
            Self::WrongBase { .. } | Self::OtherView { .. } => ErrorKind::Conflict,
            Self::NoSuchExpert { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotAnArtefact => "not_an_artefact",
            Self::UnsupportedVersion(_) => "artefact_version",
            Self::Truncated => "artefact_truncated",
            Self::Corrupt(_) => "artefact_corrupt",
            Self::LimitExceeded { .. } => "artefact_limit",
            Self::UnknownArchitecture(_) => "architecture_unknown",
            Self::WrongBase { .. } => "wrong_base",
            Self::OtherView { .. } => "other_view",
            Self::WrongWeights { .. } => "wrong_weights",
            Self::ParentMissing(_) => "parent_missing",
            Self::PriorMissing(_) => "prior_missing",
            Self::NotAPrior => "not_a_prior",
            Self::Mismatch(_) => "mask_mismatch",
            Self::NoSuchExpert { .. } => "no_such_expert",
            Self::Cascade(_) => "artefact_cascade",
            Self::NothingKept(_) => "nothing_kept",
        }
    }
}
