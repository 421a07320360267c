//! The agent: asks again and again, and tells whoever runs the model.
//!
//! It survives what a factory does to it: days without a network (it asks
//! less and less often, up to its interval), restarts of the server, power
//! cuts (what it had not told the command after a switch, it tells at its
//! next start, so the command must bear being run twice).

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pull::blocking;
use super::report::AgentStatus;
use super::{DeviceFolder, EdgeError, Outcome, Puller, Status};
use crate::domain::{Digest, Timestamp};
use crate::wire::v1::devices::DeviceStatus;

/// How long the agent waits after the first failure; doubled after each further one, up to its interval.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// How often the agent reports although nothing changed.
const REPORT_EVERY: Duration = Duration::from_mins(10);
/// How often the agent asks whether the server serves another base.
const BASE_EVERY: Duration = Duration::from_hours(1);
/// How often the agent looks whether a person switched the model.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the command after a switch may take before it has failed.
const COMMAND_LIMIT: Duration = Duration::from_mins(10);

/// How an agent works.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// How long between two questions, spread by a fifth so that many devices don't ask at once.
    pub interval: Duration,
    /// A shell command that is run after each switch.
    pub on_switch: Option<String>,
}

/// An agent. The caller holds the folder's agent lock.
pub struct Agent {
    folder: Arc<DeviceFolder>,
    puller: Puller,
    settings: AgentSettings,
    status: AgentStatus,
    /// Failed questions in a row.
    failures: u32,
    /// What the server was told last, and when.
    reported: Option<(DeviceStatus, Instant)>,
    /// When the server was asked for its base last.
    base_asked: Instant,
}

