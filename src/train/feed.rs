//! The way of a step's crops onto the device, one step ahead of the network.
//!
//! This is the only place that knows how a batch gets there. On a CPU it is where it is; for a card it
//! is laid into pinned memory, which the card reads by itself, and the copy is only ordered: nobody waits
//! for it but the card. No events are needed. libtorch gives all threads the same stream of orders, so what
//! the network does with a batch comes after its copy, and it keeps pinned memory until its copy is done.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use tch::{Kind, Tensor};

use super::augment::{Crops, multi_crop};
use super::session::Training;
use super::{TrainError, random};

/// Crops of one size of a step, on the device.
pub(super) struct Batch {
    /// `[count * batch, 3, size, size]`, float32, normalised; crop by crop, within a crop image by image.
    pub(super) input: Tensor,
    /// How many of each image.
    pub(super) count: usize,
}

/// The large and the small crops of a step.
pub(super) type Drawn = Result<[Batch; 2], TrainError>;

/// Draws the crops of the images `trains` from step `first` on, while the network is busy with the step
/// before. Nothing waits in the channel itself, so at most one step's crops lie ready.
pub(super) fn ahead<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    training: Training<'env>,
    trains: &'env [usize],
    first: u32,
) -> Receiver<Drawn> {
    let Training {
        base,
        images,
        preprocessing,
        recipe,
        seed,
        device,
        ..
    } = training;
    let (steps, batch) = (recipe.schedule.steps, recipe.schedule.batch);
    let augment = recipe.augment.clone().in_patches(base.architecture.patch());
    let (send, receive) = sync_channel(0);
    scope.spawn(move || {
        for step in first..steps {
            let drawn = random::batch(seed, step, trains.len(), batch);
            let batch: Vec<usize> = drawn.iter().map(|image| trains[*image]).collect();
            let [large, small] = multi_crop(images, &batch, &augment, preprocessing, seed, step);
            let there = onto(large, device).and_then(|large| Ok([large, onto(small, device)?]));
            // Nobody listens any more: the training has ended.
            if send.send(there).is_err() {
                break;
            }
        }
    });
    receive
}

/// Lays crops onto the device. Takes them, so that they do not lie in memory twice.
fn onto(crops: Crops, device: tch::Device) -> Result<Batch, TrainError> {
    let Crops { values, size, count } = crops;
    let size = size as usize;
    let shape = [values.len() / (3 * size * size), 3, size, size].map(|length| length as i64);
    let here = Tensor::f_from_slice(&values)?.f_reshape(shape)?;
    let here = if device.is_cuda() {
        here.f_pin_memory(device)?
    } else {
        here
    };
    Ok(Batch {
        input: here.f_to_dtype_layout((Kind::Float, device), true, false)?,
        count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::embed::values;

    #[test]
    fn what_lies_on_the_device_is_what_was_drawn() {
        let drawn: Vec<f32> = (0..2 * 3 * 2 * 2).map(|n| n as f32).collect();
        let crops = Crops {
            values: drawn.clone(),
            size: 2,
            count: 2,
        };
        let batch = onto(crops, tch::Device::Cpu).unwrap();
        assert_eq!((batch.input.size(), batch.count), (vec![2, 3, 2, 2], 2));
        assert_eq!(values(&batch.input).unwrap(), drawn);
        let none = Crops {
            values: Vec::new(),
            size: 2,
            count: 0,
        };
        assert_eq!(onto(none, tch::Device::Cpu).unwrap().input.size(), [0, 3, 2, 2]);
    }
}
