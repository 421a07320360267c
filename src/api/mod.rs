//! The server's surface: REST and gRPC on one port.
//!
//! What lives here: routes, who may call them ([`caller`]), how errors leave
//! ([`error`]), the process around it ([`start`](mod@start)). What does not:
//! rules and storage; a handler authorises, calls one function and answers.
//! [`Caller`] is the only way in: a handler without it is public by design.

pub mod background;
pub mod bases;
pub mod blocking;
pub mod caller;
pub mod children;
pub mod dashboard;
pub mod deltas;
pub mod error;
pub mod extract;
pub mod grpc;
pub mod idempotency;
pub mod listener;
pub mod observe;
pub mod openapi;
pub mod order;
pub mod priors;
pub mod rest;
pub mod secret;
pub mod start;
pub mod state;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;

pub use caller::Caller;
pub use error::ApiError;
pub use start::{Running, StartError, start};
pub use state::App;

/// Most bytes of a JSON body. Uploads count for themselves.
pub const JSON_BYTES: usize = 1 << 20;

/// Everything that the server answers.
pub fn router(app: &App) -> Router {
    let (rest, document) = rest::routes();
    let limit = GlobalConcurrencyLimitLayer::new(app.config.server.concurrent_requests);
    let rest = rest
        .layer(axum::middleware::from_fn_with_state(
            app.clone(),
            idempotency::layer,
        ))
        .layer(DefaultBodyLimit::max(JSON_BYTES))
        .layer(limit)
        .merge(rest::unlimited(document))
        .with_state(app.clone());
    // One port: the workers' protocol and the dashboard are merged here.
    rest.merge(grpc::routes(app))
        .merge(dashboard::routes())
        .fallback(observe::nothing_here)
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(axum::middleware::from_fn_with_state(app.clone(), observe::layer))
}
