//! A server that serves what devices ask for, as the contract says, and
//! misbehaves as told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use katagami::base::{Manifest, Preprocessing, Weights, write_safetensors};
use katagami::domain::{DeviceId, Digest, MaskVersion, Timestamp};
use katagami::mask::Prior;
use katagami::wire::problem::{MEDIA_TYPE, ProblemDocument};
use katagami::wire::v1::base::Base;
use katagami::wire::v1::devices::{Device, DeviceStatus, Myself};
use katagami::wire::v1::masks::MaskWithPrior;
use katagami::wire::v1::page::Page;
use katagami::wire::v1::priors::Prior as OfferedPrior;

use crate::support::generated_base;

pub const TOKEN: &str = "a-device-token";

/// What the server has, and how it is to misbehave.
pub struct World {
    pub base: Base,
    pub weights: Weights,
    pub base_bytes: Vec<u8>,
    /// What channel `stable` points at.
    pub release: Option<(MaskVersion, Vec<u8>)>,
    /// The deltas that it has, by the digest of the parent's artefact; to the mask that is released.
    pub deltas: HashMap<Digest, Vec<u8>>,
    /// The population prior that it has, and the mask that is released coded with that.
    pub prior: Option<(Prior, Vec<u8>)>,
    /// Ends the next answer with the base's bytes after so many of them.
    pub cut_base_after: Option<usize>,
    /// Flips a bit in each mask that is sent.
    pub corrupt_masks: bool,
    /// Answers 503 to everything.
    pub overloaded: bool,
    /// What was asked, as method, path and status.
    pub asked: Vec<String>,
    /// What the device reported.
    pub reports: Vec<DeviceStatus>,
}

impl World {
    fn new() -> Self {
        let weights = generated_base(7);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.safetensors");
        write_safetensors(&weights, &path).unwrap();
        let base_bytes = std::fs::read(&path).unwrap();
        let preprocessing = Preprocessing::of_architecture(weights.architecture.name);
        let base = Base {
            preprocessing: preprocessing.digest(),
            file: Digest::of(&base_bytes),
            active: true,
            manifest: Manifest {
                digest: weights.digest(),
                architecture: weights.architecture.name.to_owned(),
                preprocessing,
                licence: None,
                source: None,
                terms: None,
                bytes: base_bytes.len() as u64,
                imported_at: Timestamp::from_micros(0),
            },
        };
        Self {
            base,
            weights,
            base_bytes,
            release: None,
            deltas: HashMap::new(),
            prior: None,
            cut_base_after: None,
            corrupt_masks: false,
            overloaded: false,
            asked: Vec::new(),
            reports: Vec::new(),
        }
    }

    /// Makes mask `version` and moves the channel to it.
    pub fn releases(&mut self, version: u32) {
        let mask = super::mask_over(&self.weights, self.base.preprocessing, version);
        self.release = Some((MaskVersion(version), mask));
    }

    /// The base's weights, and the digest of its preprocessing.
    pub fn base(&self) -> (Weights, Digest) {
        (self.weights.clone(), self.base.preprocessing)
    }

    /// How often a path was asked for, with the statuses answered.
    pub fn statuses(&self, path: &str) -> Vec<u16> {
        let lines = self.asked.iter().filter(|line| line.contains(path));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect()
    }
}

type Shared = Arc<Mutex<World>>;

/// A running server; ends with this.
pub struct Server {
    pub address: SocketAddr,
    world: Shared,
    /// Owns the server's tasks, which end with it.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    pub fn start() -> Self {
        let mut server = Self {
            address: ([127, 0, 0, 1], 0).into(),
            world: Arc::new(Mutex::new(World::new())),
            runtime: None,
        };
        server.resume();
        server
    }

    /// Ends the server; its port is closed.
    pub fn stop(&mut self) {
        drop(self.runtime.take());
    }

    /// Starts the server, again on the port that it had.
    pub fn resume(&mut self) {
        let router = router(self.world.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(self.address).unwrap();
            socket.listen(64).unwrap()
        });
        self.address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        self.runtime = Some(runtime);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn router(world: Shared) -> Router {
    Router::new()
        .route("/v1/device", get(myself))
        .route("/v1/device/status", put(report))
        .route("/v1/base", get(base))
        .route("/v1/base/bytes", get(base_bytes))
        .route("/v1/sites/{site}/channels/{channel}/mask", get(mask))
        .route("/v1/sites/{site}/masks/{version}/deltas/{parent}", get(delta))
        .route("/v1/sites/{site}/masks/{version}/priors", get(with_priors))
        .route("/v1/sites/{site}/masks/{version}/priors/{prior}", get(with_prior))
        .route("/v1/priors/{prior}", get(prior))
        .layer(axum::middleware::from_fn_with_state(world.clone(), guarded))
        .with_state(world)
}

async fn guarded(
    State(world): State<Shared>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let token = request.headers().get(header::AUTHORIZATION).cloned();
    let overloaded = world.lock().unwrap().overloaded;
    let response = if overloaded {
        problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded")
    } else if token.is_none_or(|token| token != format!("Bearer {TOKEN}")) {
        problem(StatusCode::UNAUTHORIZED, "unauthenticated")
    } else {
        next.run(request).await
    };
    world
        .lock()
        .unwrap()
        .asked
        .push(format!("{line} {}", response.status().as_u16()));
    response
}

