//! The edge: what keeps the model of a device the one that its channel names.
//!
//! A device has a folder. [`pull`] fetches the base once and then only masks,
//! [`delta`] and [`prior`] take no more bytes for one than needed, [`verify`] believes nothing of them, [`apply`] makes models of them,
//! [`slots`] keeps the models and switches between them, [`agent`] does all of
//! this again and again, [`report`] tells people and the server.
//!
//! The one rule: whatever happens, a power cut included, `current` in the
//! folder names a whole model or does not exist yet. So a model is written,
//! flushed and checked before the symbolic link is renamed onto it, and
//! nothing that `current` names is written in place.

pub mod agent;
pub mod apply;
pub mod delta;
mod error;
pub mod prior;
pub mod pull;
pub mod report;
pub mod slots;
pub mod state;
pub mod verify;

pub use agent::{Agent, AgentSettings};
pub use delta::Fetched;
pub use error::EdgeError;
pub use pull::{Outcome, Puller, Source};
pub use report::Status;
pub use slots::{DeviceFolder, Slot};
pub use state::{Held, Release, State};
