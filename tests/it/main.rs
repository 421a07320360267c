//! What a user sees, over the real executables. One binary, so that
//! everything is linked once.

mod architecture;
mod artefact;
mod base;
#[cfg(all(feature = "edge", feature = "server"))]
mod edge;
#[cfg(feature = "worker")]
mod embeddings;
mod executables;
mod support;
#[cfg(feature = "worker")]
mod worker;
