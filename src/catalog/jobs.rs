//! Jobs as people see them: asked for, listed, cancelled, read. What workers do
//! with them is in [`super::leases`] and [`super::endings`], and can be called from here, too.

use serde_json::json;

use super::dialect::{Count, Json, PerDialect};
use super::{CatalogError, Tx, audit, endings, events, paging, snapshots};
use crate::domain::gate::GateSettings;
use crate::domain::job::{JobState, Progress};
use crate::domain::report::{Kpi, LossPoint};
use crate::domain::{Digest, JobId, MaskVersion, SiteName, SnapshotId, Timestamp, ValidationVersion, View};
use crate::wire::v1::events::Happening;
use crate::wire::v1::jobs::{Attempt, Job, JobLogs, JobQuery, LogLine, Outcome, Start};
use crate::wire::v1::page::Page;

pub use super::endings::{Abandoned, Published, PublishedMask, abandon, publish, reap};
pub use super::leases::{checkpoint, heartbeat, lease};

/// Lines of a job's log that are shown: the last ones.
const SHOWN_LINES: i64 = 2000;

/// A job with everything decided that a person may leave open.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedJob {
    /// Its site.
    pub site: SiteName,
    /// What it trains on.
    pub snapshot: SnapshotId,
    /// The base.
    pub base: Digest,
    /// The validation set that judges.
    pub validation: Option<ValidationVersion>,
    /// The recipe's name.
    pub recipe: String,
    /// Steps of training, if not the recipe's.
    pub budget: Option<u32>,
    /// Which figure the mask is judged by.
    pub kpi: Kpi,
    /// What the gate asks for.
    pub gate: GateSettings,
    /// How pictures become network input.
    pub view: View,
    /// The mask whose scores it starts from; `None`: the base.
    pub parent: Option<MaskVersion>,
    /// Seed.
    pub seed: u64,
    /// Higher ones are leased first; 0 is usual.
    pub priority: i32,
    /// Attempts that may fail before it needs a person.
    pub max_attempts: u32,
}

#[derive(sqlx::FromRow)]
struct JobRow {
    id: JobId,
    site: SiteName,
    snapshot: SnapshotId,
    base: Digest,
    validation: Option<ValidationVersion>,
    recipe: String,
    budget: Option<i64>,
    kpi: Kpi,
    view: Json<View>,
    parent: Option<MaskVersion>,
    seed: i64,
    state: JobState,
    cancel_requested: bool,
    attempt: i64,
    max_attempts: i64,
    worker: Option<String>,
    progress: Option<Json<Progress>>,
    mask: Option<MaskVersion>,
    verdict: Option<String>,
    report: Option<Digest>,
    error: Option<String>,
    created_by: String,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl JobRow {
    fn outcome(&self) -> Option<Outcome> {
        match self.state {
            JobState::Queued | JobState::Running => None,
            JobState::Done => match (self.mask, &self.verdict, self.report) {
                (Some(version), Some(verdict), _) => Some(Outcome::Mask {
                    version,
                    verdict: verdict.clone(),
                }),
                (_, _, report) => report.map(|report| Outcome::NoImprovement { report }),
            },
            JobState::Failed => Some(Outcome::Failed {
                error: self.error.clone().unwrap_or_default(),
            }),
            JobState::Cancelled => Some(Outcome::Cancelled),
        }
    }
}

impl From<JobRow> for Job {
    fn from(row: JobRow) -> Self {
        Self {
            outcome: row.outcome(),
            id: row.id,
            site: row.site,
            snapshot: row.snapshot,
            base: row.base,
            validation: row.validation,
            recipe: row.recipe,
            budget: row.budget.map(|steps| steps as u32),
            kpi: row.kpi,
            view: row.view.0,
            start: row.parent.map_or(Start::Base, Start::Mask),
            seed: row.seed as u64,
            state: row.state,
            cancel_requested: row.cancel_requested,
            attempt: row.attempt as u32,
            max_attempts: row.max_attempts as u32,
            worker: row.worker,
            progress: row.progress.map(|progress| progress.0),
            created_by: row.created_by,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT job.id, job.site, job.snapshot, job.base, job.validation, job.recipe, job.budget, job.kpi,
                job.view, job.parent, job.seed, job.state, job.cancel_requested, job.attempt, job.max_attempts, job.worker,
                job.progress, job.mask, mask.verdict, job.report, job.error, job.created_by, job.created_at,
                job.started_at, job.ended_at
             FROM job LEFT JOIN mask ON mask.job = job.id ",
            $rest
        )
    };
}

/// Puts a job into the queue and reserves the version of its mask.
pub async fn create(tx: &mut Tx, new: &ResolvedJob, by: &str) -> Result<Job, CatalogError> {
    const RESERVE: &str = "UPDATE site SET next_mask_version = next_mask_version + 1 WHERE name = $1
        RETURNING next_mask_version - 1";
    const SQL: &str = "INSERT INTO job (id, site, snapshot, base, validation, judged_before, recipe, budget, kpi, gate, view, parent, seed,
            reserved_version, priority, state, attempt, failures, max_attempts, not_before, cancel_requested, loss,
            created_by, created_at)
        VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'queued', 0, 0, $15, $16, FALSE, '[]', $17, $16)";
    let snapshot = snapshots::needed(tx, new.snapshot).await?;
    if snapshot.site != new.site {
        return Err(CatalogError::NoSuchSnapshot {
            snapshot: snapshot.id,
        });
    }
    if snapshot.incomplete {
        return Err(CatalogError::SnapshotIncomplete {
            snapshot: snapshot.id,
        });
    }
    if let Some(parent) = new.parent {
        super::masks::needed(tx, &new.site, parent).await?;
    }
    let (id, now) = (JobId::generate(), tx.now().await?);
    let version: MaskVersion =
        on!(tx, db => sqlx::query_scalar(RESERVE).bind(&new.site).fetch_one(db).await?);
    on!(tx, db => {
        sqlx::query(SQL).bind(id).bind(&new.site).bind(new.snapshot).bind(new.base).bind(new.validation)
            .bind(&new.recipe).bind(new.budget.map(i64::from)).bind(&new.kpi).bind(Json(new.gate)).bind(Json(new.view))
            .bind(new.parent).bind(new.seed as i64).bind(version).bind(i64::from(new.priority)).bind(i64::from(new.max_attempts))
            .bind(now).bind(by).execute(db).await?;
    });
    let details = json!({
        "job": id, "snapshot": new.snapshot, "recipe": new.recipe, "view": new.view, "parent": new.parent,
        "mask_version": version,
    });
    audit::record(tx, by, "job_created", Some(&new.site), details).await?;
    changed(tx, &new.site, id, JobState::Queued, None);
    needed(tx, id).await
}

