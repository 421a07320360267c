//! The workers' protocol, from the worker's side: calls with one token, and
//! what of their answers an attempt has to tell apart.
//!
//! The connection is made when it is needed and again after every break, by
//! `tonic` itself; whoever calls decides how long that may go on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use crate::client::{Client, ClientError, is_distrust};
use crate::domain::job::Order;
use crate::domain::{AttemptId, Digest, ErrorKind, MaskVersion, Problem, SiteName};
use crate::wire::grpc::v1 as proto;
use crate::wire::grpc::v1::workers_client::WorkersClient;

/// The metadata entry that carries the stable code of an error.
const CODE: &str = "katagami-code";
/// How long the server keeps a question for work open.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long any other call may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Publishing reads and checks an artefact.
const PUBLISHING: Duration = Duration::from_mins(2);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// Another attempt has the job, or it has ended.
    #[error("the lease of this attempt is lost; what it has done is dropped")]
    LeaseLost,
    /// The server cannot be reached or is not able to answer now.
    #[error("the server was not reached ({0}); check that it runs, its address and the network")]
    Unreachable(String),
    /// The server's certificate is not trusted.
    #[error(
        "the server is not trusted ({0}); give the certificate of its authority with --ca, and check this machine's clock"
    )]
    Untrusted(String),
    /// The server refused, and said why.
    #[error("{detail}")]
    Refused {
        /// Whose fault it is.
        kind: ErrorKind,
        /// Its sentence.
        detail: String,
    },
    /// The server answered what this version does not understand.
    #[error("the server's answer is not understood ({0}); use the same version of worker and server")]
    Answer(&'static str),
    /// A connection cannot be set up.
    #[error("no connection can be set up: {0}")]
    Setup(String),
    /// The file of certificates cannot be read.
    #[error("`{}` cannot be used as certificates: {source}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Bytes could not be fetched or stored.
    #[error(transparent)]
    Bytes(ClientError),
}

impl ProtocolError {
    /// Whether the same call may succeed later, without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused { kind, .. } => {
                matches!(
                    kind,
                    ErrorKind::Unavailable | ErrorKind::Exhausted | ErrorKind::Internal
                )
            }
            Self::Bytes(error) => error.is_passing(),
            _ => false,
        }
    }
}

impl From<Status> for ProtocolError {
    fn from(status: Status) -> Self {
        let code = status.metadata().get(CODE).and_then(|code| code.to_str().ok());
        if code == Some("lease_lost") {
            return Self::LeaseLost;
        }
        let kind = match (status.code(), code) {
            // Without our code it is the transport that speaks, or a proxy in between.
            (Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded, None) => {
                let reason = innermost(&status);
                return if is_distrust(&reason) {
                    Self::Untrusted(reason)
                } else {
                    Self::Unreachable(reason)
                };
            }
            (Code::Unavailable, _) => ErrorKind::Unavailable,
            (Code::Unauthenticated, _) => ErrorKind::Unauthenticated,
            (Code::PermissionDenied, _) => ErrorKind::Forbidden,
            (Code::NotFound, _) => ErrorKind::NotFound,
            (Code::FailedPrecondition, _) => ErrorKind::Conflict,
            (Code::ResourceExhausted, _) => ErrorKind::Exhausted,
            (Code::Internal | Code::DataLoss, _) => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        };
        Self::Refused {
            kind,
            detail: status.message().to_owned(),
        }
    }
}

/// The innermost cause, which is the one that a person can act on.
fn innermost(status: &Status) -> String {
    let mut error: &dyn std::error::Error = status;
    while let Some(source) = error.source() {
        error = source;
    }
    match status.message() {
        "" => error.to_string(),
        message if std::ptr::addr_eq(error, status) => message.to_owned(),
        _ => error.to_string(),
    }
}

impl From<ClientError> for ProtocolError {
    fn from(error: ClientError) -> Self {
        match error.code() {
            "lease_lost" => Self::LeaseLost,
            _ => Self::Bytes(error),
        }
    }
}

impl Problem for ProtocolError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::LeaseLost => ErrorKind::Conflict,
            Self::Unreachable(_) | Self::Untrusted(_) | Self::Answer(_) => ErrorKind::Unavailable,
            Self::Refused { kind, .. } => *kind,
            Self::Setup(_) | Self::Authority { .. } => ErrorKind::Invalid,
            Self::Bytes(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::LeaseLost => "lease_lost",
            Self::Unreachable(_) => "server_unreachable",
            Self::Untrusted(_) => "server_untrusted",
            Self::Refused { .. } => "refused",
            Self::Answer(_) => "answer_unexpected",
            Self::Setup(_) => "client_setup",
            Self::Authority { .. } => "authority_unusable",
            Self::Bytes(error) => error.code(),
        }
    }
}

