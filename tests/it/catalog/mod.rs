//! The catalog, on both databases.

mod blobs;
mod channels;
mod credentials;
mod deltas;
mod events;
mod images;
mod leases;
mod machine;
mod schema;
mod sites;
mod world;
