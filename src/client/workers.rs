//! `/v1/workers`, and the bytes that a worker reads and writes for its attempt

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;

use super::{Client, ClientError, IDLE};
use crate::domain::{AttemptId, Digest};
use crate::wire::v1::workers::Worker;

/// Bytes a second below which an upload counts as broken.
const SLOWEST: u64 = 32 << 10;

impl Client {
    /// All workers that asked for work lately.
    pub async fn all_workers(&self) -> Result<Vec<Worker>, ClientError> {
        self.every_page(&["workers"], &()).await
    }

    /// Downloads bytes that the attempt's job needs into a file, resuming what an earlier download left.
    pub async fn download_attempt_blob(
        &self,
        attempt: AttemptId,
        wanted: super::Download<'_>,
    ) -> Result<(), ClientError> {
        let (attempt, name) = (attempt.to_string(), wanted.digest.to_string());
        self.download(&["worker", "attempts", &attempt, "blobs", &name], wanted)
            .await
    }

    /// Stores bytes for an attempt; safe to send again.
    pub async fn put_attempt_blob(&self, attempt: AttemptId, bytes: Bytes) -> Result<Digest, ClientError> {
        let digest = Digest::of(&bytes);
        let (attempt, name) = (attempt.to_string(), digest.to_string());
        let call = self.stream(Method::PUT, &["worker", "attempts", &attempt, "blobs", &name]);
        // The lease is kept alive meanwhile, so nobody else would end a sending that is never answered.
        let longest = IDLE + Duration::from_secs(bytes.len() as u64 / SLOWEST);
        call.body(bytes).within(longest).done().await?;
        Ok(digest)
    }
}
