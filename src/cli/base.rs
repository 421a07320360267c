//! `katagami base …`: importing and looking after bases.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::printer;
use crate::base::{About, BaseStore, Manifest, StoreError, architecture};
use crate::domain::{ErrorKind, Problem};

/// Import a frozen model, or look at the imported ones
#[derive(Debug, Args)]
pub struct BaseArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(subcommand)]
    command: BaseCommand,
}

/// Where bases are.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The folder of bases
    #[arg(
        long,
        env = "KATAGAMI_BASES",
        value_name = "DIR",
        default_value_os_t = default_folder(),
        global = true
    )]
    store: PathBuf,
}

impl StoreArgs {
    /// The store in that folder.
    pub fn open(&self) -> BaseStore {
        BaseStore::new(&self.store)
    }
}

#[derive(Debug, Subcommand)]
enum BaseCommand {
    /// Import weights from safetensors or a PyTorch checkpoint (.pth, .pt)
    Import(Import),
    /// List the imported bases
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a base's manifest as JSON
    Show {
        /// The base's digest, or its beginning
        base: String,
    },
    /// Check a base's weights against its digest
    Verify {
        /// The base's digest, or its beginning
        base: String,
    },
}

#[derive(Debug, Args)]
struct Import {
    #[arg(long, help = format!("The architecture: {}", known()))]
    arch: String,
    /// The file of weights
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Edge length of the network's input in pixels, from 32 to 1024. Default: the architecture's own
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=1024))]
    size: Option<u32>,
    /// The licence of the weights, such as Apache-2.0
    #[arg(long)]
    license: Option<String>,
    /// Where the weights come from
    #[arg(long)]
    source: Option<String>,
    /// What the licence asks of those who use them
    #[arg(long)]
    terms: Option<String>,
    /// Print the manifest as JSON
    #[arg(long)]
    json: bool,
}

/// Why a `base` command failed.
#[derive(Debug, thiserror::Error)]
pub enum BaseCommandError {
    /// The architecture is unknown.
    #[error("architecture `{given}` is not known; known are {known}")]
    UnknownArchitecture {
        /// What was given.
        given: String,
        /// What can be.
        known: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Problem for BaseCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownArchitecture { .. } => ErrorKind::Invalid,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UnknownArchitecture { .. } => "architecture_unknown",
            Self::Store(error) => error.code(),
        }
    }
}

/// Runs a `base` command.
pub fn run(args: BaseArgs) -> Result<(), BaseCommandError> {
    let store = args.store.open();
    match args.command {
        BaseCommand::Import(arguments) => import_base(&store, arguments)?,
        BaseCommand::List { json } => list(&store.list()?, json),
        BaseCommand::Show { base } => printer::json(&store.find(&base)?),
        BaseCommand::Verify { base } => {
            let manifest = store.find(&base)?;
            store.load(&manifest)?;
            printer::line(&format!("base {} is as it was imported", manifest.digest));
        }
    }
    Ok(())
}

fn import_base(store: &BaseStore, arguments: Import) -> Result<(), BaseCommandError> {
    let architecture =
        architecture(&arguments.arch).ok_or_else(|| BaseCommandError::UnknownArchitecture {
            given: arguments.arch.clone(),
            known: known(),
        })?;
    let about = About {
        size: arguments.size,
        licence: arguments.license,
        source: arguments.source,
        terms: arguments.terms,
    };
    let manifest = store.import(architecture, &arguments.weights, about)?;
    if arguments.json {
        printer::json(&manifest);
    } else {
        printer::line(&format!(
            "base {} ({}, {} weights, {}) is in {}",
            manifest.digest,
            manifest.architecture,
            architecture.parameters(),
            printer::bytes(manifest.bytes),
            folder_of(&store.weights_path(&manifest.digest)),
        ));
    }
    Ok(())
}

/// The names of all architectures, for people.
fn known() -> String {
    crate::base::architecture::names().collect::<Vec<_>>().join(", ")
}

fn folder_of(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}

fn list(bases: &[Manifest], json: bool) {
    if json {
        return printer::json(&bases);
    }
    if bases.is_empty() {
        return printer::line(
            "no base yet; import one with `katagami base import --arch NAME --weights FILE`",
        );
    }
    let row = |base: &Manifest| {
        [
            base.digest.short(),
            base.architecture.clone(),
            base.preprocessing.size.to_string(),
            printer::bytes(base.bytes),
            base.licence.clone().unwrap_or_else(|| "not stated".to_owned()),
            base.imported_at.to_string(),
        ]
    };
    let rows: Vec<_> = bases.iter().map(row).collect();
    printer::table(
        ["BASE", "ARCHITECTURE", "SIZE", "BYTES", "LICENCE", "IMPORTED"],
        &rows,
    );
}

fn default_folder() -> PathBuf {
    crate::folders::data().join("bases")
}
