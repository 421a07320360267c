//! From upload streams to checked images.

pub mod phash;
