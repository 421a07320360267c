//! What a training sees and what comes of it, number by number: so that another
//! implementation can follow the same steps and be compared.

use std::time::Duration;

use super::augment::multi_crop;
use super::backbone::DropConnect;
use super::head::Head;
use super::scores::Scores;
use super::session::{Event, Keep, Training, train};
use super::{TrainError, moments, random};
use crate::base::architecture::Plan;
use crate::domain::job::Order;

/// A tensor of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// Its name, see [`trace`].
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

/// Trains a mask and writes down, each as a tensor:
/// - `head.N`: parameter N of the projection head before the first step (linear,
///   BatchNorm, linear, prototypes);
/// - `large.S`, `small.S`: the crops of step S, `[crops * batch, 3, size, size]`, crop by crop;
/// - `drop.S.P.B`: what stochastic depth multiplies block B by in pass P (0: the
///   large crops) of step S, `[crops * batch]`; absent without it;
/// - `losses` and `dropped`, `[steps]`: the loss of each step, and the weights dropped after it.
pub fn trace(training: &Training) -> Result<Vec<Traced>, TrainError> {
    let Training {
        base,
        images,
        recipe,
        seed,
        preprocessing,
        view,
        ..
    } = *training;
    let (steps, batch) = (recipe.schedule.steps, recipe.schedule.batch);
    let (trains, _) = moments::split(recipe.selection.as_ref(), images.len(), view.tiles.count());
    let mut traced = Vec::new();
    let mut put = |name: String, shape: Vec<usize>, values: Vec<f32>| {
        traced.push(Traced { name, shape, values });
    };
    let head = Head::new(&recipe.head, base.architecture.embedding_dim, seed);
    for (at, (shape, values)) in head.parameters().enumerate() {
        put(format!("head.{at}"), shape.to_vec(), values.to_vec());
    }
    let (mut losses, mut dropped) = (Vec::new(), Vec::new());
    let keep = Keep {
        every: Duration::MAX,
        last: false,
    };
    train::<Scores>(training, None, keep, &mut |event| {
        if let Event::Step(progress) = event {
            losses.push(progress.loss as f32);
            dropped.push(progress.dropped.unwrap_or(0) as f32);
        }
        Order::Continue
    })?;
    for step in 0..steps {
        let drawn = random::batch(seed, step, trains.len(), batch);
        let drawn: Vec<usize> = drawn.iter().map(|image| trains[*image]).collect();
        let crops = multi_crop(images, &drawn, &recipe.augment, preprocessing, seed, step);
        for (pass, (name, crops)) in ["large", "small"].into_iter().zip(crops).enumerate() {
            let (views, size) = (crops.count * batch, crops.size as usize);
            put(format!("{name}.{step}"), vec![views, 3, size, size], crops.values);
            let drop = DropConnect {
                rate: recipe.swav.drop_connect,
                seed,
                place: [u64::from(step), pass as u64],
            };
            let Plan::EfficientNetLite { stages } = &base.architecture.plan else {
                continue;
            };
            let blocks = stages.iter().flatten().count();
            for block in (1..blocks).filter(|_| drop.rate > 0.0 && views > 0) {
                let factors = drop.factors(drop.rate_at(block, blocks), block, views);
                put(format!("drop.{step}.{pass}.{block}"), vec![views], factors);
            }
        }
    }
    put("losses".to_owned(), vec![losses.len()], losses);
    put("dropped".to_owned(), vec![dropped.len()], dropped);
    Ok(traced)
}
