//! Types and rules of the domain, without any I/O.
//!
//! What lives here can be tested by calling it: identifiers, digests, time,
//! the gate, the report. What reads a file, a socket or a database does not.

pub mod channel;
pub mod clock;
pub mod delta;
pub mod digest;
pub mod error;
pub mod gate;
pub mod groups;
pub mod health;
pub mod ids;
pub mod image;
pub mod job;
pub mod kpi;
pub mod permission;
pub mod placement;
pub mod prior;
pub mod reason;
pub mod report;
pub mod robust;
pub mod snapshot;
pub mod validation;
pub mod view;

pub use clock::Timestamp;
pub use digest::{Digest, Digester};
pub use error::{ErrorKind, Problem};
pub use ids::{ChannelName, DeviceId, InvalidName, JobId, MaskVersion, SiteName, SnapshotId, TokenId};
pub use job::AttemptId;
pub use validation::{Split, ValidationVersion};
pub use view::View;
