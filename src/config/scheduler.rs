//! Section `scheduler`: how jobs are given out.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// How jobs are given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct SchedulerConfig {
    /// How long a worker may be silent before its job is given to another one.
    /// Heartbeats come three times as often. Default 60 s. Shorter finds dead
    /// workers sooner, but a paused machine loses its work.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String)]
    pub lease: Duration,
    /// Failed or lost attempts before a job needs a person. Default 3; 1 = never retry.
    #[schema(value_type = u32)]
    pub max_attempts: NonZeroU32,
    /// How often leases that ran out are looked for. Default 5 s.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String)]
    pub reap_every: Duration,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_mins(1),
            max_attempts: NonZeroU32::MIN.saturating_add(2),
            reap_every: Duration::from_secs(5),
        }
    }
}

impl SchedulerConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.lease < Duration::from_secs(1) {
            return Err(ConfigError::Zero("scheduler.lease"));
        }
        if self.reap_every.is_zero() {
            return Err(ConfigError::Zero("scheduler.reap-every"));
        }
        Ok(())
    }
}
