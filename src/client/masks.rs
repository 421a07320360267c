//! `/v1/sites/{site}/masks`

use bytes::Bytes;
use reqwest::Method;

use super::request::read;
use super::{Client, ClientError, Download};
use crate::domain::report::Report;
use crate::domain::{Digest, MaskVersion, SiteName};
use crate::wire::v1::masks::{Mask, MaskDelta};

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

    /// The deltas that yield a mask.
    pub async fn mask_deltas(
        &self,
        site: &SiteName,
        version: MaskVersion,
    ) -> Result<Vec<MaskDelta>, ClientError> {
        let version = version.to_string();
        self.every_page(&["sites", site.as_str(), "masks", &version, "deltas"], &())
            .await
    }

    /// The delta that yields a mask for whoever holds the artefact `parent`, of at most `limit` bytes;
    /// none if the server has none. What it yields has the mask's digest, which the caller compares.
    pub async fn mask_delta(
        &self,
        site: &SiteName,
        version: MaskVersion,
        parent: &Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, ClientError> {
        let (version, parent) = (version.to_string(), parent.to_string());
        let path = ["sites", site.as_str(), "masks", &version, "deltas", &parent];
        self.short_form(&path, limit).await
    }

    /// What lies at `path`, of at most `limit` bytes; none if the server has it not.
    pub(super) async fn short_form(&self, path: &[&str], limit: u64) -> Result<Option<Bytes>, ClientError> {
        let call = self.call(Method::GET, path);
        let url = call.url();
        match call.send().await {
            Ok(response) => read(&url, response, limit).await.map(Some),
            Err(ClientError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
