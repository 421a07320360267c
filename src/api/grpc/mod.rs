//! The workers' protocol: `proto/katagami/worker/v1` on the same port as REST,
//! with the same tokens and the same codes of errors.

mod messages;
mod publish;

use std::time::Duration;

use axum::Router;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::caller::authenticate;
use super::error::ApiError;
use super::state::App;
use crate::catalog::attempts::{self, Assignment};
use crate::catalog::workers::WorkerCard;
use crate::catalog::{CatalogError, jobs};
use crate::domain::AttemptId;
use crate::domain::permission::Action;
use crate::killpoint;
use crate::scheduler;
use crate::wire::grpc::v1 as proto;
use crate::wire::grpc::v1::workers_server::{Workers, WorkersServer};

/// Longest that a worker may wait in one call.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a request: log lines and a curve; bytes proper travel by REST.
const LARGEST_REQUEST: usize = 16 << 20;

/// Images of one page of a list: at most 200 bytes each, where a message may have 4 MiB.
const PAGE: u32 = 10_000;
/// Labelled images of one page: each has a class and metadata of at most 4.5 kB.
const LABELLED_PAGE: u32 = 800;

/// The protocol's routes.
pub fn routes(app: &App) -> Router {
    let service = WorkersServer::new(Service { app: app.clone() }).max_decoding_message_size(LARGEST_REQUEST);
    Router::new().route_service("/katagami.worker.v1.Workers/{call}", service)
}

struct Service {
    app: App,
}

impl Service {
    /// The message, if it comes from a worker.
    async fn of_worker<T>(&self, request: Request<T>) -> Result<T, ApiError> {
        let (metadata, _, message) = request.into_parts();
        let caller = authenticate(&self.app, &metadata.into_headers()).await?;
        caller.may_anywhere(Action::Work)?;
        Ok(message)
    }

    /// Waits for a job in a task of its own: whoever hangs up in the moment in which a job is leased
    /// must not leave it leased to nobody.
    async fn leased(&self, card: WorkerCard, patience: Duration) -> Result<Option<Assignment>, ApiError> {
        let stop = self.app.shutdown.child_token();
        let hung_up = stop.clone().drop_guard();
        let (answer, answered) = oneshot::channel();
        let app = self.app.clone();
        self.app.tasks.spawn(async move {
            let lease = app.config.scheduler.lease;
            let leased = scheduler::lease(&app.catalog, &card, lease, patience, &stop).await;
            if let Err(Ok(Some(assignment))) = answer.send(leased)
                && let Err(error) = give_back(&app, assignment.attempt).await
            {
                tracing::warn!(attempt = %assignment.attempt, %error, "nobody took this lease; it runs out");
            }
        });
        let leased = answered.await.unwrap_or(Ok(None))?;
        drop(hung_up);
        Ok(leased)
    }
}

async fn give_back(app: &App, attempt: AttemptId) -> Result<(), CatalogError> {
    let mut tx = app.catalog.begin().await?;
    jobs::abandon(&mut tx, attempt, &jobs::Abandoned::Returned).await?;
    tx.commit().await
}

#[tonic::async_trait]
impl Workers for Service {
    async fn lease(
        &self,
        request: Request<proto::LeaseRequest>,
    ) -> Result<Response<proto::LeaseReply>, Status> {
        let message = self.of_worker(request).await?;
        let patience = Duration::from_secs(u64::from(message.wait_seconds)).min(LONGEST_WAIT);
        let leased = self.leased(messages::card(message)?, patience).await?;
        if leased.is_some() {
            killpoint::reached("server-leased");
        }
        let lease = self.app.config.scheduler.lease;
        let assignment = leased.map(|assignment| messages::assignment(assignment, lease));
        Ok(Response::new(proto::LeaseReply { assignment }))
    }

    async fn list_images(
        &self,
        request: Request<proto::ListRequest>,
    ) -> Result<Response<proto::ListImagesReply>, Status> {
        let message = self.of_worker(request).await?;
        let attempt = messages::attempt(&message.attempt)?;
        let page = async {
            let mut tx = self.app.catalog.read().await?;
            let page = attempts::images(&mut tx, attempt, &message.after, PAGE).await?;
            Ok::<_, ApiError>(messages::images(page))
        };
        Ok(Response::new(page.await?))
    }

    async fn list_labelled(
        &self,
        request: Request<proto::ListRequest>,
    ) -> Result<Response<proto::ListLabelledReply>, Status> {
        let message = self.of_worker(request).await?;
        let attempt = messages::attempt(&message.attempt)?;
        let page = async {
            let mut tx = self.app.catalog.read().await?;
            let page = attempts::labelled(&mut tx, attempt, &message.after, LABELLED_PAGE).await?;
            Ok::<_, ApiError>(messages::labelled(page))
        };
        Ok(Response::new(page.await?))
    }

    async fn heartbeat(
        &self,
        request: Request<proto::HeartbeatRequest>,
    ) -> Result<Response<proto::HeartbeatReply>, Status> {
        let message = self.of_worker(request).await?;
        let attempt = messages::attempt(&message.attempt)?;
        let progress = messages::progress(message.progress)?;
        let losses = messages::losses(&message.losses);
        let lease = self.app.config.scheduler.lease;
        let beat = async {
            let mut tx = self.app.catalog.begin().await?;
            let order = jobs::heartbeat(&mut tx, attempt, lease, &progress, &message.lines, &losses).await?;
            tx.commit().await?;
            Ok::<_, ApiError>(order)
        };
        let order = beat.await?;
        killpoint::reached("server-heartbeat");
        Ok(Response::new(proto::HeartbeatReply {
            order: messages::order(order).into(),
        }))
    }

    async fn checkpoint(
        &self,
        request: Request<proto::CheckpointRequest>,
    ) -> Result<Response<proto::CheckpointReply>, Status> {
        let message = self.of_worker(request).await?;
        let attempt = messages::attempt(&message.attempt)?;
        let digest = messages::stored(message.checkpoint.as_ref())?;
        let kept = async {
            let mut tx = self.app.catalog.begin().await?;
            jobs::checkpoint(&mut tx, attempt, message.step, &digest).await?;
            killpoint::reached("server-checkpoint");
            tx.commit().await?;
            Ok::<_, ApiError>(())
        };
        kept.await?;
        killpoint::reached("server-checkpointed");
        Ok(Response::new(proto::CheckpointReply {}))
    }

    async fn publish(
        &self,
        request: Request<proto::PublishRequest>,
    ) -> Result<Response<proto::PublishReply>, Status> {
        let message = self.of_worker(request).await?;
        let attempt = messages::attempt(&message.attempt)?;
        let result = messages::result(&message)?;
        let reply = publish::publish(&self.app, attempt, &result).await?;
        killpoint::reached("server-published");
        Ok(Response::new(reply))
    }

    async fn abandon(
        &self,
        request: Request<proto::AbandonRequest>,
    ) -> Result<Response<proto::AbandonReply>, Status> {
        let message = self.of_worker(request).await?;
        let attempt = messages::attempt(&message.attempt)?;
        let why = messages::abandoned(message);
        let abandoned = async {
            let mut tx = self.app.catalog.begin().await?;
            let state = jobs::abandon(&mut tx, attempt, &why).await?;
            tx.commit().await?;
            Ok::<_, ApiError>(state)
        };
        let state = abandoned.await?;
        tracing::info!(%attempt, ?why, state = state.word(), "an attempt ended without a result");
        Ok(Response::new(proto::AbandonReply {}))
    }
}
