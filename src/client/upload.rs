//! Bytes on their way to the server, never all in memory.

use std::io;

use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::ReaderStream;

use super::request::Call;

/// Bytes that a reader is asked for at once.
const CHUNK: usize = 64 << 10;

/// What a request sends: a stream of bytes, of known or unknown length. An
/// error of the stream breaks the request off.
pub struct Upload {
    stream: BoxStream<'static, io::Result<Bytes>>,
    bytes: Option<u64>,
}

impl Upload {
    /// Sends what `stream` gives.
    pub fn stream(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self {
            stream: stream.boxed(),
            bytes: None,
        }
    }

    /// Sends what can be read from `reader`, such as a file.
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::stream(ReaderStream::with_capacity(reader, CHUNK))
    }

    /// Sends what the other end of the channel is given, such as a tar that is being written.
    pub fn channel(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self::stream(ReceiverStream::new(receiver))
    }

    /// This upload, whose length is known. A stream of another length breaks the request off.
    #[must_use]
    pub fn of_length(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// This upload, which tells `progress` how many bytes were taken from it so far.
    #[must_use]
    pub fn with_progress(self, mut progress: impl FnMut(u64) + Send + 'static) -> Self {
        let mut taken = 0;
        let stream = self.stream.inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                taken += chunk.len() as u64;
                progress(taken);
            }
        });
        Self {
            stream: stream.boxed(),
            bytes: self.bytes,
        }
    }

    pub(super) fn of(self, call: Call) -> Call {
        let call = match self.bytes {
            Some(bytes) => call.header("content-length", &bytes.to_string()),
            None => call,
        };
        call.body(reqwest::Body::wrap_stream(self.stream))
    }
}
