//! The database: one file per aggregate, on SQLite or PostgreSQL.
//!
//! Functions take the transaction first; nothing here reads or writes anything
//! but the database. What a person changes is written into the audit trail and
//! told to those who watch ([`events`]) in the same transaction, by the
//! function that changes it: callers record nothing themselves unless its
//! documentation says so. The trap: a writing [`Tx`] of SQLite holds the only
//! writer there is, so never wait for anything else while you hold one.

#[macro_use]
mod dialect;
mod database;
mod error;
mod migrations;
mod paging;
mod tx;

pub mod attempts;
pub mod audit;
pub mod bases;
pub mod blobs;
pub mod channels;
pub mod deltas;
pub mod devices;
pub mod endings;
pub mod events;
pub mod idempotency;
pub mod images;
pub mod jobs;
pub mod leases;
pub mod masks;
pub mod priors;
pub mod rejections;
pub mod sites;
pub mod snapshots;
pub mod tokens;
pub mod validation;
pub mod workers;

pub use database::{Catalog, DatabaseUrl, InvalidDatabaseUrl};
pub use error::CatalogError;
pub use tx::Tx;
