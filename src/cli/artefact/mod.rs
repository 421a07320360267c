//! `katagami artefact …`: looking into a mask's file and laying it over a base.

mod recode;
mod sets;
mod show;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::printer;
use crate::base::{ImportError, Weights, import, overlay_safetensors, write_atomically};
use crate::domain::{ErrorKind, Problem, View};
use crate::mask::onnx::{OnnxError, apply_to_onnx};
use crate::mask::{Artefact, Coding, Limits, Mask, MaskError, apply_artefact_with, decode};
use clap::{Args, Subcommand};

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
        #[command(flatten)]
        needs: Needs,
    },
    /// Compare two masks over the same base: what both drop, tensor by tensor, and against chance
    Diff(sets::DiffArgs),
    /// Count what masks over one base drop, whole outputs too, and compare each with each
    Stats(sets::StatsArgs),
    /// Write the mask that drops what several masks drop
    Merge(sets::MergeArgs),
    /// Write the same mask anew: at another level, in the newest format, as a delta, with a prior
    Recode(recode::RecodeArgs),
    /// Learn a population prior from the masks of several sites
    Prior(recode::PriorArgs),
    /// Lay a mask over a base and write the masked weights
    Apply {
        /// The artefact
        file: PathBuf,
        /// The base's weights (safetensors)
        #[arg(long)]
        base: PathBuf,
        /// The view that the pictures will have (JSON, or a file with JSON or TOML): a mask of another one is refused
        #[arg(long, value_name = "FILE", value_parser = super::view)]
        view: Option<View>,
        /// An ONNX export of the base, to be masked instead of its safetensors (docs/onnx.md)
        #[arg(long, value_name = "EXPORT")]
        onnx: Option<PathBuf>,
        #[command(flatten)]
        needs: Needs,
        /// The expert of a cascade to lay over the base, from 1; default: the dispatcher
        #[arg(long, value_name = "N", conflicts_with_all = ["parent", "prior"], value_parser = clap::value_parser!(u8).range(1..))]
        expert: Option<u8>,
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
    /// A file could not be written.
    #[error("cannot write `{}`: {}", path.display(), unwritable(source))]
    Write {
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
    Base(ImportError),
    /// The base is of another architecture, or no base.
    #[error("`{}` is not the {architecture} that the mask is for: {source}", path.display())]
    OtherBase {
        /// The base's file.
        path: PathBuf,
        /// The architecture that the mask is for.
        architecture: &'static str,
        /// What is wrong.
        source: ImportError,
    },
    /// The masked ONNX file was not written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

impl Problem for ArtefactCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } | Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
                io::ErrorKind::FileTooLarge => ErrorKind::TooLarge,
                io::ErrorKind::IsADirectory | io::ErrorKind::InvalidData => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
            Self::Onnx(error) => error.kind(),
            Self::Mask { source, .. } => source.kind(),
            Self::Base(error) | Self::OtherBase { source: error, .. } => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::Write { .. } => "file_unusable",
            Self::Onnx(error) => error.code(),
            Self::Mask { source, .. } => source.code(),
            Self::Base(error) | Self::OtherBase { source: error, .. } => error.code(),
        }
    }
}

/// Runs an `artefact` command.
pub fn run(args: ArtefactArgs) -> Result<(), ArtefactCommandError> {
    match args.command {
        ArtefactCommand::Show { file, json } => show::show(&read(&file)?, json),
        ArtefactCommand::Diff(args) => sets::diff(&args)?,
        ArtefactCommand::Stats(args) => sets::stats(&args)?,
        ArtefactCommand::Merge(args) => sets::merge(&args)?,
        ArtefactCommand::Recode(args) => recode::recode(&args)?,
        ArtefactCommand::Prior(args) => recode::prior(&args)?,
        ArtefactCommand::Verify { file, base, needs } => {
            let artefact = read(&file)?;
            let Some(base) = base else {
                printer::line("whole; give --base to check the weights that it yields");
                return Ok(());
            };
            let base = base_of(&artefact, &base)?;
            let yields = match &artefact.experts {
                None => {
                    needs.masked(&file, &artefact, base)?;
                    String::new()
                }
                Some(experts) => {
                    artefact.check_networks(&base).map_err(of(&file))?;
                    format!(", and those of its {} experts", experts.count())
                }
            };
            printer::line(&format!(
                "whole, and yields the weights {} on this base{yields}",
                artefact.header.weights
            ));
        }
        ArtefactCommand::Apply {
            file,
            base,
            view,
            onnx,
            needs,
            expert,
            out,
        } => {
            let artefact = read(&file)?;
            if let Some(view) = view {
                artefact.header.check_view(&view).map_err(of(&file))?;
            }
            let weights = base_of(&artefact, &base)?;
            // What an export holds is found by the base's weights.
            let unmasked = onnx.as_ref().map(|_| weights.clone());
            let (masked, digest) = match expert.map(usize::from) {
                None => (needs.masked(&file, &artefact, weights)?, artefact.header.weights),
                Some(number) => {
                    let masked = artefact.expert_weights(number, &weights).map_err(of(&file))?;
                    let digest = masked.digest();
                    (masked, digest)
                }
            };
            match onnx.zip(unmasked) {
                None => overlay_safetensors(&base, &masked, &out).map_err(to(&out))?,
                Some((export, unmasked)) => apply_to_onnx(&unmasked, &masked, &export, &out)?,
            }
            printer::line(&format!("{} has the weights {digest}", out.display()));
        }
    }
    Ok(())
}

