//! The command line: arguments in, one answer out.
//!
//! Data goes to standard output, everything else to standard error. An error
//! is one sentence that says what to do, and an exit code that scripts can
//! tell apart.

#[cfg(feature = "client")]
pub mod admin;
pub mod artefact;
pub mod base;
#[cfg(feature = "server")]
pub mod config;
#[cfg(all(feature = "server", feature = "edge"))]
pub mod demo;
#[cfg(feature = "client")]
pub mod device;
#[cfg(feature = "edge")]
pub mod edge;
pub mod exec;
#[cfg(feature = "client")]
pub mod filter;
#[cfg(feature = "client")]
pub mod images;
#[cfg(feature = "client")]
pub mod job;
#[cfg(feature = "client")]
pub mod mask;
#[cfg(feature = "server")]
pub mod offline;
#[cfg(feature = "client")]
pub mod online;
pub mod printer;
#[cfg(feature = "client")]
pub mod prior;
#[cfg(feature = "client")]
pub mod progress;
#[cfg(feature = "client")]
pub mod release;
#[cfg(feature = "client")]
pub mod remote;
#[cfg(feature = "server")]
pub mod serve;
#[cfg(feature = "client")]
pub mod site;
#[cfg(feature = "client")]
pub mod snapshot;
#[cfg(feature = "client")]
pub mod validation;

use std::process::ExitCode;

#[cfg(feature = "client")]
use crate::domain::report::Kpi;
use crate::domain::{ErrorKind, Problem, View};

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

/// Ends a command that speaks to others: runs it to its end first.
#[cfg(feature = "client")]
pub fn finish_online<E: Problem>(command: impl Future<Output = Result<(), E>>) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => finish(runtime.block_on(command)),
        Err(error) => {
            eprintln!("error: no thread can be started ({error}); end other programs and try again");
            ExitCode::from(5)
        }
    }
}

/// A figure on the command line: a word, JSON, or `@FILE` with JSON.
#[cfg(feature = "client")]
pub fn kpi(text: &str) -> Result<Kpi, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let text = text.strip_prefix('@').map_or_else(|| Ok(text.to_owned()), read)?;
    text.parse()
        .map_err(|error: crate::domain::kpi::KpiError| error.to_string())
}

/// A view on the command line: JSON, or a file (`@` before it may be left out) with JSON or TOML.
pub fn view(text: &str) -> Result<View, String> {
    let text = if text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        let path = text.strip_prefix('@').unwrap_or(text);
        std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?
    };
    View::parse(&text).map_err(|error| error.to_string())
}

/// A figure in words.
#[cfg(feature = "client")]
fn kpi_for_people(kpi: &Kpi) -> String {
    match kpi {
        Kpi::Probe => "linear probe".to_owned(),
        Kpi::Knn => "nearest neighbours".to_owned(),
        Kpi::FewShot => "few-shot probe".to_owned(),
        Kpi::RecallAtFalseAlarm { normal, rate } => {
            let rate = rate * 100.0;
            format!("recall of defects at {rate} % false alarms on class `{normal}`")
        }
        Kpi::Cost { .. } => "cost of an image, less is better".to_owned(),
    }
}
