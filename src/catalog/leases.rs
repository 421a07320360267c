//! Who works on which job: leases, heartbeats, checkpoints. How an attempt ends
//! is in [`super::endings`].
//!
//! The number of an attempt is its fencing token. Every function that takes an
//! [`AttemptId`] locks the job's row and goes on only if that attempt still has
//! the job; so whoever was silent for too long can change nothing any more, and
//! of two calls that would end a job the second finds it ended. A lease that
//! has run out is lost only when [`endings::reap`] (or [`lease`], which reaps) says so:
//! until then a late heartbeat revives it.

use std::time::Duration;

use sqlx::QueryBuilder;

use super::attempts::{self, Assignment};
use super::dialect::{Count, Json, PerDialect, text};
use super::jobs::changed;
use super::workers::{self, WorkerCard};
use super::{CatalogError, Tx, endings, validation};
use crate::domain::job::{JobState, Order, Progress};
use crate::domain::report::LossPoint;
use crate::domain::{AttemptId, Digest, JobId, MaskVersion, SiteName, Timestamp};

/// Points of a live curve.
const MOST_POINTS: usize = 500;
/// Lines that a job's log keeps, of all its attempts, and characters of a line.
const MOST_LINES: usize = 10_000;
const LONGEST_LINE: usize = 2000;

/// A job whose row is locked and whose attempt has it.
#[derive(sqlx::FromRow)]
pub(super) struct Held {
    pub(super) id: JobId,
    pub(super) site: SiteName,
    attempt: i64,
    pub(super) worker: String,
    pub(super) base: Digest,
    pub(super) parent: Option<MaskVersion>,
    pub(super) reserved_version: MaskVersion,
    pub(super) failures: i64,
    pub(super) max_attempts: i64,
    pub(super) cancel_requested: bool,
}

impl Held {
    pub(super) fn attempt(&self) -> AttemptId {
        AttemptId {
            job: self.id,
            number: self.attempt as u32,
        }
    }
}

macro_rules! held {
    ($rest:literal, $lock:literal) => {
        concat!(
            "SELECT id, site, attempt, COALESCE(worker, '') AS worker, base, parent, reserved_version, failures,
                max_attempts, cancel_requested FROM job WHERE ",
            $rest,
            $lock
        )
    };
}

/// Locks the job of an attempt that has it: the fence.
pub(super) async fn fenced(tx: &mut Tx, attempt: AttemptId) -> Result<Held, CatalogError> {
    const SQL: PerDialect = PerDialect {
        postgres: held!("id = $1 AND attempt = $2 AND state = 'running'", " FOR UPDATE"),
        sqlite: held!("id = $1 AND attempt = $2 AND state = 'running'", ""),
    };
    let sql = tx.text(SQL);
    let held: Option<Held> = on!(tx, db => {
        sqlx::query_as(sql).bind(attempt.job).bind(i64::from(attempt.number)).fetch_optional(db).await?
    });
    held.ok_or(CatalogError::LeaseLost { attempt })
}

/// Locks the jobs whose lease ran out before `now`.
pub(super) async fn run_out(tx: &mut Tx, now: Timestamp) -> Result<Vec<Held>, CatalogError> {
    const SQL: PerDialect = PerDialect {
        postgres: held!(
            "state = 'running' AND leased_until < $1 ORDER BY id",
            " FOR UPDATE SKIP LOCKED"
        ),
        sqlite: held!("state = 'running' AND leased_until < $1 ORDER BY id", ""),
    };
    let sql = tx.text(SQL);
    Ok(on!(tx, db => sqlx::query_as(sql).bind(now).fetch_all(db).await?))
}

