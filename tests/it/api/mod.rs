//! The REST API, as people, devices and workers use it: a whole server, its
//! port, and personas that speak to it.

mod access;
mod buckets;
mod channels;
mod deltas;
mod downloads;
mod events;
mod idempotency;
mod images;
mod jobs;
mod openapi;
mod priors;
mod problems;
mod sites;
mod start;
