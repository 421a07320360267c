//! Why a request came to nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::domain::{Digest, ErrorKind, Problem};
use crate::wire::problem::ProblemDocument;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's address is none.
    #[error("`{0}` is no server's address; give it as https://HOST or http://HOST:PORT, without a user name")]
    NoUrl(String),
    /// The file of certificates cannot be used.
    #[error("`{}` cannot be used as certificates: {reason}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The token holds what no token holds.
    #[error("the token holds characters that no token has; copy it again")]
    UnusableToken,
    /// No client could be made.
    #[error("no connection can be set up: {}", chain(.0))]
    Setup(#[source] reqwest::Error),
    /// The server was not reached, or the connection broke.
    #[error(
        "`{url}` was not reached ({reason}); check that the server runs, the address, the network and the proxy settings"
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// The server's certificate is not trusted.
    #[error(
        "`{url}` is not trusted ({reason}); give the certificate of its authority with --ca, and check this machine's clock"
    )]
    Untrusted {
        /// What was asked for.
        url: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The server refused, and said why.
    #[error("{detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The problem's code.
        code: &'static str,
        /// The problem's sentence.
        detail: String,
        /// The request's identifier, for a question to the operator.
        request: Option<String>,
    },
    /// Something answered that is not the API.
    #[error("`{url}` answered {what}; is it a Katagami server, and is no proxy in between?")]
    Unexpected {
        /// What was asked for.
        url: String,
        /// What came.
        what: String,
    },
    /// The bytes are not those that were asked for.
    #[error("`{url}` sent bytes with digest {given} instead of {expected}; nothing was kept")]
    Damaged {
        /// What was asked for.
        url: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        given: Digest,
    },
    /// The answer is longer than it may be.
    #[error("`{url}` sent more than {limit} bytes; nothing was kept")]
    TooLong {
        /// What was asked for.
        url: String,
        /// How many bytes it may have.
        limit: u64,
    },
    /// A file could not be read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ClientError {
    /// The HTTP status, if the server answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same request may succeed later, without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Damaged { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }

    pub(super) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// What `reqwest` says of a request to `url` that got no (whole) answer.
    pub(super) fn broken(url: &str, error: &reqwest::Error) -> Self {
        let (url, reason) = (url.to_owned(), chain(error));
        if is_distrust(&reason) {
            Self::Untrusted { url, reason }
        } else {
            Self::Unreachable { url, reason }
        }
    }

    pub(super) fn refused(document: ProblemDocument) -> Self {
        Self::Refused {
            status: document.status,
            code: interned(&document.code),
            detail: document.detail,
            request: document.request,
        }
    }
}

impl Problem for ClientError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoUrl(_) | Self::Authority { .. } | Self::UnusableToken => ErrorKind::Invalid,
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::Damaged { .. } => {
                ErrorKind::Unavailable
            }
            Self::Unexpected { .. } => ErrorKind::Unavailable,
            Self::TooLong { .. } => ErrorKind::TooLarge,
            Self::Setup(_) => ErrorKind::Internal,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
                _ => ErrorKind::Unavailable,
            },
            Self::Refused { status, .. } => match status {
                401 => ErrorKind::Unauthenticated,
                403 => ErrorKind::Forbidden,
                404 => ErrorKind::NotFound,
                409 => ErrorKind::Conflict,
                412 => ErrorKind::PreconditionFailed,
                413 => ErrorKind::TooLarge,
                429 => ErrorKind::Exhausted,
                408 | 502..=504 => ErrorKind::Unavailable,
                500.. => ErrorKind::Internal,
                _ => ErrorKind::Invalid,
            },
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoUrl(_) => "server_address",
            Self::Authority { .. } => "authority_unusable",
            Self::UnusableToken => "token_unusable",
            Self::Setup(_) => "client_setup",
            Self::Unreachable { .. } => "server_unreachable",
            Self::Untrusted { .. } => "server_untrusted",
            Self::Refused { code, .. } => code,
            Self::Unexpected { .. } => "answer_unexpected",
            Self::Damaged { .. } => "download_damaged",
            Self::TooLong { .. } => "answer_too_long",
            Self::Io { .. } => "file_unusable",
        }
    }
}

/// Whether a connection failed for its certificate; `reason` is the innermost cause.
pub fn is_distrust(reason: &str) -> bool {
    reason.contains("certificate") || reason.contains("UnknownIssuer")
}

/// The innermost cause of `error`, which is the one that a person can act on.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// A server's code as a static text. Codes are few: whatever is no code, or comes after the first 512
/// different ones, is `refused`, so that no server can make this process grow.
fn interned(code: &str) -> &'static str {
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    const OTHER: &str = "refused";
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if code.is_empty() || code.len() > 64 || !code.chars().all(word) {
        return OTHER;
    }
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(same) = known.get(code) {
        return same;
    }
    if known.len() >= 512 {
        return OTHER;
    }
    let kept: &'static str = Box::leak(code.to_owned().into_boxed_str());
    known.insert(kept);
    kept
}
