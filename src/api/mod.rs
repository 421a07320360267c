//! The server's side of every network interface.

pub mod dashboard;
