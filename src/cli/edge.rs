//! `katagami edge …`: the model of a device.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exec::{self, ExecError};
use super::printer;
use crate::client::Client;
use crate::domain::{ChannelName, ErrorKind, Problem};
use crate::edge::{
    Agent, AgentSettings, DeviceFolder, EdgeError, Fetched, Outcome, Puller, Source, Status, verify,
};
use crate::mask::cascade::Inference;

/// Keep the model of an edge device the one that its channel names
#[derive(Debug, Args)]
pub struct EdgeArgs {
    #[command(subcommand)]
    command: EdgeCommand,
}

#[derive(Debug, Subcommand)]
enum EdgeCommand {
    /// Fetch the base once, then only the mask that the channel points at, and make it current
    Pull {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        folder: FolderArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Pull again and again, until ended by SIGTERM
    Run {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        folder: FolderArgs,
        /// Seconds between two questions to the server, spread by a fifth
        #[arg(long, env = "KATAGAMI_INTERVAL", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        interval: u64,
        /// Shell command to run after each switch, with the old and the new weights' digest as $1 and $2
        /// (and KATAGAMI_OLD, KATAGAMI_NEW, KATAGAMI_MODEL); if it fails, the model before is made current again
        #[arg(long, value_name = "CMD", env = "KATAGAMI_ON_SWITCH")]
        on_switch: Option<String>,
    },
    /// Go back to the previous model, and stay there until the channel moves
    Rollback {
        #[command(flatten)]
        folder: FolderArgs,
        /// Why, for the report to the server
        #[arg(long, default_value = "rolled back by hand")]
        reason: String,
    },
    /// Show what the device runs and how its agent is doing
    Status {
        #[command(flatten)]
        folder: FolderArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compute again the digest of the current model and of its base
    Verify {
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Compute embeddings of pictures by the current model (runs `katagami-worker`)
    Embed {
        #[command(flatten)]
        folder: FolderArgs,
        /// Also write the network's input to this file (safetensors)
        #[arg(long, value_name = "FILE")]
        save_input: Option<PathBuf>,
        /// Take the network's input from such a file instead of pictures
        #[arg(long, value_name = "FILE", conflicts_with_all = ["save_input", "images"])]
        input: Option<PathBuf>,
        /// Which networks see a picture, where the mask is a cascade: conditional (the dispatcher and
        /// the picture's own expert) or unconditional (all)
        #[arg(long, value_name = "WHICH", default_value_t)]
        inference: Inference,
        /// The pictures
        #[arg(required_unless_present = "input")]
        images: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct FolderArgs {
    /// The device's folder: its base, its models, its state
    #[arg(long, env = "KATAGAMI_EDGE_DIR", value_name = "DIR")]
    dir: PathBuf,
    /// Ends the process before the durable step of that number, as a power cut would; for tests
    #[arg(long, hide = true, env = "KATAGAMI_EDGE_DIE_AFTER")]
    die_after: Option<u32>,
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// The server, such as https://katagami.example
    #[arg(long, env = "KATAGAMI_SERVER", value_name = "URL")]
    server: String,
    /// The device's token
    #[arg(long, env = "KATAGAMI_TOKEN", hide_env_values = true)]
    token: String,
    /// Certificates to trust besides the system's (PEM)
    #[arg(long, env = "KATAGAMI_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The channel to follow instead of the one that the device was enrolled with
    #[arg(long, env = "KATAGAMI_CHANNEL")]
    channel: Option<ChannelName>,
    /// A file with the base, from a stick, say; checked against the server's digest
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
}

/// Why an `edge` command failed.
#[derive(Debug, thiserror::Error)]
pub enum EdgeCommandError {
    /// The device's model is not what it should be.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The worker could not be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The system gives no threads or signals.
    #[error("the system refuses what the agent needs: {0}")]
    System(std::io::Error),
}

impl Problem for EdgeCommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Edge(error) => error.kind(),
            Self::Exec(error) => error.kind(),
            Self::System(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Edge(error) => error.code(),
            Self::Exec(error) => error.code(),
            Self::System(_) => "system_refuses",
        }
    }
}

/// Runs an `edge` command.
pub fn run(args: EdgeArgs) -> Result<(), EdgeCommandError> {
    match args.command {
        EdgeCommand::Pull { server, folder, json } => awaiting(pull(server, folder, json)),
        EdgeCommand::Run {
            server,
            folder,
            interval,
            on_switch,
        } => {
            let settings = AgentSettings {
                interval: Duration::from_secs(interval),
                on_switch,
            };
            awaiting(run_agent(server, folder, settings))
        }
        EdgeCommand::Rollback { folder, reason } => roll_back(folder, &reason),
        EdgeCommand::Status { folder, json } => status(folder, json),
        EdgeCommand::Verify { folder } => verify_current(folder),
        EdgeCommand::Embed {
            folder,
            save_input,
            input,
            inference,
            images,
        } => Err(embed(
            folder,
            save_input.as_deref(),
            input.as_deref(),
            inference,
            images,
        )),
    }
}

impl FolderArgs {
    fn open(self) -> Result<DeviceFolder, EdgeError> {
        Ok(DeviceFolder::open(self.dir)?.dying_after(self.die_after))
    }

    /// The folder of a device that has pulled before; makes nothing.
    fn open_existing(self) -> Result<DeviceFolder, EdgeError> {
        if self.dir.join("state.json").is_file() {
            self.open()
        } else {
            Err(EdgeError::Empty(self.dir))
        }
    }
}

impl ServerArgs {
    fn source(self) -> Result<Source, EdgeError> {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "base {bar:30} {bytes}/{total_bytes}, {eta} left";
            ProgressBar::no_length()
                .with_style(ProgressStyle::with_template(style).expect("the template is a constant"))
        });
        Ok(Source {
            client: Client::new(&self.server, Some(&self.token), self.ca.as_deref())?,
            channel: self.channel,
            base: self.base,
            progress: Box::new(move |bytes, whole| {
                let Some(bar) = &bar else { return };
                if let Some(whole) = whole {
                    bar.set_length(whole);
                }
                bar.set_position(bytes);
                if Some(bytes) == whole {
                    bar.finish_and_clear();
                }
            }),
        })
    }
}

/// Runs `work` to its end. Threads that still write a model then don't hold the process up: whatever
/// they leave is not current.
fn awaiting(work: impl Future<Output = Result<(), EdgeCommandError>>) -> Result<(), EdgeCommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(EdgeCommandError::System)?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

async fn pull(server: ServerArgs, folder: FolderArgs, as_json: bool) -> Result<(), EdgeCommandError> {
    log("off");
    let folder = Arc::new(folder.open()?);
    let _lock = folder.lock_agent()?;
    let mut puller = Puller::new(folder.clone(), server.source()?);
    let pulled = puller.pull().await;
    let status = Status::of(&folder)?;
    let error = pulled.as_ref().err().map(ToString::to_string);
    // The pull counts, not the report of it; a server that cannot be reached is not asked again for that.
    if let Some(report) = status.report(error.as_deref()) {
        let _ = puller.client().with_attempts(1).report_status(&report).await;
    }
    let outcome = pulled?;
    if as_json {
        printer::json(&json!({
            "switched": outcome.switched, "held": outcome.held,
            "base_bytes": outcome.base_bytes, "mask_bytes": outcome.mask.unwrap_or_default().bytes,
            "delta": outcome.mask.unwrap_or_default().delta,
            "with_prior": outcome.mask.unwrap_or_default().with_prior, "status": status,
        }));
    } else {
        printer::line(&sentence(&status, &outcome));
    }
    Ok(())
}

fn sentence(status: &Status, outcome: &Outcome) -> String {
    let what = match (&status.mask, &status.weights) {
        (Some(mask), _) => format!("mask {mask}"),
        (None, Some(_)) => "the plain base".to_owned(),
        (None, None) => "nothing".to_owned(),
    };
    let how = match outcome {
        Outcome { held: true, .. } => "stays, its channel's release is held",
        Outcome { switched: true, .. } => "is current now",
        _ => "is current still",
    };
    let place = status.model.as_ref().map(|model| model.display().to_string());
    let mask = outcome.mask.unwrap_or_default();
    let fetched = printer::bytes(outcome.base_bytes + mask.bytes);
    let way = match mask {
        Fetched { delta: true, .. } => ", the mask as a delta",
        Fetched { with_prior: true, .. } => ", the mask coded with the population prior",
        _ => "",
    };
    format!(
        "{what} {how}: {} ({fetched} fetched{way})",
        place.unwrap_or_default()
    )
}

/// Logs to standard error what `RUST_LOG` asks for, else what `default` does.
fn log(default: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

async fn run_agent(
    server: ServerArgs,
    folder: FolderArgs,
    settings: AgentSettings,
) -> Result<(), EdgeCommandError> {
    log("info");
    let folder = Arc::new(folder.open()?);
    let _lock = folder.lock_agent()?;
    let mut agent = Agent::new(Puller::new(folder, server.source()?), settings);
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(EdgeCommandError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(EdgeCommandError::System)?;
    let work = agent.run(stop.clone());
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => return Ok(()),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending");
    stop.cancel();
    work.await;
    Ok(())
}

fn roll_back(folder: FolderArgs, reason: &str) -> Result<(), EdgeCommandError> {
    let folder = folder.open_existing()?;
    let slot = folder.roll_back(reason)?;
    let what = slot
        .release
        .version()
        .map_or_else(|| "the plain base".to_owned(), |mask| format!("mask {mask}"));
    printer::line(&format!(
        "{what} ({}) is current and stays so until the channel moves",
        slot.weights.short()
    ));
    Ok(())
}

fn status(folder: FolderArgs, as_json: bool) -> Result<(), EdgeCommandError> {
    let status = Status::of(&folder.open_existing()?)?;
    if as_json {
        printer::json(&status);
        return Ok(());
    }
    let say = |what: &str, value: &dyn std::fmt::Display| printer::line(&format!("{what:<10}{value}"));
    let none = || "none".to_owned();
    if let (Some(site), Some(channel)) = (&status.site, &status.channel) {
        say("channel", &format_args!("{channel} of {site}"));
    }
    say(
        "mask",
        &status
            .mask
            .map_or_else(|| "none, the plain base".to_owned(), |mask| mask.to_string()),
    );
    say(
        "weights",
        &status.weights.map_or_else(none, |weights| weights.to_string()),
    );
    if let Some(model) = &status.model {
        say("model", &model.display());
    }
    say(
        "previous",
        &status.previous.map_or_else(none, |previous| previous.to_string()),
    );
    if let Some(fetched) = &status.fetched {
        let bytes = printer::bytes(fetched.bytes);
        let whole = printer::bytes(fetched.artefact_bytes);
        let how = match fetched {
            Fetched { delta: true, .. } => format!("{bytes} as a delta; the mask has {whole}"),
            Fetched { with_prior: true, .. } => {
                format!("{bytes} coded with the population prior; the mask has {whole}")
            }
            _ => format!("{bytes}; the mask has {whole}"),
        };
        say("fetched", &how);
    }
    if let Some(held) = &status.held {
        let release = held
            .release
            .version()
            .map_or_else(|| "the plain base".to_owned(), |mask| format!("mask {mask}"));
        say(
            "held",
            &format_args!("{release} since {}: {}", held.since, held.reason),
        );
    }
    if let Some(agent) = &status.agent {
        let at = |time: Option<crate::domain::Timestamp>| {
            time.map_or_else(|| "never".to_owned(), |time| time.to_string())
        };
        say("asked", &at(agent.asked_at));
        say("answered", &at(agent.answered_at));
        if let Some(error) = &agent.error {
            say("error", error);
        }
    }
    Ok(())
}

fn verify_current(folder: FolderArgs) -> Result<(), EdgeCommandError> {
    let folder = folder.open_existing()?;
    let empty = || EdgeError::Empty(folder.root().to_owned());
    let current = folder.current()?.ok_or_else(empty)?;
    verify::model(&folder, &current)?;
    let slot = folder.current_slot()?.ok_or_else(empty)?;
    if slot.base != current {
        verify::model(&folder, &slot.base)?;
    }
    verify::experts(&folder, &slot)?;
    printer::line(&format!(
        "the current model has the weights {current}, as it should"
    ));
    Ok(())
}

/// Hands over to the worker; returns only if that fails.
fn embed(
    folder: FolderArgs,
    save_input: Option<&Path>,
    input: Option<&Path>,
    inference: Inference,
    images: Vec<PathBuf>,
) -> EdgeCommandError {
    let found = || -> Result<Vec<OsString>, EdgeError> {
        let folder = folder.open_existing()?;
        let empty = || EdgeError::Empty(folder.root().to_owned());
        let slot = folder.current_slot()?.ok_or_else(empty)?;
        let base = folder.base(&slot.base).ok_or_else(empty)?;
        // Real paths: a switch between here and the worker's start would pair them with another manifest.
        let model = if slot.experts > 0 { slot.base } else { slot.weights };
        let model = folder.model(&model);
        let option = |name: &str, value: &Path| [OsString::from(name), value.into()];
        let mut arguments: Vec<OsString> = vec!["embed".into()];
        arguments.extend(option("--base", &model));
        arguments.extend(option("--arch", Path::new(&base.manifest.architecture)));
        arguments.extend(option(
            "--size",
            Path::new(&base.manifest.preprocessing.size.to_string()),
        ));
        if slot.experts > 0 {
            arguments.extend(option("--mask", &folder.artefact(&slot.weights)));
            arguments.extend(option("--inference", Path::new(&inference.to_string())));
        } else if let Some(artefact) = verify::artefact(&folder, &slot)?
            && !artefact.header.view.is_default()
        {
            arguments.extend(option("--view", Path::new(&artefact.header.view.to_json())));
        }
        arguments.extend(save_input.iter().flat_map(|path| option("--save-input", path)));
        arguments.extend(input.iter().flat_map(|path| option("--input", path)));
        if !images.is_empty() {
            arguments.push("--".into());
        }
        arguments.extend(images.into_iter().map(OsString::from));
        Ok(arguments)
    };
    match found() {
        Ok(arguments) => exec::worker("katagami", &arguments).into(),
        Err(error) => error.into(),
    }
}
