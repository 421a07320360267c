//! `katagami artefact recode|prior`: the same mask in other bytes.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{ArtefactCommandError, LONGEST, at, of, opened, printer, read_at_most, write};
use crate::base::Weights;
use crate::domain::Digest;
use crate::mask::{Coding, Header, Level, Limits, Mask, MaskError, Prior, decode, encode_with};

/// How much work goes into small size.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LevelArg {
    /// Fast, unless best is smaller by more than a factor of 1.15
    Auto,
    /// Quickly read
    Fast,
    /// Small
    Best,
}

/// Arguments of `recode`.
#[derive(Debug, Args)]
pub(super) struct RecodeArgs {
    /// The artefact; of any format, but no delta
    file: PathBuf,
    /// Its base (safetensors)
    #[arg(long)]
    base: PathBuf,
    /// Size or speed
    #[arg(long, value_enum, default_value = "auto")]
    level: LevelArg,
    /// Write a delta to this artefact of the same site, if that is smaller; whoever reads it needs this one
    #[arg(long)]
    parent: Option<PathBuf>,
    /// Code with this population prior; whoever reads it needs it
    #[arg(long)]
    prior: Option<PathBuf>,
    /// Where the new artefact goes
    #[arg(long)]
    out: PathBuf,
}

/// Arguments of `prior`.
#[derive(Debug, Args)]
pub(super) struct PriorArgs {
    /// The masks of sites that agree to be learned from
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The base of all (safetensors)
    #[arg(long)]
    base: PathBuf,
    /// Where the prior goes (`.kgp`)
    #[arg(long)]
    out: PathBuf,
}

/// Runs `recode`.
pub(super) fn recode(args: &RecodeArgs) -> Result<(), ArtefactCommandError> {
    let (base, read) = opened(std::slice::from_ref(&args.file), &args.base)?;
    let (artefact, mask) = &read[0];
    if let Some(experts) = &artefact.experts {
        return Err(of(&args.file)(MaskError::Cascade(experts.count())));
    }
    let parent = match &args.parent {
        Some(path) => Some(parent(path, &base)?),
        None => None,
    };
    let prior = args.prior.as_deref().map(read_prior).transpose()?;
    let level = match args.level {
        LevelArg::Auto => Level::Auto,
        LevelArg::Fast => Level::Fast,
        LevelArg::Best => Level::Best,
    };
    let written = |parent: Option<&(Digest, Mask)>| {
        let header = Header {
            parent: parent.map(|(digest, _)| *digest),
            prior: prior.as_ref().map(Prior::digest),
            ..artefact.header.clone()
        };
        let coding = Coding {
            level,
            parent: parent.map(|(_, mask)| mask),
            prior: prior.as_ref(),
        };
        encode_with(&header, mask, &base, &coding).map_err(of(&args.file))
    };
    let mut bytes = written(None)?;
    let mut kind = "";
    if parent.is_some() {
        let delta = written(parent.as_ref())?;
        kind = if delta.len() < bytes.len() {
            bytes = delta;
            ", a delta"
        } else {
            ", in full, since the delta would not be smaller"
        };
    }
    write(&args.out, &bytes)?;
    printer::line(&format!(
        "{}: {} bytes{kind}; before {}; the same mask, the same weights {}",
        args.out.display(),
        bytes.len(),
        artefact.sizes.total(),
        artefact.header.weights
    ));
    Ok(())
}

/// Runs `prior`.
pub(super) fn prior(args: &PriorArgs) -> Result<(), ArtefactCommandError> {
    let (base, read) = opened(&args.files, &args.base)?;
    let masks: Vec<_> = read.iter().map(|(_, mask)| mask).collect();
    let prior = Prior::learn(&base, &masks);
    let bytes = prior.encode().map_err(of(&args.out))?;
    write(&args.out, &bytes)?;
    printer::line(&format!(
        "{}: {} bytes, prior {} learned from {} masks",
        args.out.display(),
        bytes.len(),
        prior.digest(),
        prior.masks
    ));
    Ok(())
}

/// The digest of the artefact `path`, and its mask.
pub(super) fn parent(path: &Path, base: &Weights) -> Result<(Digest, Mask), ArtefactCommandError> {
    let bytes = read_at_most(path, LONGEST).map_err(at(path))?;
    let artefact = decode(&bytes, Limits::default()).map_err(of(path))?;
    Ok((Digest::of(&bytes), artefact.mask(base).map_err(of(path))?))
}

/// The prior in the file `path`.
pub(super) fn read_prior(path: &Path) -> Result<Prior, ArtefactCommandError> {
    let bytes = read_at_most(path, LONGEST).map_err(at(path))?;
    Prior::decode(&bytes, Limits::default()).map_err(of(path))
}
