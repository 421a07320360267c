//! One request: sent, sent again where that is safe, its answer read.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Client, ClientError};
use crate::domain::Digest;
use crate::wire::problem::{MEDIA_TYPE, ProblemDocument};
use crate::wire::v1::page::Page;

/// The longest JSON answer: a page of a thousand entries is far below.
const LONGEST_JSON: u64 = 64 << 20;
/// The longest problem document that is read.
const LONGEST_PROBLEM: u64 = 1 << 20;
/// Entries that a page is asked for when all pages are wanted.
const PAGE: u32 = 1000;

/// A request that is not sent yet.
pub(super) struct Call {
    client: Client,
    builder: RequestBuilder,
    url: String,
    /// Whether sending it twice does what sending it once does.
    repeatable: bool,
}

impl Client {
    /// A request for `/v1/` and the segments of `path`, each encoded.
    pub(super) fn call(&self, method: Method, path: &[&str]) -> Call {
        Call::new(self, &self.0.http, method, &self.url(path))
    }

    /// As [`Client::call`], for a request or an answer that may take as long as it likes.
    pub(super) fn stream(&self, method: Method, path: &[&str]) -> Call {
        Call::new(self, &self.0.streams, method, &self.url(path))
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.call(Method::GET, path).answer().await
    }

    /// Posts `body` with a fresh `Idempotency-Key`, so that it is safe to send again.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(Method::POST, path)
            .header("idempotency-key", &Uuid::new_v4().to_string())
            .json(body)
            .repeatable(true)
            .answer()
            .await
    }

    /// Walks all pages of a list.
    pub(super) async fn every_page<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let call = self.call(Method::GET, path).query(query);
            let call = call.query(&[("limit", PAGE)]);
            let call = match &cursor {
                Some(cursor) => call.query(&[("cursor", cursor)]),
                None => call,
            };
            let page: Page<T> = call.answer().await?;
            items.extend(page.items);
            // A server that names the same page again would be asked for ever.
            if page.next.is_none() || page.next == cursor {
                return Ok(items);
            }
            cursor = page.next;
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.0.server.clone();
        url.path_segments_mut()
            .expect("the server's address was checked to be HTTP")
            .pop_if_empty()
            .push("v1")
            .extend(path);
        url
    }
}

impl Call {
    fn new(client: &Client, http: &reqwest::Client, method: Method, url: &Url) -> Self {
        Self {
            client: client.clone(),
            repeatable: !matches!(method, Method::POST),
            builder: http.request(method, url.clone()),
            url: url.to_string(),
        }
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    pub(super) fn repeatable(mut self, repeatable: bool) -> Self {
        self.repeatable = repeatable;
        self
    }

    pub(super) fn query(mut self, query: &impl Serialize) -> Self {
        // Its failure is kept and told when the request is sent.
        self.builder = self.builder.query(query);
        self
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Self {
        self.builder = self.builder.json(body);
        self
    }

    pub(super) fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.builder = self.builder.body(body);
        self
    }

    /// Gives each sending no longer than that, its answer included.
    pub(super) fn within(mut self, longest: Duration) -> Self {
        self.builder = self.builder.timeout(longest);
        self
    }

    /// Sends it, again where that is safe and helps. Every status but success and 304 is an error.
    pub(super) async fn send(self) -> Result<Response, ClientError> {
        let attempts = self.client.0.attempts;
        let mut sent = 0;
        let mut next = Some(self.builder);
        loop {
            let Some(builder) = next.take() else {
                unreachable!("a request that is sent again was cloned before")
            };
            // A body that is streamed cannot be cloned, so it is sent once.
            next = builder.try_clone();
            sent += 1;
            let outcome = builder.send().await;
            let may = sent < attempts && next.is_some();
            let (error, asked_to_wait) = match outcome {
                Ok(response) if is_good(response.status()) => return Ok(response),
                Ok(response) => {
                    let passing = matches!(response.status().as_u16(), 502..=504);
                    let wait = retry_after(&response);
                    let error = refusal(&self.url, response).await;
                    if !(may && passing && self.repeatable) {
                        return Err(error);
                    }
                    (error, wait)
                }
                Err(error) if error.is_builder() => return Err(ClientError::Setup(error)),
                Err(error) => {
                    // Nothing was sent when no connection was made, so that is always safe.
                    let again = may && (self.repeatable || error.is_connect());
                    let error = ClientError::broken(&self.url, &error);
                    if !again || matches!(error, ClientError::Untrusted { .. }) {
                        return Err(error);
                    }
                    (error, None)
                }
            };
            let wait = asked_to_wait.unwrap_or_else(|| backoff(sent));
            tracing::debug!(%error, ?wait, "asking again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends it and reads its JSON answer.
    pub(super) async fn answer<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let url = self.url.clone();
        let response = self.send().await?;
        read_json(&url, response).await
    }

    /// Sends it; the answer has no content.
    pub(super) async fn done(self) -> Result<(), ClientError> {
        self.send().await.map(drop)
    }
}

/// Reads a JSON answer.
pub(super) async fn read_json<T: DeserializeOwned>(url: &str, response: Response) -> Result<T, ClientError> {
    let bytes = read(url, response, LONGEST_JSON).await?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Unexpected {
        url: url.to_owned(),
        what: format!("what is not the expected JSON ({error})"),
    })
}

/// Reads a whole answer of at most `limit` bytes.
pub(super) async fn read(url: &str, mut response: Response, limit: u64) -> Result<Bytes, ClientError> {
    let too_long = || ClientError::TooLong {
        url: url.to_owned(),
        limit,
    };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| ClientError::broken(url, &error))?
    {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(too_long());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// The digest that the strong `ETag` of an answer is.
pub(super) fn etag(response: &Response) -> Option<Digest> {
    let tag = response.headers().get("etag")?.to_str().ok()?;
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// The bytes that an answer says it has.
pub(super) fn length(response: &Response) -> Option<u64> {
    response
        .headers()
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// A wait before the next attempt: doubled each time, at most 10 s, spread
/// over half to whole so that many clients don't come back at once.
pub(super) fn backoff(failed: u32) -> Duration {
    let whole = Duration::from_millis(250)
        .saturating_mul(1 << failed.saturating_sub(1).min(16))
        .min(Duration::from_secs(10));
    let chance = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    whole.mul_f64(0.5 + 0.5 * chance)
}

fn is_good(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::NOT_MODIFIED
}

/// What a server that is overloaded asks its clients to wait, at most half a minute.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(u64::min(seconds, 30)))
}

async fn refusal(url: &str, response: Response) -> ClientError {
    let status = response.status();
    let is_document = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with(MEDIA_TYPE));
    if is_document
        && let Ok(bytes) = read(url, response, LONGEST_PROBLEM).await
        && let Ok(document) = serde_json::from_slice::<ProblemDocument>(&bytes)
    {
        return ClientError::refused(ProblemDocument {
            status: status.as_u16(),
            ..document
        });
    }
    if matches!(status.as_u16(), 408 | 429 | 500..) {
        let detail = format!("`{url}` answered {status}; ask again later, or look at the proxy in between");
        return ClientError::Refused {
            status: status.as_u16(),
            code: "bad_gateway",
            detail,
            request: None,
        };
    }
    ClientError::Unexpected {
        url: url.to_owned(),
        what: format!("{status} without saying why"),
    }
}
