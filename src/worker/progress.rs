//! The life of an attempt as the server sees it: heartbeats from a task of
//! their own, so that they go on while the attempt computes, decodes, uploads.
//!
//! The attempt writes into a [`Pulse`] and asks it whether to go on; the task
//! [`beat`] carries what was written to the server and brings back its order.
//! An unreachable server is no reason to stop while the lease can still be
//! valid: it is counted from the *sending* of the last heartbeat that was answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::lease::{Connection, ProtocolError};
use crate::domain::AttemptId;
use crate::domain::job::{Order, Phase, Progress};
use crate::wire::grpc::v1 as proto;

/// Most seldom heartbeats, for a picture of the progress that moves.
const INTERVAL: Duration = Duration::from_secs(2);
/// Lines and losses that are kept for a server that is away; the oldest go first.
const KEPT: usize = 5_000;

/// Why an attempt must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halt {
    /// The worker shuts down: keep a checkpoint and give the job back.
    Returning,
    /// The job was cancelled.
    Cancelled,
    /// Another attempt has the job, or may have it by now.
    Lost,
}

#[derive(Default)]
struct Told {
    progress: Progress,
    lines: Vec<String>,
    losses: Vec<proto::LossPoint>,
}

/// What an attempt tells and is told.
pub struct Pulse {
    told: Mutex<Told>,
    halt: watch::Sender<Option<Halt>>,
}

impl Pulse {
    /// The pulse of a new attempt.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            told: Mutex::default(),
            halt: watch::Sender::new(None),
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how far the attempt is. A new step's loss goes into the live curve.
    pub fn progress(&self, progress: Progress) {
        let mut told = self.told();
        if let Some(loss) = progress.loss
            && progress.phase == Phase::Train
            && progress.step != told.progress.step
        {
            told.losses.push(proto::LossPoint {
                step: progress.step,
                loss,
            });
            let surplus = told.losses.len().saturating_sub(KEPT);
            told.losses.drain(..surplus);
        }
        told.progress = progress;
    }

    /// Counts one step more of the phase.
    pub fn advance(&self) {
        self.told().progress.step += 1;
    }

    /// Adds a line to the job's log.
    pub fn line(&self, line: impl Into<String>) {
        let line = line.into();
        tracing::info!("{line}");
        let mut told = self.told();
        told.lines.push(line);
        let surplus = told.lines.len().saturating_sub(KEPT);
        told.lines.drain(..surplus);
    }

    /// Asks the attempt to end; a graver reason replaces a lesser one.
    pub fn halt(&self, why: Halt) {
        self.halt.send_if_modified(|halt| {
            let graver = halt.is_none_or(|before| before < why);
            if graver {
                *halt = Some(why);
            }
            graver
        });
    }

    /// Why the attempt must end, if it must.
    pub fn halted(&self) -> Option<Halt> {
        *self.halt.borrow()
    }

    /// Waits until the attempt must end.
    pub async fn until_halted(&self) -> Halt {
        let mut halt = self.halt.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        match halt.wait_for(Option::is_some).await {
            Ok(halt) => halt.unwrap_or(Halt::Lost),
            Err(_) => Halt::Lost,
        }
    }

    /// Waits until nothing that the attempt does is wanted any more.
    pub async fn until_lost(&self) {
        let mut halt = self.halt.subscribe();
        let _ = halt.wait_for(|halt| *halt == Some(Halt::Lost)).await;
    }

    fn take(&self, attempt: AttemptId) -> proto::HeartbeatRequest {
        let mut told = self.told();
        let Progress {
            phase,
            step,
            steps,
            loss,
            dropped,
        } = told.progress;
        proto::HeartbeatRequest {
            attempt: attempt.to_string(),
            progress: Some(proto::Progress {
                phase: phase.word().to_owned(),
                step,
                steps,
                loss,
                dropped,
            }),
            lines: std::mem::take(&mut told.lines),
            losses: std::mem::take(&mut told.losses),
        }
    }

    /// Takes back what a heartbeat could not deliver.
    fn put_back(&self, mut undelivered: proto::HeartbeatRequest) {
        let mut told = self.told();
        undelivered.lines.append(&mut told.lines);
        undelivered.losses.append(&mut told.losses);
        told.lines = undelivered.lines;
        told.losses = undelivered.losses;
    }
}

/// Sends heartbeats until the attempt's lease is lost or the task is aborted.
pub async fn beat(connection: Connection, attempt: AttemptId, lease: Duration, pulse: Arc<Pulse>) {
    let interval = INTERVAL.min(lease / 3);
    let mut valid_until = Instant::now() + lease;
    loop {
        tokio::time::sleep(interval).await;
        let sent = Instant::now();
        let request = pulse.take(attempt);
        let undelivered = request.clone();
        // Never longer than the lease: then the answer is known.
        let answer = timeout_at(valid_until, connection.heartbeat(request)).await;
        match answer {
            Ok(Ok(Order::Continue)) => valid_until = sent + lease,
            Ok(Ok(Order::Stop)) => {
                valid_until = sent + lease;
                pulse.halt(Halt::Cancelled);
            }
            Ok(Ok(Order::LeaseLost) | Err(ProtocolError::LeaseLost)) => {
                pulse.halt(Halt::Lost);
                return;
            }
            Ok(Err(error)) => {
                tracing::warn!(%attempt, %error, "a heartbeat was not answered");
                pulse.put_back(undelivered);
            }
            Err(_) => pulse.put_back(undelivered),
        }
        if Instant::now() >= valid_until {
            tracing::warn!(%attempt, "no heartbeat was answered for as long as the lease holds; the attempt ends");
            pulse.halt(Halt::Lost);
            return;
        }
    }
}

/// Delivers what is left to tell, once; whether it arrives does not matter.
pub async fn last_words(connection: &Connection, attempt: AttemptId, pulse: &Pulse) {
    let _ = connection.heartbeat(pulse.take(attempt)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JobId;

    fn attempt() -> AttemptId {
        AttemptId {
            job: JobId::generate(),
            number: 1,
        }
    }

    #[test]
    fn a_graver_reason_to_end_replaces_a_lesser_one_and_never_the_other_way() {
        let pulse = Pulse::new();
        assert_eq!(pulse.halted(), None);
        pulse.halt(Halt::Cancelled);
        pulse.halt(Halt::Returning);
        assert_eq!(pulse.halted(), Some(Halt::Cancelled));
        pulse.halt(Halt::Lost);
        assert_eq!(pulse.halted(), Some(Halt::Lost));
    }

    #[test]
    fn what_could_not_be_delivered_comes_with_the_next_heartbeat_in_order() {
        let (pulse, attempt) = (Pulse::new(), attempt());
        let step = |step| Progress {
            phase: Phase::Train,
            step,
            steps: 9,
            loss: Some(step as f64),
            dropped: None,
        };
        pulse.line("first");
        pulse.progress(step(1));
        let lost = pulse.take(attempt);
        pulse.line("second");
        pulse.progress(step(2));
        pulse.put_back(lost);
        let next = pulse.take(attempt);
        assert_eq!(next.lines, ["first", "second"]);
        let steps: Vec<u64> = next.losses.iter().map(|point| point.step).collect();
        assert_eq!(steps, [1, 2]);
        assert!(pulse.take(attempt).lines.is_empty(), "told once");
    }
}
