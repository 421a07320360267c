//! What is being received: bytes go to a file without a name while they are
//! digested, so that an aborted transfer, and even a killed server, leaves
//! nothing behind.

use std::fmt::Display;
use std::io::SeekFrom;
use std::path::Path;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::BlobError;
use crate::domain::{Digest, Digester};

/// A file received whole, on its way into the store. Dropped: gone.
#[derive(Debug)]
pub struct Spooled {
    digest: Digest,
    bytes: u64,
    file: File,
}

impl Spooled {
    /// The digest of its bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Its size.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Receives a stream into `folder`; more than `most` bytes are refused.
    pub(super) async fn receive<E: Display>(
        folder: &Path,
        stream: impl Stream<Item = Result<Bytes, E>>,
        most: u64,
    ) -> Result<Self, BlobError> {
        let failed = |source| BlobError::Spool {
            path: folder.to_owned(),
            source,
        };
        let place = folder.to_owned();
        let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(place))
            .await
            .map_err(|error| failed(error.into()))?
            .map_err(failed)?;
        let mut file = File::from_std(file);
        let (mut digester, mut bytes) = (Digester::default(), 0_u64);
        let mut stream = std::pin::pin!(stream);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| BlobError::BrokenOff(error.to_string()))?;
            bytes += chunk.len() as u64;
            if bytes > most {
                return Err(BlobError::TooLarge(most));
            }
            digester.update(&chunk);
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        file.seek(SeekFrom::Start(0)).await.map_err(failed)?;
        Ok(Self {
            digest: digester.finish(),
            bytes,
            file,
        })
    }

    /// The next bytes, `most` of them unless the file ends before.
    pub(super) async fn next(&mut self, most: usize) -> std::io::Result<Bytes> {
        let mut part = Vec::with_capacity(most);
        (&mut self.file).take(most as u64).read_to_end(&mut part).await?;
        Ok(part.into())
    }
}
