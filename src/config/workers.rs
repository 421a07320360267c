//! Section `workers`: the workers that the server starts itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The workers that the server starts itself, as child processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct WorkersConfig {
    /// How many. Default 1; 0 = none: start `katagami worker --server URL` elsewhere.
    pub count: u32,
    /// Where they find the server, such as `https://katagami.example`. Default: the
    /// address that it listens on, which needs a certificate of that name if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Certificates that they trust besides the system's (PEM). Default: the server's own, which
    /// is enough if it was signed by itself, or if its file ends with the authority's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ca: Option<PathBuf>,
    /// What they compute on: `auto`, `cpu` or `cuda:N`. Default `auto`.
    pub device: String,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self {
            count: 1,
            server: None,
            ca: None,
            device: "auto".to_owned(),
        }
    }
}
