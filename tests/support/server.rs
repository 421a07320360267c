//! A whole server in this process, on a port of its own, and people who speak to it.

use std::time::Duration;

use bytes::Bytes;
use katagami::api::{self, Running};
use katagami::catalog::jobs::{self, Published, PublishedMask};
use katagami::catalog::workers::WorkerCard;
use katagami::catalog::{attempts, blobs};
use katagami::config::Config;
use katagami::domain::{AttemptId, Digest, MaskVersion};
use reqwest::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::backend::{Backend, Database};
use crate::support::{generated_base, imported};

/// A server. Everything that it kept is gone when this is dropped.
pub struct Server {
    pub running: Running,
    /// The data folder.
    _folder: tempfile::TempDir,
    /// Dropped after the server's connections.
    _database: Database,
}

/// The settings of a server of the tests.
pub fn settings(folder: &std::path::Path, database: &Database) -> Config {
    let mut config = Config::default();
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.shutdown_grace = Duration::from_secs(5);
    config.storage.data = folder.join("data");
    config.storage.bases = folder.join("bases");
    config.storage.database_url = Some(database.url.clone());
    config.workers.count = Some(0);
    config
}

impl Server {
    /// A server without a base.
    pub async fn start(backend: Backend) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a server");
        Self::start_in(backend, folder).await
    }

    /// A server with a base that a number decides.
    pub async fn with_base(backend: Backend) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a server");
        imported(&generated_base(7), folder.path(), None);
        Self::start_in(backend, folder).await
    }

    async fn start_in(backend: Backend, folder: tempfile::TempDir) -> Self {
        let database = backend.database();
        let running = api::start(settings(folder.path(), &database))
            .await
            .expect("the server starts");
        Self {
            running,
            _folder: folder,
            _database: database,
        }
    }

    /// Somebody with `token`, or without any.
    pub fn person(&self, token: Option<&str>) -> Person {
        Person {
            client: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client can be made"),
            url: self.running.url.clone(),
            token: token.map(str::to_owned),
        }
    }

    /// The admin of the first start.
    pub fn admin(&self) -> Person {
        let admin = self.running.admin.as_ref().expect("the first start made a token");
        self.person(Some(admin.secret.reveal()))
    }

    /// Somebody with a new token of `role`.
    pub async fn with_role(&self, role: &str) -> Person {
        let token = json!({"name": format!("a {role}"), "role": role});
        let issued = self.admin().post("/v1/tokens", token).await.good().json();
        self.person(issued["secret"].as_str())
    }

    /// The engineer of a site, which is made if it is not there.
    pub async fn engineer(&self, site: &str) -> Person {
        let admin = self.admin();
        admin.post("/v1/sites", json!({"name": site})).await;
        let token = json!({"name": format!("engineer of {site}"), "role": "site", "site": site});
        let issued = admin.post("/v1/tokens", token).await.good().json();
        self.person(issued["secret"].as_str())
    }

    /// A device of a site with its token.
    pub async fn device(&self, site: &str, name: &str) -> Person {
        let enrolled = self
            .admin()
            .post(&format!("/v1/sites/{site}/devices"), json!({"name": name}))
            .await
            .good()
            .json();
        self.person(enrolled["token"].as_str())
    }

    /// Takes `site` through a training whose mask is `artefact`, as a worker
    /// would; an image is submitted first.
    pub async fn mask(&self, site: &str, artefact: &[u8], verdict: &str) -> MaskVersion {
        let admin = self.admin();
        admin.submits(site, "one.png", picture(1)).await.good();
        let job = admin
            .post(&format!("/v1/sites/{site}/jobs"), json!({}))
            .await
            .good()
            .json();
        let attempt = self.leases().await;
        assert_eq!(job["id"], json!(attempt.job), "no other job waits");
        let report = self.uploads(attempt, b"{\"report\": true}").await;
        let published = Published {
            report,
            mask: Some(PublishedMask {
                artefact: self.uploads(attempt, artefact).await,
                scores: self.uploads(attempt, b"scores").await,
                weights: Digest::of(b"weights"),
                flips: 3,
                verdict: verdict.to_owned(),
                reasons: match verdict {
                    "passed" => Vec::new(),
                    _ => vec!["no measurable effect".to_owned()],
                },
                kpi_base: Some(0.8),
                kpi_mask: Some(0.9),
                kpi_difference: Some([0.1, 0.05, 0.15]),
            }),
        };
        let mut tx = self
            .running
            .app
            .catalog
            .begin()
            .await
            .expect("the catalog is there");
        let version = jobs::publish(&mut tx, attempt, &published).await;
        tx.commit().await.expect("the catalog is there");
        version.expect("the lease holds").expect("a mask was published")
    }

    /// Ends an attempt with this report and no mask, as where nothing is better than the base.
    pub async fn reports(&self, attempt: AttemptId, report: &[u8]) {
        let published = Published {
            report: self.uploads(attempt, report).await,
            mask: None,
        };
        let mut tx = (self.running.app.catalog.begin().await).expect("the catalog is there");
        let version = jobs::publish(&mut tx, attempt, &published).await;
        tx.commit().await.expect("the catalog is there");
        assert_eq!(version.expect("the lease holds"), None);
    }

    /// Takes the next job, as a worker does.
    pub async fn leases(&self) -> AttemptId {
        let card = WorkerCard {
            name: "worker".to_owned(),
            device: "cpu".to_owned(),
            memory_bytes: 0,
            version: "0.1.0".to_owned(),
        };
        let mut tx = self
            .running
            .app
            .catalog
            .begin()
            .await
            .expect("the catalog is there");
        let leased = jobs::lease(&mut tx, &card, Duration::from_mins(10)).await;
        tx.commit().await.expect("the catalog is there");
        leased.expect("leasing works").expect("a job waits").attempt
    }

    async fn uploads(&self, attempt: AttemptId, bytes: &[u8]) -> Digest {
        let app = &self.running.app;
        let digest = Digest::of(bytes);
        let mut tx = app.catalog.begin().await.expect("the catalog is there");
        blobs::touch(&mut tx, &digest, bytes.len() as u64)
            .await
            .expect("the catalog is there");
        tx.commit().await.expect("the catalog is there");
        app.blobs
            .put(Bytes::copy_from_slice(bytes))
            .await
            .expect("there is room");
        let mut tx = app.catalog.begin().await.expect("the catalog is there");
        attempts::uploaded(&mut tx, attempt, &digest)
            .await
            .expect("the lease holds");
        tx.commit().await.expect("the catalog is there");
        digest
    }

    /// Ends the server as SIGTERM does.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// A small picture that a number decides.
