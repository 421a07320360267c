//! What is compared with the base: a mask, or weights.

use super::{JudgeArgs, masked};
use crate::base::{Role, Weights, import};
use crate::domain::View;
use crate::domain::report::TrainingFigures;
use crate::mask::Mask;
use crate::train::Embedder;
use crate::train::experts::embed::Model;
use crate::worker::error::WorkerCommandError;

/// What is compared with the base.
pub(super) struct Rival {
    pub(super) model: Model,
    /// The mask that makes it of the base (a cascade's dispatcher), unless it has weights of its own.
    pub(super) mask: Option<Mask>,
    /// What pictures become before either network sees them.
    pub(super) view: View,
    /// How it differs from the base: what the gate asks of a training.
    pub(super) training: TrainingFigures,
}

impl Rival {
    /// The mask or the weights that the arguments name.
    pub(super) fn of(
        args: &JudgeArgs,
        base: &Weights,
        device: tch::Device,
    ) -> Result<Self, WorkerCommandError> {
        let Some(path) = &args.mask else {
            let path = (args.weights.as_ref()).expect("the arguments ask for a mask or for weights");
            let weights = import(base.architecture, path)?;
            let (mut learned, mut statistics) = (0, 0);
            for (index, (spec, values)) in base.architecture.tensors.iter().zip(&weights.values).enumerate() {
                let differing = (base.values[index].iter().zip(values))
                    .filter(|(a, b)| a != b)
                    .count();
                match spec.role {
                    Role::NormMean | Role::NormVariance => statistics += differing,
                    _ => learned += differing,
                }
            }
            return Ok(Self {
                model: Model::Single(Embedder::new(&weights, device)?),
                mask: None,
                view: args.model.view(None)?,
                training: training(learned, statistics),
            });
        };
        let (artefact, model) = masked(path, base, args.inference, device)?;
        let mask = artefact.mask(base)?;
        Ok(Self {
            training: training(mask.dropped(), mask.own_statistics(base)),
            model,
            view: args.model.view(Some(&artefact.header))?,
            mask: Some(mask),
        })
    }
}

fn training(changed: usize, statistics: usize) -> TrainingFigures {
    TrainingFigures {
        flips: changed as u64,
        own_statistics: statistics as u64,
        moved_statistics: statistics as u64,
        ..TrainingFigures::default()
    }
}
