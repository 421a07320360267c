//! Jobs and their attempts: the state machine, and what a worker is told.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::JobId;

/// The recipes that come with Katagami, the default one first. The server lets
/// no other name pass, the worker has each of them.
pub const RECIPES: [&str; 3] = ["factory", "paper-resnet50", "quick"];

/// Where a job is. Only `queued` and `running` can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Waits for a worker, for the first time or again.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Ended with a mask, or with the finding that the base itself is best.
    Done,
    /// Ended without a result; needs a person.
    Failed,
    /// A person ended it.
    Cancelled,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state as one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether nothing will change any more.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// Whether a job may go from this state to `next`.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            // A worker that gave up or was silent puts it back into the queue.
            Self::Queued => matches!(next, Self::Running | Self::Cancelled | Self::Failed),
            Self::Running => !matches!(next, Self::Running),
            Self::Done | Self::Failed | Self::Cancelled => false,
        }
    }
}

/// One lease of a job by one worker. Its number is the fencing token: what
/// belongs to an older attempt is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// 1, 2, 3 … within the job.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.number)
    }
}

/// The text names no attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an attempt: `JOB.NUMBER` is expected")]
pub struct NotAnAttempt(String);

impl FromStr for AttemptId {
    type Err = NotAnAttempt;

    fn from_str(text: &str) -> Result<Self, NotAnAttempt> {
        let parsed = text.split_once('.').and_then(|(job, number)| {
            Some(Self {
                job: job.parse().ok()?,
                number: number.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| NotAnAttempt(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for AttemptId {
    type Error = NotAnAttempt;

    fn try_from(text: String) -> Result<Self, NotAnAttempt> {
        text.parse()
    }
}

impl<'de> Deserialize<'de> for AttemptId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for AttemptId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What an attempt is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Fetches base and images.
    #[default]
    Fetch,
    /// Trains.
    Train,
    /// Compares base and mask.
    Judge,
    /// Uploads and publishes.
    Publish,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Self; 4] = [Self::Fetch, Self::Train, Self::Judge, Self::Publish];

    /// The phase as one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Train => "train",
            Self::Judge => "judge",
            Self::Publish => "publish",
        }
    }

    /// The phase of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.word() == word)
    }
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Steps (images, in other phases) done.
    pub step: u64,
    /// Of how many; 0 while unknown.
    pub steps: u64,
    /// The loss of the last step.
    pub loss: Option<f64>,
    /// Weights dropped now.
    pub dropped: Option<u64>,
}

/// What a heartbeat is answered.
#[must_use = "an attempt must obey its order"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Continue,
    /// The job was cancelled: stop and say so.
    Stop,
    /// Another attempt has the job: drop everything.
    LeaseLost,
}

/// How long a job waits before its next attempt: 10 s after the first failed
/// one, doubled after each further one, at most 10 minutes.
pub fn backoff(failed_attempts: u32) -> Duration {
    let doubled = 10_u64.saturating_mul(1 << failed_attempts.saturating_sub(1).min(10));
    Duration::from_secs(doubled.min(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_job_never_changes_again() {
        for ended in JobState::ALL.into_iter().filter(|state| state.is_ended()) {
            assert!(JobState::ALL.into_iter().all(|next| !ended.may_become(next)));
        }
        assert!(JobState::Queued.may_become(JobState::Running));
        assert!(JobState::Running.may_become(JobState::Queued));
        assert!(!JobState::Queued.may_become(JobState::Done));
    }

    #[test]
    fn words_and_attempts_survive_their_text() {
        for state in JobState::ALL {
            assert_eq!(JobState::of_word(state.word()), Some(state));
        }
        let attempt = AttemptId {
            job: JobId::generate(),
            number: 3,
        };
        assert_eq!(attempt.to_string().parse(), Ok(attempt));
        assert!("3".parse::<AttemptId>().is_err());
    }

    #[test]
    fn waiting_doubles_up_to_ten_minutes() {
        let waits: Vec<u64> = (1..9).map(|failed| backoff(failed).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(backoff(u32::MAX).as_secs(), 600);
    }
}