/// What a worker says of itself when it asks for work.
#[derive(Debug, Clone)]
pub struct Announced {
    /// Its name.
    pub worker: String,
    /// What it computes on.
    pub device: String,
    /// That device's memory; 0: not known.
    pub memory_bytes: u64,
}

/// A blob that the attempt may fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// The mask whose scores the training starts from.
#[derive(Debug, Clone, Copy)]
pub struct Parent {
    /// Its version.
    pub version: MaskVersion,
    /// Its final scores.
    pub scores: Stored,
    /// Its artefact.
    pub artefact: Stored,
}

/// What a worker was given to do, its digests and names checked.
#[derive(Debug)]
pub struct Assignment {
    /// The lease.
    pub attempt: AttemptId,
    /// How long it holds after a heartbeat.
    pub lease: Duration,
    /// The site.
    pub site: SiteName,
    /// The version reserved for its mask.
    pub mask_version: MaskVersion,
    /// The base's canonical digest.
    pub base: Digest,
    /// The base's file.
    pub base_file: Stored,
    /// The base's manifest as JSON.
    pub manifest: String,
    /// The recipe's name.
    pub recipe: String,
    /// Steps; 0: the recipe's.
    pub budget: u32,
    /// The seed.
    pub seed: u64,
    /// The KPI: a word, or JSON.
    pub kpi: String,
    /// Masks that the validation set has judged before.
    pub judged_before: u32,
    /// The gate's settings as JSON.
    pub gate: String,
    /// The view as JSON; empty: the default one.
    pub view: String,
    /// The digest of the list of images.
    pub snapshot: Digest,
    /// How many images that list has.
    pub images: u64,
    /// Images left out because they are in the validation set.
    pub left_out: u64,
    /// The mask that it starts from.
    pub parent: Option<Parent>,
    /// Checkpoints of earlier attempts, the newest first.
    pub checkpoints: Vec<Stored>,
}

fn digest(bytes: &[u8]) -> Result<Digest, ProtocolError> {
    let bytes = bytes
        .try_into()
        .map_err(|_| ProtocolError::Answer("a digest has not 32 bytes"))?;
    Ok(Digest::from_bytes(bytes))
}

pub(super) fn stored(message: Option<&proto::Stored>) -> Result<Stored, ProtocolError> {
    let message = message.ok_or(ProtocolError::Answer("a blob is missing"))?;
    Ok(Stored {
        digest: digest(&message.digest)?,
        bytes: message.bytes,
    })
}

impl From<Stored> for proto::Stored {
    fn from(stored: Stored) -> Self {
        Self {
            digest: stored.digest.as_bytes().to_vec(),
            bytes: stored.bytes,
        }
    }
}

impl TryFrom<proto::Assignment> for Assignment {
    type Error = ProtocolError;

