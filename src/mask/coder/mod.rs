//! How the bits of a mask are stored: coded with what the decoder holds
//! already. `docs/mask-format.md` specifies every number in here.
//!
//! - [`range`], [`logistic`], [`adaptive`]: arithmetic coding in integers;
//! - [`frozen`], [`levels`]: what frozen weights and earlier bits say about a bit;
//! - [`walk`]: the order of the bits, and what is certain; one for reading, writing and costing;
//! - [`mixing`], [`table`]: the models of the levels `best` and `fast`;
//! - [`counts`], [`payload`]: how many, and the bytes;
//! - [`statistics`]: what else a recipe may move.

mod adaptive;
mod counts;
mod frozen;
mod levels;
mod logistic;
mod mixing;
mod payload;
mod range;
mod statistics;
mod table;
mod walk;

pub(super) use frozen::{Input, Leaning, Plane, odds};
pub(super) use payload::{Payload, encode};
pub(super) use statistics::{Moved, decode as decode_statistics, encode as encode_statistics};

/// How much work goes into small size. Every reader reads both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// `Fast`, unless `Best` is smaller by more than a factor of 1.15.
    #[default]
    Auto,
    /// One table of counters: some 10 ns a weight.
    Fast,
    /// Eight contexts, mixed: some 70 ns a weight, and a tenth smaller.
    Best,
}

/// The bytes are no payload for these planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;
