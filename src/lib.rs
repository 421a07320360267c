//! Katagami adapts one frozen vision foundation model to many factories.
//!
//! Each factory ("site") sends unlabeled images; the service learns which of
//! the frozen weights to keep for it, a binary [`mask`]; the site's devices
//! pull that mask and lay it over the [`base`] that they already hold.
//!
//! `ARCHITECTURE.md` maps the modules and says which may use which.

#[cfg(feature = "server")]
pub mod api;
pub mod base;
#[cfg(feature = "server")]
pub mod blobs;
#[cfg(feature = "server")]
pub mod catalog;
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod companion;
#[cfg(feature = "server")]
pub mod config;
pub mod domain;
#[cfg(feature = "edge")]
pub mod edge;
pub mod evaluate;
pub mod folders;
#[cfg(feature = "server")]
pub mod intake;
pub mod killpoint;
pub mod mask;
#[cfg(feature = "server")]
pub mod release;
#[cfg(feature = "server")]
pub mod scheduler;
#[cfg(feature = "server")]
pub mod telemetry;
pub mod wire;
