//! The state of a training between two steps, and one step.

use std::time::Instant;

use tch::Tensor;

use super::TrainError;
use super::backbone::{self, DropConnect, Mode, tensor};
use super::checkpoint::State;
use super::embed::values;
use super::feed::Batch;
use super::head::Head;
use super::learner::{At, Learner};
use super::loss_scale::LossScale;
use super::moments::{Moment, Selection};
use super::recipe::{Norms, Precision, Recipe};
use super::session::{Outcome, Start, Training};
use super::swav::{self, Queue, Views};
use crate::base::{Role, Weights};

pub(super) struct Session<'a, L> {
    base: &'a Weights,
    recipe: &'a Recipe,
    seed: u64,
    device: tch::Device,
    /// The base's tensors on the device. Those of BatchNorm's statistics are
    /// the state's own: a parent's, or moved in place.
    tensors: Vec<Tensor>,
    /// The statistics that become part of the mask, by canonical index.
    norms: Vec<usize>,
    learner: L,
    head: Head,
    queue: Option<Queue>,
    selection: Option<Selection>,
    /// Where the network computes in float16.
    scale: Option<LossScale>,
    losses: Vec<f64>,
    seconds: f64,
}

impl<'a, L: Learner> Session<'a, L> {
    /// The state before the first step. The images `held` out tell which moment to keep.
    pub(super) fn new(training: &Training<'a>, held: &[usize]) -> Result<Self, TrainError> {
        let Training {
            base,
            recipe,
            seed,
            device,
            start,
            ..
        } = *training;
        let learned = recipe.masked_tensors(base.architecture)?;
        let specs = &base.architecture.tensors;
        let mut tensors = backbone::tensors(base, device)?;
        let learner = L::begin(base, recipe, &learned, start)?;
        let inherited = match start {
            Start::KeepAll => None,
            Start::Parent { norms, .. } => Some(norms),
        };
        for (index, values) in inherited.into_iter().flatten() {
            if specs.get(*index).is_none_or(|spec| spec.len() != values.len()) {
                return Err(TrainError::Parent("has statistics of another architecture"));
            }
            tensors[*index] = tensor(values, &specs[*index].shape, device)?;
        }
        let is_norm = |index: &usize| matches!(specs[*index].role, Role::NormMean | Role::NormVariance);
        let norms = match recipe.mask.norms {
            Norms::Moving | Norms::MovingLarge => (0..specs.len()).filter(is_norm).collect(),
            Norms::Frozen => inherited
                .into_iter()
                .flat_map(|norms| norms.keys().copied())
                .collect(),
        };
        let queue = recipe.swav.queue.as_ref();
        let mut session = Self {
            base,
            recipe,
            seed,
            device,
            tensors,
            norms,
            learner,
            head: Head::new(&recipe.head, base.architecture.embedding_dim, seed),
            queue: queue.map(|rule| Queue::new(rule, recipe.augment.large.count, recipe.head.output)),
            selection: None,
            scale: (recipe.precision == Precision::Float16).then(LossScale::new),
            losses: Vec::new(),
            seconds: 0.0,
        };
        let (network, _) = session.network(false)?;
        session.selection = Selection::new(training, held, &network, session.essence()?)?;
        Ok(session)
    }

    /// All that the product depends on.
    fn essence(&self) -> Result<Vec<f32>, TrainError> {
        let mut essence: Vec<f32> = self.learner.essence().flatten().copied().collect();
        for index in &self.norms {
            essence.extend(values(&self.tensors[*index])?);
        }
        Ok(essence)
    }

    /// Looks at this moment, if it is one to look at, and keeps it if it is the best so far.
    pub(super) fn consider(&mut self) -> Result<(), TrainError> {
        let schedule = &self.recipe.schedule;
        let (step, all) = (self.step(), schedule.steps - schedule.warm_up);
        let learned = step.saturating_sub(schedule.warm_up);
        let Some(mut selection) = self.selection.take() else {
            return Ok(());
        };
        if selection.is_due(learned, all) {
            let (network, _) = self.network(false)?;
            let dropped = self.learner.dropped().unwrap_or(0);
            if selection.consider(self.base.architecture, &network, self.device, step, dropped)? {
                selection.kept = self.essence()?;
            }
        }
        self.selection = Some(selection);
        Ok(())
    }

