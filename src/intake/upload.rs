//! The ways in which files come: one, or a tar. (Parts of a form are files that
//! the API [`read`]s and gives to [`submit`](super::submit()).)

use std::fmt::Display;
use std::io;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

use super::archive::{File, files};
use super::sidecars::subject;
use super::submit::{Content, Incoming, submit};
use super::{Intake, IntakeError, Rejection};
use crate::blobs::BlobError;
use crate::config::IntakeConfig;
use crate::domain::SiteName;
use crate::domain::image::Caption;
use crate::wire::v1::images::Received;

/// Reads one file. One that is too large is rejected at the limit, without
/// reading the rest of it; a stream that breaks off is an error.
pub async fn read<E: Display>(
    limits: &IntakeConfig,
    body: impl Stream<Item = Result<Bytes, E>>,
) -> Result<Content, IntakeError> {
    let mut body = std::pin::pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| BlobError::BrokenOff(error.to_string()))?;
        if (bytes.len() + piece.len()) as u64 > limits.image_bytes {
            return Ok(Content::Rejected(Rejection::TooLarge(limits.image_bytes)));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Content::Whole(bytes.freeze()))
}

/// Takes in one file.
pub async fn image<E: Display>(
    intake: &Intake,
    site: &SiteName,
    by: &str,
    name: &str,
    caption: Option<Caption>,
    body: impl Stream<Item = Result<Bytes, E>>,
) -> Result<Received, IntakeError> {
    let file = Incoming {
        name: name.chars().filter(|c| !c.is_control()).take(1024).collect(),
        caption,
        content: read(intake.limits(), body).await?,
    };
    let answers = submit(intake, site, by, futures::stream::iter([file]));
    let mut answers = std::pin::pin!(answers);
    answers
        .next()
        .await
        .expect("a file that is no sidecar is answered")
}

/// Takes in a tar as it comes: its files, and captions in `NAME.json`.
pub fn tar(
    intake: &Intake,
    site: &SiteName,
    by: &str,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = Result<Received, IntakeError>> + Send + 'static {
    let files = files(body, intake.limits).map(|File { name, content }| Incoming {
        content: match content {
            Ok(bytes) if subject(&name).is_some() => Content::Sidecar(bytes),
            Ok(bytes) => Content::Whole(bytes),
            Err(why) => Content::Rejected(why),
        },
        name,
        caption: None,
    });
    submit(intake, site, by, files)
}
