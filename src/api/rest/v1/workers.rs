//! `/v1/workers`, and the bytes of attempts: `/v1/worker/attempts/{attempt}/blobs/{digest}`

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;

use crate::api::extract::{Json, Path};
use crate::api::rest::download::{Keep, Offer, send};
use crate::api::rest::idle::in_time;
use crate::api::{ApiError, App, Caller};
use crate::blobs::BlobError;
use crate::catalog::{attempts, blobs, workers};
use crate::domain::permission::Action;
use crate::domain::{AttemptId, Digest};
use crate::killpoint;
use crate::wire::v1::page::Page;
use crate::wire::v1::workers::Worker;

/// How long a silent worker is listed.
const LATELY: Duration = Duration::from_mins(10);
/// Most bytes of one blob of an attempt: checkpoints of large networks.
const LARGEST: u64 = 4 << 30;

/// Lists the workers that asked for work lately.
#[utoipa::path(
    get, path = "/v1/workers", tag = "workers", operation_id = "list_workers",
    responses((status = OK, body = Page<Worker>))
)]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page<Worker>>, ApiError> {
    caller.may_anywhere(Action::Operate)?;
    let mut tx = app.catalog.read().await?;
    let items = workers::list(&mut tx, LATELY).await?;
    Ok(Json(Page { items, next: None }))
}

/// Sends a blob that an attempt's job needs, and no other.
#[utoipa::path(
    get, path = "/v1/worker/attempts/{attempt}/blobs/{digest}", tag = "workers",
    operation_id = "fetch_attempt_blob", params(("attempt" = String, Path), ("digest" = Digest, Path)),
    responses(
        (status = OK, content_type = "application/octet-stream"), (status = NOT_FOUND),
        (status = CONFLICT, description = "`lease_lost`")
    )
)]
pub async fn fetch(
    State(app): State<App>,
    caller: Caller,
    Path((attempt, digest)): Path<(AttemptId, Digest)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.may_anywhere(Action::Work)?;
    let mut tx = app.catalog.read().await?;
    let needed = attempts::may_read(&mut tx, attempt, &digest).await?;
    let bytes = if needed {
        blobs::exists(&mut tx, &digest).await?
    } else {
        None
    };
    drop(tx);
    let offer = Offer {
        digest,
        bytes: bytes.ok_or(BlobError::Missing(digest))?,
        media_type: "application/octet-stream".to_owned(),
        keep: Keep::Immutable,
        mask: None,
    };
    killpoint::reached("server-fetch");
    send(&app, &method, &headers, &offer).await
}

/// Stores a blob of an attempt that still has its job. The bytes must be those of the digest.
#[utoipa::path(
    put, path = "/v1/worker/attempts/{attempt}/blobs/{digest}", tag = "workers",
    operation_id = "store_attempt_blob", params(("attempt" = String, Path), ("digest" = Digest, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = NO_CONTENT), (status = BAD_REQUEST, description = "`digest_mismatch`"),
        (status = CONFLICT, description = "`lease_lost`")
    )
)]
pub async fn store(
    State(app): State<App>,
    caller: Caller,
    Path((attempt, digest)): Path<(AttemptId, Digest)>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    caller.may_anywhere(Action::Work)?;
    // It locks, which a transaction that only reads may not.
    attempts::must_hold(&mut app.catalog.begin().await?, attempt).await?;
    let stream = in_time(body.into_data_stream(), app.config.server.idle_timeout);
    let spooled = app.blobs.spool(stream, LARGEST).await?;
    if spooled.digest() != digest {
        return Err(BlobError::OtherBytes {
            announced: digest,
            found: spooled.digest(),
        }
        .into());
    }
    let mut tx = app.catalog.begin().await?;
    blobs::touch(&mut tx, &digest, spooled.bytes()).await?;
    tx.commit().await?;
    killpoint::reached("server-touched");
    app.blobs.put_spooled(spooled).await?;
    killpoint::reached("server-put");
    let mut tx = app.catalog.begin().await?;
    attempts::uploaded(&mut tx, attempt, &digest).await?;
    tx.commit().await?;
    killpoint::reached("server-uploaded");
    Ok(StatusCode::NO_CONTENT)
}