    /// Goes back to the best moment, if one was to be found.
    fn choose(&mut self) -> Result<Vec<Moment>, TrainError> {
        let Some(selection) = self.selection.take() else {
            return Ok(Vec::new());
        };
        let mut rest = selection.kept.as_slice();
        for plane in self.learner.essence_mut() {
            let (taken, after) = rest.split_at(plane.len());
            plane.copy_from_slice(taken);
            rest = after;
        }
        for index in &self.norms {
            let (taken, after) = rest.split_at(self.base.values[*index].len());
            self.tensors[*index] = tensor(taken, &self.base.architecture.tensors[*index].shape, self.device)?;
            rest = after;
        }
        Ok(selection.moments().collect())
    }

    /// Steps done.
    pub(super) fn step(&self) -> u32 {
        self.losses.len() as u32
    }

    /// Weights dropped now; `None` where none ever is.
    pub(super) fn dropped(&self) -> Option<usize> {
        self.learner.dropped()
    }

    /// How many numbers [`State::numbers`] has.
    pub(super) fn numbers(&self) -> usize {
        let of_norms = (self.norms.iter()).map(|index| self.base.values[*index].len());
        self.planes().map(<[f32]>::len).chain(of_norms).sum()
    }

    /// All numbers that lie in plain memory; the statistics follow them in a state.
    fn planes(&self) -> impl Iterator<Item = &[f32]> {
        let queue = self.queue.iter().flat_map(Queue::planes);
        let selection = self.selection.iter();
        let selection = selection.flat_map(|selection| [selection.kept.as_slice(), &selection.record]);
        self.learner
            .planes()
            .chain(self.head.planes())
            .chain(queue)
            .chain(selection)
            .chain(self.scale.iter().map(LossScale::plane))
    }

    /// The whole state, for a checkpoint.
    pub(super) fn state(&self) -> Result<State, TrainError> {
        let mut numbers = Vec::with_capacity(self.numbers());
        self.planes().for_each(|plane| numbers.extend(plane));
        for index in &self.norms {
            numbers.extend(values(&self.tensors[*index])?);
        }
        Ok(State {
            step: self.step(),
            seconds: self.seconds,
            queued: self.queue.as_ref().map_or(0, |queue| queue.filled() as u32),
            losses: self.losses.clone(),
            numbers,
        })
    }

    /// Goes back to a state of this training, which has [`Session::numbers`] numbers.
    pub(super) fn restore(&mut self, state: State) -> Result<(), TrainError> {
        let mut rest = state.numbers.as_slice();
        let mut take = |length: usize| {
            let (taken, after) = rest
                .split_at_checked(length)
                .ok_or(TrainError::CheckpointDamaged)?;
            rest = after;
            Ok::<_, TrainError>(taken)
        };
        let queue = self.queue.iter_mut().flat_map(Queue::planes_mut);
        let selection = self.selection.iter_mut().flat_map(|selection| {
            let Selection { kept, record, .. } = selection;
            [kept.as_mut_slice(), record.as_mut_slice()]
        });
        for plane in self
            .learner
            .planes_mut()
            .chain(self.head.planes_mut())
            .chain(queue)
            .chain(selection)
            .chain(self.scale.iter_mut().map(LossScale::plane_mut))
        {
            plane.copy_from_slice(take(plane.len())?);
        }
        for index in &self.norms {
            let shape = &self.base.architecture.tensors[*index].shape;
            let values = take(self.base.values[*index].len())?;
            self.tensors[*index] = tensor(values, shape, self.device)?;
        }
        if let Some(queue) = &mut self.queue {
            queue.set_filled(state.queued as usize);
        }
        self.losses = state.losses;
        self.seconds = state.seconds;
        Ok(())
    }

    /// What the training leaves behind: the best moment that was found, or else the last.
    pub(super) fn outcome(mut self, stopped: bool) -> Result<Outcome<L::Product>, TrainError> {
        let moments = self.choose()?;
        let norms = self.norms.iter();
        let norms = norms.map(|index| Ok((*index, values(&self.tensors[*index])?)));
        let norms = norms.collect::<Result<_, TrainError>>()?;
        Ok(Outcome {
            learned: self.learner.product(self.base, norms),
            losses: self.losses,
            moments,
            seconds: self.seconds,
            stopped,
        })
    }

