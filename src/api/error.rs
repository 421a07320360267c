//! How errors leave the server: problem documents on REST, statuses on gRPC.
//!
//! Modules name a kind and a code ([`Problem`]); only here do kinds become
//! statuses. What is the server's own fault is logged and not shown.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::domain::{ErrorKind, Problem};
use crate::wire::problem::{MEDIA_TYPE, ProblemDocument};

/// What every handler fails with: status, code and one sentence.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    headers: HeaderMap,
}

impl<E: Problem> From<E> for ApiError {
    fn from(error: E) -> Self {
        let kind = error.kind();
        let detail = match kind {
            ErrorKind::Internal => {
                tracing::error!(code = error.code(), error = %Chain(&error), "a request failed");
                "the server failed; its log has more under the request's identifier".to_owned()
            }
            _ => error.to_string(),
        };
        Self::new(status_of(kind), error.code(), detail)
    }
}

impl ApiError {
    /// An error that only HTTP knows.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        Self {
            status,
            code,
            detail: detail.into(),
            headers,
        }
    }

    /// A wrong request.
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// Nothing there.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Its stable code.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// Its sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Its status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    fn document(&self) -> ProblemDocument {
        ProblemDocument {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail.clone(),
            request: None,
        }
    }
}

/// Answers `document` as a body; the outermost layer writes it again with the request's identifier.
pub(super) fn rendered(status: StatusCode, document: ProblemDocument) -> Response {
    let body = serde_json::to_vec(&document).expect("a problem document is plain data");
    let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
    response.extensions_mut().insert(document);
    response
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = rendered(self.status, self.document());
        response.headers_mut().extend(self.headers);
        response
    }
}

/// The status of a kind.
pub const fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The metadata entry that carries the code on gRPC.
pub const GRPC_CODE: &str = "katagami-code";

impl From<ApiError> for tonic::Status {
    fn from(error: ApiError) -> Self {
        let code = match error.status {
            StatusCode::UNAUTHORIZED => tonic::Code::Unauthenticated,
            StatusCode::FORBIDDEN => tonic::Code::PermissionDenied,
            StatusCode::NOT_FOUND => tonic::Code::NotFound,
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => tonic::Code::FailedPrecondition,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => tonic::Code::ResourceExhausted,
            StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
            status if status.is_client_error() => tonic::Code::InvalidArgument,
            _ => tonic::Code::Internal,
        };
        let mut status = Self::new(code, error.detail);
        status
            .metadata_mut()
            .insert(GRPC_CODE, tonic::metadata::MetadataValue::from_static(error.code));
        status
    }
}

/// An error and what caused it, in one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the password is hunter2")]
    struct Broken;

    impl Problem for Broken {
        fn kind(&self) -> ErrorKind {
            ErrorKind::Internal
        }

        fn code(&self) -> &'static str {
            "broken"
        }
    }

    #[test]
    fn what_is_the_servers_fault_is_not_shown() {
        let error = ApiError::from(Broken);
        assert_eq!((error.status.as_u16(), error.code()), (500, "broken"));
        assert!(!error.detail().contains("hunter2"));
        let status = tonic::Status::from(error);
        assert_eq!(status.code(), tonic::Code::Internal);
        assert_eq!(status.metadata().get(GRPC_CODE).unwrap(), "broken");
    }
}
