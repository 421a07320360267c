//! `katagami artefact …`: looking into a mask's file and laying it over a base.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::printer;
use crate::base::{ImportError, import};
use crate::domain::{ErrorKind, Problem};
use crate::mask::onnx::{OnnxError, apply_to_onnx};
use crate::mask::{ApplyError, Artefact, Limits, MaskError, apply_artefact, apply_to_safetensors, decode};

/// The longest file that is read as an artefact. One over two billion weights is shorter.
const LONGEST: u64 = 256 << 20;

/// Look into a mask artefact, or lay it over a base
#[derive(Debug, Args)]
pub struct ArtefactArgs {
    #[command(subcommand)]
    command: ArtefactCommand,
}

#[derive(Debug, Subcommand)]
enum ArtefactCommand {
    /// Explain what a mask is bound to, what it drops and where its bytes go
    Show {
        /// The artefact
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check that an artefact is whole, and with --base that it yields the weights it names
    Verify {
        /// The artefact
        file: PathBuf,
        /// The base's weights (safetensors)
        #[arg(long)]
        base: Option<PathBuf>,
    },
    /// Lay a mask over a base and write the masked weights
    Apply {
        /// The artefact
        file: PathBuf,
        /// The base's weights (safetensors)
        #[arg(long)]
        base: PathBuf,
        /// An ONNX export of the base, to be masked instead of its safetensors (docs/onnx.md)
        #[arg(long, value_name = "EXPORT")]
        onnx: Option<PathBuf>,
        /// Where the masked weights go (names, order and other tensors as in the base or its export)
        #[arg(long)]
        out: PathBuf,
    },
}

/// Why an `artefact` command failed.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactCommandError {
    /// A file could not be read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The artefact is wrong, or is for another base.
    #[error("`{}`: {source}", path.display())]
    Mask {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: MaskError,
    },
    /// The base cannot be read.
    #[error(transparent)]
    Base(#[from] ImportError),
    /// The masked weights were not written.
    #[error(transparent)]
    Apply(ApplyError),
    /// The masked ONNX file was not written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

impl Problem for ArtefactCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
                io::ErrorKind::FileTooLarge => ErrorKind::TooLarge,
                io::ErrorKind::IsADirectory => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
            Self::Apply(error) => error.kind(),
            Self::Onnx(error) => error.kind(),
            Self::Mask { source, .. } => source.kind(),
            Self::Base(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "file_unusable",
            Self::Apply(error) => error.code(),
            Self::Onnx(error) => error.code(),
            Self::Mask { source, .. } => source.code(),
            Self::Base(error) => error.code(),
        }
    }
}

/// Runs an `artefact` command.
pub fn run(args: ArtefactArgs) -> Result<(), ArtefactCommandError> {
    match args.command {
        ArtefactCommand::Show { file, json } => show(&read(&file)?, json),
        ArtefactCommand::Verify { file, base } => {
            let artefact = read(&file)?;
            match base {
                Some(base) => {
                    let base = import(artefact.architecture, &base)?;
                    apply_artefact(&artefact, base)
                        .map_err(|source| ArtefactCommandError::Mask { path: file, source })?;
                    printer::line(&format!(
                        "whole, and yields the weights {} on this base",
                        artefact.header.weights
                    ));
                }
                None => printer::line("whole; give --base to check the weights that it yields"),
            }
        }
        ArtefactCommand::Apply {
            file,
            base,
            onnx,
            out,
        } => {
            let artefact = read(&file)?;
            match onnx {
                None => apply_to_safetensors(&artefact, &base, &out).map_err(|error| match error {
                    ApplyError::Mask(source) => ArtefactCommandError::Mask { path: file, source },
                    other => ArtefactCommandError::Apply(other),
                })?,
                Some(export) => {
                    let base = import(artefact.architecture, &base)?;
                    let masked = apply_artefact(&artefact, base.clone())
                        .map_err(|source| ArtefactCommandError::Mask { path: file, source })?;
                    apply_to_onnx(&base, &masked, &export, &out)?;
                }
            }
            printer::line(&format!(
                "{} has the weights {}",
                out.display(),
                artefact.header.weights
            ));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Artefact, ArtefactCommandError> {
    let bytes = read_at_most(path, LONGEST).map_err(at(path))?;
    decode(&bytes, Limits::default()).map_err(|source| ArtefactCommandError::Mask {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file, but never more than `limit` bytes: whatever it claims to be, it comes from elsewhere.
fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::take(std::fs::File::open(path)?, limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {limit} bytes, so no mask artefact"),
        ));
    }
    Ok(bytes)
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> ArtefactCommandError + use<> {
    let path = path.to_owned();
    move |source| ArtefactCommandError::Io { path, source }
}

fn show(artefact: &Artefact, as_json: bool) {
    let Artefact {
        header,
        architecture,
        sizes,
        ..
    } = artefact;
    let by_tensor = artefact.dropped_by_tensor();
    if as_json {
        return printer::json(&json!({
            "architecture": architecture.name,
            "header": header,
            "format": artefact.version,
            "coding": artefact.coding(),
            "masked_tensors": by_tensor.len(),
            "masked_weights": artefact.weights(),
            "dropped_weights": artefact.dropped(),
            "density": artefact.density(),
            "bytes": { "total": sizes.total(), "parts": sizes },
        }));
    }
    let say = |what: &str, value: &dyn std::fmt::Display| printer::line(&format!("{what:<16}{value}"));
    say(
        "mask",
        &format_args!(
            "version {} of site {}, made {}",
            header.version, header.site, header.created_at
        ),
    );
    say("base", &format_args!("{} ({})", header.base, architecture.name));
    say("preprocessing", &header.preprocessing);
    say("snapshot", &header.snapshot);
    say("recipe", &header.recipe);
    say("weights", &format_args!("{} once applied", header.weights));
    if let Some(report) = header.report {
        say("report", &report);
    }
    let profile = &header.profile;
    say(
        "trained on",
        &format_args!(
            "libtorch {}, {}, {} threads, {}",
            profile.libtorch, profile.device, profile.threads, profile.instructions
        ),
    );
    say(
        "drops",
        &format_args!(
            "{} of {} weights in {} tensors ({:.4} % kept)",
            artefact.dropped(),
            artefact.weights(),
            by_tensor.len(),
            100.0 * artefact.density()
        ),
    );
    say(
        "bytes",
        &format_args!(
            "{} in all: header {}, bits {}, BatchNorm statistics {}, frame {}",
            sizes.total(),
            sizes.header,
            sizes.bits,
            sizes.norms,
            sizes.frame
        ),
    );
    say(
        "coded",
        &format_args!("format {}, {}", artefact.version, artefact.coding()),
    );
    if let Some(parent) = header.parent {
        say("delta to", &parent);
    }
    if let Some(prior) = header.prior {
        say("with prior", &prior);
    }
    let rows: Vec<_> = by_tensor
        .into_iter()
        .filter(|(_, dropped)| *dropped > 0)
        .map(|(index, dropped)| {
            let tensor = &architecture.tensors[index];
            let share = 100.0 * (1.0 - dropped as f64 / tensor.len() as f64);
            [
                tensor.name.clone(),
                tensor.len().to_string(),
                dropped.to_string(),
                format!("{share:.4} %"),
            ]
        })
        .collect();
    if !rows.is_empty() {
        printer::line("");
        printer::table(["TENSOR", "WEIGHTS", "DROPPED", "KEPT"], &rows);
    }
}
