//! Uploads have no time limit as a whole, but may not fall silent.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};

/// The pieces of a body, ending with an error when the next one takes longer than `most`.
pub fn in_time(
    body: impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static,
    most: Duration,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures::stream::unfold(Some(Box::pin(body)), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(most, body.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Ok(None) => None,
            Err(_) => {
                let silent = format!("nothing was sent for {} s", most.as_secs());
                Some((Err(io::Error::new(io::ErrorKind::TimedOut, silent)), None))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_upload_ends_with_an_error() {
        let first = futures::stream::iter([Ok(Bytes::from_static(b"begun"))]);
        let body = first.chain(futures::stream::pending());
        let got: Vec<_> = in_time(body, Duration::from_millis(1)).collect().await;
        assert_eq!(got.len(), 2);
        assert_eq!(got[1].as_ref().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
