//! Releases: moving channels, and where they point.

pub mod channels;
pub mod pointers;

pub use channels::{ReleaseError, set_channel};
pub use pointers::{Pointer, Pointers};
