//! `Idempotency-Key`: a POST that is sent twice is done once and answered
//! twice the same.
//!
//! Only requests with a JSON body need it. Uploads may carry a key, but they
//! are known by their content anyway: what is there already is a duplicate.

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use super::caller::Caller;
use super::error::ApiError;
use super::extract::Json;
use super::state::App;
use super::{JSON_BYTES, error};
use crate::catalog::CatalogError;
use crate::catalog::idempotency::{self, Seen};
use crate::domain::{Digest, Digester, TokenId};
use crate::wire::problem::ProblemDocument;

/// The header with the key.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says on an answer that it was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Most bytes of a key.
const LONGEST: usize = 255;

/// An answer with a secret in it: it is never stored.
pub struct ShownOnce<T>(pub T);

/// Marks the answer of [`ShownOnce`].
#[derive(Clone, Copy)]
struct Secret;

impl<T: Serialize> IntoResponse for ShownOnce<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        response.extensions_mut().insert(Secret);
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Does a POST with a key once.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    match keyed(&request) {
        Ok(None) => next.run(request).await,
        Ok(Some(key)) => once(app, key, request, next)
            .await
            .unwrap_or_else(IntoResponse::into_response),
        Err(error) => error.into_response(),
    }
}

/// The key, if the request is one that needs it.
fn keyed(request: &Request) -> Result<Option<String>, ApiError> {
    let json = |headers: &HeaderMap| {
        headers
            .get(header::CONTENT_TYPE)
            .is_none_or(|value| value.as_bytes().starts_with(b"application/json"))
    };
    if request.method() != Method::POST || !json(request.headers()) {
        return Ok(None);
    }
    let Some(value) = request.headers().get(KEY) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if (1..=LONGEST).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(ApiError::invalid(
            "idempotency_key_invalid",
            "`Idempotency-Key` takes 1 to 255 printable ASCII characters",
        )),
    }
}

async fn once(app: App, key: String, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &app).await?;
    let body = axum::body::to_bytes(body, JSON_BYTES).await.map_err(|_| {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the body is larger than this endpoint takes, or broke off",
        )
    })?;
    let token = caller.0.token;
    let digest = digest(&parts.method, parts.uri.path(), &body);
    let mut tx = app.catalog.begin().await?;
    let seen = idempotency::begin(&mut tx, token, &key, &digest).await?;
    tx.commit().await?;
    match seen {
        Seen::Replay { status, answer } => Ok(replay(status, answer)),
        Seen::Conflict => Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "this `Idempotency-Key` was used for another request; take a new one",
        )),
        Seen::InProgress => Err(ApiError::new(
            StatusCode::CONFLICT,
            "idempotency_in_progress",
            "the first request with this `Idempotency-Key` is not answered yet; ask again in a moment",
        )),
        Seen::Fresh => {
            let request = Request::from_parts(parts, Body::from(body));
            // A tracked task: a client that leaves must not leave a key that nobody answers.
            let tasks = app.tasks.clone();
            let done = tasks.spawn(async move {
                let response = next.run(request).await;
                remember(&app, token, &key, response).await
            });
            done.await
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        }
    }
}

fn digest(method: &Method, path: &str, body: &Bytes) -> Digest {
    let mut digester = Digester::default();
    for part in [method.as_str().as_bytes(), path.as_bytes(), body] {
        digester.update(&(part.len() as u64).to_le_bytes());
        digester.update(part);
    }
    digester.finish()
}

/// Stores an answer, except of faults of the server, which may be tried again.
async fn remember(app: &App, token: TokenId, key: &str, response: Response) -> Result<Response, ApiError> {
    let status = response.status();
    let secret = response.extensions().get::<Secret>().is_some();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|_| {
        error::ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed")
    })?;
    let stored = async {
        let mut tx = app.catalog.begin().await?;
        let again = status.is_server_error()
            || matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            );
        if again {
            idempotency::forget(&mut tx, token, key).await?;
        } else {
            let answer = if secret {
                ""
            } else {
                std::str::from_utf8(&body).unwrap_or_default()
            };
            idempotency::finish(&mut tx, token, key, status.as_u16(), answer).await?;
        }
        tx.commit().await
    };
    // The request was done: its answer goes out even if it could not be remembered.
    if let Err(error) = stored.await {
        let error: CatalogError = error;
        tracing::error!(%error, "an answer could not be remembered for its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(status: u16, answer: String) -> Response {
    if answer.is_empty() {
        return ApiError::new(
            StatusCode::CONFLICT,
            "secret_shown_once",
            "this request was done, and its secret was shown then; revoke the token and make a new one",
        )
        .into_response();
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let replayed = [(REPLAYED, HeaderValue::from_static("true"))];
    // A problem goes the way of all problems, and gets this request's identifier.
    match serde_json::from_str::<ProblemDocument>(&answer) {
        Ok(document) if !status.is_success() => (replayed, error::rendered(status, document)).into_response(),
        _ => {
            let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (status, replayed, media_type, answer).into_response()
        }
    }
}
