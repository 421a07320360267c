//! `/v1/priors`, and masks coded with them

use bytes::Bytes;

use super::{Client, ClientError, Download};
use crate::domain::{Digest, MaskVersion, SiteName};
use crate::wire::v1::masks::MaskWithPrior;
use crate::wire::v1::priors::Prior;

impl Client {
    /// Makes the next population prior of the active base; the newest one if it would say the same.
    pub async fn make_prior(&self) -> Result<Prior, ClientError> {
        self.post(&["priors"], &()).await
    }

    /// All population priors, the newest first.
    pub async fn all_priors(&self) -> Result<Vec<Prior>, ClientError> {
        self.every_page(&["priors"], &()).await
    }

    /// Downloads a prior's file. [`Prior::file`] is the digest to ask for.
    pub async fn download_prior(&self, prior: &Digest, wanted: Download<'_>) -> Result<(), ClientError> {
        self.download(&["priors", &prior.to_string()], wanted).await
    }

    /// What a mask is there as for whoever holds a prior.
    pub async fn masks_with_priors(
        &self,
        site: &SiteName,
        version: MaskVersion,
    ) -> Result<Vec<MaskWithPrior>, ClientError> {
        let version = version.to_string();
        self.every_page(&["sites", site.as_str(), "masks", &version, "priors"], &())
            .await
    }

    /// A mask coded with a prior, of at most `limit` bytes; none if the server has it not in this form. What
    /// it yields has the mask's digest, which the caller compares.
    pub async fn mask_with_prior(
        &self,
        site: &SiteName,
        version: MaskVersion,
        prior: &Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, ClientError> {
        let (version, prior) = (version.to_string(), prior.to_string());
        let path = ["sites", site.as_str(), "masks", &version, "priors", &prior];
        self.short_form(&path, limit).await
    }
}
