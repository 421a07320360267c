//! `/v1/base`, `/v1/bases`

use super::{Client, ClientError, Download};
use crate::wire::v1::base::Base;

impl Client {
    /// The active base.
    pub async fn base(&self) -> Result<Base, ClientError> {
        self.get(&["base"]).await
    }

    /// Downloads the active base's weights, resuming what an earlier download left.
    /// [`Base::file`] is the digest to ask for.
    pub async fn download_base(&self, wanted: Download<'_>) -> Result<(), ClientError> {
        self.download(&["base", "bytes"], wanted).await
    }
}
