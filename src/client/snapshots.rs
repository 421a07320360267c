//! `/v1/sites/{site}/snapshots`

use super::{Client, ClientError};
use crate::domain::{SiteName, SnapshotId};
use crate::wire::v1::snapshots::{NewSnapshot, Snapshot, SnapshotImages};

impl Client {
    /// Makes a snapshot.
    pub async fn create_snapshot(
        &self,
        site: &SiteName,
        snapshot: &NewSnapshot,
    ) -> Result<Snapshot, ClientError> {
        self.post(&["sites", site.as_str(), "snapshots"], snapshot).await
    }

    /// All snapshots of a site.
    pub async fn all_snapshots(&self, site: &SiteName) -> Result<Vec<Snapshot>, ClientError> {
        self.every_page(&["sites", site.as_str(), "snapshots"], &()).await
    }

    /// A snapshot.
    pub async fn snapshot(&self, site: &SiteName, snapshot: SnapshotId) -> Result<Snapshot, ClientError> {
        self.get(&["sites", site.as_str(), "snapshots", &snapshot.to_string()])
            .await
    }

    /// A snapshot's images.
    pub async fn snapshot_images(
        &self,
        site: &SiteName,
        snapshot: SnapshotId,
    ) -> Result<SnapshotImages, ClientError> {
        let snapshot = snapshot.to_string();
        self.get(&["sites", site.as_str(), "snapshots", &snapshot, "images"])
            .await
    }
}
