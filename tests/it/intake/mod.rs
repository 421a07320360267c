//! From upload streams to images, labelled sets and snapshots, on both
//! databases and both kinds of stores.

mod collected;
mod health;
mod hostile;
mod labelled;
mod memory;
mod snapshots;
mod uploads;
pub mod world;