fn problem(status: StatusCode, code: &str) -> Response {
    let document = ProblemDocument {
        kind: "about:blank".to_owned(),
        title: status.to_string(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail: format!("{code}, says the server"),
        request: None,
    };
    (
        status,
        [(header::CONTENT_TYPE, MEDIA_TYPE)],
        serde_json::to_vec(&document).unwrap(),
    )
        .into_response()
}

async fn myself(State(world): State<Shared>) -> Json<Myself> {
    Json(Myself {
        device: Device {
            id: DeviceId::generate(),
            site: "osaka".parse().unwrap(),
            name: "line-a".to_owned(),
            channel: "stable".parse().unwrap(),
            created_at: Timestamp::from_micros(0),
            last_seen_at: None,
            status: None,
        },
        base: Some(world.lock().unwrap().base.manifest.digest),
    })
}

async fn report(State(world): State<Shared>, Json(status): Json<DeviceStatus>) -> StatusCode {
    world.lock().unwrap().reports.push(status);
    StatusCode::NO_CONTENT
}

async fn base(State(world): State<Shared>) -> Json<Base> {
    Json(world.lock().unwrap().base.clone())
}

async fn base_bytes(State(world): State<Shared>, headers: HeaderMap) -> Response {
    let mut world = world.lock().unwrap();
    let tag = format!("\"{}\"", world.base.file);
    let first = headers
        .get(header::RANGE)
        .filter(|_| headers.get(header::IF_RANGE).is_some_and(|given| *given == tag))
        .map(|range| {
            range
                .to_str()
                .unwrap()
                .strip_prefix("bytes=")
                .unwrap()
                .trim_end_matches('-')
                .parse()
                .unwrap()
        });
    let whole = world.base_bytes.len();
    let start: usize = first.unwrap_or(0);
    let mut rest = world.base_bytes[start..].to_vec();
    let length = rest.len();
    let cut = world.cut_base_after.take();
    if let Some(cut) = cut {
        rest.truncate(cut);
    }
    let mut chunks = vec![Ok(axum::body::Bytes::from(rest))];
    if cut.is_some() {
        chunks.push(Err(std::io::Error::other("cut")));
    }
    let status = if first.is_some() {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::ETAG, tag)
        .header(header::CONTENT_LENGTH, length);
    if first.is_some() {
        response = response.header(
            header::CONTENT_RANGE,
            format!("bytes {start}-{}/{whole}", whole - 1),
        );
    }
    response
        .body(Body::from_stream(futures::stream::iter(chunks)))
        .unwrap()
}

async fn mask(
    State(world): State<Shared>,
    Path((site, channel)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if (site.as_str(), channel.as_str()) != ("osaka", "stable") {
        return problem(StatusCode::NOT_FOUND, "not_found");
    }
    let world = world.lock().unwrap();
    let Some((version, bytes)) = &world.release else {
        return problem(StatusCode::NOT_FOUND, "no_release");
    };
    let tag = format!("\"{}\"", Digest::of(bytes));
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|given| *given == tag)
    {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let mut bytes = bytes.clone();
    if world.corrupt_masks {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    let named = [
        (header::ETAG, tag),
        (
            header::HeaderName::from_static("katagami-mask-version"),
            version.to_string(),
        ),
    ];
    (named, bytes).into_response()
}

async fn delta(
    State(world): State<Shared>,
    Path((site, version, parent)): Path<(String, MaskVersion, Digest)>,
) -> Response {
    let world = world.lock().unwrap();
    let released = world.release.as_ref().map(|(version, _)| *version);
    match world.deltas.get(&parent) {
        Some(delta) if site == "osaka" && released == Some(version) => delta.clone().into_response(),
        _ => problem(StatusCode::NOT_FOUND, "no_delta"),
    }
}

async fn with_priors(State(world): State<Shared>) -> Json<Page<MaskWithPrior>> {
    let world = world.lock().unwrap();
    let listed = world.prior.iter().map(|(prior, coded)| {
        let file = prior.encode().unwrap();
        MaskWithPrior {
            prior: OfferedPrior {
                base: prior.base,
                version: 1,
                digest: prior.digest(),
                file: Digest::of(&file),
                bytes: file.len() as u64,
                sites: prior.masks,
                made_at: Timestamp::from_micros(0),
            },
            digest: Digest::of(coded),
            bytes: coded.len() as u64,
        }
    });
    Json(Page {
        items: listed.collect(),
        next: None,
    })
}

async fn with_prior(
    State(world): State<Shared>,
    Path((site, version, prior)): Path<(String, MaskVersion, Digest)>,
) -> Response {
    let world = world.lock().unwrap();
    let released = world.release.as_ref().map(|(version, _)| *version);
    match &world.prior {
        Some((own, coded)) if site == "osaka" && released == Some(version) && own.digest() == prior => {
            coded.clone().into_response()
        }
        _ => problem(StatusCode::NOT_FOUND, "not_with_prior"),
    }
}

async fn prior(State(world): State<Shared>, Path(prior): Path<Digest>) -> Response {
    match &world.lock().unwrap().prior {
        Some((own, _)) if own.digest() == prior => own.encode().unwrap().into_response(),
        _ => problem(StatusCode::NOT_FOUND, "no_such_prior"),
    }
}
