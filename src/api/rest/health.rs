//! `/healthz`, `/readyz`, `/metrics`: for those who look after the server.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::caller::Caller;
use crate::api::error::ApiError;
use crate::api::state::App;
use crate::catalog::jobs;
use crate::domain::permission::Action;

/// Says that the process lives.
#[utoipa::path(get, path = "/healthz", tag = "server", security(()), responses((status = OK, body = str)))]
pub async fn alive() -> &'static str {
    "ok\n"
}

/// Says whether database and blob store answer.
#[utoipa::path(
    get, path = "/readyz", tag = "server", security(()),
    responses((status = OK, body = str), (status = SERVICE_UNAVAILABLE))
)]
pub async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    let not_ready = |what: &str| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", what);
    if app.shutdown.is_cancelled() {
        return Err(not_ready("the server is shutting down"));
    }
    app.answers().await.map_err(|what| not_ready(&what))?;
    Ok("ready\n")
}

/// Metrics in Prometheus' text format, for loopback or who may operate.
#[utoipa::path(get, path = "/metrics", tag = "server", responses((status = OK, body = str)))]
pub async fn metrics(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let local = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .is_some_and(|peer| peer.0.ip().is_loopback());
    // Behind a proxy everybody comes from loopback.
    if !local || app.config.server.behind_proxy {
        let (mut parts, _) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, &app).await?;
        caller.may_anywhere(Action::Operate)?;
    }
    let mut tx = app.catalog.read().await?;
    let depth = jobs::depth(&mut tx).await?;
    app.metrics.queued_jobs.set(depth.queued);
    app.metrics.running_jobs.set(depth.running);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], app.metrics.text()).into_response())
}
