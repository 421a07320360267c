//! How an attempt ends, and its job: published, abandoned, lost, cancelled.

use serde_json::json;

use super::dialect::{Count, Json, text};
use super::jobs::changed;
use super::leases::{self, Held, fenced};
use super::{CatalogError, Tx, attempts, audit, events};
use crate::domain::job::{JobState, backoff};
use crate::domain::{AttemptId, Digest, JobId, MaskVersion, SiteName, Timestamp};
use crate::wire::v1::events::Happening;

/// What a finished attempt brings.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The report: a blob that the attempt uploaded.
    pub report: Digest,
    /// The mask; `None`: the base itself is best.
    pub mask: Option<PublishedMask>,
}

/// A mask that an attempt made and the server checked.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedMask {
    /// The artefact: a blob that the attempt uploaded.
    pub artefact: Digest,
    /// Its final scores: a blob that the attempt uploaded.
    pub scores: Digest,
    /// The digest of the masked weights.
    pub weights: Digest,
    /// Weights that it drops.
    pub flips: u64,
    /// The gate's verdict in one word.
    pub verdict: String,
    /// Why it did not pass.
    pub reasons: Vec<String>,
    /// The KPI of the base.
    pub kpi_base: Option<f64>,
    /// The KPI of the mask.
    pub kpi_mask: Option<f64>,
    /// The paired difference: value, lower, upper.
    pub kpi_difference: Option<[f64; 3]>,
}

/// Why an attempt ends without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Abandoned {
    /// It failed.
    Failed {
        /// One sentence.
        error: String,
        /// Whether another attempt might succeed.
        retry: bool,
    },
    /// It obeyed [`Order::Stop`](crate::domain::job::Order::Stop).
    Cancelled,
    /// Its worker is shutting down: not a failure, and the job is free at once.
    Returned,
}

/// How a job ends.
#[derive(Debug, Default)]
pub(super) struct End {
    state: Option<JobState>,
    mask: Option<MaskVersion>,
    report: Option<Digest>,
    error: Option<String>,
}

impl End {
    pub(super) fn cancelled() -> Self {
        Self {
            state: Some(JobState::Cancelled),
            ..Self::default()
        }
    }

    fn failed(error: String) -> Self {
        Self {
            state: Some(JobState::Failed),
            error: Some(error),
            ..Self::default()
        }
    }

    fn done(report: Digest, mask: Option<MaskVersion>) -> Self {
        Self {
            state: Some(JobState::Done),
            mask,
            report: Some(report),
            error: None,
        }
    }
}

/// Ends a job with its mask, or with the finding that the base is best. The one
/// way in which a mask comes to be; [`CatalogError::LeaseLost`] changes nothing.
/// A job that somebody asked to cancel may still be published: the work is done.
pub async fn publish(
    tx: &mut Tx,
    attempt: AttemptId,
    published: &Published,
) -> Result<Option<MaskVersion>, CatalogError> {
    let held = fenced(tx, attempt).await?;
    attempts::must_have_uploaded(tx, attempt, &published.report).await?;
    let by = format!("{} (worker)", held.worker);
    let version = match &published.mask {
        Some(mask) => {
            store(tx, &held, published, mask).await?;
            Some(held.reserved_version)
        }
        None => None,
    };
    let ending = version.map_or("no improvement", |_| "published");
    end_attempt(tx, attempt, ending).await?;
    end(tx, &held.site, held.id, &End::done(published.report, version)).await?;
    let (event, verdict) = match &published.mask {
        Some(mask) => ("mask_published", Some(mask.verdict.as_str())),
        None => ("no_improvement_found", None),
    };
    let details =
        json!({"attempt": attempt, "mask": version, "verdict": verdict, "report": published.report});
    audit::record(tx, &by, event, Some(&held.site), details).await?;
    if let (Some(version), Some(verdict)) = (version, verdict) {
        let verdict = verdict.to_owned();
        events::record(
            tx,
            Some(&held.site),
            Happening::MaskPublished { version, verdict },
        );
    }
    Ok(version)
}

async fn store(
    tx: &mut Tx,
    held: &Held,
    published: &Published,
    mask: &PublishedMask,
) -> Result<(), CatalogError> {
    const SQL: &str =
        "INSERT INTO mask (site, version, job, base, artefact, bytes, scores, report, weights, parent,
            flips, verdict, reasons, kpi_base, kpi_mask, kpi_difference, kpi_lower, kpi_upper, created_at)
        SELECT $1, $2, $3, $4, $5, bytes, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18
        FROM blob WHERE digest = $5";
    let attempt = held.attempt();
    for digest in [&mask.artefact, &mask.scores] {
        attempts::must_have_uploaded(tx, attempt, digest).await?;
    }
    let now = tx.now().await?;
    let [difference, lower, upper] = mask
        .kpi_difference
        .map_or([None; 3], |interval| interval.map(Some));
    on!(tx, db => {
        sqlx::query(SQL).bind(&held.site).bind(held.reserved_version).bind(held.id).bind(held.base)
            .bind(mask.artefact).bind(mask.scores).bind(published.report).bind(mask.weights).bind(held.parent)
            .bind(Count(mask.flips)).bind(&mask.verdict).bind(Json(&mask.reasons)).bind(mask.kpi_base)
            .bind(mask.kpi_mask).bind(difference).bind(lower).bind(upper).bind(now).execute(db).await?;
    });
    Ok(())
}

