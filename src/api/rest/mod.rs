//! REST: the route tables.

pub mod download;
pub mod health;
pub mod idle;
pub mod range;
pub mod upload;
pub mod v1;

use std::sync::Arc;

use axum::{Extension, Router};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::openapi::{self, Document};
use super::state::App;

/// What needs a token, and the document that describes it.
pub fn routes() -> (Router<App>, OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(v1::routes())
        .split_for_parts();
    let (_, health) = health_routes().split_for_parts();
    document.merge(health);
    openapi::tell_apart(&mut document);
    (router, document)
}

fn health_routes() -> OpenApiRouter<App> {
    use utoipa_axum::routes;
    OpenApiRouter::new()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(openapi::show))
}

/// What is asked for without a token and must answer however busy the server is.
pub fn unlimited(document: OpenApi) -> Router<App> {
    let (router, _) = health_routes().split_for_parts();
    router.layer(Extension(Arc::new(document)))
}