    fn try_from(message: proto::Assignment) -> Result<Self, ProtocolError> {
        let wrong = ProtocolError::Answer;
        let base = message.base.ok_or(wrong("no base"))?;
        let snapshot = message.snapshot.ok_or(wrong("no snapshot"))?;
        let parent = message.parent.map(|parent| {
            Ok::<_, ProtocolError>(Parent {
                version: MaskVersion(parent.version),
                scores: stored(parent.scores.as_ref())?,
                artefact: stored(parent.artefact.as_ref())?,
            })
        });
        let checkpoints = [message.checkpoint, message.checkpoint_before];
        Ok(Self {
            attempt: message.attempt.parse().map_err(|_| wrong("no attempt"))?,
            lease: Duration::from_secs(u64::from(message.lease_seconds.max(1))),
            site: message.site.parse().map_err(|_| wrong("no site"))?,
            mask_version: MaskVersion(message.mask_version),
            base: digest(&base.digest)?,
            base_file: stored(base.file.as_ref())?,
            manifest: base.manifest,
            recipe: message.recipe,
            budget: message.budget,
            seed: message.seed,
            kpi: message.kpi,
            judged_before: message.judged_before,
            gate: message.gate,
            view: message.view,
            snapshot: digest(&snapshot.digest)?,
            images: snapshot.images,
            left_out: snapshot.left_out,
            parent: parent.transpose()?,
            checkpoints: checkpoints
                .iter()
                .flatten()
                .map(|checkpoint| stored(Some(checkpoint)))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// How an attempt ends without a result.
#[derive(Debug, Clone)]
pub enum Abandoning {
    /// It failed.
    Failed {
        /// One sentence.
        error: String,
        /// Whether another attempt may fare better.
        retry: bool,
    },
    /// It obeyed the order to stop.
    Cancelled,
    /// The worker shuts down.
    Returned,
}

/// Shows the token in every call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A connection to the server: calls and bytes. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    pub(super) workers: WorkersClient<InterceptedService<Channel, Bearer>>,
    /// For the bytes.
    pub bytes: Client,
}

impl Connection {
    /// A connection to the server at `server` that shows `token`; made when it is first needed.
    /// `ca` is a file of PEM certificates that are trusted besides the system's.
    pub fn new(server: &str, token: &str, ca: Option<&Path>) -> Result<Self, ProtocolError> {
        // Before the endpoint: it installs the process's one cryptography provider.
        let bytes = Client::new(server, Some(token), ca)?;
        let setup = |error: tonic::transport::Error| ProtocolError::Setup(error.to_string());
        let mut endpoint = Endpoint::from_shared(server.trim_end_matches('/').to_owned())
            .map_err(setup)?
            .connect_timeout(Duration::from_secs(10))
            .http2_keep_alive_interval(Duration::from_secs(15))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if server.starts_with("https:") {
            let mut tls = ClientTlsConfig::new().with_native_roots();
            if let Some(path) = ca {
                let pem = std::fs::read(path).map_err(|source| ProtocolError::Authority {
                    path: path.to_owned(),
                    source,
                })?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls).map_err(setup)?;
        }
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
            .parse()
            .map_err(|_| ProtocolError::Setup("the token holds characters that no token has".to_owned()))?;
        bearer.set_sensitive(true);
        let workers = WorkersClient::with_interceptor(endpoint.connect_lazy(), Bearer(bearer));
        Ok(Self { workers, bytes })
    }

    /// Asks for the next job; none after `wait`.
    pub async fn lease(
        &self,
        announced: &Announced,
        wait: Duration,
    ) -> Result<Option<Assignment>, ProtocolError> {
        let request = proto::LeaseRequest {
            worker: announced.worker.clone(),
            device: announced.device.clone(),
            memory_bytes: announced.memory_bytes,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wait_seconds: wait.as_secs() as u32,
        };
        let reply = self
            .workers
            .clone()
            .lease(within(wait + PATIENCE, request))
            .await?;
        reply
            .into_inner()
            .assignment
            .map(Assignment::try_from)
            .transpose()
    }

    /// Says that the attempt lives.
    pub async fn heartbeat(&self, request: proto::HeartbeatRequest) -> Result<Order, ProtocolError> {
        let reply = self.workers.clone().heartbeat(within(PATIENCE, request)).await?;
        match reply.into_inner().order() {
            proto::Order::Continue => Ok(Order::Continue),
            proto::Order::Stop => Ok(Order::Stop),
            proto::Order::LeaseLost => Ok(Order::LeaseLost),
        }
    }

    /// Names an uploaded checkpoint.
    pub async fn checkpoint(
        &self,
        attempt: AttemptId,
        checkpoint: Stored,
        step: u64,
    ) -> Result<(), ProtocolError> {
        let request = proto::CheckpointRequest {
            attempt: attempt.to_string(),
            checkpoint: Some(checkpoint.into()),
            step,
        };
        self.workers.clone().checkpoint(within(PATIENCE, request)).await?;
        Ok(())
    }

    /// Ends the job: with artefact and scores, or without a mask. Answers the gate's verdict.
    pub async fn publish(
        &self,
        attempt: AttemptId,
        report: Stored,
        mask: Option<(Stored, Stored)>,
    ) -> Result<String, ProtocolError> {
        let request = proto::PublishRequest {
            attempt: attempt.to_string(),
            report: Some(report.into()),
            mask: mask.map(|(artefact, scores)| proto::Mask {
                artefact: Some(artefact.into()),
                scores: Some(scores.into()),
            }),
        };
        let reply = self.workers.clone().publish(within(PUBLISHING, request)).await?;
        Ok(reply.into_inner().verdict)
    }

    /// Ends the attempt without a result.
    pub async fn abandon(&self, attempt: AttemptId, why: Abandoning) -> Result<(), ProtocolError> {
        use proto::abandon_request::Reason;
        let (reason, error, retry) = match why {
            Abandoning::Failed { error, retry } => (Reason::Failed, error, retry),
            Abandoning::Cancelled => (Reason::Cancelled, String::new(), false),
            Abandoning::Returned => (Reason::Returned, String::new(), true),
        };
        let request = proto::AbandonRequest {
            attempt: attempt.to_string(),
            reason: reason.into(),
            error,
            retry,
        };
        self.workers.clone().abandon(within(PATIENCE, request)).await?;
        Ok(())
    }
}

pub(super) fn within<T>(patience: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(patience);
    request
}
