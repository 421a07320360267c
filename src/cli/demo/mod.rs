//! `katagami demo`: the product's whole way on real photographs, on one machine.
//!
//! Nothing here is a shortcut: the demo starts the server that `katagami
//! serve` starts, speaks to it through the public REST API, and its two edge
//! folders are those of `katagami edge`.

mod document;
mod factory;
mod photographs;
mod stage;

use std::fs;
use std::path::PathBuf;

use clap::Args;

use self::document::Document;
use self::factory::Factory;
use self::stage::Stage;
use super::exec::ExecError;
use super::printer;
use super::remote::CommandError;
use crate::api::StartError;
use crate::base::StoreError;
use crate::client::ClientError;
use crate::domain::{Digest, ErrorKind, Problem};
use crate::edge::EdgeError;
use crate::mask::MaskError;
use crate::wire::v1::jobs::NewJob;

/// Show the whole way: two factories, real photographs, training, gate, release, edge
///
/// Trains a mask for each of two factories of solar cells (about 4 minutes each on two cores),
/// judges both, releases what the gate lets pass, and lets two edge folders pull and apply. Then
/// it serves the dashboard until Ctrl-C. `make setup` fetches the photographs and the base.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End when the table is printed, instead of serving until Ctrl-C
    #[arg(long)]
    once: bool,
    /// 200 photographs a site and the 12 steps of recipe `quick`: to see that everything works, not what it is worth
    #[arg(long)]
    quick: bool,
    /// Write the table as JSON into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What `make setup` fetched: efficientnet-lite0.pth and elpv/
    #[arg(long, value_name = "DIR", env = "KATAGAMI_DEMO_DATA", default_value_os_t = fetched())]
    data: PathBuf,
    /// Where server and edge keep their files, and leave them. Default: a temporary folder, which
    /// is removed at the end unless --json refers to files in it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The two factories: the site, its name for people, and the kind of cell that it makes.
const FACTORIES: [(&str, &str); 2] = [
    ("mono", "Monocrystalline solar cells"),
    ("poly", "Polycrystalline solar cells"),
];

/// The recipe of `--quick`: the default one drops nothing in so few steps.
const QUICK: &str = "quick";

/// The budget otherwise: half the default recipe's steps, which take about 4 minutes a factory on two cores.
const STEPS: u32 = 200;

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The photographs or the base are not there.
    #[error("`{}` is missing; fetch it with `make setup`, or say with --data where it is", .0.display())]
    Missing(PathBuf),
    /// A command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The folder was used before, by another demo or a server.
    #[error("`{}` has a server's data; give an empty folder, or one that is not there yet", .0.display())]
    Used(PathBuf),
    /// The base was not imported.
    #[error(transparent)]
    Base(#[from] StoreError),
    /// The edge failed.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// A mask is damaged.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// There is no worker.
    #[error(transparent)]
    Worker(#[from] ExecError),
    /// The edge has other weights than it was promised.
    #[error("the edge of `{site}` has weights {given} instead of {expected}; this is a fault of Katagami")]
    OtherWeights {
        /// The site.
        site: String,
        /// What the artefact promises.
        expected: Digest,
        /// What the edge has.
        given: Digest,
    },
    /// Somebody pressed Ctrl-C before the end.
    #[error("interrupted before the end")]
    Interrupted,
}

impl From<ClientError> for DemoError {
    fn from(error: ClientError) -> Self {
        Self::Command(error.into())
    }
}

impl Problem for DemoError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) => ErrorKind::NotFound,
            Self::Command(error) => error.kind(),
            Self::Start(error) => error.kind(),
            Self::Used(_) => ErrorKind::Conflict,
            Self::Base(error) => error.kind(),
            Self::Edge(error) => error.kind(),
            Self::Mask(error) => error.kind(),
            Self::Worker(error) => error.kind(),
            Self::OtherWeights { .. } | Self::Interrupted => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "demo_data_missing",
            Self::Command(error) => error.code(),
            Self::Start(error) => error.code(),
            Self::Used(_) => "demo_folder_used",
            Self::Base(error) => error.code(),
            Self::Edge(error) => error.code(),
            Self::Mask(error) => error.code(),
            Self::Worker(error) => error.code(),
            Self::OtherWeights { .. } => "edge_weights_differ",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Runs the demo.
pub async fn run(args: DemoArgs) -> Result<(), DemoError> {
    super::exec::find_worker()?;
    let stage = Stage::set(&args).await?;
    // Its folders outlive it only for whom they are kept.
    let shown = tokio::select! {
        shown = show(&args, &stage) => shown,
        _ = tokio::signal::ctrl_c() => Err(DemoError::Interrupted),
    };
    if shown.is_ok() && !args.once {
        stage.say_where();
        let _ = tokio::signal::ctrl_c().await;
    }
    stage.strike().await;
    shown
}

/// The way itself, from the photographs to the table.
async fn show(args: &DemoArgs, stage: &Stage) -> Result<(), DemoError> {
    let most = args.quick.then_some(200);
    let mut factories = Vec::new();
    for (name, title) in FACTORIES {
        factories.push(Factory::open(stage, &args.data, name, title, most).await?);
    }
    let order = NewJob {
        recipe: args.quick.then(|| QUICK.to_owned()),
        budget: (!args.quick).then_some(STEPS),
        ..NewJob::default()
    };
    for factory in &mut factories {
        factory.train(stage, &order).await?;
    }
    let mut sites = Vec::new();
    for factory in factories {
        sites.push(factory.deliver(stage).await?);
    }
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        sites,
    };
    printer::note("");
    document.print();
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&document).expect("the document has only text keys");
        fs::write(path, text + "\n").map_err(CommandError::at(path))?;
    }
    document.check()
}

/// Where `make setup` puts the photographs and the base.
fn fetched() -> PathBuf {
    let named = std::env::var_os("KATAGAMI_CACHE").map(PathBuf::from);
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = named.or_else(|| Some(caches.or_else(home)?.join("katagami")));
    cache.unwrap_or_default().join("demo-data")
}
