//! Section `workers`: the workers that the server starts itself.

use serde::{Deserialize, Serialize};

/// The workers that the server starts itself, as child processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct WorkersConfig {
    /// How many. Default 1; 0 = none: start `katagami worker --server URL` elsewhere.
    pub count: u32,
    /// What they compute on: `auto`, `cpu` or `cuda:N`. Default `auto`.
    pub device: String,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self {
            count: 1,
            device: "auto".to_owned(),
        }
    }
}
