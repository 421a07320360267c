//! `/v1/sites/{site}/images`

use std::fmt::Write as _;

use bytes::Bytes;
use reqwest::{Method, Response};

use super::request::read;
use super::{Client, ClientError, Upload};
use crate::domain::image::Caption;
use crate::domain::{Digest, SiteName};
use crate::wire::v1::images::{Image, ImageQuery, Received, Submission};
use crate::wire::v1::page::Page;

/// The longest image that is read into memory.
const LONGEST: u64 = 1 << 30;
/// The longest line of an answer.
const LONGEST_LINE: usize = 1 << 20;

/// One image to be submitted by itself.
#[derive(Debug, Clone)]
pub struct SingleImage {
    /// The file's name.
    pub name: String,
    /// Its media type, such as `image/png`.
    pub media_type: String,
    /// What is known of it.
    pub caption: Option<Caption>,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Client {
    /// One page of a site's images.
    pub async fn images(&self, site: &SiteName, query: &ImageQuery) -> Result<Page<Image>, ClientError> {
        let path = ["sites", site.as_str(), "images"];
        self.call(Method::GET, &path).query(query).answer().await
    }

    /// All images of a site that `query` asks for; its cursor and limit are not looked at.
    pub async fn all_images(&self, site: &SiteName, query: &ImageQuery) -> Result<Vec<Image>, ClientError> {
        let query = ImageQuery {
            cursor: None,
            limit: None,
            ..query.clone()
        };
        self.every_page(&["sites", site.as_str(), "images"], &query).await
    }

    /// An image.
    pub async fn image(&self, site: &SiteName, image: &Digest) -> Result<Image, ClientError> {
        self.get(&["sites", site.as_str(), "images", &image.to_string()])
            .await
    }

    /// An image's bytes. Their digest was compared with `image`.
    pub async fn image_bytes(&self, site: &SiteName, image: &Digest) -> Result<Bytes, ClientError> {
        let name = image.to_string();
        let call = self.call(Method::GET, &["sites", site.as_str(), "images", &name, "bytes"]);
        checked(call.url(), call.send().await?, image, LONGEST).await
    }

    /// Deletes an image; a tombstone remains.
    pub async fn delete_image(&self, site: &SiteName, image: &Digest) -> Result<(), ClientError> {
        let path = ["sites", site.as_str(), "images", &image.to_string()];
        self.call(Method::DELETE, &path).done().await
    }

    /// Submits one image. Safe to send again, since images are known by their bytes.
    pub async fn submit_image(&self, site: &SiteName, image: SingleImage) -> Result<Submission, ClientError> {
        let mut call = self
            .stream(Method::POST, &["sites", site.as_str(), "images"])
            .query(&[("name", &image.name)])
            .header("content-type", &image.media_type)
            .repeatable(true);
        if let Some(caption) = &image.caption {
            call = call.header("katagami-caption", &ascii_json(caption));
        }
        call.body(image.bytes).answer().await
    }

    /// Submits a tar of images with their sidecars, and tells what becomes of each file as soon as the
    /// server says so. What was accepted before a break stays; sending all of it again goes on there.
    pub async fn submit_tar(&self, site: &SiteName, tar: Upload) -> Result<Reception, ClientError> {
        let call = self
            .stream(Method::POST, &["sites", site.as_str(), "images"])
            .header("content-type", "application/x-tar")
            .header("accept", "application/x-ndjson");
        let url = call.url();
        Ok(Reception {
            response: tar.of(call).send().await?,
            url,
            buffer: Vec::new(),
            ended: false,
        })
    }
}

/// What becomes of the files of a submission, in the order sent.
pub struct Reception {
    response: Response,
    url: String,
    buffer: Vec<u8>,
    ended: bool,
}

impl Reception {
    /// What became of the next file; none after the last one. A server that
    /// stops in the middle is an error, never a short list.
    pub async fn next(&mut self) -> Result<Option<Received>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if !line.trim_ascii().is_empty() {
                    return self.parse(&line).map(Some);
                }
            } else if self.ended {
                let rest = std::mem::take(&mut self.buffer);
                return match rest.trim_ascii() {
                    [] => Ok(None),
                    rest => self.parse(rest).map(Some),
                };
            } else {
                let chunk = self.response.chunk().await;
                match chunk.map_err(|error| ClientError::broken(&self.url, &error))? {
                    Some(chunk) => self.buffer.extend_from_slice(&chunk),
                    None => self.ended = true,
                }
                if self.buffer.len() > LONGEST_LINE {
                    return Err(ClientError::TooLong {
                        url: self.url.clone(),
                        limit: LONGEST_LINE as u64,
                    });
                }
            }
        }
    }

    fn parse(&self, line: &[u8]) -> Result<Received, ClientError> {
        // A failure after the answer began can only come as its last line.
        if let Ok(problem) = serde_json::from_slice::<crate::wire::problem::ProblemDocument>(line) {
            return Err(ClientError::refused(problem));
        }
        serde_json::from_slice(line).map_err(|error| ClientError::Unexpected {
            url: self.url.clone(),
            what: format!("a line that is not the expected JSON ({error})"),
        })
    }
}

/// Reads an answer whose digest must be `expected`.
pub(super) async fn checked(
    url: String,
    response: Response,
    expected: &Digest,
    limit: u64,
) -> Result<Bytes, ClientError> {
    let bytes = read(&url, response, limit).await?;
    let given = Digest::of(&bytes);
    if given == *expected {
        Ok(bytes)
    } else {
        Err(ClientError::Damaged {
            url,
            expected: *expected,
            given,
        })
    }
}

/// JSON that fits into a header: everything beyond ASCII is escaped.
fn ascii_json(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value).expect("a caption has only text keys");
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}
