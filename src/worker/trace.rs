//! A training written down number by number, for another implementation to follow.

use super::attempt::{AttemptError, AttemptEvents, AttemptInput, decoded};
use crate::train::trace::{Traced, trace};
use crate::train::{Start, Training};

/// Trains from the base, and gives what each step saw and computed. `None` if ordered to stop.
pub(super) fn traced(
    input: &AttemptInput,
    device: tch::Device,
    events: &mut dyn AttemptEvents,
) -> Result<Option<Vec<Traced>>, AttemptError> {
    let Some(images) = decoded(input, events) else {
        return Ok(None);
    };
    let seen = input.preprocessing.seen(&input.view);
    let training = Training {
        base: &input.base,
        images: &images.tiles,
        images_digest: images.snapshot,
        preprocessing: &seen,
        view: &input.view,
        recipe: &input.recipe,
        seed: input.seed,
        start: Start::KeepAll,
        device,
    };
    Ok(Some(trace(&training)?))
}