impl Agent {
    /// An agent that uses `puller`.
    pub fn new(puller: Puller, settings: AgentSettings) -> Self {
        let status = AgentStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            ..AgentStatus::default()
        };
        Self {
            folder: puller.folder().clone(),
            puller,
            settings,
            status,
            failures: 0,
            reported: None,
            base_asked: Instant::now(),
        }
    }

    /// Works until `stop`. Nothing else ends it: a full disk, too, may be mended while it asks again.
    pub async fn run(&mut self, stop: CancellationToken) {
        loop {
            let wait = tokio::select! {
                () = stop.cancelled() => return,
                wait = self.ask() => wait,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look_for(wait) => {}
            }
        }
    }

    /// Asks once, tells everybody, and answers how long to wait.
    pub async fn ask(&mut self) -> Duration {
        if self.base_asked.elapsed() >= BASE_EVERY {
            self.puller.forget();
            self.base_asked = Instant::now();
        }
        self.status.asked_at = Some(Timestamp::now());
        let pulled = self.puller.pull().await;
        if !matches!(&pulled, Err(EdgeError::Client(error)) if error.status().is_none()) {
            self.status.answered_at = Some(Timestamp::now());
        }
        if let Ok(Outcome {
            switched: true, mask, ..
        }) = pulled
        {
            let weights = self.folder.current().ok().flatten();
            let fetched = mask.unwrap_or_default();
            tracing::info!(
                ?weights,
                bytes = fetched.bytes,
                delta = fetched.delta,
                with_prior = fetched.with_prior,
                "switched"
            );
        }
        let failed = pulled.err();
        let told = self.announce().await.err();
        let wait = match &failed {
            None => {
                self.failures = 0;
                spread(self.settings.interval)
            }
            Some(error) => {
                self.failures += 1;
                tracing::warn!(%error, failures = self.failures, "not up to date");
                backoff(self.failures, self.settings.interval)
            }
        };
        let error = failed.or(told).map(|error| error.to_string());
        self.tell(error, wait).await;
        wait
    }

    /// Waits, and meanwhile tells the command of switches that a person makes.
    async fn look_for(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut seen = self.folder.current().ok();
        loop {
            tokio::time::sleep_until(until.min(Instant::now() + LOOK_EVERY)).await;
            if Instant::now() >= until {
                return;
            }
            let current = self.folder.current().ok();
            if current != seen {
                seen = current;
                let told = self.announce().await;
                let rest = until.saturating_duration_since(Instant::now());
                self.tell(told.err().map(|error| error.to_string()), rest).await;
            }
        }
    }

    /// Writes `status.json` and reports to the server if it has to know.
    async fn tell(&mut self, error: Option<String>, wait: Duration) {
        self.status.next_at = Some(Timestamp::now().after(wait));
        self.status.error = error;
        let written = Status::with_agent(&self.folder, Some(self.status.clone()))
            .and_then(|status| status.write(&self.folder).map(|()| status));
        let status = match written {
            Ok(status) => status,
            Err(error) => return tracing::error!(%error, "the status cannot be written"),
        };
        let Some(report) = status.report(self.status.error.as_deref()) else {
            return;
        };
        let known = self
            .reported
            .as_ref()
            .is_some_and(|(known, at)| *known == report && at.elapsed() < REPORT_EVERY);
        if !known {
            // A server that cannot be reached is asked by the next question anyway.
            match self.puller.client().with_attempts(1).report_status(&report).await {
                Ok(()) => self.reported = Some((report, Instant::now())),
                Err(error) => tracing::debug!(%error, "not reported"),
            }
        }
    }

    /// Tells the command of the current model unless it was told. If it fails on a model that the channel
    /// put there, goes back, and holds the release until the channel moves.
    async fn announce(&self) -> Result<(), EdgeError> {
        let (Some(command), Some(new)) = (&self.settings.on_switch, self.folder.current()?) else {
            return Ok(());
        };
        let old = self.folder.state()?.announced;
        if old == Some(new) {
            return Ok(());
        }
        let Err(reason) = self.tell_command(command, old, new, false).await else {
            return self.remember_announced(new);
        };
        tracing::error!(%reason, new = %new.short(), "the command after the switch failed");
        let held = reason.clone();
        let back = blocking(&self.folder, move |folder| step_back_from(folder, &new, &held)).await?;
        let outcome = match back {
            Some(back) => {
                // Whoever runs the model has to read the old one again; nothing better is left if that fails.
                if let Err(reason) = self.tell_command(command, Some(new), back, true).await {
                    tracing::error!(%reason, "the command failed on the previous model, too");
                }
                self.remember_announced(back)?;
                "went back to the model before; this one is not tried again until the channel moves"
            }
            None => "it stays, since a person chose it or there is no other",
        };
        Err(EdgeError::SwitchCommand { new, reason, outcome })
    }

    fn remember_announced(&self, weights: Digest) -> Result<(), EdgeError> {
        self.folder.change(|state| {
            state.announced = Some(weights);
            Ok(())
        })
    }

    /// Runs the command; an error says how it failed.
    async fn tell_command(
        &self,
        command: &str,
        old: Option<Digest>,
        new: Digest,
        back: bool,
    ) -> Result<(), String> {
        let old = old.map(|old| old.to_string()).unwrap_or_default();
        let new = new.to_string();
        let mut process = Command::new("/bin/sh");
        process
            .args(["-c", command, "katagami", &old, &new])
            .env("KATAGAMI_OLD", &old)
            .env("KATAGAMI_NEW", &new)
            .env(
                "KATAGAMI_MODEL",
                self.folder.path("current").join("model.safetensors"),
            )
            .env("KATAGAMI_ROLLBACK", if back { "1" } else { "0" })
            .env_remove("KATAGAMI_TOKEN")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match tokio::time::timeout(COMMAND_LIMIT, process.status()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(status.to_string()),
            Ok(Err(error)) => Err(format!("it does not start: {error}")),
            Err(_) => Err(format!(
                "it took more than {} minutes",
                COMMAND_LIMIT.as_secs() / 60
            )),
        }
    }
}

/// Goes back from `failed`, if the channel put it there and there is something whole to go back to.
fn step_back_from(folder: &DeviceFolder, failed: &Digest, reason: &str) -> Result<Option<Digest>, EdgeError> {
    folder.change(|state| {
        state.announced = Some(*failed);
        if folder.current()? != Some(*failed) || state.held.is_some() {
            return Ok(None);
        }
        let candidates = [state.previous, state.base].into_iter().flatten();
        let candidates = candidates.filter(|candidate| candidate != failed);
        let slots: Vec<_> = candidates
            .filter_map(|candidate| folder.slot(&candidate))
            .collect();
        let reason = format!("the command after the switch failed ({reason})");
        for slot in slots {
            match folder.step_back(state, &slot, &reason) {
                Ok(()) => return Ok(Some(slot.weights)),
                Err(error) => tracing::error!(%error, "cannot go back to this model"),
            }
        }
        Ok(None)
    })
}

/// A wait of about `whole`: four to six fifths of it.
fn spread(whole: Duration) -> Duration {
    let chance = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    whole.mul_f64(0.8 + 0.4 * chance)
}

/// The wait after `failures` in a row.
fn backoff(failures: u32, interval: Duration) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16));
    spread(doubled.min(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_grows_up_to_the_interval() {
        let interval = Duration::from_mins(1);
        let at_most = |failures| backoff(failures, interval) <= interval.mul_f64(1.2);
        assert!((1..100).all(at_most));
        assert!(backoff(1, interval) < Duration::from_secs(3));
        assert!(backoff(10, interval) > Duration::from_secs(45));
    }
}
