//! One training, from the base to a mask.

use std::f64::consts::PI;

use image::RgbImage;
use tch::Tensor;

use super::augment::{Crops, multi_crop};
use super::backbone::{self, DropConnect, tensor};
use super::embed::values;
use super::head::Head;
use super::recipe::Recipe;
use super::scores::Scores;
use super::{TrainError, random, sinkhorn};
use crate::base::{Preprocessing, Weights};
use crate::mask::Mask;

/// Where a training is; told after each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done, warm-up counted.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// The loss of this step.
    pub loss: f64,
    /// Weights dropped now.
    pub dropped: usize,
}

/// What a training leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The mask.
    pub mask: Mask,
    /// The loss of each step, warm-up counted.
    pub losses: Vec<f64>,
}

/// Trains a mask for `base` on `images`. Same base, images in the same order,
/// recipe, seed and execution profile: same mask, bit for bit.
pub fn train(
    base: &Weights,
    images: &[RgbImage],
    preprocessing: &Preprocessing,
    recipe: &Recipe,
    seed: u64,
    device: tch::Device,
    told: &mut dyn FnMut(Progress),
) -> Result<Outcome, TrainError> {
    if images.len() < recipe.schedule.batch {
        return Err(TrainError::TooFewImages {
            given: images.len(),
            needed: recipe.schedule.batch,
        });
    }
    let masked = recipe.masked_tensors(base.architecture);
    let mut session = Session {
        base,
        recipe,
        seed,
        device,
        tensors: backbone::tensors(base, device)?,
        scores: Scores::keeping_all(base, &masked),
        head: Head::new(&recipe.head, base.architecture.embedding_dim, seed),
    };
    let steps = recipe.schedule.steps;
    let mut losses = Vec::with_capacity(steps as usize);
    for step in 0..steps {
        let batch = random::batch(seed, step, images.len(), recipe.schedule.batch);
        let crops = multi_crop(images, &batch, &recipe.augment, preprocessing, seed, step);
        let loss = session.step(step, &crops)?;
        if !loss.is_finite() {
            return Err(TrainError::Diverged { step, loss });
        }
        losses.push(loss);
        told(Progress {
            step: step + 1,
            steps,
            loss,
            dropped: session.scores.mask().dropped(),
        });
    }
    Ok(Outcome {
        mask: session.scores.mask(),
        losses,
    })
}

struct Session<'a> {
    base: &'a Weights,
    recipe: &'a Recipe,
    seed: u64,
    device: tch::Device,
    /// The base's tensors on the device.
    tensors: Vec<Tensor>,
    scores: Scores,
    head: Head,
}

impl Session<'_> {
    /// One step; answers its loss.
    fn step(&mut self, step: u32, crops: &[Crops; 2]) -> Result<f64, TrainError> {
        let schedule = &self.recipe.schedule;
        let head = self.head.leaves(self.device)?;
        let masked_step = step.checked_sub(schedule.warm_up);
        let mut leaves = Vec::new();
        let embeddings = if masked_step.is_some() {
            let mut tensors: Vec<Tensor> = self.tensors.iter().map(Tensor::shallow_clone).collect();
            for (index, weights) in self.scores.masked(self.base)? {
                let shape = &self.base.architecture.tensors[index].shape;
                // A fresh leaf each step: libtorch gives ∂L/∂W, the rest is ours.
                let leaf = tensor(&weights, shape, self.device)?.f_set_requires_grad(true)?;
                tensors[index] = leaf.shallow_clone();
                leaves.push(leaf);
            }
            self.embed(&tensors, step, crops)?
        } else {
            tch::no_grad(|| self.embed(&self.tensors, step, crops))?
        };
        let similarities = Head::similarities(&head, &embeddings)?;
        let loss = self.swapped_prediction(&similarities, crops)?;

        let masked = leaves.len();
        leaves.extend(head);
        let gradients = Tensor::f_run_backward(&[&loss], &leaves, false, false)?;
        let gradients = gradients.iter().map(values).collect::<Result<Vec<_>, _>>()?;
        if let Some(masked_step) = masked_step {
            let rule = &self.recipe.mask;
            let learning = schedule.steps - schedule.warm_up;
            let rate = rule.rate * 0.5 * (1.0 + (PI * f64::from(masked_step) / f64::from(learning)).cos());
            self.scores.step(self.base, &gradients[..masked], rule, rate)?;
        }
        self.head.step(
            &gradients[masked..],
            &self.recipe.head,
            step < schedule.prototypes_frozen,
        );
        Ok(loss.f_double_value(&[])?)
    }

    /// Embeddings `[views, dim]` of all crops, the large ones first.
    fn embed(&self, tensors: &[Tensor], step: u32, crops: &[Crops; 2]) -> Result<Tensor, TrainError> {
        let mut embeddings = Vec::new();
        for (pass, crops) in crops.iter().enumerate().filter(|(_, crops)| crops.count > 0) {
            let size = crops.size as usize;
            let shape = [crops.values.len() / (3 * size * size), 3, size, size];
            let input = tensor(&crops.values, &shape, self.device)?;
            let drop = DropConnect {
                rate: self.recipe.swav.drop_connect,
                seed: self.seed,
                place: [u64::from(step), pass as u64],
            };
            embeddings.push(backbone::embed(
                self.base.architecture,
                tensors,
                &input,
                Some(drop),
            )?);
        }
        Ok(Tensor::f_cat(&embeddings, 0)?)
    }

    /// SwAV's loss (§3.1): the code of each large crop, predicted from every other crop of the image.
    fn swapped_prediction(&self, similarities: &Tensor, crops: &[Crops; 2]) -> Result<Tensor, TrainError> {
        let rule = &self.recipe.swav;
        let (batch, prototypes) = (self.recipe.schedule.batch, self.recipe.head.prototypes);
        let (large, views) = (crops[0].count, crops[0].count + crops[1].count);
        let of_view = |view: usize| similarities.f_narrow(0, (view * batch) as i64, batch as i64);
        let mut predictions = Vec::with_capacity(views);
        for view in 0..views {
            predictions.push(
                of_view(view)?
                    .f_div_scalar(rule.temperature)?
                    .f_log_softmax(1, None)?,
            );
        }
        let mut terms = Vec::new();
        for code in 0..large {
            let similarities = values(&of_view(code)?.f_detach()?)?;
            let codes = sinkhorn::codes(&similarities, prototypes, rule.epsilon, rule.rounds);
            let codes = tensor(&codes, &[batch, prototypes], self.device)?;
            for (_, prediction) in predictions.iter().enumerate().filter(|(view, _)| *view != code) {
                let agreement = codes.f_mul(prediction)?.f_sum_dim_intlist(1_i64, false, None)?;
                terms.push(agreement.f_mean(None)?.f_neg()?);
            }
        }
        Ok(Tensor::f_stack(&terms, 0)?.f_mean(None)?)
    }
}
