//! `katagami job …`: trainings.

mod watch;

use clap::{Args, Subcommand};

use super::printer;
use super::remote::{CommandError, Remote};
use crate::domain::job::JobState;
use crate::domain::report::Kpi;
use crate::domain::{JobId, MaskVersion, SiteName, SnapshotId};
use crate::wire::v1::jobs::{Job, JobLogs, JobQuery, NewJob, Outcome, Start};

pub use watch::watch;

/// Start trainings, watch and cancel them
#[derive(Debug, Args)]
pub struct JobArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    /// Ask for a training
    Start(StartArgs),
    /// Watch a job until it ends: phase, step, loss, dropped weights, time left
    ///
    /// Exit code 0: it ended with a mask, or with the finding that the base itself is best;
    /// 1: it failed or was cancelled.
    Watch {
        /// The job's identifier, as `katagami job list` shows it
        job: JobId,
    },
    /// Show a job: its state, how far it is, what it trains on
    Show {
        /// The job's identifier, as `katagami job list` shows it
        job: JobId,
    },
    /// List a site's jobs
    List {
        /// The site
        site: SiteName,
        /// Only jobs in this state: queued, running, done, failed or cancelled
        #[arg(long, value_parser = state)]
        state: Option<JobState>,
    },
    /// Cancel a job; a running one stops within seconds
    Cancel {
        /// The job's identifier, as `katagami job list` shows it
        job: JobId,
    },
    /// Show a job's attempts and the lines that they logged
    Logs {
        /// The job's identifier, as `katagami job list` shows it
        job: JobId,
    },
    /// Show the report of a job, also of one that found no improvement
    Report {
        /// The job's identifier, as `katagami job list` shows it
        job: JobId,
    },
}

#[derive(Debug, Args)]
struct StartArgs {
    /// The site
    site: SiteName,
    /// The snapshot to train on. Default: a new one of all images
    #[arg(long)]
    snapshot: Option<SnapshotId>,
    /// The recipe: factory, paper-resnet50 for a base of that architecture, or quick, to try out in a
    /// minute whether everything works. Default: factory
    #[arg(long)]
    recipe: Option<String>,
    /// Steps of training. Default: the recipe's
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    budget: Option<u32>,
    /// Which figure judges the mask: probe, knn, few-shot, or a figure of your own as JSON (see
    /// `katagami site create --help`). Default: the site's
    #[arg(long, value_parser = super::kpi)]
    kpi: Option<Kpi>,
    /// What to start from: base or mask:VERSION. Default: the mask on channel
    /// stable if it fits base and view, else the base
    #[arg(long, value_parser = start)]
    start: Option<Start>,
    /// Seed of everything drawn at random. Default: 0
    #[arg(long)]
    seed: Option<u64>,
    /// Watch it until it ends, as `katagami job watch` does
    #[arg(long)]
    watch: bool,
}

fn start(text: &str) -> Result<Start, String> {
    let version = |text: &str| text.parse::<MaskVersion>().ok();
    match (text, text.strip_prefix("mask:").and_then(version)) {
        ("base", _) => Ok(Start::Base),
        (_, Some(version)) => Ok(Start::Mask(version)),
        _ => Err("use base or mask:VERSION, such as mask:3".to_owned()),
    }
}

fn state(text: &str) -> Result<JobState, String> {
    JobState::of_word(text).ok_or_else(|| "use queued, running, done, failed or cancelled".to_owned())
}

/// Runs a `job` command.
pub async fn run(args: JobArgs) -> Result<(), CommandError> {
    let client = args.remote.connect()?;
    let remote = args.remote;
    match args.command {
        JobCommand::Start(start) => {
            let new = NewJob {
                snapshot: start.snapshot,
                recipe: start.recipe,
                budget: start.budget,
                kpi: start.kpi,
                start: start.start,
                seed: start.seed,
            };
            let job = client.create_job(&start.site, &new).await?;
            if start.watch {
                printer::note(&format!("job {}", job.id));
                return ended(&remote, &watch(&client, job).await?);
            }
            remote.answer(&job, || {
                printer::line(&format!(
                    "job {} of `{}` is {}, and starts from {}",
                    job.id,
                    job.site,
                    job.state.word(),
                    starts_from(&job)
                ));
                printer::next(&format!("katagami job watch {}", job.id));
            });
        }
        JobCommand::Watch { job } => {
            let job = client.job(job).await?;
            return ended(&remote, &watch(&client, job).await?);
        }
        JobCommand::Show { job } => {
            let job = client.job(job).await?;
            remote.answer(&job, || show(&job));
        }
        JobCommand::List { site, state } => {
            let query = JobQuery {
                state,
                ..JobQuery::default()
            };
            let jobs = client.all_jobs(&site, &query).await?;
            remote.answer(&jobs, || list(&site, &jobs));
        }
        JobCommand::Cancel { job } => {
            let job = client.cancel_job(job).await?;
            remote.answer(&job, || {
                let said = match job.state {
                    JobState::Cancelled => "is cancelled",
                    state if state.is_ended() => "had ended already",
                    _ => "is asked to stop; it does so at its worker's next sign of life",
                };
                printer::line(&format!("job {} {said}", job.id));
            });
        }
        JobCommand::Logs { job } => {
            let logs = client.job_logs(job).await?;
            remote.answer(&logs, || show_logs(&logs));
        }
        JobCommand::Report { job } => {
            let report = client.job_report(job).await?;
            remote.answer(&report, || {
                super::mask::print_report(&format!("job {job}"), &report);
            });
        }
    }
    Ok(())
}

