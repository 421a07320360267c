//! A typed client of the REST API, shared by the commands for people, the
//! edge agent and the worker.
//!
//! One file per family of endpoints, as in [`crate::wire::v1`], whose types
//! the methods take and return. What lives here: requests, retries, uploads,
//! resumed downloads, the stream of events. What does not: the API's rules,
//! which are the server's.
//!
//! What may be sent twice without harm is sent again when the connection
//! breaks or a server in between is overloaded; a `POST` carries an
//! `Idempotency-Key` so that the second one changes nothing. The trap: an
//! upload of a stream cannot be sent again, the caller has to.

mod base;
mod channels;
mod devices;
mod download;
mod error;
mod events;
mod health;
mod images;
mod jobs;
mod masks;
mod priors;
mod request;
mod sites;
mod snapshots;
mod tokens;
mod upload;
mod validation;
mod workers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, ClientBuilder, Url};

pub use channels::{AnnouncedMask, Announcement, ChannelMask, ChannelState};
pub use download::Download;
pub use error::{ClientError, is_distrust};
pub use events::EventStream;
pub use images::{Reception, SingleImage};
pub use upload::Upload;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent while an answer is awaited or read.
const IDLE: Duration = Duration::from_mins(1);

/// A client of one server with one token. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    /// Ends with a slash, so that paths are joined below a prefix.
    server: Url,
    /// For questions that are answered at once: a silent server is given up.
    http: reqwest::Client,
    /// For uploads and events, where silence is no fault. Dead peers are found by TCP instead.
    streams: reqwest::Client,
    /// How often a request is sent in all before its failure is reported.
    attempts: u32,
}

impl std::fmt::Debug for Client {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.0.server.as_str())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server at `server` (`http://…` or `https://…`) that shows `token`. `ca` is a file of
    /// PEM certificates that are trusted besides the system's. Proxies come from the usual variables.
    pub fn new(server: &str, token: Option<&str>, ca: Option<&Path>) -> Result<Self, ClientError> {
        // One provider for the whole process; whoever installs it first wins, and all install the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let url = server_url(server)?;
        let roots = ca.map(certificates).transpose()?.unwrap_or_default();
        let headers = headers(token)?;
        let build = |builder: ClientBuilder| {
            let builder = builder
                .user_agent(concat!("katagami/", env!("CARGO_PKG_VERSION")))
                .default_headers(headers.clone())
                .connect_timeout(CONNECT)
                .tcp_keepalive(IDLE / 2)
                .tcp_user_timeout(IDLE);
            let trusting = |builder: ClientBuilder| builder.tls_certs_merge(roots.clone());
            // A machine without any certificate can still speak to a server that needs none.
            if url.scheme() == "http" && roots.is_empty() {
                builder.tls_certs_only([]).build()
            } else {
                trusting(builder).build()
            }
            .map_err(ClientError::Setup)
        };
        Ok(Self(Arc::new(Inner {
            http: build(reqwest::Client::builder().read_timeout(IDLE))?,
            streams: build(reqwest::Client::builder())?,
            server: url,
            attempts: 4,
        })))
    }

    /// This client, which sends a request at most `attempts` times; 1: never again.
    #[must_use]
    pub fn with_attempts(&self, attempts: u32) -> Self {
        Self(Arc::new(Inner {
            server: self.0.server.clone(),
            http: self.0.http.clone(),
            streams: self.0.streams.clone(),
            attempts: attempts.max(1),
        }))
    }

    /// The server's URL.
    pub fn server(&self) -> &str {
        self.0.server.as_str()
    }
}

fn server_url(given: &str) -> Result<Url, ClientError> {
    let refused = || ClientError::NoUrl(given.chars().take(200).collect());
    let mut url = Url::parse(given).map_err(|_| refused())?;
    // A user name in the URL would be sent to whatever proxy is configured.
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !plain {
        return Err(refused());
    }
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let refused = |reason: String| ClientError::Authority {
        path: path.to_owned(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| refused(error.to_string()))?;
    if found.is_empty() {
        return Err(refused("it holds no PEM certificate".to_owned()));
    }
    Ok(found)
}

fn headers(token: Option<&str>) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| ClientError::UnusableToken)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
