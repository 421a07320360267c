//! `/v1/workers`, and the bytes that a worker reads and writes for its attempt

use bytes::Bytes;
use reqwest::Method;

use super::images::checked;
use super::{Client, ClientError, Upload};
use crate::domain::{AttemptId, Digest};
use crate::wire::v1::workers::Worker;

impl Client {
    /// All workers that asked for work lately.
    pub async fn all_workers(&self) -> Result<Vec<Worker>, ClientError> {
        self.every_page(&["workers"], &()).await
    }

    /// Bytes that the attempt's job needs, at most `limit`. Their digest was compared with `digest`.
    /// `lease_lost`: another attempt has the job.
    pub async fn attempt_blob(
        &self,
        attempt: AttemptId,
        digest: &Digest,
        limit: u64,
    ) -> Result<Bytes, ClientError> {
        let (attempt, name) = (attempt.to_string(), digest.to_string());
        let call = self.call(Method::GET, &["worker", "attempts", &attempt, "blobs", &name]);
        checked(call.url(), call.send().await?, digest, limit).await
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
        call.body(bytes).done().await?;
        Ok(digest)
    }

    /// Stores a stream of bytes for an attempt. Sent once: after a break the caller makes a new stream.
    pub async fn upload_attempt_blob(
        &self,
        attempt: AttemptId,
        digest: &Digest,
        upload: Upload,
    ) -> Result<(), ClientError> {
        let (attempt, name) = (attempt.to_string(), digest.to_string());
        let call = self.stream(Method::PUT, &["worker", "attempts", &attempt, "blobs", &name]);
        upload.of(call).done().await
    }
}
