//! The protocol's messages as the server's types, and back.

use std::time::Duration;

use crate::api::error::ApiError;
use crate::catalog::attempts::{Assignment, StoredBlob};
use crate::catalog::jobs::Abandoned;
use crate::catalog::validation::LabelledImage;
use crate::catalog::workers::WorkerCard;
use crate::domain::job::{Order, Phase, Progress};
use crate::domain::report::LossPoint;
use crate::domain::{AttemptId, Digest};
use crate::wire::grpc::v1 as proto;

/// Bytes of what a worker says of itself, each.
const LONGEST_WORD: usize = 200;

fn invalid(what: &str) -> ApiError {
    ApiError::invalid(
        "message_invalid",
        format!("{what}; use the same version of worker and server"),
    )
}

/// What a worker says of itself.
pub fn card(message: proto::LeaseRequest) -> Result<WorkerCard, ApiError> {
    let words = [&message.worker, &message.device, &message.version];
    if message.worker.is_empty() || words.iter().any(|word| word.len() > LONGEST_WORD) {
        return Err(invalid(
            "a worker needs a name, and none of its words is longer than 200 bytes",
        ));
    }
    Ok(WorkerCard {
        name: message.worker,
        device: message.device,
        memory_bytes: message.memory_bytes,
        version: message.version,
    })
}

/// The attempt that a call is about.
pub fn attempt(text: &str) -> Result<AttemptId, ApiError> {
    text.parse().map_err(|error: crate::domain::job::NotAnAttempt| {
        ApiError::invalid("attempt_invalid", error.to_string())
    })
}

/// The digest of an uploaded blob.
pub fn stored(message: Option<&proto::Stored>) -> Result<Digest, ApiError> {
    let message = message.ok_or_else(|| invalid("a blob is not named"))?;
    let bytes = message.digest.as_slice().try_into();
    bytes
        .map(Digest::from_bytes)
        .map_err(|_| invalid("a digest has not 32 bytes"))
}

/// How far an attempt is.
pub fn progress(message: Option<proto::Progress>) -> Result<Progress, ApiError> {
    let Some(message) = message else {
        return Ok(Progress::default());
    };
    Ok(Progress {
        phase: Phase::of_word(&message.phase).ok_or_else(|| invalid("the phase is not known"))?,
        step: message.step,
        steps: message.steps,
        // A loss that diverged cannot be written as JSON.
        loss: message.loss.filter(|loss| loss.is_finite()),
        dropped: message.dropped,
    })
}

/// The losses since the last heartbeat.
pub fn losses(messages: &[proto::LossPoint]) -> Vec<LossPoint> {
    let point = |point: &proto::LossPoint| LossPoint {
        step: point.step,
        loss: point.loss,
    };
    messages.iter().map(point).collect()
}

/// What an attempt publishes: digests of what it uploaded.
#[derive(Debug, Clone, Copy)]
pub struct Brought {
    /// The report.
    pub report: Digest,
    /// Artefact and scores; none: no improvement found.
    pub mask: Option<(Digest, Digest)>,
}

/// What a call publishes.
pub fn result(message: &proto::PublishRequest) -> Result<Brought, ApiError> {
    let mask = message.mask.as_ref();
    let mask =
        mask.map(|mask| Ok::<_, ApiError>((stored(mask.artefact.as_ref())?, stored(mask.scores.as_ref())?)));
    Ok(Brought {
        report: stored(message.report.as_ref())?,
        mask: mask.transpose()?,
    })
}

/// Why an attempt ends.
pub fn abandoned(message: proto::AbandonRequest) -> Abandoned {
    use proto::abandon_request::Reason;
    match message.reason() {
        Reason::Failed => Abandoned::Failed {
            error: message.error,
            retry: message.retry,
        },
        Reason::Cancelled => Abandoned::Cancelled,
        Reason::Returned => Abandoned::Returned,
    }
}

/// An order on the wire.
pub const fn order(order: Order) -> proto::Order {
    match order {
        Order::Continue => proto::Order::Continue,
        Order::Stop => proto::Order::Stop,
        Order::LeaseLost => proto::Order::LeaseLost,
    }
}

fn blob(digest: Digest, bytes: u64) -> proto::Stored {
    proto::Stored {
        digest: digest.as_bytes().to_vec(),
        bytes,
    }
}

/// A page of images on the wire.
pub fn images(page: Vec<StoredBlob>) -> proto::ListImagesReply {
    let images = page.into_iter().map(|stored| blob(stored.digest, stored.bytes));
    proto::ListImagesReply {
        images: images.collect(),
    }
}

/// A page of labelled images on the wire.
pub fn labelled(page: Vec<LabelledImage>) -> proto::ListLabelledReply {
    let labelled = page.into_iter().map(|image| proto::Labelled {
        image: Some(blob(image.digest, image.bytes)),
        class: image.class,
        split: image.split.word().to_owned(),
        metadata: std::collections::BTreeMap::from(image.metadata)
            .into_iter()
            .collect(),
    });
    proto::ListLabelledReply {
        labelled: labelled.collect(),
    }
}

/// An assignment on the wire.
pub fn assignment(assignment: Assignment, lease: Duration) -> proto::Assignment {
    let stored = |stored: StoredBlob| blob(stored.digest, stored.bytes);
    let json = |value: serde_json::Result<String>| value.expect("manifests and settings are plain data");
    let mut checkpoints = assignment
        .checkpoints
        .iter()
        .map(|kept| blob(kept.digest, kept.bytes));
    let manifest = &assignment.base.manifest;
    proto::Assignment {
        attempt: assignment.attempt.to_string(),
        lease_seconds: u32::try_from(lease.as_secs()).unwrap_or(u32::MAX).max(1),
        site: assignment.site.to_string(),
        mask_version: assignment.mask_version.0,
        base: Some(proto::Base {
            digest: manifest.digest.as_bytes().to_vec(),
            file: Some(blob(assignment.base.file, manifest.bytes)),
            manifest: json(serde_json::to_string(manifest)),
        }),
        recipe: assignment.recipe,
        budget: assignment.budget.unwrap_or(0),
        seed: assignment.seed,
        kpi: assignment.kpi.to_string(),
        judged_before: assignment.judged_before,
        gate: json(serde_json::to_string(&assignment.gate)),
        view: assignment.view.to_json(),
        snapshot: Some(proto::Snapshot {
            digest: assignment.snapshot_digest.as_bytes().to_vec(),
            images: assignment.images,
            left_out: assignment.left_out,
        }),
        parent: assignment.parent.map(|parent| proto::Parent {
            version: parent.version.0,
            scores: Some(stored(parent.scores)),
            artefact: Some(stored(parent.artefact)),
        }),
        checkpoint: checkpoints.next(),
        checkpoint_before: checkpoints.next(),
    }
}
