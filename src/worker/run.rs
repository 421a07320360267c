//! `katagami worker run`: leases jobs from a server, carries them out, publishes.
//!
//! The engine ([`super::attempt`]) computes on a thread of its own; everything
//! that speaks with the server is in tasks beside it, so that neither waits for
//! the other. However the process ends, nothing is lost but time: the lease
//! runs out, and another attempt goes on at the last checkpoint.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::{AttemptError, AttemptEvents, AttemptInput, AttemptOutcome, Parent, Resume, perform};
use super::fetch::{Cache, FetchError, Fetched, fetch};
use super::lease::{Abandoning, Announced, Assignment, Connection, LONGEST_WAIT, ProtocolError, Stored};
use super::patience::{Backoff, patiently};
use super::pictures::{LabelledPicture, Picture, Source};
use super::progress::{Halt, Pulse, beat, last_words};
use crate::base::{ImportError, Manifest, architecture, import};
use crate::domain::job::{Order, Phase, Progress};
use crate::domain::{AttemptId, Digest, ErrorKind, Problem};
use crate::killpoint;
use crate::mask::{Limits, MaskError, decode};
use crate::train::device::{DeviceChoice, describe};
use crate::train::{Recipe, TrainError};

/// How long a worker that shuts down may take to keep a checkpoint and give its job back.
const LEAVING: Duration = Duration::from_secs(30);
/// How long the last calls of a worker that shuts down may take.
const FAREWELL: Duration = Duration::from_secs(10);
/// Longest wait before an unreachable server is asked for work again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

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
    /// Certificates (PEM) that are trusted besides the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads within one operation; the bits of a training depend on it (0: all cores)
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Where fetched images, bases and checkpoints are kept
    #[arg(long, env = "KATAGAMI_CACHE", value_name = "DIR", default_value_os_t = default_cache())]
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

struct Worker {
    connection: Connection,
    cache: Cache,
    device: DeviceChoice,
    threads: usize,
    recipes: Option<PathBuf>,
    checkpoint_every: Duration,
    shutdown: CancellationToken,
}

