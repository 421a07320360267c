//! Hands a command over to `katagami-worker`, the executable that links libtorch.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::domain::{ErrorKind, Problem};

/// The worker's executable could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It lies neither beside `katagami` nor on PATH.
    #[error(
        "`katagami-worker` was found neither beside `katagami` nor on PATH; build it with `make build`, or copy it beside `katagami`"
    )]
    Missing,
    /// It is there but does not start.
    #[error("`{}` does not start: {source}; build it again with `make build`", path.display())]
    Broken {
        /// Where it was found.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Problem for ExecError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Missing => "worker_missing",
            Self::Broken { .. } => "worker_broken",
        }
    }
}

/// Where `katagami-worker` is: beside this executable, else on PATH.
pub fn find_worker() -> Result<PathBuf, ExecError> {
    crate::companion::worker().ok_or(ExecError::Missing)
}

/// Replaces this process by `katagami-worker` with `arguments`, whose help and errors call it `typed`: what a
/// person typed before them. Returns only if that fails.
pub fn worker(typed: &str, arguments: &[OsString]) -> ExecError {
    match find_worker() {
        Ok(path) => {
            let source = Command::new(&path).arg0(typed).args(arguments).exec();
            ExecError::Broken { path, source }
        }
        Err(missing) => missing,
    }
}
