//! One function sends everything that is downloaded: bases, images, masks.
//!
//! Never compressed: one strong entity tag names one string of bytes.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::range::{Decision, decide};
use crate::api::error::ApiError;
use crate::api::state::App;
use crate::blobs::BlobError;
use crate::domain::{Digest, MaskVersion};
use crate::release::Pointers;

/// Says which version a channel's mask is.
pub const MASK_VERSION: HeaderName = HeaderName::from_static("katagami-mask-version");

/// Pieces in which a part of a large blob is read.
const PIECE: u64 = 4 << 20;

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For ever: the address names these very bytes.
    Immutable,
    /// Ask each time: the address can mean something else tomorrow.
    Ask,
}

/// What is to be downloaded.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The digest of its bytes: the entity tag.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// Its media type.
    pub media_type: String,
    /// How long it may be kept.
    pub keep: Keep,
    /// The mask's version, if it is a mask.
    pub mask: Option<MaskVersion>,
}

impl Offer {
    fn etag(&self) -> String {
        format!("\"{}\"", self.digest)
    }

    /// What every answer about it says, 304 included.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let text = |text: String| HeaderValue::from_str(&text).expect("digests and numbers are header text");
        headers.insert(header::ETAG, text(self.etag()));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static(match self.keep {
                Keep::Immutable => "private, max-age=31536000, immutable",
                Keep::Ask => "private, no-cache",
            }),
        );
        if let Some(version) = self.mask {
            headers.insert(MASK_VERSION, text(version.to_string()));
        }
        headers
    }
}

/// Answers a GET or HEAD of `offer`.
pub async fn send(
    app: &App,
    method: &Method,
    asked: &HeaderMap,
    offer: &Offer,
) -> Result<Response, ApiError> {
    let decision = decide(method, asked, &offer.etag(), offer.bytes);
    let (status, part) = match decision {
        Decision::NotModified => {
            if offer.mask.is_some() {
                app.metrics.not_modified.inc();
            }
            return Ok((StatusCode::NOT_MODIFIED, offer.headers()).into_response());
        }
        Decision::Unsatisfiable => {
            let all = HeaderValue::from_str(&format!("bytes */{}", offer.bytes));
            let error = ApiError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                format!(
                    "there are only {} bytes; ask for a range within them",
                    offer.bytes
                ),
            );
            return Err(error.with_header(header::CONTENT_RANGE, all.expect("numbers are header text")));
        }
        Decision::Whole => (StatusCode::OK, None),
        Decision::Part(part) => (StatusCode::PARTIAL_CONTENT, Some(part)),
    };
    if offer.mask.is_some() && method == Method::GET {
        app.metrics.mask_downloads.inc();
    }
    let length = part.as_ref().map_or(offer.bytes, |part| part.end - part.start);
    let body = match method {
        &Method::HEAD => Body::empty(),
        _ => body(app, offer, part.clone()).await?,
    };
    let mut response = (status, offer.headers(), body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let media_type = HeaderValue::from_str(&offer.media_type);
    headers.insert(
        header::CONTENT_TYPE,
        media_type.unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Some(part) = part {
        let range = format!("bytes {}-{}/{}", part.start, part.end - 1, offer.bytes);
        let range = HeaderValue::from_str(&range).expect("numbers are header text");
        headers.insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

/// The bytes, from memory for small masks, else piece by piece.
async fn body(app: &App, offer: &Offer, part: Option<Range<u64>>) -> Result<Body, ApiError> {
    if offer.mask.is_some() && Pointers::may_keep(offer.bytes) {
        let all = artefact(app, &offer.digest).await?;
        let bytes = match part {
            Some(part) => all.slice(part.start as usize..part.end as usize),
            None => all,
        };
        return Ok(Body::from(bytes));
    }
    let Some(part) = part else {
        return Ok(Body::from_stream(app.blobs.stream(&offer.digest).await?));
    };
    let (blobs, digest) = (app.blobs.clone(), offer.digest);
    let pieces = futures::stream::iter(pieces(part)).then(move |piece| {
        let blobs = blobs.clone();
        async move { blobs.get_range(&digest, piece).await }
    });
    // Read before the status leaves: what is not there is an error, not a cut answer.
    let mut pieces = Box::pin(pieces);
    let first = pieces.next().await.transpose()?.unwrap_or_default();
    let all = futures::stream::once(std::future::ready(Ok::<Bytes, BlobError>(first))).chain(pieces);
    Ok(Body::from_stream(all.into_stream()))
}

async fn artefact(app: &App, digest: &Digest) -> Result<Bytes, ApiError> {
    if let Some(kept) = app.pointers.artefact(digest) {
        return Ok(kept);
    }
    let bytes = app.blobs.get(digest).await?;
    app.pointers.keep(*digest, bytes.clone());
    Ok(bytes)
}

fn pieces(part: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = part.end;
    (part.start..end)
        .step_by(PIECE as usize)
        .map(move |start| start..end.min(start + PIECE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_part_without_gaps() {
        let part = 5..PIECE * 2 + 7;
        let all: Vec<_> = pieces(part.clone()).collect();
        assert_eq!((all[0].start, all[all.len() - 1].end), (part.start, part.end));
        assert!(all.windows(2).all(|two| two[0].end == two[1].start));
        assert!(all.iter().all(|piece| piece.end - piece.start <= PIECE));
    }
}
