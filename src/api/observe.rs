//! The outermost layer: request identifiers, log lines, metrics, and the last
//! word on error answers.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;

use super::error::{ApiError, rendered};
use super::state::App;
use crate::telemetry::metrics::RequestLabels;
use crate::wire::problem::ProblemDocument;

/// The header that names a request, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names, times and counts a request, and gives error answers their document.
pub async fn layer(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = identifier(&request);
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    if let Ok(value) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(REQUEST_ID, value);
    }
    let span = tracing::info_span!("request", %id, %method, path = request.uri().path());
    let began = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let seconds = began.elapsed().as_secs_f64();
    app.metrics.latency.observe(seconds);
    app.metrics
        .requests
        .get_or_create(&RequestLabels {
            method: method.to_string(),
            route,
            status: response.status().as_u16(),
        })
        .inc();
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), seconds, "answered"));
    named(documented(response, &id), &id)
}

/// The client's identifier if it is one, else a new one.
fn identifier(request: &Request) -> String {
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let usable = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    given
        .filter(usable)
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn named(mut response: Response, id: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Error answers of handlers with the request's identifier; those of the
/// framework (405, 413 …), which have no document, with one.
fn documented(response: Response, id: &str) -> Response {
    let status = response.status();
    let (parts, body) = response.into_parts();
    let known = parts.extensions.get::<ProblemDocument>().cloned();
    let grpc = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let fails = status.is_client_error() || status.is_server_error();
    let document = match known {
        Some(document) => document,
        None if fails && !grpc => of_status(status),
        None => return Response::from_parts(parts, body),
    };
    let document = ProblemDocument {
        request: Some(id.to_owned()),
        ..document
    };
    let mut answer = rendered(status, document);
    for (name, value) in &parts.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

fn of_status(status: StatusCode) -> ProblemDocument {
    let (code, detail) = match status {
        StatusCode::METHOD_NOT_ALLOWED => (
            "method_not_allowed",
            "this address does not take that method; /openapi.json lists what there is",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is larger than this endpoint takes"),
        _ => ("request_failed", "the request was refused"),
    };
    ProblemDocument {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail: detail.to_owned(),
        request: None,
    }
}

/// The answer where no route is.
pub async fn nothing_here(request: Request) -> Response {
    let grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        return tonic::Status::unimplemented("there is no such method").into_http();
    }
    ApiError::not_found(
        "no_such_route",
        "there is nothing at this address; /openapi.json lists what there is",
    )
    .into_response()
}

/// The answer of a handler that panicked.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked");
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the server failed; its log has more under the request's identifier",
    )
    .into_response()
}