/// How an attempt ended.
enum Ending {
    /// With a mask or the finding that there is none to be had.
    Published,
    /// The server is told so.
    Abandoned(Abandoning),
    /// Nobody waits for it any more.
    Dropped,
}

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Base(#[from] ImportError),
    #[error(transparent)]
    Mask(#[from] MaskError),
    #[error("the weights of base {expected} have digest {given}; import the base again on the server")]
    OtherBase { expected: Digest, given: Digest },
    #[error("this worker does not understand its job ({0}); use the same version of worker and server")]
    Assignment(&'static str),
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the attempt broke off: {0}")]
    Panicked(String),
    #[error("an order ended the attempt")]
    Halted(Halt),
}

impl Failure {
    /// Whether another attempt, perhaps on another machine, may fare better.
    fn may_pass_again(&self) -> bool {
        match self {
            Self::Attempt(error) => error.may_pass_again(),
            Self::Protocol(error) | Self::Fetch(FetchError::Protocol(error)) => {
                error.is_passing() || matches!(error, ProtocolError::Answer(_))
            }
            Self::Base(_) | Self::Mask(_) | Self::OtherBase { .. } => false,
            Self::Train(error) => !matches!(error.kind(), ErrorKind::Invalid),
            Self::Fetch(FetchError::Cache { .. })
            | Self::Assignment(_)
            | Self::Io { .. }
            | Self::Panicked(_)
            | Self::Halted(_) => true,
        }
    }
}

impl Worker {
    /// Asks for work and does it until the worker is told to end, or is not wanted.
    async fn work(&self, announced: &Announced) -> Result<(), RunError> {
        tracing::info!(
            server = self.connection.bytes.server(),
            worker = announced.worker,
            device = announced.device,
            "ready"
        );
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        while !self.shutdown.is_cancelled() {
            let leased = tokio::select! {
                () = self.shutdown.cancelled() => break,
                leased = self.connection.lease(announced, LONGEST_WAIT) => leased,
            };
            match leased {
                Ok(assignment) => {
                    backoff = Backoff::up_to(LONGEST_PAUSE);
                    if let Some(assignment) = assignment {
                        killpoint::reached("lease");
                        self.attempt(assignment).await;
                    }
                }
                Err(error) if error.is_passing() => {
                    tracing::warn!(%error, "no work");
                    tokio::select! {
                        () = self.shutdown.cancelled() => break,
                        () = tokio::time::sleep(backoff.wait()) => {}
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Carries one attempt out, from its lease to its end.
    async fn attempt(&self, assignment: Assignment) {
        let (id, lease) = (assignment.attempt, assignment.lease);
        tracing::info!(attempt = %id, site = %assignment.site, images = assignment.images.len(), "leased");
        let pulse = Pulse::new();
        let connection = self.connection.clone();
        let beating = AbortOnDropHandle::new(tokio::spawn(beat(connection, id, lease, Arc::clone(&pulse))));
        let leaving = {
            let (shutdown, pulse) = (self.shutdown.clone(), Arc::clone(&pulse));
            AbortOnDropHandle::new(tokio::spawn(async move {
                shutdown.cancelled().await;
                pulse.halt(Halt::Returning);
            }))
        };
        let ending = match self.carried_out(assignment, &pulse).await {
            Ok(ending) => ending,
            Err(failure) => ending_of(&failure, &pulse),
        };
        drop((beating, leaving));
        match ending {
            Ending::Published => {}
            Ending::Dropped => tracing::warn!(attempt = %id, "the lease is lost; what was done is dropped"),
            Ending::Abandoned(why) => {
                if let Abandoning::Failed { error, .. } = &why {
                    pulse.line(error.clone());
                }
                let farewell = async {
                    last_words(&self.connection, id, &pulse).await;
                    patiently(&pulse, || self.connection.abandon(id, why.clone())).await
                };
                // Not delivered: the lease runs out, which ends the attempt as well.
                match tokio::time::timeout(FAREWELL, farewell).await {
                    Ok(Ok(())) => tracing::info!(attempt = %id, ending = ?why, "given back"),
                    Ok(Err(error)) => tracing::warn!(attempt = %id, %error, "not given back"),
                    Err(_) => tracing::warn!(attempt = %id, "not given back in time"),
                }
            }
        }
    }

    async fn carried_out(&self, assignment: Assignment, pulse: &Arc<Pulse>) -> Result<Ending, Failure> {
        let id = assignment.attempt;
        let fetched = tokio::select! {
            halt = pulse.until_halted() => return Err(Failure::Halted(halt)),
            fetched = fetch(&self.cache, &self.connection, &assignment, pulse) => fetched?,
        };
        let outcome = self.computed(assignment, fetched, pulse).await?;
        let (report, mask) = match outcome {
            AttemptOutcome::Stopped => {
                return Err(Failure::Halted(pulse.halted().unwrap_or(Halt::Returning)));
            }
            AttemptOutcome::NoImprovement { report_json, .. } => (report_json, None),
            AttemptOutcome::Mask {
                artefact,
                report_json,
                scores,
                ..
            } => (report_json, Some((artefact, scores))),
        };
        self.published(id, report, mask, pulse).await?;
        Ok(Ending::Published)
    }

    /// Runs the engine on a thread of its own, and carries its checkpoints away meanwhile.
    async fn computed(
        &self,
        assignment: Assignment,
        fetched: Fetched,
        pulse: &Arc<Pulse>,
    ) -> Result<AttemptOutcome, Failure> {
        let id = assignment.attempt;
        let (send, receive) = watch::channel(None);
        let carrying = AbortOnDropHandle::new(tokio::spawn(carry_checkpoints(
            self.connection.clone(),
            id,
            Arc::clone(pulse),
            receive,
        )));
        let mut events = Events {
            pulse: Arc::clone(pulse),
            checkpoints: send,
        };
        let (recipes, every) = (self.recipes.clone(), self.checkpoint_every);
        let (device, threads) = (self.device, self.threads);
        let computing = tokio::task::spawn_blocking(move || {
            let input = input(assignment, &fetched, recipes.as_deref(), every)?;
            let device = device.open(threads)?;
            let outcome = perform(&input, device, &mut events)?;
            Ok::<_, Failure>(outcome)
        });
        let outcome = match computing.await {
            Ok(outcome) => outcome,
            Err(panic) => Err(Failure::Panicked(said(panic))),
        };
        // The engine has ended and dropped its end: after the last checkpoint the task ends, too. It is
        // waited for only where another attempt is to go on there.
        if pulse.halted() == Some(Halt::Returning) {
            tokio::select! {
                () = pulse.until_lost() => {}
                _ = tokio::time::timeout(FAREWELL, carrying) => {}
            }
        }
        outcome
    }

    /// Uploads what came out, then ends the job with it.
    async fn published(
        &self,
        id: AttemptId,
        report: Vec<u8>,
        mask: Option<(Vec<u8>, Vec<u8>)>,
        pulse: &Pulse,
    ) -> Result<(), Failure> {
        let mut parts = 0;
        let steps = if mask.is_some() { 3 } else { 1 };
        let mut uploaded = async |bytes: Vec<u8>| {
            pulse.progress(Progress {
                phase: Phase::Publish,
                step: parts,
                steps,
                ..Progress::default()
            });
            parts += 1;
            let stored = put(&self.connection, id, bytes.into(), pulse).await?;
            killpoint::reached("upload");
            Ok::<_, ProtocolError>(stored)
        };
        let report = uploaded(report).await?;
        let mask = match mask {
            Some((artefact, scores)) => Some((uploaded(artefact).await?, uploaded(scores).await?)),
            None => None,
        };
        // Lines that were not delivered yet belong to the job, which is about to end.
        last_words(&self.connection, id, pulse).await;
        killpoint::reached("publish");
        let publish = || self.connection.publish(id, report, mask);
        let verdict = match patiently(pulse, publish).await {
            // A heartbeat can overtake the answer, and finds that the job has ended. Asked again, the
            // server says whether it ended with this attempt's result.
            Err(ProtocolError::LeaseLost) => publish().await?,
            answer => answer?,
        };
        killpoint::reached("published");
        tracing::info!(attempt = %id, verdict, "published");
        Ok(())
    }
}

/// What a failure means for the attempt.
fn ending_of(failure: &Failure, pulse: &Pulse) -> Ending {
    let lost = ProtocolError::LeaseLost.code();
    let halt = match failure {
        Failure::Halted(halt) => Some(*halt),
        Failure::Protocol(error) | Failure::Fetch(FetchError::Protocol(error)) if error.code() == lost => {
            Some(Halt::Lost)
        }
        // What fails while the attempt is being ended fails because of that.
        _ => pulse.halted(),
    };
    match halt {
        Some(Halt::Lost) => Ending::Dropped,
        Some(Halt::Cancelled) => Ending::Abandoned(Abandoning::Cancelled),
        Some(Halt::Returning) => Ending::Abandoned(Abandoning::Returned),
        None => Ending::Abandoned(Abandoning::Failed {
            error: failure.to_string(),
            retry: failure.may_pass_again(),
        }),
    }
}

/// What a panic said.
fn said(panic: tokio::task::JoinError) -> String {
    let Ok(panic) = panic.try_into_panic() else {
        return "the computation was cancelled".to_owned();
    };
    let text = (panic.downcast_ref::<String>().map(String::as_str))
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words");
    text.lines().next().unwrap_or_default().to_owned()
}

/// Stores bytes for the attempt.
async fn put(
    connection: &Connection,
    attempt: AttemptId,
    bytes: Bytes,
    pulse: &Pulse,
) -> Result<Stored, ProtocolError> {
    let stored = async || {
        let digest = connection.bytes.put_attempt_blob(attempt, bytes.clone()).await?;
        Ok::<_, ProtocolError>(Stored {
            digest,
            bytes: bytes.len() as u64,
        })
    };
    patiently(pulse, stored).await
}

/// Uploads each newest checkpoint and names it; one that cannot be kept is no reason to stop.
async fn carry_checkpoints(
    connection: Connection,
    attempt: AttemptId,
    pulse: Arc<Pulse>,
    mut newest: watch::Receiver<Option<(u32, Bytes)>>,
) {
    while newest.changed().await.is_ok() {
        let Some((step, bytes)) = newest.borrow_and_update().clone() else {
            continue;
        };
        killpoint::reached("checkpoint");
        let kept = async {
            let stored = put(&connection, attempt, bytes, &pulse).await?;
            killpoint::reached("checkpoint-uploaded");
            patiently(&pulse, || connection.checkpoint(attempt, stored, u64::from(step))).await
        };
        match kept.await {
            Ok(()) => killpoint::reached("checkpoint-named"),
            Err(ProtocolError::LeaseLost) => return,
            Err(error) => pulse.line(format!("the checkpoint of step {step} was not kept: {error}")),
        }
    }
}

/// What the engine tells, on its way to the server.
struct Events {
    pulse: Arc<Pulse>,
    /// The newest checkpoint; one that was not carried away yet is replaced.
    checkpoints: watch::Sender<Option<(u32, Bytes)>>,
}

impl AttemptEvents for Events {
    fn progress(&mut self, progress: Progress) -> Order {
        match progress.phase {
            Phase::Train => killpoint::reached("step"),
            Phase::Judge => killpoint::reached("judge"),
            Phase::Fetch | Phase::Publish => {}
        }
        self.pulse.progress(progress);
        match self.pulse.halted() {
            None => Order::Continue,
            Some(Halt::Lost) => Order::LeaseLost,
            // Nobody goes on from a cancelled job's checkpoint, but a returned one's is.
            Some(Halt::Cancelled | Halt::Returning) => Order::Stop,
        }
    }

    fn checkpoint(&mut self, step: u32, bytes: &[u8]) {
        if self.pulse.halted().is_none_or(|halt| halt == Halt::Returning) {
            self.checkpoints
                .send_replace(Some((step, Bytes::copy_from_slice(bytes))));
        }
    }

    fn note(&mut self, line: &str) {
        self.pulse.line(line);
    }
}

/// The recipe of that name: from the folder of further ones, else an embedded one.
fn recipe(name: &str, folder: Option<&Path>) -> Result<Recipe, Failure> {
    // The name comes from the server: never a path.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(folder) = folder.filter(|_| name.chars().all(plain)) {
        let path = folder.join(format!("{name}.toml"));
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(Recipe::parse(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Failure::Io { path, source }),
        }
    }
    Ok(Recipe::named(name)?)
}

/// Puts together what the engine needs from what was fetched.
fn input(
    assignment: Assignment,
    fetched: &Fetched,
    recipes: Option<&Path>,
    checkpoint_every: Duration,
) -> Result<AttemptInput, Failure> {
    let unknown = Failure::Assignment;
    let manifest: Manifest =
        serde_json::from_str(&assignment.manifest).map_err(|_| unknown("the base's manifest"))?;
    let architecture = architecture(&manifest.architecture).ok_or(unknown("the base's architecture"))?;
    let file = fetched
        .path(&assignment.base_file.digest)
        .ok_or(unknown("no base"))?;
    let base = import(architecture, file)?;
    let given = base.digest();
    if given != assignment.base {
        return Err(Failure::OtherBase {
            expected: assignment.base,
            given,
        });
    }
    let picture = |stored: &Stored| {
        let path = fetched.path(&stored.digest)?.to_owned();
        Some(Picture {
            digest: stored.digest,
            source: Source::Path(path),
        })
    };
    let labelled = assignment.labelled.iter().map(|(image, class, split)| {
        Ok(LabelledPicture {
            picture: picture(image).ok_or(unknown("an image of the validation set"))?,
            class: class.clone(),
            split: word(split).ok_or(unknown("a split"))?,
        })
    });
    let start = match &assignment.parent {
        Some(parent) => Some(Parent {
            version: parent.version,
            scores: read(fetched, &parent.scores.digest)?,
            mask: decode(&read(fetched, &parent.artefact.digest)?, Limits::default())?.mask,
        }),
        None => None,
    };
    let checkpoints = assignment
        .checkpoints
        .iter()
        .filter(|stored| fetched.path(&stored.digest).is_some());
    Ok(AttemptInput {
        base,
        preprocessing: manifest.preprocessing,
        recipe: recipe(&assignment.recipe, recipes)?
            .within(assignment.budget)
            .checked()?,
        seed: assignment.seed,
        images: assignment.images.iter().filter_map(picture).collect(),
        left_out: assignment.left_out,
        labelled: labelled.collect::<Result<_, Failure>>()?,
        start,
        kpi: word(&assignment.kpi).ok_or(unknown("the KPI"))?,
        gate: serde_json::from_str(&assignment.gate).map_err(|_| unknown("the gate's settings"))?,
        site: assignment.site,
        version: assignment.mask_version,
        snapshot: Some(assignment.snapshot),
        job: Some(assignment.attempt.job),
        resume: Resume::Newest(
            checkpoints
                .map(|stored| read(fetched, &stored.digest))
                .collect::<Result<_, _>>()?,
        ),
        checkpoint_every,
    })
}

fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::from(text)).ok()
}

fn read(fetched: &Fetched, digest: &Digest) -> Result<Vec<u8>, Failure> {
    let path = fetched
        .path(digest)
        .ok_or(Failure::Assignment("a blob is missing"))?;
    std::fs::read(path).map_err(|source| Failure::Io {
        path: path.to_owned(),
        source,
    })
}
