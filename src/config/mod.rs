//! The server's settings: one file per section, one doc comment per key.
//!
//! What lives here: the values, their defaults, and where they come from
//! ([`sources`]). What does not: what is done with them.

pub mod intake;
pub mod scheduler;
pub mod server;
pub mod sources;
pub mod storage;
pub mod telemetry;
pub mod workers;

use serde::{Deserialize, Serialize};

pub use intake::IntakeConfig;
pub use scheduler::SchedulerConfig;
pub use server::ServerConfig;
pub use sources::{ConfigError, Loaded, Origin, Sources};
pub use storage::StorageConfig;
pub use telemetry::{LogFormat, TelemetryConfig};
pub use workers::WorkersConfig;

/// All settings of `katagami serve`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// Where and how the server listens.
    pub server: ServerConfig,
    /// Where everything is kept.
    pub storage: StorageConfig,
    /// What submitted files may be like.
    pub intake: IntakeConfig,
    /// How jobs are given out.
    pub scheduler: SchedulerConfig,
    /// The workers that the server starts itself.
    pub workers: WorkersConfig,
    /// Logs.
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// Whether the settings fit together; the first thing that does not, as one sentence.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.server.check()?;
        self.intake.check()?;
        self.scheduler.check()
    }
}
