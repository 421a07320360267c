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
pub mod cli;
pub mod domain;
pub mod evaluate;
pub mod mask;
pub mod wire;
