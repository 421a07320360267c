//! Bytes on their way to the server, never all in memory.

use std::io;

use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::request::Call;

/// Bytes that a reader is asked for at once.
const CHUNK: usize = 64 << 10;

/// What a request sends: a stream of bytes. An error of the stream breaks the request off.
pub struct Upload(BoxStream<'static, io::Result<Bytes>>);

impl Upload {
    /// Sends what `stream` gives.
    pub fn stream(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self(stream.boxed())
    }

    /// Sends what can be read from `reader`, such as a file.
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::stream(ReaderStream::with_capacity(reader, CHUNK))
    }

    /// This upload, which tells `progress` how many bytes were taken from it so far.
    #[must_use]
    pub fn with_progress(self, mut progress: impl FnMut(u64) + Send + 'static) -> Self {
        let mut taken = 0;
        let stream = self.0.inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                taken += chunk.len() as u64;
                progress(taken);
            }
        });
        Self(stream.boxed())
    }

    pub(super) fn of(self, call: Call) -> Call {
        call.body(reqwest::Body::wrap_stream(self.0))
    }
}