    /// One step; answers its loss.
    pub(super) fn advance(&mut self, crops: &[Batch; 2]) -> Result<f64, TrainError> {
        let began = Instant::now();
        let (step, schedule) = (self.step(), &self.recipe.schedule);
        let head = self.head.leaves(self.device)?;
        let learning_step = step.checked_sub(schedule.warm_up);
        let (tensors, mut leaves) = self.network(learning_step.is_some())?;
        let embeddings = if learning_step.is_some() {
            self.embed(&tensors, step, crops, self.recipe.mask.norms)?
        } else {
            // The network stays as it began, a parent's mask included.
            tch::no_grad(|| self.embed(&tensors, step, crops, Norms::Frozen))?
        };
        let projections = Head::project(&head, &embeddings)?;
        let similarities = Head::similarities(&head, &projections)?;
        let loss = self.loss(step, &head, &projections, &similarities, crops)?;

        let learned = leaves.len();
        leaves.extend(head);
        let descended = match &self.scale {
            Some(scale) => loss.f_mul_scalar(f64::from(scale.factor()))?,
            None => loss.shallow_clone(),
        };
        let gradients = Tensor::f_run_backward(&[&descended], &leaves, false, false)?;
        let mut gradients = gradients.iter().map(values).collect::<Result<Vec<_>, _>>()?;
        let moves = match &mut self.scale {
            Some(scale) => scale.undo(step, &mut gradients)?,
            None => true,
        };
        if let Some(learning_step) = learning_step.filter(|_| moves) {
            let at = At {
                step: learning_step,
                steps: schedule.steps - schedule.warm_up,
            };
            let gradients = &gradients[..learned];
            self.learner.descend(self.base, gradients, self.recipe, at)?;
        }
        if moves {
            let frozen = step < schedule.prototypes_frozen;
            self.head.step(&gradients[learned..], &self.recipe.head, frozen);
        }
        let loss = loss.f_double_value(&[])?;
        if !loss.is_finite() {
            return Err(match self.scale {
                Some(_) => TrainError::OutOfRange { step },
                None => TrainError::Diverged { step, loss },
            });
        }
        self.losses.push(loss);
        self.seconds += began.elapsed().as_secs_f64();
        Ok(loss)
    }

    /// The network of this step and, where it is `learning`, fresh leaves of it:
    /// libtorch gives ∂L/∂W of each, the rest is ours.
    fn network(&self, learning: bool) -> Result<(Vec<Tensor>, Vec<Tensor>), TrainError> {
        let mut tensors: Vec<Tensor> = self.tensors.iter().map(Tensor::shallow_clone).collect();
        let mut leaves = Vec::new();
        for (index, weights) in self.learner.weights(self.base)? {
            let shape = &self.base.architecture.tensors[index].shape;
            tensors[index] = tensor(&weights, shape, self.device)?.f_set_requires_grad(learning)?;
            if learning {
                leaves.push(tensors[index].shallow_clone());
            }
        }
        Ok((tensors, leaves))
    }

    /// Embeddings `[views, dim]` of all crops, the large ones first.
    fn embed(
        &self,
        tensors: &[Tensor],
        step: u32,
        crops: &[Batch; 2],
        norms: Norms,
    ) -> Result<Tensor, TrainError> {
        let mut embeddings = Vec::new();
        for (pass, crops) in crops.iter().enumerate().filter(|(_, crops)| crops.count > 0) {
            let drop = DropConnect {
                rate: self.recipe.swav.drop_connect,
                seed: self.seed,
                place: [u64::from(step), pass as u64],
            };
            let mode = Mode {
                drop: Some(drop),
                precision: self.recipe.precision,
                moving_norms: match norms {
                    Norms::Frozen => false,
                    Norms::Moving => true,
                    Norms::MovingLarge => pass == 0,
                },
            };
            let input = &crops.input;
            embeddings.push(backbone::embed(self.base.architecture, tensors, input, mode)?);
        }
        Ok(Tensor::f_cat(&embeddings, 0)?)
    }

    /// The loss of this step; its projections go into the queue, if there is one.
    fn loss(
        &mut self,
        step: u32,
        head: &[Tensor],
        projections: &Tensor,
        similarities: &Tensor,
        crops: &[Batch; 2],
    ) -> Result<Tensor, TrainError> {
        let rule = &self.recipe.swav;
        let views = Views {
            batch: self.recipe.schedule.batch,
            large: crops[0].count,
            all: crops[0].count + crops[1].count,
        };
        let queue = self
            .queue
            .as_ref()
            .filter(|queue| queue.is_full())
            .zip(head.last());
        let codes = swav::codes(similarities, views, rule, queue)?;
        if let (Some(queue), Some(rule)) = (&mut self.queue, &rule.queue)
            && f64::from(step) >= rule.from * f64::from(self.recipe.schedule.steps)
        {
            queue.push(projections, views)?;
        }
        swav::swapped_prediction(similarities, &codes, views, rule.temperature)
    }
}
