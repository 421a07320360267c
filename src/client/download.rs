//! A download into a file that is whole or not there, resumed after a break.
//!
//! Bytes go to `FILE.part` first. What is there already is asked for no more:
//! `Range` with `If-Range`, so that the halves of two different files are
//! never joined, and the digest over all of it decides in the end.

use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Method, Response, StatusCode};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::request::{backoff, etag, length};
use super::{Client, ClientError};
use crate::domain::{Digest, Digester};

/// Breaks in a row, without a byte in between, after which a download is given up for now.
const BREAKS: u32 = 4;

/// A file to be downloaded.
pub struct Download<'a> {
    /// Where it goes.
    pub to: &'a Path,
    /// Its SHA-256, which is the server's strong `ETag` for it.
    pub digest: Digest,
    /// Most bytes that are taken.
    pub limit: u64,
    /// Told how many bytes are there, and of how many once the server said so.
    pub progress: &'a mut (dyn FnMut(u64, Option<u64>) + Send),
}

/// The part that is there already.
struct Part {
    path: PathBuf,
    file: File,
    digester: Digester,
    bytes: u64,
}

impl Client {
    /// Downloads what `path` names. A file that is there already must be checked by the caller.
    pub(super) async fn download(&self, path: &[&str], wanted: Download<'_>) -> Result<(), ClientError> {
        let mut part = Part::open(wanted.to).await?;
        let mut breaks = 0;
        loop {
            let before = part.bytes;
            match self
                .continue_download(path, &wanted.digest, wanted.limit, &mut part, wanted.progress)
                .await
            {
                Ok(()) => {
                    return part
                        .finish(&self.call(Method::GET, path).url(), wanted.to, wanted.digest)
                        .await;
                }
                Err(error @ ClientError::Unreachable { .. }) => {
                    breaks = if part.bytes > before { 1 } else { breaks + 1 };
                    if breaks >= BREAKS {
                        return Err(error);
                    }
                    tracing::debug!(%error, bytes = part.bytes, "resuming");
                    tokio::time::sleep(backoff(breaks)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks once for what is missing and takes it until the end or a break.
    async fn continue_download(
        &self,
        path: &[&str],
        digest: &Digest,
        limit: u64,
        part: &mut Part,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(), ClientError> {
        let mut response = self.ask_for_rest(path, digest, part).await?;
        let url = response.url().to_string();
        if let Some(given) = etag(&response)
            && given != *digest
        {
            return Err(ClientError::Damaged {
                url,
                expected: *digest,
                given,
            });
        }
        if response.status() != StatusCode::PARTIAL_CONTENT || starts_at(&response) != Some(part.bytes) {
            if response.status() == StatusCode::PARTIAL_CONTENT {
                return Err(ClientError::Unexpected {
                    url,
                    what: "another range than was asked for".to_owned(),
                });
            }
            part.clear().await?;
        }
        let whole = length(&response).map(|rest| part.bytes + rest);
        let too_long = || ClientError::TooLong {
            url: url.clone(),
            limit,
        };
        if whole.is_some_and(|whole| whole > limit) {
            return Err(too_long());
        }
        progress(part.bytes, whole);
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| ClientError::broken(&url, &error))?
        {
            if part.bytes + chunk.len() as u64 > limit {
                part.clear().await?;
                return Err(too_long());
            }
            part.add(&chunk).await?;
            progress(part.bytes, whole);
        }
        if whole.is_some_and(|whole| part.bytes < whole) {
            return Err(ClientError::Unreachable {
                url,
                reason: "the connection ended early".to_owned(),
            });
        }
        Ok(())
    }

    async fn ask_for_rest(
        &self,
        path: &[&str],
        digest: &Digest,
        part: &mut Part,
    ) -> Result<Response, ClientError> {
        if part.bytes > 0 {
            let rest = self
                .call(Method::GET, path)
                .header("range", &format!("bytes={}-", part.bytes))
                .header("if-range", &format!("\"{digest}\""));
            match rest.send().await {
                // All of it is there, or more than all: the digest would not fit, so from the beginning.
                Err(error) if error.status() == Some(416) || is_unexplained_416(&error) => {
                    part.clear().await?;
                }
                answer => return answer,
            }
        }
        self.call(Method::GET, path).send().await
    }
}

/// A 416 that a proxy answered has no problem document.
fn is_unexplained_416(error: &ClientError) -> bool {
    matches!(error, ClientError::Unexpected { what, .. } if what.starts_with("416"))
}

/// Where the range of a 206 begins: `bytes FIRST-LAST/WHOLE`.
fn starts_at(response: &Response) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

impl Part {
    /// Opens what an earlier download left, and digests it.
    async fn open(to: &Path) -> Result<Self, ClientError> {
        let path = part_of(to);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let mut file = file.open(&path).await.map_err(ClientError::at(&path))?;
        let mut digester = Digester::default();
        let mut bytes = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = file.read(&mut buffer).await.map_err(ClientError::at(&path))?;
            if read == 0 {
                break;
            }
            digester.update(&buffer[..read]);
            bytes += read as u64;
        }
        Ok(Self {
            path,
            file,
            digester,
            bytes,
        })
    }

    async fn clear(&mut self) -> Result<(), ClientError> {
        self.file.set_len(0).await.map_err(ClientError::at(&self.path))?;
        io_seek(&mut self.file)
            .await
            .map_err(ClientError::at(&self.path))?;
        self.digester = Digester::default();
        self.bytes = 0;
        Ok(())
    }

    async fn add(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        self.file
            .write_all(chunk)
            .await
            .map_err(ClientError::at(&self.path))?;
        self.digester.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// Checks the digest, flushes to disk and renames into place.
    async fn finish(mut self, url: &str, to: &Path, expected: Digest) -> Result<(), ClientError> {
        let given = self.digester.finish();
        if given != expected {
            drop(self.file);
            fs::remove_file(&self.path)
                .await
                .map_err(ClientError::at(&self.path))?;
            return Err(ClientError::Damaged {
                url: url.to_owned(),
                expected,
                given,
            });
        }
        self.file.flush().await.map_err(ClientError::at(&self.path))?;
        self.file.sync_all().await.map_err(ClientError::at(&self.path))?;
        fs::rename(&self.path, to).await.map_err(ClientError::at(to))?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        // The new name itself must survive a power cut, too.
        let synced = async { File::open(folder).await?.sync_all().await };
        synced.await.map_err(ClientError::at(folder))
    }
}

async fn io_seek(file: &mut File) -> io::Result<()> {
    tokio::io::AsyncSeekExt::seek(file, io::SeekFrom::Start(0))
        .await
        .map(drop)
}

fn part_of(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
