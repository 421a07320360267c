//! `/v1/sites/{site}/jobs`, `/v1/jobs/{id}`

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::job::{JobState, Progress};
use crate::domain::report::Kpi;
use crate::domain::{Digest, JobId, MaskVersion, SiteName, SnapshotId, Timestamp, ValidationVersion, View};

/// What a training starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The plain base: every weight kept.
    Base,
    /// The scores of a mask of the site.
    Mask(MaskVersion),
}

/// Asks for a training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewJob {
    /// What to train on. Default: a new snapshot of all images of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// The recipe's name. Default `factory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Steps of training; the recipe's schedule is cut to them. Default: the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// Which figure the mask is judged by. Default: the site's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kpi: Option<Kpi>,
    /// What to start from. Default: the mask of channel `stable` if it is bound to the active base
    /// and was trained with the site's view, else the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Seed of everything drawn at random. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// How an ended job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// A mask was stored.
    Mask {
        /// Its version.
        version: MaskVersion,
        /// The gate's verdict in one word.
        verdict: String,
    },
    /// The base itself is best; the job has a report and no mask.
    NoImprovement {
        /// The report.
        report: Digest,
    },
    /// It failed; a person has to look.
    Failed {
        /// One sentence.
        error: String,
    },
    /// Somebody cancelled it.
    Cancelled,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its identifier.
    pub id: JobId,
    /// Its site.
    pub site: SiteName,
    /// What it trains on.
    pub snapshot: SnapshotId,
    /// The base.
    pub base: Digest,
    /// The validation set that judges; none: signals without labels do.
    pub validation: Option<ValidationVersion>,
    /// The recipe's name.
    pub recipe: String,
    /// Steps of training, if not the recipe's.
    pub budget: Option<u32>,
    /// Which figure the mask is judged by.
    pub kpi: Kpi,
    /// How pictures become network input: the site's view when the job was asked for.
    pub view: View,
    /// What it starts from.
    pub start: Start,
    /// Seed.
    pub seed: u64,
    /// Where it is.
    pub state: JobState,
    /// Whether somebody asked to cancel it; a running attempt stops at its next heartbeat.
    pub cancel_requested: bool,
    /// The attempt that runs or ran last; 0: none yet.
    pub attempt: u32,
    /// Attempts after which it needs a person.
    pub max_attempts: u32,
    /// The worker of that attempt.
    pub worker: Option<String>,
    /// How far that attempt is.
    pub progress: Option<Progress>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Who asked for it.
    pub created_by: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Query of a site's jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most entries of a page: 1 to 1,000. Default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only jobs in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
}

/// A line that an attempt wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The attempt.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// What.
    pub line: String,
}

/// What the attempts of a job wrote, oldest first, and their losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobLogs {
    /// The attempts.
    pub attempts: Vec<Attempt>,
    /// Their lines.
    pub lines: Vec<LogLine>,
    /// Loss by step of the running or last attempt, thinned to at most 500 points.
    pub loss: Vec<crate::domain::report::LossPoint>,
}

/// One lease of a job by one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// 1, 2, 3 …
    pub number: u32,
    /// Who.
    pub worker: String,
    /// On what, such as `cpu` or `cuda:0 NVIDIA H100`.
    pub device: String,
    /// From when.
    pub started_at: Timestamp,
    /// Until when.
    pub ended_at: Option<Timestamp>,
    /// How it ended: `published`, `no improvement`, `failed: …`, `lost`, `cancelled`, `returned`.
    pub end: Option<String>,
    /// The step of its last checkpoint.
    pub checkpoint_step: Option<u64>,
}
