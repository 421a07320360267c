//! Version 1 of the REST API's JSON: one file per family of endpoints.

pub mod base;
pub mod channels;
pub mod devices;
pub mod events;
pub mod health;
pub mod images;
pub mod jobs;
pub mod masks;
pub mod page;
pub mod priors;
pub mod sites;
pub mod snapshots;
pub mod tokens;
pub mod validation;
pub mod workers;