/// The job of that identifier, of whatever site.
pub async fn get(tx: &mut Tx, job: JobId) -> Result<Option<Job>, CatalogError> {
    const SQL: &str = select!("WHERE job.id = $1");
    let row: Option<JobRow> = on!(tx, db => sqlx::query_as(SQL).bind(job).fetch_optional(db).await?);
    Ok(row.map(Job::from))
}

/// The job, or [`CatalogError::NoSuchJob`].
pub async fn needed(tx: &mut Tx, job: JobId) -> Result<Job, CatalogError> {
    get(tx, job).await?.ok_or(CatalogError::NoSuchJob { job })
}

/// The newest jobs of a site that left reports, at most `most`, with their snapshots and reports.
pub async fn newest_reports(
    tx: &mut Tx,
    site: &SiteName,
    most: u32,
) -> Result<Vec<(JobId, SnapshotId, Digest)>, CatalogError> {
    const SQL: &str = "SELECT id, snapshot, report FROM job WHERE site = $1 AND report IS NOT NULL
        ORDER BY id DESC LIMIT $2";
    Ok(on!(tx, db => sqlx::query_as(SQL).bind(site).bind(i64::from(most)).fetch_all(db).await?))
}

/// The jobs of a site, newest first.
pub async fn list(tx: &mut Tx, site: &SiteName, query: &JobQuery) -> Result<Page<Job>, CatalogError> {
    const SQL: &str = select!(
        "WHERE job.site = $1 AND job.id < $2 AND (CAST($3 AS TEXT) IS NULL OR job.state = $3)
         ORDER BY job.id DESC LIMIT $4"
    );
    let size = paging::size(query.limit);
    let before = paging::cursor(query.cursor.as_deref())?.unwrap_or(JobId(uuid::Uuid::max()));
    let rows: Vec<JobRow> = on!(tx, db => {
        sqlx::query_as(SQL).bind(site).bind(before).bind(query.state).bind(size as i64 + 1).fetch_all(db).await?
    });
    let jobs = rows.into_iter().map(Job::from).collect();
    Ok(paging::page(jobs, size, |job: &Job| job.id.to_string()))
}

