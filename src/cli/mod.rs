//! The command line: arguments in, one answer out.
//!
//! Data goes to standard output, everything else to standard error. An error
//! is one sentence that says what to do, and an exit code that scripts can
//! tell apart.

pub mod artefact;
pub mod base;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "edge")]
pub mod edge;
pub mod exec;
#[cfg(feature = "server")]
pub mod offline;
pub mod printer;
#[cfg(feature = "server")]
pub mod serve;

use std::process::ExitCode;

use crate::domain::{ErrorKind, Problem};

/// The exit code for an error: 2 for a wrong input, 3 for what is not there,
/// 4 for what is not allowed, 5 for what may work later, 1 for the rest.
pub fn exit_code(error: &dyn Problem) -> ExitCode {
    ExitCode::from(match error.kind() {
        ErrorKind::Invalid | ErrorKind::TooLarge => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::Unauthenticated | ErrorKind::Forbidden => 4,
        ErrorKind::Unavailable | ErrorKind::Exhausted => 5,
        ErrorKind::Conflict | ErrorKind::PreconditionFailed | ErrorKind::Internal => 1,
    })
}

/// Ends a command: success, or the error's sentence on standard error and its exit code.
pub fn finish<E: Problem>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            exit_code(&error)
        }
    }
}
