//! `katagami worker run`: the process. Its arguments, its log, where its token
//! comes from, and how it ends; what it does meanwhile is in [`super::work`].

use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::fetch::{Cache, FetchError};
use super::lease::{Announced, Connection, ProtocolError};
use super::work::Worker;
use crate::domain::{ErrorKind, Problem};
use crate::train::TrainError;
use crate::train::device::{DeviceChoice, cards, describe};

/// How long a worker that shuts down may take to keep a checkpoint and give its job back.
const LEAVING: Duration = Duration::from_secs(30);

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The server, such as https://katagami.example
    #[arg(long, env = "KATAGAMI_SERVER", value_name = "URL")]
    server: String,
    /// A token of role worker
    #[arg(
        long,
        env = "KATAGAMI_TOKEN",
        hide_env_values = true,
        required_unless_present = "token_stdin"
    )]
    token: Option<String>,
    /// Read the token from the first line of standard input, and end when that is closed
    #[arg(long)]
    token_stdin: bool,
    /// Certificates to trust besides the system's (PEM)
    #[arg(long, env = "KATAGAMI_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// What to compute on: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads within one operation; the bits of a training depend on it (0: all cores)
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Where fetched images, bases and checkpoints are kept
    #[arg(long, env = "KATAGAMI_WORKER_CACHE", value_name = "DIR", default_value_os_t = default_cache())]
    cache: PathBuf,
    /// Most gigabytes that the cache may hold besides what the running job needs
    #[arg(long, value_name = "GB", default_value_t = 20)]
    cache_size: u64,
    /// The worker's name in the server's lists; default: this machine's name and the process's number
    #[arg(long)]
    name: Option<String>,
    /// A folder of further recipes, NAME.toml; they go before the embedded ones
    #[arg(long, env = "KATAGAMI_RECIPES", value_name = "DIR")]
    recipes: Option<PathBuf>,
    /// Seconds between two checkpoints
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    checkpoint_every: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("use a number of seconds from 0 to 86400".to_owned()),
    }
}

fn default_cache() -> PathBuf {
    let folder = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("katagami/worker")
}

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server does not want this worker.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The cache cannot be used.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The device cannot be used.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Standard input held no token.
    #[error("standard input held no token; give it as the first line")]
    NoToken,
    /// The process cannot do what it must.
    #[error("the worker cannot start: {0}")]
    Start(std::io::Error),
}

impl Problem for RunError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Protocol(error) | Self::Fetch(FetchError::Protocol(error)) => error.kind(),
            Self::Fetch(FetchError::Cache { .. }) | Self::NoToken => ErrorKind::Invalid,
            Self::Train(error) => error.kind(),
            Self::Start(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Protocol(error) | Self::Fetch(FetchError::Protocol(error)) => error.code(),
            Self::Fetch(FetchError::Cache { .. }) => "cache_unusable",
            Self::Train(error) => error.code(),
            Self::NoToken => "token_missing",
            Self::Start(_) => "worker_start",
        }
    }
}

/// Works until it is told to end.
pub fn run(args: &RunArgs) -> Result<(), RunError> {
    start_log(args.token_stdin);
    let shutdown = CancellationToken::new();
    let token = match &args.token {
        _ if args.token_stdin => token_from_stdin(&shutdown)?,
        Some(token) => token.clone(),
        None => return Err(RunError::NoToken),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(RunError::Start)?;
    let connection = {
        // Even a connection that is made later belongs to a runtime.
        let _inside = runtime.enter();
        Connection::new(&args.server, &token, args.ca.as_deref())?
    };
    let worker = Worker {
        connection,
        cache: Cache::open(&args.cache, args.cache_size.saturating_mul(1_000_000_000))?,
        device: args.device,
        threads: args.threads,
        recipes: args.recipes.clone(),
        checkpoint_every: Duration::from_secs_f64(args.checkpoint_every),
        shutdown: shutdown.clone(),
    };
    let (device, memory_bytes) = describe(args.device.open(args.threads)?);
    if args.device == DeviceChoice::Auto {
        let cards = cards();
        if cards > 1 {
            tracing::warn!(
                cards,
                "this worker computes on the first card; start one for each, with --device cuda:N"
            );
        }
    }
    let announced = Announced {
        worker: args.name.clone().unwrap_or_else(own_name),
        device,
        memory_bytes,
    };
    let ended = runtime.block_on(async {
        let _signals = AbortOnDropHandle::new(tokio::spawn(signals(shutdown.clone())));
        let _leaving = AbortOnDropHandle::new(tokio::spawn(leave_in_time(shutdown)));
        worker.work(&announced).await
    });
    // A computation that was dropped must not keep the process alive.
    runtime.shutdown_background();
    ended
}

/// Logs to standard error; whoever reads it from a pipe writes its own times.
fn start_log(piped: bool) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::builder()
        .with_env_var("KATAGAMI_LOG")
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    // Fails only where somebody logs already, which is as well.
    let _ = if piped {
        log.without_time().with_ansi(false).try_init()
    } else {
        log.try_init()
    };
}

/// Reads the token, and ends the worker when its parent closes the pipe (or dies).
fn token_from_stdin(shutdown: &CancellationToken) -> Result<String, RunError> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let token = line.trim().to_owned();
    if read.is_err() || token.is_empty() {
        return Err(RunError::NoToken);
    }
    let shutdown = shutdown.clone();
    std::thread::spawn(move || {
        let mut rest = [0; 256];
        while matches!(std::io::stdin().lock().read(&mut rest), Ok(1..)) {}
        shutdown.cancel();
    });
    Ok(token)
}

/// Ends the worker at the first signal, and the process at the second.
async fn signals(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    for signals in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if signals > 0 {
            std::process::exit(1);
        }
        tracing::info!("ending: the job is given back with a checkpoint; once more ends at once");
        shutdown.cancel();
    }
}

/// Ends the process if it does not end by itself: a judgement cannot be interrupted.
async fn leave_in_time(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(LEAVING).await;
    tracing::warn!("the attempt did not stop in time; its lease runs out by itself");
    std::process::exit(1);
}

/// The machine's name and the number of this process.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "worker",
        host => host,
    };
    format!("{host}-{}", std::process::id())
}
