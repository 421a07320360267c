//! Section `telemetry`: logs.

use serde::{Deserialize, Serialize};

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct TelemetryConfig {
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`) or
    /// directives such as `katagami=debug,tower_http=info`. Default `info`.
    pub log: String,
    /// How: `text` for people, `json` for programs. Default `text`.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}
