//! `/v1/sites/{site}/validation`

use reqwest::Method;

use super::{Client, ClientError, Upload};
use crate::domain::{SiteName, ValidationVersion};
use crate::wire::v1::validation::{ValidationReceived, ValidationSet};

impl Client {
    /// Sets a site's validation set: a tar of folders per class, or of files with `labels.csv`.
    /// Each time makes a new version, so a broken one is sent again by the caller alone.
    pub async fn set_validation(
        &self,
        site: &SiteName,
        tar: Upload,
    ) -> Result<ValidationReceived, ClientError> {
        let call = self
            .stream(Method::POST, &["sites", site.as_str(), "validation"])
            .header("content-type", "application/x-tar");
        tar.of(call).answer().await
    }

    /// All versions of a site's validation set.
    pub async fn all_validation_sets(&self, site: &SiteName) -> Result<Vec<ValidationSet>, ClientError> {
        self.every_page(&["sites", site.as_str(), "validation"], &())
            .await
    }

    /// One version of a site's validation set.
    pub async fn validation_set(
        &self,
        site: &SiteName,
        version: ValidationVersion,
    ) -> Result<ValidationSet, ClientError> {
        self.get(&["sites", site.as_str(), "validation", &version.0.to_string()])
            .await
    }
}