pub fn picture(number: u8) -> Vec<u8> {
    let pixel = |x: u32, y: u32| {
        let mixed = x
            .wrapping_mul(31)
            .wrapping_add(y.wrapping_mul(17))
            .wrapping_mul(u32::from(number) + 3);
        image::Rgb([(mixed >> 2) as u8, number.wrapping_mul(37), (x * y) as u8])
    };
    let picture = image::RgbImage::from_fn(48, 48, pixel);
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .expect("a picture can be encoded");
    bytes.into_inner()
}

/// Somebody who speaks to the server.
#[derive(Clone)]
pub struct Person {
    client: reqwest::Client,
    pub url: String,
    pub token: Option<String>,
}

impl Person {
    /// A request that this person is about to send.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.with(Method::GET, path, headers).await
    }

    pub async fn with(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.request(method, path);
        let add =
            |request: reqwest::RequestBuilder, header: &(&str, &str)| request.header(header.0, header.1);
        Answer::of(headers.iter().fold(request, add)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    /// Sends one picture.
    pub async fn submits(&self, site: &str, name: &str, picture: Vec<u8>) -> Answer {
        let path = format!("/v1/sites/{site}/images?name={name}");
        let request = self.request(Method::POST, &path);
        Answer::of(request.header(header::CONTENT_TYPE, "image/png").body(picture)).await
    }
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: header::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("the server answers");
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await.expect("the answer is whole"),
        }
    }

    /// Fails the test unless the request was done.
    #[track_caller]
    pub fn good(self) -> Self {
        let success = self.status.is_success();
        assert!(success, "{} {}", self.status, String::from_utf8_lossy(&self.body));
        self
    }

    /// Fails the test unless the request was refused with this status and
    /// code, in a problem document that is complete.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        let document: Value = serde_json::from_str(&text).expect("a problem document is JSON");
        assert_eq!(document["code"], code, "{text}");
        assert_eq!(document["status"], status, "{text}");
        assert_eq!(document["request"], self.header("x-request-id"), "{text}");
        assert!(
            document["detail"]
                .as_str()
                .is_some_and(|detail| detail.len() > 10),
            "{text}"
        );
        self
    }

    #[track_caller]
    pub fn status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// A header's text; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a header is text"))
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        self.read()
    }

    #[track_caller]
    pub fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}