/// Cancels a job: a queued one ends at once, a running one when its worker
/// obeys at its next heartbeat or is silent for too long.
pub async fn cancel(tx: &mut Tx, job: JobId, by: &str) -> Result<Job, CatalogError> {
    const LOOK: PerDialect = locking!("SELECT site, state FROM job WHERE id = $1", "FOR UPDATE");
    const ASK: &str = "UPDATE job SET cancel_requested = TRUE WHERE id = $1";
    let look = tx.text(LOOK);
    let row: Option<(SiteName, JobState)> =
        on!(tx, db => sqlx::query_as(look).bind(job).fetch_optional(db).await?);
    let (site, state) = row.ok_or(CatalogError::NoSuchJob { job })?;
    match state {
        JobState::Cancelled => return needed(tx, job).await,
        JobState::Done | JobState::Failed => {
            return Err(CatalogError::JobEnded {
                job,
                state: state.word(),
            });
        }
        JobState::Queued | JobState::Running => {}
    }
    on!(tx, db => { sqlx::query(ASK).bind(job).execute(db).await?; });
    audit::record(tx, by, "job_cancelled", Some(&site), json!({"job": job})).await?;
    if state == JobState::Queued {
        endings::end(tx, &site, job, &endings::End::cancelled()).await?;
    } else {
        changed(tx, &site, job, state, None);
    }
    needed(tx, job).await
}

/// The attempts of a job, the last lines that they wrote, and the live curve.
pub async fn logs(tx: &mut Tx, job: JobId) -> Result<JobLogs, CatalogError> {
    const LOSS: &str = "SELECT loss FROM job WHERE id = $1";
    const ATTEMPTS: &str = "SELECT number, worker, device, started_at, ended_at, ending,
            (SELECT MAX(step) FROM checkpoint WHERE checkpoint.job = attempt.job AND checkpoint.attempt = number)
                AS checkpoint_step
        FROM attempt WHERE job = $1 ORDER BY number";
    const LINES: &str = "SELECT attempt, at, line FROM job_line WHERE job = $1 ORDER BY id DESC LIMIT $2";
    let loss: Option<Json<Vec<LossPoint>>> =
        on!(tx, db => sqlx::query_scalar(LOSS).bind(job).fetch_optional(db).await?);
    let loss = loss.ok_or(CatalogError::NoSuchJob { job })?.0;
    let attempts: Vec<AttemptRow> = on!(tx, db => sqlx::query_as(ATTEMPTS).bind(job).fetch_all(db).await?);
    let mut lines: Vec<(i64, Timestamp, String)> =
        on!(tx, db => sqlx::query_as(LINES).bind(job).bind(SHOWN_LINES).fetch_all(db).await?);
    lines.reverse();
    Ok(JobLogs {
        attempts: attempts.into_iter().map(Attempt::from).collect(),
        lines: lines
            .into_iter()
            .map(|(attempt, at, line)| LogLine {
                attempt: attempt as u32,
                at,
                line,
            })
            .collect(),
        loss,
    })
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    number: i64,
    worker: String,
    device: String,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    ending: Option<String>,
    checkpoint_step: Option<Count>,
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        Self {
            number: row.number as u32,
            worker: row.worker,
            device: row.device,
            started_at: row.started_at,
            ended_at: row.ended_at,
            end: row.ending,
            checkpoint_step: row.checkpoint_step.map(|step| step.0),
        }
    }
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
}

/// How much there is to do on all sites: what workers are scaled by.
pub async fn depth(tx: &mut Tx) -> Result<Depth, CatalogError> {
    const SQL: &str = "SELECT state, COUNT(*) FROM job WHERE state IN ('queued', 'running') GROUP BY state";
    let rows: Vec<(JobState, Count)> = on!(tx, db => sqlx::query_as(SQL).fetch_all(db).await?);
    let of = |state| {
        rows.iter()
            .find(|(found, _)| *found == state)
            .map_or(0, |(_, count)| count.0)
    };
    Ok(Depth {
        queued: of(JobState::Queued),
        running: of(JobState::Running),
    })
}

/// Whether a call of [`lease`] would find something to do: a cheap question
/// that needs no writer.
pub async fn is_one_due(tx: &mut Tx) -> Result<bool, CatalogError> {
    const SQL: &str = "SELECT COUNT(*) FROM job WHERE (state = 'queued' AND not_before <= $1)
        OR (state = 'running' AND leased_until < $1)";
    let now = tx.now().await?;
    let due: i64 = on!(tx, db => sqlx::query_scalar(SQL).bind(now).fetch_one(db).await?);
    Ok(due > 0)
}

/// Records that a job changed.
pub(super) fn changed(tx: &mut Tx, site: &SiteName, job: JobId, state: JobState, progress: Option<Progress>) {
    events::record(tx, Some(site), Happening::JobChanged { job, state, progress });
}
