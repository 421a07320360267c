//! How good embeddings are, and whether a mask's are better than its base's.
//!
//! Plain functions of embeddings and labels: no network, no files. Base and
//! mask are always compared on the same images ([`paired`]).

pub mod knn;
pub mod paired;
