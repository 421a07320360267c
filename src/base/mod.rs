//! The base: a frozen foundation model with its preprocessing and licence.
//!
//! What lives here: the tables of architectures, reading weights from files
//! of others, the canonical form and its digest, preprocessing. What does
//! not: running the network (`train::backbone`), masks (`mask`).

pub mod architecture;
mod checkpoint;
pub mod import;
mod jpeg;
mod naming;
mod overlay;
mod pickle;
pub mod preprocessing;
mod reads;
pub mod store;
mod weights;

pub use architecture::{Architecture, Role, TensorSpec, architecture};
pub use import::{ImportError, import};
pub use overlay::overlay_safetensors;
pub use preprocessing::Preprocessing;
pub use store::{About, BaseStore, Manifest, StoreError};
pub use weights::{Weights, write_atomically, write_safetensors};
