//! A worker that does nothing but speak the protocol.

use katagami::base::Weights;
use katagami::domain::gate::GateSettings;
use katagami::domain::report::{ImageCounts, Kpi, Report, TrainingFigures};
use katagami::domain::{Digest, MaskVersion, View};
use katagami::mask::{Header, Mask, encode};
use katagami::wire::grpc::v1 as proto;
use katagami::wire::grpc::v1::abandon_request::Reason;
use katagami::wire::grpc::v1::workers_client::WorkersClient;
use reqwest::Method;
use serde_json::json;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::server::{Answer, Person, Server, picture};
use crate::support::{generated_base, header_of};

/// A worker with its token.
pub struct Worker {
    name: String,
    calls: WorkersClient<Channel>,
    /// For the bytes.
    pub person: Person,
}

/// What a refusal says: gRPC's code and ours.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, ours: &str) -> String {
    let status = answer.expect_err("this must be refused");
    let given = status
        .metadata()
        .get("katagami-code")
        .map(|code| code.to_str().unwrap());
    assert_eq!((status.code(), given), (code, Some(ours)), "{status}");
    status.message().to_owned()
}

impl Worker {
    pub async fn of(server: &Server, name: &str) -> Self {
        Self::with(name, server.with_role("worker").await)
    }

    /// Speaks the protocol with the token of `person`.
    pub fn with(name: &str, person: Person) -> Self {
        let channel = Endpoint::from_shared(person.url.clone()).unwrap().connect_lazy();
        Self {
            name: name.to_owned(),
            calls: WorkersClient::new(channel),
            person,
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.person.token {
            let bearer = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", bearer);
        }
        request
    }

    pub async fn asks(&self, wait_seconds: u32) -> Result<Option<proto::Assignment>, Status> {
        let message = proto::LeaseRequest {
            worker: self.name.clone(),
            device: "cpu".to_owned(),
            memory_bytes: 1 << 30,
            version: "test".to_owned(),
            wait_seconds,
        };
        let reply = self.calls.clone().lease(self.request(message)).await?;
        Ok(reply.into_inner().assignment)
    }

    /// Takes the job that waits.
    pub async fn leases(&self) -> proto::Assignment {
        self.asks(0).await.unwrap().expect("a job waits")
    }

    /// A page of the images that an attempt trains on.
    pub async fn lists(&self, attempt: &str, after: &[u8]) -> Result<Vec<proto::Stored>, Status> {
        let request = self.request(list(attempt, after));
        Ok(self.calls.clone().list_images(request).await?.into_inner().images)
    }

    /// A page of the images that judge.
    pub async fn lists_labelled(&self, attempt: &str, after: &[u8]) -> Result<Vec<proto::Labelled>, Status> {
        let request = self.request(list(attempt, after));
        let reply = self.calls.clone().list_labelled(request).await?;
        Ok(reply.into_inner().labelled)
    }

    pub async fn beats(&self, beat: proto::HeartbeatRequest) -> Result<proto::Order, Status> {
        let reply = self.calls.clone().heartbeat(self.request(beat)).await?;
        Ok(reply.into_inner().order())
    }

    pub async fn keeps(&self, attempt: &str, checkpoint: &[u8], step: u64) -> Result<(), Status> {
        let message = proto::CheckpointRequest {
            attempt: attempt.to_owned(),
            checkpoint: Some(stored(checkpoint)),
            step,
        };
        self.calls
            .clone()
            .checkpoint(self.request(message))
            .await
            .map(drop)
    }

    pub async fn abandons(&self, attempt: &str, reason: Reason, error: &str) -> Result<(), Status> {
        let message = proto::AbandonRequest {
            attempt: attempt.to_owned(),
            reason: reason.into(),
            error: error.to_owned(),
            retry: true,
        };
        self.calls.clone().abandon(self.request(message)).await.map(drop)
    }

    pub async fn fetches(&self, attempt: &str, digest: &Digest) -> Answer {
        self.person.get(&path(attempt, digest)).await
    }

    pub async fn uploads(&self, attempt: &str, bytes: &[u8]) -> Answer {
        let path = path(attempt, &Digest::of(bytes));
        Answer::of(self.person.request(Method::PUT, &path).body(bytes.to_vec())).await
    }

    /// Uploads a result and ends the job with it.
    pub async fn publishes(&self, attempt: &str, result: &JobResult) -> Result<proto::PublishReply, Status> {
        for part in [&result.report, &result.artefact, &result.scores] {
            self.uploads(attempt, part).await;
        }
        self.names(attempt, result).await
    }

    /// Ends the job with what was uploaded before.
    pub async fn names(&self, attempt: &str, result: &JobResult) -> Result<proto::PublishReply, Status> {
        let message = proto::PublishRequest {
            attempt: attempt.to_owned(),
            report: Some(stored(&result.report)),
            mask: Some(proto::Mask {
                artefact: Some(stored(&result.artefact)),
                scores: Some(stored(&result.scores)),
            }),
        };
        let reply = self.calls.clone().publish(self.request(message)).await?;
        Ok(reply.into_inner())
    }

    /// Ends the job with a report and no mask.
    pub async fn finds_nothing(&self, attempt: &str, report: &[u8]) -> Result<proto::PublishReply, Status> {
        self.uploads(attempt, report).await;
        let message = proto::PublishRequest {
            attempt: attempt.to_owned(),
            report: Some(stored(report)),
            mask: None,
        };
        let reply = self.calls.clone().publish(self.request(message)).await?;
        Ok(reply.into_inner())
    }
}

fn path(attempt: &str, digest: &Digest) -> String {
    format!("/v1/worker/attempts/{attempt}/blobs/{digest}")
}

fn list(attempt: &str, after: &[u8]) -> proto::ListRequest {
    proto::ListRequest {
        attempt: attempt.to_owned(),
        after: after.to_vec(),
    }
}

fn stored(bytes: &[u8]) -> proto::Stored {
    proto::Stored {
        digest: Digest::of(bytes).as_bytes().to_vec(),
        bytes: bytes.len() as u64,
    }
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(bytes.try_into().expect("a digest has 32 bytes"))
}

/// A site with one image and one job in the queue, by its engineer; the job's identifier.
pub async fn job(server: &Server, site: &str) -> (Person, String) {
    let engineer = server.engineer(site).await;
    engineer.submits(site, "one.png", picture(1)).await.good();
    let job = engineer
        .post(&format!("/v1/sites/{site}/jobs"), json!({}))
        .await
        .good()
        .json();
    (engineer, job["id"].as_str().unwrap().to_owned())
}

/// What an attempt brings.
pub struct JobResult {
    pub report: Vec<u8>,
    pub artefact: Vec<u8>,
    pub scores: Vec<u8>,
}

/// A report of a training after which `flips` weights had fallen.
pub fn report(flips: u64) -> Vec<u8> {
    report_seen(flips, View::default())
}

/// The same of a training through a view.
pub fn report_seen(flips: u64, view: View) -> Vec<u8> {
    let training = TrainingFigures {
        flips,
        ..TrainingFigures::default()
    };
    let images = ImageCounts { used: 1, left_out: 0 };
    let report = Report {
        view,
        ..Report::judged(Kpi::Probe, None, None, training, images, GateSettings::default())
    };
    report.to_json().unwrap().into_bytes()
}

/// The server's base.
pub fn base() -> Weights {
    generated_base(7)
}

/// The result of a job that drops a few weights; `change` may spoil its header.
pub fn result(assignment: &proto::Assignment, change: impl FnOnce(&mut Header)) -> JobResult {
    result_with(assignment, report(10), change)
}

/// The same with a report of its own, of as many fallen weights.
pub fn result_with(
    assignment: &proto::Assignment,
    report: Vec<u8>,
    change: impl FnOnce(&mut Header),
) -> JobResult {
    let base = base();
    let head = base.architecture.index_of("_conv_head.weight").unwrap();
    let mut mask = Mask::keeping_all(base.architecture, [head]);
    let bits = mask.tensors.get_mut(&head).unwrap();
    (0..10).for_each(|index| bits.set(index * 40_000, false));
    let manifest: katagami::base::Manifest =
        serde_json::from_str(&assignment.base.as_ref().unwrap().manifest).unwrap();
    let mut header = Header {
        preprocessing: manifest.preprocessing.digest(),
        site: assignment.site.parse().unwrap(),
        version: MaskVersion(assignment.mask_version),
        snapshot: digest(&assignment.snapshot.as_ref().unwrap().digest),
        job: Some(assignment.attempt.split_once('.').unwrap().0.parse().unwrap()),
        report: Some(Digest::of(&report)),
        ..header_of(&mask, &base)
    };
    change(&mut header);
    JobResult {
        artefact: encode(&header, &mask, &base).unwrap(),
        report,
        scores: assignment.attempt.clone().into_bytes(),
    }
}
