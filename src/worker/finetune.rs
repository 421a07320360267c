//! A fine-tuning: what a mask is measured against. Not judged, and never for a server.

use super::attempt::{AttemptError, AttemptEvents, AttemptInput, trained};
use super::images::decoded;
use crate::base::Weights;
use crate::train::{Keep, Outcome, Tuned};

/// A fine-tuning that ended.
pub(super) struct FineTuned {
    /// How many pictures it learned from.
    pub(super) images: usize,
    /// The weights, and the losses on the way.
    pub(super) outcome: Outcome<Weights>,
}

/// Trains the weights themselves. `None` if ordered to stop.
pub(super) fn finetune(
    input: &AttemptInput,
    device: tch::Device,
    events: &mut dyn AttemptEvents,
) -> Result<Option<FineTuned>, AttemptError> {
    let Some(images) = decoded(input, events) else {
        return Ok(None);
    };
    let keep = Keep {
        every: input.checkpoint_every,
        last: false,
    };
    let outcome = trained::<Tuned>(input, &images, device, &input.resume, keep, events)?;
    let images = images.digests.len();
    Ok((!outcome.stopped).then_some(FineTuned { images, outcome }))
}
