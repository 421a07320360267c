//! Section `storage`: where everything is kept.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::folders;

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct StorageConfig {
    /// The data folder: SQLite's database, local blobs, the first admin's
    /// token. Default `$XDG_DATA_HOME/katagami`, else `~/.local/share/katagami`.
    #[schema(value_type = String)]
    pub data: PathBuf,
    /// The catalog's database: `sqlite:PATH` or `postgres://…`. Default:
    /// `catalog.sqlite` in the data folder. Several servers need PostgreSQL.
    pub database_url: Option<String>,
    /// Where blobs are: a folder, or `s3://BUCKET[/PREFIX]` with the usual
    /// `AWS_…` variables. Default: `blobs` in the data folder.
    pub blobs: Option<String>,
    /// The folder of imported bases, as `katagami base` keeps it. Default:
    /// `KATAGAMI_BASES`, else `bases` in the default data folder.
    #[schema(value_type = String)]
    pub bases: PathBuf,
    /// The base to serve: its digest or the digest's beginning. Default: the
    /// active one of the catalog, else the only one in `bases`.
    pub base: Option<String>,
    /// How long a blob that nothing names is kept. Default 1 h. Shorter than
    /// the longest upload, it can collect a blob that is just about to be named.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String)]
    pub blob_grace: Duration,
    /// How long events can be replayed. Default 7 days.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String)]
    pub event_retention: Duration,
    /// How long an `Idempotency-Key` is remembered. Default 1 day.
    #[serde(with = "humantime_serde")]
    #[schema(value_type = String)]
    pub idempotency_retention: Duration,
}

impl Default for StorageConfig {
    fn default() -> Self {
        let bases = std::env::var_os("KATAGAMI_BASES").map(PathBuf::from);
        Self {
            data: folders::data(),
            database_url: None,
            blobs: None,
            bases: bases.unwrap_or_else(|| folders::data().join("bases")),
            base: None,
            blob_grace: Duration::from_hours(1),
            event_retention: Duration::from_hours(168),
            idempotency_retention: Duration::from_hours(24),
        }
    }
}

impl StorageConfig {
    /// The database's address, the default spelled out.
    pub fn database(&self) -> String {
        let default = || format!("sqlite:{}", self.data.join("catalog.sqlite").display());
        self.database_url.clone().unwrap_or_else(default)
    }

    /// The address of the blobs, the default spelled out.
    pub fn blob_store(&self) -> String {
        let default = || self.data.join("blobs").display().to_string();
        self.blobs.clone().unwrap_or_else(default)
    }
}
