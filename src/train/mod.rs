//! Training: learns, without labels, which weights of a frozen base to keep
//! (or, to compare, moves the weights themselves: [`learner`]).
//!
//! The method is Self-Masking Networks (arXiv 2409.07577) with the objective
//! of SwAV (arXiv 2006.09882). libtorch computes the network and its
//! gradients; scores, their update and the masking of weights are plain Rust
//! ([`scores`]), so that every device gives the mask the same arithmetic.
//! Only this module, and what is behind feature `worker`, uses `tch`.

pub mod augment;
pub mod backbone;
pub mod checkpoint;
mod colours;
pub mod device;
pub mod embed;
mod error;
pub mod experts;
mod feed;
pub mod final_scores;
#[cfg(test)]
pub mod generated;
mod head;
pub mod learner;
mod loss_scale;
pub mod moments;
pub mod random;
pub mod recipe;
pub mod scores;
mod sealed;
mod selection;
pub mod session;
pub mod sinkhorn;
mod step;
mod swav;
pub mod trace;
pub mod tuned;

pub use embed::Embedder;
pub use error::{TrainError, panic_text};
pub use final_scores::FinalScores;
pub use learner::Learner;
pub use recipe::Recipe;
pub use scores::{Scores, TrainedMask};
pub use session::{Event, Keep, Outcome, Start, Training, train};
pub use tuned::Tuned;
