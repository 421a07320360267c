//! A training written down number by number, for another implementation to follow.

use super::attempt::{AttemptError, AttemptEvents, AttemptInput, training};
use super::images::decoded;
use crate::train::Start;
use crate::train::trace::{Traced, trace};

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
    let training = training(input, &images, &seen, Start::KeepAll, device);
    Ok(Some(trace(&training)?))
}