/// Gives `worker` the next job for `lease`, and ends attempts whose lease ran out
/// before. Higher priority goes first, then the site with fewer running jobs,
/// then the older job.
pub async fn lease(
    tx: &mut Tx,
    worker: &WorkerCard,
    lease: Duration,
) -> Result<Option<Assignment>, CatalogError> {
    // Two servers that lease at once would each count the other's site as idle.
    const ALONE: PerDialect = PerDialect {
        postgres: "SELECT 1 FROM (SELECT pg_advisory_xact_lock(7305808870)) AS locked",
        sqlite: "SELECT 1",
    };
    const NEXT: PerDialect = locking!(
        "SELECT id, loss FROM job WHERE state = 'queued' AND not_before <= $1
         ORDER BY priority DESC,
            (SELECT COUNT(*) FROM job AS other WHERE other.site = job.site AND other.state = 'running'),
            id -- total order: every server agrees
         LIMIT 1",
        "FOR UPDATE OF job SKIP LOCKED"
    );
    const TAKE: &str =
        "UPDATE job SET state = 'running', attempt = attempt + 1, worker = $2, leased_until = $3,
            progress = NULL, loss = $4, started_at = COALESCE(started_at, $5)
        WHERE id = $1 RETURNING attempt, site";
    const ATTEMPT: &str =
        "INSERT INTO attempt (job, number, worker, device, started_at) VALUES ($1, $2, $3, $4, $5)";
    let (alone, next) = (tx.text(ALONE), tx.text(NEXT));
    on!(tx, db => { sqlx::query(alone).execute(db).await?; });
    workers::seen(tx, worker).await?;
    endings::reap(tx).await?;
    let now = tx.now().await?;
    let found: Option<(JobId, Json<Vec<LossPoint>>)> =
        on!(tx, db => sqlx::query_as(next).bind(now).fetch_optional(db).await?);
    let Some((job, Json(mut loss))) = found else {
        return Ok(None);
    };
    // The curve goes on where the attempt will: at the newest checkpoint.
    let newest = attempts::checkpoints(tx, job)
        .await?
        .first()
        .map_or(0, |kept| kept.step);
    loss.retain(|point| point.step <= newest);
    let (number, site): (i64, SiteName) = on!(tx, db => {
        sqlx::query_as(TAKE).bind(job).bind(text(&worker.name)).bind(now.after(lease)).bind(Json(loss)).bind(now)
            .fetch_one(db).await?
    });
    on!(tx, db => {
        sqlx::query(ATTEMPT).bind(job).bind(number).bind(text(&worker.name)).bind(text(&worker.device)).bind(now)
            .execute(db).await?;
    });
    validation::note_judged(tx, job).await?;
    changed(tx, &site, job, JobState::Running, None);
    let number = number as u32;
    Ok(Some(attempts::assignment(tx, AttemptId { job, number }).await?))
}

/// Says that an attempt lives, for `lease` more, and what it did since.
pub async fn heartbeat(
    tx: &mut Tx,
    attempt: AttemptId,
    lease: Duration,
    progress: &Progress,
    lines: &[String],
    losses: &[LossPoint],
) -> Result<Order, CatalogError> {
    const SQL: &str = "UPDATE job SET leased_until = $2, progress = $3 WHERE id = $1";
    let held = match fenced(tx, attempt).await {
        Err(CatalogError::LeaseLost { .. }) => return Ok(Order::LeaseLost),
        held => held?,
    };
    let now = tx.now().await?;
    on!(tx, db => {
        sqlx::query(SQL).bind(attempt.job).bind(now.after(lease)).bind(Json(progress)).execute(db).await?;
    });
    log(tx, attempt, now, lines).await?;
    draw(tx, attempt.job, losses).await?;
    changed(tx, &held.site, attempt.job, JobState::Running, Some(*progress));
    Ok(if held.cancel_requested {
        Order::Stop
    } else {
        Order::Continue
    })
}

