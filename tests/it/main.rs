//! What a user sees, over the real executables. One binary, so that
//! everything is linked once.

#[cfg(feature = "server")]
mod api;
mod architecture;
mod artefact;
#[cfg(feature = "server")]
#[path = "../support/backend.rs"]
mod backend;
mod base;
#[cfg(feature = "server")]
mod blobs;
#[cfg(feature = "server")]
mod catalog;
#[cfg(all(feature = "edge", feature = "server"))]
mod cli;
#[cfg(all(feature = "edge", feature = "server", feature = "worker"))]
mod deploy;
#[cfg(all(feature = "edge", feature = "server"))]
mod edge;
#[cfg(feature = "worker")]
mod embeddings;
mod executables;
mod format;
#[cfg(feature = "server")]
mod intake;
#[cfg(all(feature = "server", feature = "worker"))]
mod judge;
mod kill;
#[cfg(feature = "server")]
#[path = "../support/postgres.rs"]
mod postgres;
#[cfg(feature = "worker")]
mod robustness;
#[cfg(feature = "server")]
#[path = "../support/server.rs"]
mod server;
mod setup;
#[cfg(all(feature = "edge", feature = "server", feature = "worker"))]
mod site_view;
#[cfg(feature = "server")]
#[path = "../support/s3.rs"]
mod store;
mod support;
#[cfg(all(feature = "edge", feature = "server", feature = "worker"))]
mod tls;
#[cfg(feature = "worker")]
mod view;
#[cfg(feature = "worker")]
mod worker;
#[cfg(feature = "server")]
mod worker_protocol;
