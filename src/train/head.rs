//! The projection head and the prototypes: learn beside the mask, then are thrown away.

use tch::Tensor;

use super::TrainError;
use super::backbone::tensor;
use super::random::{Purpose, Stream};
use super::recipe::HeadRule;

/// A learned tensor with its momentum.
struct Parameter {
    values: Vec<f32>,
    velocity: Vec<f32>,
    shape: Vec<usize>,
}

/// Linear, BatchNorm, ReLU, linear; then cosine similarities to the prototypes.
pub(super) struct Head {
    /// In order: first linear layer's matrix and bias, BatchNorm's factor and
    /// summand, second linear layer's matrix and bias, prototypes.
    parameters: Vec<Parameter>,
}

impl Head {
    /// Draws first values as PyTorch does: uniform within ±1/√(inputs).
    pub(super) fn new(rule: &HeadRule, input: usize, seed: u64) -> Self {
        let draw = |place: u64, shape: &[usize], inputs: usize| {
            let mut random = Stream::new(seed, Purpose::Head, [place, 0, 0]);
            let bound = 1.0 / (inputs as f64).sqrt();
            let length = shape.iter().product();
            let values = (0..length)
                .map(|_| random.next_in(-bound, bound) as f32)
                .collect();
            Parameter {
                values,
                velocity: vec![0.0; length],
                shape: shape.to_vec(),
            }
        };
        let constant = |value: f32, length: usize| Parameter {
            values: vec![value; length],
            velocity: vec![0.0; length],
            shape: vec![length],
        };
        let mut head = Self {
            parameters: vec![
                draw(0, &[rule.hidden, input], input),
                draw(1, &[rule.hidden], input),
                constant(1.0, rule.hidden),
                constant(0.0, rule.hidden),
                draw(2, &[rule.output, rule.hidden], rule.hidden),
                draw(3, &[rule.output], rule.hidden),
                draw(4, &[rule.prototypes, rule.output], rule.output),
            ],
        };
        head.normalise_prototypes();
        head
    }

    /// The parameters as leaves that collect gradients.
    pub(super) fn leaves(&self, device: tch::Device) -> Result<Vec<Tensor>, TrainError> {
        let leaf = |parameter: &Parameter| {
            Ok(tensor(&parameter.values, &parameter.shape, device)?.f_set_requires_grad(true)?)
        };
        self.parameters.iter().map(leaf).collect()
    }

    /// The parameters with their shapes, in order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&[usize], &[f32])> {
        (self.parameters.iter()).map(|parameter| (parameter.shape.as_slice(), parameter.values.as_slice()))
    }

    /// All numbers of the state, as [`Head::planes_mut`] takes them back.
    pub(super) fn planes(&self) -> impl Iterator<Item = &[f32]> {
        (self.parameters.iter()).flat_map(|parameter| [parameter.values.as_slice(), &parameter.velocity])
    }

    /// The same numbers, to be overwritten.
    pub(super) fn planes_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        (self.parameters.iter_mut()).flat_map(|parameter| {
            let Parameter { values, velocity, .. } = parameter;
            [values.as_mut_slice(), velocity.as_mut_slice()]
        })
    }

    /// Projections `[views, output]` of embeddings `[views, dim]`, each of length one, by the leaves of a head.
    pub(super) fn project(leaves: &[Tensor], embeddings: &Tensor) -> Result<Tensor, TrainError> {
        let [w1, b1, factor, summand, w2, b2, _] = leaves else {
            unreachable!("a head has seven parameters");
        };
        let hidden = embeddings
            .f_linear(w1, Some(b1))?
            .f_batch_norm(
                Some(factor),
                Some(summand),
                None::<&Tensor>,
                None::<&Tensor>,
                true,
                0.0,
                1e-5,
                false,
            )?
            .f_relu()?;
        let projected = hidden.f_linear(w2, Some(b2))?;
        let norm = projected
            .f_norm_scalaropt_dim(2, [1_i64], true)?
            .f_clamp_min(1e-12)?;
        Ok(projected.f_div(&norm)?)
    }

    /// Similarities `[views, prototypes]` of projections `[views, output]`.
    pub(super) fn similarities(leaves: &[Tensor], projections: &Tensor) -> Result<Tensor, TrainError> {
        let [.., prototypes] = leaves else {
            unreachable!("a head has seven parameters");
        };
        Ok(projections.f_linear(prototypes, None::<&Tensor>)?)
    }

    /// One step of gradient descent with momentum; prototypes are normalised again.
    pub(super) fn step(&mut self, gradients: &[Vec<f32>], rule: &HeadRule, prototypes_frozen: bool) {
        let learning = self.parameters.len() - usize::from(prototypes_frozen);
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients).take(learning) {
            let Parameter { values, velocity, .. } = parameter;
            for ((value, velocity), gradient) in values.iter_mut().zip(velocity).zip(gradient) {
                *velocity = rule.momentum as f32 * *velocity + gradient;
                *value -= rule.rate as f32 * *velocity;
            }
        }
        self.normalise_prototypes();
    }

    fn normalise_prototypes(&mut self) {
        let Some(prototypes) = self.parameters.last_mut() else {
            return;
        };
        let length = prototypes.shape[1];
        for prototype in prototypes.values.chunks_exact_mut(length) {
            let norm = prototype
                .iter()
                .map(|value| value * value)
                .sum::<f32>()
                .sqrt()
                .max(1e-12);
            prototype.iter_mut().for_each(|value| *value /= norm);
        }
    }
}