/// Adds to the job's log. A log that is full says so in one line more, and takes no others.
async fn log(tx: &mut Tx, attempt: AttemptId, now: Timestamp, lines: &[String]) -> Result<(), CatalogError> {
    const KEPT: &str = "SELECT COUNT(*) FROM job_line WHERE job = $1";
    if lines.is_empty() {
        return Ok(());
    }
    let Count(kept) = on!(tx, db => sqlx::query_scalar(KEPT).bind(attempt.job).fetch_one(db).await?);
    let Some(room) = MOST_LINES.checked_sub(kept as usize) else {
        return Ok(()); // It was said.
    };
    let mut lines: Vec<String> = lines.iter().take(room + 1).map(|line| text(line)).collect();
    if lines.len() > room {
        lines[room] = format!("the log is full after {MOST_LINES} lines; the rest is dropped");
    }
    let number = i64::from(attempt.number);
    // Both databases limit the parameters of a statement.
    for lines in lines.chunks(1000) {
        on!(tx, db => {
            let mut insert = QueryBuilder::new("INSERT INTO job_line (job, attempt, at, line) ");
            insert.push_values(lines, |mut row, line| {
                let line: String = line.chars().take(LONGEST_LINE).collect();
                row.push_bind(attempt.job).push_bind(number).push_bind(now).push_bind(line);
            });
            insert.build().execute(db).await?;
        });
    }
    Ok(())
}

/// Adds to the live curve, thinned to what a screen can show.
async fn draw(tx: &mut Tx, job: JobId, losses: &[LossPoint]) -> Result<(), CatalogError> {
    const LOOK: &str = "SELECT loss FROM job WHERE id = $1";
    const SQL: &str = "UPDATE job SET loss = $2 WHERE id = $1";
    // JSON knows no NaN; a diverged loss is not a point of a curve.
    let mut new: Vec<LossPoint> = losses
        .iter()
        .copied()
        .filter(|point| point.loss.is_finite())
        .collect();
    let Some(first) = new.first().map(|point| point.step) else {
        return Ok(());
    };
    let Json(mut loss): Json<Vec<LossPoint>> =
        on!(tx, db => sqlx::query_scalar(LOOK).bind(job).fetch_one(db).await?);
    loss.retain(|point| point.step < first);
    loss.append(&mut new);
    while loss.len() > MOST_POINTS {
        let last = loss.len() - 1;
        let mut at = 0..;
        // Every second one, and the last: that is where the training is.
        loss.retain(|_| at.next().is_some_and(|at| at % 2 == 0 || at == last));
    }
    on!(tx, db => { sqlx::query(SQL).bind(job).bind(Json(loss)).execute(db).await?; });
    Ok(())
}

/// Keeps a checkpoint that the attempt uploaded, and forgets all but the last two.
pub async fn checkpoint(
    tx: &mut Tx,
    attempt: AttemptId,
    step: u64,
    digest: &Digest,
) -> Result<(), CatalogError> {
    const KEPT: &str = "SELECT COUNT(*) FROM checkpoint WHERE job = $1 AND step = $2 AND digest = $3";
    const SQL: &str =
        "INSERT INTO checkpoint (job, attempt, step, digest, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (job, step) DO UPDATE SET attempt = excluded.attempt, digest = excluded.digest,
            created_at = excluded.created_at";
    // By time, not by step: an attempt that found the newest one damaged goes
    // on from the one before and comes by the same steps again.
    const FORGET: &str = "DELETE FROM checkpoint WHERE job = $1 AND step NOT IN
        (SELECT step FROM checkpoint WHERE job = $1 ORDER BY created_at DESC, step DESC LIMIT 2)";
    const UNNAME: &str = "DELETE FROM attempt_blob WHERE job = $1 AND attempt = $2 AND digest = $3";
    fenced(tx, attempt).await?;
    let kept: i64 = on!(tx, db => {
        sqlx::query_scalar(KEPT).bind(attempt.job).bind(Count(step)).bind(digest).fetch_one(db).await?
    });
    if kept > 0 {
        return Ok(()); // The answer to the first call was lost.
    }
    attempts::must_have_uploaded(tx, attempt, digest).await?;
    let (job, number, now) = (attempt.job, i64::from(attempt.number), tx.now().await?);
    on!(tx, db => {
        sqlx::query(SQL).bind(job).bind(number).bind(Count(step)).bind(digest).bind(now).execute(db).await?;
    });
    on!(tx, db => { sqlx::query(FORGET).bind(job).execute(db).await?; });
    on!(tx, db => { sqlx::query(UNNAME).bind(job).bind(number).bind(digest).execute(db).await?; });
    Ok(())
}
