//! Section `intake`: what submitted files may be like.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// What submitted files may be like. What is over a limit is rejected alone;
/// the rest of the submission goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct IntakeConfig {
    /// Most bytes of one image's file. Default 64 MiB. Larger costs that much
    /// memory for each upload at once.
    pub image_bytes: u64,
    /// Most pixels of one image. Default 100 million. Larger costs 4 bytes of
    /// memory each while it is looked at.
    pub image_pixels: u64,
    /// Most files of one submission. Default 100,000.
    pub entries: u64,
    /// Images that are decoded at once. Default: as many as there are cores.
    pub concurrent_decodes: usize,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            image_bytes: 64 << 20,
            image_pixels: 100_000_000,
            entries: 100_000,
            concurrent_decodes: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}

impl IntakeConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self { image_bytes: 0, .. } => Err(ConfigError::Zero("intake.image-bytes")),
            Self { image_pixels: 0, .. } => Err(ConfigError::Zero("intake.image-pixels")),
            Self { entries: 0, .. } => Err(ConfigError::Zero("intake.entries")),
            Self {
                concurrent_decodes: 0,
                ..
            } => Err(ConfigError::Zero("intake.concurrent-decodes")),
            _ => Ok(()),
        }
    }
}
