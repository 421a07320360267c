//! Follows a job by the server's events, and by asking where there are none.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::cli::remote::CommandError;
use crate::cli::{printer, progress};
use crate::client::{Client, EventStream};
use crate::domain::JobId;
use crate::domain::job::{JobState, Phase, Progress};
use crate::wire::v1::events::{EventQuery, Happening};
use crate::wire::v1::jobs::Job;

/// How often the server is asked although it tells by itself: an event may be lost on the way.
const ASK_BESIDE_EVENTS: Duration = Duration::from_secs(10);
/// How often it is asked when it does not tell.
const ASK: Duration = Duration::from_secs(1);
/// Answers that may be missing in a row before watching is given up.
const PATIENCE: u32 = 30;

/// Watches a job until it has ended and answers how. Shows progress on standard error.
pub async fn watch(client: &Client, job: Job) -> Result<Job, CommandError> {
    let mut shown = Shown::new();
    let query = EventQuery {
        site: Some(job.site.clone()),
    };
    // Connected before the job is asked for, so that nothing falls in between.
    let mut events = client.events(&query, None).connected().await.ok();
    let mut failures = 0;
    loop {
        match client.job(job.id).await {
            Ok(now) if now.state.is_ended() => {
                shown.end();
                return Ok(now);
            }
            Ok(now) => {
                failures = 0;
                shown.show(now.state, now.progress);
            }
            // A server that restarts is back soon; the job goes on meanwhile.
            Err(error) if error.is_passing() && failures < PATIENCE => failures += 1,
            Err(error) => {
                shown.end();
                return Err(error.into());
            }
        }
        let Some(told) = &mut events else {
            tokio::time::sleep(ASK).await;
            continue;
        };
        match tokio::time::timeout(ASK_BESIDE_EVENTS, follow(told, job.id, &mut shown)).await {
            // Ended, or time to ask.
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => events = None,
        }
    }
}

/// Shows what the events tell until the job has ended.
async fn follow(
    events: &mut EventStream,
    watched: JobId,
    shown: &mut Shown,
) -> Result<(), crate::client::ClientError> {
    loop {
        let Happening::JobChanged { job, state, progress } = events.next().await?.what else {
            continue;
        };
        if job != watched {
            continue;
        }
        if state.is_ended() {
            return Ok(());
        }
        shown.show(state, progress);
    }
}

/// What is on the screen.
struct Shown {
    bar: ProgressBar,
    phase: Option<Phase>,
    /// Tenths of the phase that a reader who sees no bar was told of.
    told: Option<u64>,
}

impl Shown {
    fn new() -> Self {
        Self {
            bar: progress::steps("queued".to_owned()),
            phase: None,
            told: None,
        }
    }

    fn show(&mut self, state: JobState, progress: Option<Progress>) {
        let Some(progress) = progress.filter(|_| state == JobState::Running) else {
            self.bar.set_prefix(state.word());
            return;
        };
        if self.phase != Some(progress.phase) {
            // Another kind of step, so the time per step begins anew.
            self.bar.reset();
            self.phase = Some(progress.phase);
            self.told = None;
            self.bar.set_prefix(progress.phase.word());
        }
        self.bar.set_length(progress.steps);
        self.bar.set_position(progress.step);
        self.bar.set_message(figures(&progress));
        self.tell(&progress);
    }

    /// A line now and then where no bar can be drawn, such as in a log.
    fn tell(&mut self, progress: &Progress) {
        let tenth = progress.step * 10 / progress.steps.max(1);
        if !self.bar.is_hidden() || self.told >= Some(tenth) {
            return;
        }
        self.told = Some(tenth);
        printer::note(&format!(
            "{} {}/{}{}",
            progress.phase.word(),
            progress.step,
            progress.steps,
            figures(progress)
        ));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// `, loss 3.871, 94 weights dropped`
fn figures(progress: &Progress) -> String {
    let loss = progress.loss.map(|loss| format!(", loss {loss:.3}"));
    let dropped = progress
        .dropped
        .map(|dropped| format!(", {dropped} weights dropped"));
    [loss, dropped].into_iter().flatten().collect()
}
