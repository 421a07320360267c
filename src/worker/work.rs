//! What a worker does: leases jobs from a server, carries them out, publishes.
//!
//! The engine ([`super::attempt`]) computes on a thread of its own; everything
//! that speaks with the server is in tasks beside it, so that neither waits for
//! the other. However the process ends, nothing is lost but time: the lease
//! runs out, and another attempt goes on at the last checkpoint.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::{AttemptEvents, AttemptOutcome, perform};
use super::failure::Failure;
use super::fetch::{Cache, FetchError, Fetched, fetch};
use super::input::input;
use super::lease::{Abandoning, Announced, Assignment, Connection, LONGEST_WAIT, ProtocolError, Stored};
use super::patience::{Backoff, patiently};
use super::progress::{Halt, Pulse, beat, last_words};
use super::run::RunError;
use crate::domain::job::{Order, Phase, Progress};
use crate::domain::{AttemptId, Problem};
use crate::killpoint;
use crate::train::device::DeviceChoice;

/// How long the last calls of a worker that shuts down may take.
const FAREWELL: Duration = Duration::from_secs(10);
/// Longest wait before an unreachable server is asked for work again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A worker: whom it asks, and what it computes with.
pub(super) struct Worker {
    pub(super) connection: Connection,
    pub(super) cache: Cache,
    pub(super) device: DeviceChoice,
    pub(super) threads: usize,
    pub(super) recipes: Option<PathBuf>,
    pub(super) checkpoint_every: Duration,
    pub(super) shutdown: CancellationToken,
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

impl Worker {
    /// Asks for work and does it until the worker is told to end, or is not wanted.
    pub(super) async fn work(&self, announced: &Announced) -> Result<(), RunError> {
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
        tracing::info!(attempt = %id, site = %assignment.site, images = assignment.images, "leased");
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
            Err(error) => Err(Failure::of_join(error)),
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
