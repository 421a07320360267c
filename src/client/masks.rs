//! `/v1/sites/{site}/masks`

use super::{Client, ClientError, Download};
use crate::domain::report::Report;
use crate::domain::{MaskVersion, SiteName};
use crate::wire::v1::masks::Mask;

impl Client {
    /// All masks of a site.
    pub async fn all_masks(&self, site: &SiteName) -> Result<Vec<Mask>, ClientError> {
        self.every_page(&["sites", site.as_str(), "masks"], &()).await
    }

    /// A mask.
    pub async fn mask(&self, site: &SiteName, version: MaskVersion) -> Result<Mask, ClientError> {
        self.get(&["sites", site.as_str(), "masks", &version.to_string()])
            .await
    }

    /// A mask's report.
    pub async fn mask_report(&self, site: &SiteName, version: MaskVersion) -> Result<Report, ClientError> {
        self.get(&["sites", site.as_str(), "masks", &version.to_string(), "report"])
            .await
    }

    /// Downloads a mask's artefact. [`Mask::digest`] is the digest to ask for.
    pub async fn download_mask(
        &self,
        site: &SiteName,
        version: MaskVersion,
        wanted: Download<'_>,
    ) -> Result<(), ClientError> {
        let version = version.to_string();
        self.download(&["sites", site.as_str(), "masks", &version, "bytes"], wanted)
            .await
    }
}
