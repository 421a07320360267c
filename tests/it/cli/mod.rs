//! The commands for people, over the real executable against a real server.

#[cfg(feature = "worker")]
mod demo;
mod images;
mod jobs;
pub mod server;
mod sites;

use server::Server;