/// Says how a job ended; an error if without a result.
fn ended(remote: &Remote, job: &Job) -> Result<(), CommandError> {
    remote.answer(job, || {
        let site = &job.site;
        match &job.outcome {
            Some(Outcome::Mask { version, verdict }) => {
                printer::line(&format!("mask {version} of `{site}`: {verdict} by the gate"));
                printer::next(&format!("katagami mask report {site} {version}"));
            }
            Some(Outcome::NoImprovement { .. }) => {
                printer::line("no improvement found: the base itself is best, there is no new mask");
                printer::next(&format!("katagami job report {}", job.id));
            }
            _ => {}
        }
    });
    check(job)
}

/// An error if an ended job has no result.
pub fn check(job: &Job) -> Result<(), CommandError> {
    match (&job.outcome, job.state) {
        (Some(Outcome::Failed { error }), _) => Err(CommandError::JobFailed {
            job: job.id,
            reason: error.clone(),
        }),
        (_, JobState::Cancelled) => Err(CommandError::JobCancelled(job.id)),
        _ => Ok(()),
    }
}

/// How a job ended, in a few words; its progress while it runs.
pub fn result(job: &Job) -> String {
    match (&job.outcome, &job.progress) {
        (Some(Outcome::Mask { version, verdict }), _) => format!("mask {version}, {verdict}"),
        (Some(Outcome::NoImprovement { .. }), _) => "no improvement found".to_owned(),
        (Some(Outcome::Failed { error }), _) => error.clone(),
        (None, Some(progress)) if job.state == JobState::Running => {
            format!("{} {}/{}", progress.phase.word(), progress.step, progress.steps)
        }
        _ => String::new(),
    }
}

fn list(site: &SiteName, jobs: &[Job]) {
    if jobs.is_empty() {
        return printer::line(&format!(
            "no such job; start one with `katagami job start {site}`"
        ));
    }
    let row = |job: &Job| {
        [
            job.id.to_string(),
            job.state.word().to_owned(),
            job.recipe.clone(),
            job.attempt.to_string(),
            job.created_at.to_string(),
            result(job),
        ]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    printer::table(
        ["JOB", "STATE", "RECIPE", "ATTEMPT", "ASKED FOR", "RESULT"],
        &rows,
    );
}

fn starts_from(job: &Job) -> String {
    match job.start {
        Start::Base => "the base".to_owned(),
        Start::Mask(version) => format!("mask {version}"),
    }
}

fn show(job: &Job) {
    let budget = match job.budget {
        Some(steps) => format!("{steps} steps"),
        None => "the recipe's steps".to_owned(),
    };
    let validation = match job.validation {
        Some(version) => format!("validation set {version}, {}", super::kpi_for_people(&job.kpi)),
        None => "signals without labels".to_owned(),
    };
    let mut state = job.state.word().to_owned();
    if job.cancel_requested && !job.state.is_ended() {
        state.push_str(", asked to stop");
    }
    printer::facts(&[
        ("job", job.id.to_string()),
        ("site", job.site.to_string()),
        ("state", state),
        ("result", result(job)),
        ("snapshot", job.snapshot.to_string()),
        ("recipe", format!("{}, {budget}, seed {}", job.recipe, job.seed)),
        ("view", job.view.to_string()),
        ("starts from", starts_from(job)),
        ("judged by", validation),
        ("base", job.base.to_string()),
        ("attempt", format!("{} of {}", job.attempt, job.max_attempts)),
        ("worker", printer::or_dash(job.worker.as_ref())),
        ("asked for", format!("{} by {}", job.created_at, job.created_by)),
        ("started", printer::or_dash(job.started_at)),
        ("ended", printer::or_dash(job.ended_at)),
    ]);
    if !job.state.is_ended() {
        printer::next(&format!("katagami job watch {}", job.id));
    }
}

fn show_logs(logs: &JobLogs) {
    for attempt in &logs.attempts {
        printer::line(&format!(
            "attempt {} on {} ({}), {} to {}: {}",
            attempt.number,
            attempt.worker,
            attempt.device,
            attempt.started_at,
            attempt
                .ended_at
                .map_or_else(|| "now".to_owned(), |at| at.to_string()),
            attempt.end.as_deref().unwrap_or("running"),
        ));
    }
    for line in &logs.lines {
        printer::line(&format!("{} [{}] {}", line.at, line.attempt, line.line));
    }
    if let (Some(first), Some(last)) = (logs.loss.first(), logs.loss.last()) {
        printer::line(&format!(
            "loss {:.3} at step {}, {:.3} at step {}",
            first.loss, first.step, last.loss, last.step
        ));
    }
    if logs.attempts.is_empty() {
        printer::line("no attempt yet; is there a worker? See `katagami admin workers`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_the_base_or_a_mask() {
        assert_eq!(start("base"), Ok(Start::Base));
        assert_eq!(start("mask:3"), Ok(Start::Mask(MaskVersion(3))));
        for wrong in ["", "mask", "mask:", "mask:x", "3"] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
    }
}