/// Ends an attempt without a result, and says where its job is now.
pub async fn abandon(tx: &mut Tx, attempt: AttemptId, why: &Abandoned) -> Result<JobState, CatalogError> {
    let held = fenced(tx, attempt).await?;
    let ending = match why {
        Abandoned::Failed { error, .. } => format!("failed: {}", text(error)),
        Abandoned::Cancelled => "cancelled".to_owned(),
        Abandoned::Returned => "returned".to_owned(),
    };
    end_attempt(tx, attempt, &ending).await?;
    match why {
        _ if held.cancel_requested => cancelled(tx, &held).await,
        Abandoned::Failed { error, retry } => {
            let failures = held.failures as u32 + 1;
            if *retry && i64::from(failures) < held.max_attempts {
                let now = tx.now().await?;
                requeue(tx, &held, failures, now.after(backoff(failures))).await
            } else {
                let failed = End::failed(text(error));
                end(tx, &held.site, held.id, &failed).await?;
                Ok(JobState::Failed)
            }
        }
        // Nobody asked it to stop, so somebody else shall go on.
        Abandoned::Cancelled | Abandoned::Returned => {
            let now = tx.now().await?;
            requeue(tx, &held, held.failures as u32, now).await
        }
    }
}

/// Ends attempts whose lease ran out, each as a failure of its job, and says how many.
pub async fn reap(tx: &mut Tx) -> Result<u64, CatalogError> {
    let now = tx.now().await?;
    let lost = leases::run_out(tx, now).await?;
    for held in &lost {
        tracing::warn!(attempt = %held.attempt(), worker = held.worker, "the lease ran out");
        end_attempt(tx, held.attempt(), "lost").await?;
        let failures = held.failures as u32 + 1;
        if held.cancel_requested {
            cancelled(tx, held).await?;
        } else if i64::from(failures) < held.max_attempts {
            // No waiting: it was the worker that failed, and others are there.
            requeue(tx, held, failures, now).await?;
        } else {
            let error = format!(
                "{failures} attempts failed; the last one was lost: worker `{}` did not answer any more",
                held.worker
            );
            end(tx, &held.site, held.id, &End::failed(error)).await?;
        }
    }
    Ok(lost.len() as u64)
}

async fn cancelled(tx: &mut Tx, held: &Held) -> Result<JobState, CatalogError> {
    end(tx, &held.site, held.id, &End::cancelled()).await?;
    Ok(JobState::Cancelled)
}

/// Puts a job back into the queue. Its checkpoints stay.
async fn requeue(
    tx: &mut Tx,
    held: &Held,
    failures: u32,
    not_before: Timestamp,
) -> Result<JobState, CatalogError> {
    const SQL: &str = "UPDATE job SET state = 'queued', failures = $2, not_before = $3, leased_until = NULL,
        progress = NULL WHERE id = $1";
    on!(tx, db => {
        sqlx::query(SQL).bind(held.id).bind(i64::from(failures)).bind(not_before).execute(db).await?;
    });
    changed(tx, &held.site, held.id, JobState::Queued, None);
    Ok(JobState::Queued)
}

/// Writes how an attempt ended. What it uploaded and nothing else names is free to be collected.
async fn end_attempt(tx: &mut Tx, attempt: AttemptId, ending: &str) -> Result<(), CatalogError> {
    const SQL: &str = "UPDATE attempt SET ended_at = $3, ending = $4
        WHERE job = $1 AND number = $2 AND ended_at IS NULL";
    const FREE: &str = "DELETE FROM attempt_blob WHERE job = $1 AND attempt = $2";
    let (job, number, now) = (attempt.job, i64::from(attempt.number), tx.now().await?);
    on!(tx, db => {
        sqlx::query(SQL).bind(job).bind(number).bind(now).bind(ending).execute(db).await?;
    });
    on!(tx, db => { sqlx::query(FREE).bind(job).bind(number).execute(db).await?; });
    Ok(())
}

/// Ends a job whose row is locked, for ever.
pub(super) async fn end(tx: &mut Tx, site: &SiteName, job: JobId, how: &End) -> Result<(), CatalogError> {
    const SQL: &str = "UPDATE job SET state = $2, mask = $3, report = $4, error = $5, ended_at = $6,
        leased_until = NULL WHERE id = $1";
    const FREE: &str = "DELETE FROM checkpoint WHERE job = $1";
    let state = how.state.unwrap_or(JobState::Failed);
    let now = tx.now().await?;
    on!(tx, db => {
        sqlx::query(SQL).bind(job).bind(state).bind(how.mask).bind(how.report).bind(&how.error).bind(now)
            .execute(db).await?;
    });
    on!(tx, db => { sqlx::query(FREE).bind(job).execute(db).await?; });
    changed(tx, site, job, state, None);
    Ok(())
}