/// What an artefact may need besides its base.
#[derive(Debug, Args)]
struct Needs {
    /// The artefact that this one is a delta to
    #[arg(long)]
    parent: Option<PathBuf>,
    /// The population prior that it is coded with
    #[arg(long)]
    prior: Option<PathBuf>,
}

impl Needs {
    /// The masked weights of `base`, checked against the artefact's header.
    fn masked(
        &self,
        file: &Path,
        artefact: &Artefact,
        base: Weights,
    ) -> Result<Weights, ArtefactCommandError> {
        let parent = match &self.parent {
            Some(path) => Some(recode::parent(path, &base)?),
            None => None,
        };
        if let (Some(expected), Some((given, _))) = (artefact.header.parent, &parent)
            && expected != *given
        {
            return Err(of(file)(MaskError::ParentMissing(expected)));
        }
        let prior = self.prior.as_deref().map(recode::read_prior).transpose()?;
        let coding = Coding {
            parent: parent.as_ref().map(|(_, mask)| mask),
            prior: prior.as_ref(),
            ..Coding::default()
        };
        apply_artefact_with(artefact, base, &coding).map_err(of(file))
    }
}

fn read(path: &Path) -> Result<Artefact, ArtefactCommandError> {
    let bytes = read_at_most(path, LONGEST).map_err(at(path))?;
    decode(&bytes, Limits::default()).map_err(of(path))
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

fn to(path: &Path) -> impl FnOnce(std::io::Error) -> ArtefactCommandError + use<> {
    let path = path.to_owned();
    move |source| ArtefactCommandError::Write { path, source }
}

/// Why a file cannot be written; the system names a temporary one beside it.
fn unwritable(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => "its folder is not there; make it first".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "its folder may not be written to; choose another place".to_owned()
        }
        _ => source.to_string(),
    }
}

/// The weights of the base that an artefact is for, in the file `path`.
fn base_of(artefact: &Artefact, path: &Path) -> Result<Weights, ArtefactCommandError> {
    import(artefact.architecture, path).map_err(|source| match source {
        ImportError::Io { .. } | ImportError::Format { .. } => ArtefactCommandError::Base(source),
        source => ArtefactCommandError::OtherBase {
            path: path.to_owned(),
            architecture: artefact.architecture.name,
            source,
        },
    })
}

/// The artefacts `files`, at least one, with their masks, and the base of all.
fn opened(files: &[PathBuf], base: &Path) -> Result<(Weights, Vec<(Artefact, Mask)>), ArtefactCommandError> {
    let artefacts = files
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let base = base_of(&artefacts[0], base)?;
    let with_mask = |(artefact, path): (Artefact, &PathBuf)| {
        let mask = artefact.mask(&base).map_err(of(path))?;
        Ok((artefact, mask))
    };
    let masks = artefacts.into_iter().zip(files).map(with_mask);
    let masks = masks.collect::<Result<_, ArtefactCommandError>>()?;
    Ok((base, masks))
}

fn of(path: &Path) -> impl FnOnce(MaskError) -> ArtefactCommandError + use<> {
    let path = path.to_owned();
    move |source| ArtefactCommandError::Mask { path, source }
}

/// Writes a file, whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ArtefactCommandError> {
    write_atomically(path, |file| file.write_all(bytes)).map_err(to(path))
}
