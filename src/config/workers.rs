//! Section `workers`: the workers that the server starts itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The workers that the server starts itself, as child processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct WorkersConfig {
    /// How many. Default: one for each NVIDIA card of this host, or one where there is none;
    /// 0 = none: start `katagami worker run --server URL` elsewhere.
    pub count: Option<u32>,
    /// Where they find the server, such as `https://katagami.example`. Default: the
    /// address that it listens on, which needs a certificate of that name if there is one.
    pub server: Option<String>,
    /// Certificates that they trust besides the system's (PEM). Default: the server's own, which
    /// is enough if it was signed by itself, or if its file ends with the authority's.
    #[schema(value_type = Option<String>)]
    pub ca: Option<PathBuf>,
    /// What they compute on: `auto`, `cpu` or `cuda:N`. Default `auto`: each on a card of its own, if there are any.
    pub device: String,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self {
            count: None,
            server: None,
            ca: None,
            device: "auto".to_owned(),
        }
    }
}
