//! What each context buys. The coder needs no switches for it: a context is
//! taken away by data in which it says nothing, with everything else as it was.

use std::sync::Arc;

use katagami::base::{Role, Weights};
use katagami::mask::{Bits, Level, Mask};

use super::input::{Input, Outcome, Trained, at};
use super::report::{figure, heading, mean};
use super::sizes::payload;
use super::synthetic::Random;

/// One tensor: its weights, which of them are kept, and its columns.
struct Plane<'a> {
    weights: &'a mut [f32],
    kept: &'a mut [bool],
    columns: usize,
}

impl Plane<'_> {
    /// Puts what is at `order[i]` at i, weights and bits alike.
    fn reorder(&mut self, order: &[usize]) {
        let weights: Vec<_> = order.iter().map(|at| self.weights[*at]).collect();
        let kept: Vec<_> = order.iter().map(|at| self.kept[*at]).collect();
        self.weights.copy_from_slice(&weights);
        self.kept.copy_from_slice(&kept);
    }

    fn rows(&self) -> usize {
        self.weights.len() / self.columns
    }
}

fn shuffled(random: &mut Random, count: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    random.shuffle(&mut order);
    order
}

type Loss = fn(&mut Plane, &mut Random);

/// What is taken away.
const LOSSES: [(&str, Loss); 6] = [
    ("sizes_of_weights", |plane, _| {
        plane
            .weights
            .iter_mut()
            .for_each(|weight| *weight = 1_f32.copysign(*weight));
    }),
    ("signs_of_weights", |plane, _| {
        plane.weights.iter_mut().for_each(|weight| *weight = weight.abs());
    }),
    ("weights", |plane, _| plane.weights.fill(1.0)),
    ("columns", |plane, random| {
        let (rows, columns) = (plane.rows(), plane.columns);
        let mut order = Vec::new();
        for row in 0..rows {
            order.extend(
                shuffled(random, columns)
                    .into_iter()
                    .map(|column| row * columns + column),
            );
        }
        plane.reorder(&order);
    }),
    ("rows", |plane, random| {
        let (rows, columns) = (plane.rows(), plane.columns);
        let mut order = vec![0; rows * columns];
        for column in 0..columns {
            for (row, from) in shuffled(random, rows).into_iter().enumerate() {
                order[row * columns + column] = from * columns + column;
            }
        }
        plane.reorder(&order);
    }),
    ("all", |plane, random| {
        let order = shuffled(random, plane.weights.len());
        plane.weights.fill(1.0);
        plane.reorder(&order);
    }),
];

/// Prints by how much masks grow without each context.
pub fn measure(input: &Input, seed: u64) -> Outcome<()> {
    heading("What each context buys: size without it, relative to size with all, level best");
    for recipe in ["dense", "sparse"] {
        let masks: Vec<_> = input.first().filter(|trained| trained.recipe == recipe).collect();
        let coding = at(Level::Best);
        for (context, loss) in LOSSES {
            let mut ratios = Vec::new();
            for trained in &masks {
                let full = payload(trained, &trained.mask, &coding)?;
                let poorer = without(trained, loss, seed);
                ratios.push(payload(&poorer, &poorer.mask, &coding)? / full);
            }
            print(recipe, context, &ratios);
        }
        let mut ratios = Vec::new();
        for trained in &masks {
            let poorer = with_base(trained, without_activities(&trained.base), trained.mask.clone());
            let full = payload(trained, &trained.mask, &coding)?;
            ratios.push(payload(&poorer, &poorer.mask, &coding)? / full);
        }
        print(recipe, "activities", &ratios);
    }
    Ok(())
}

fn print(recipe: &str, context: &str, ratios: &[f64]) {
    if let Some(ratio) = mean(ratios) {
        figure(&format!("contexts/{recipe}/without_{context}"), ratio, "ratio");
    }
}

/// `base` with BatchNorms whose channels are all equally active.
fn without_activities(base: &Weights) -> Weights {
    let mut base = base.clone();
    for (spec, values) in base.architecture.tensors.iter().zip(&mut base.values) {
        match spec.role {
            Role::NormWeight => values.fill(1.0),
            Role::NormBias => values.fill(0.0),
            _ => {}
        }
    }
    base
}

fn without(trained: &Trained, loss: Loss, seed: u64) -> Trained {
    let mut base = Weights::clone(&trained.base);
    let mut mask = Mask {
        norms: std::collections::BTreeMap::new(),
        ..trained.mask.clone()
    };
    let mut random = Random(seed);
    for (index, bits) in &mut mask.tensors {
        let weights = &mut base.values[*index];
        let mut kept: Vec<_> = bits.iter().collect();
        let columns = weights.len() / base.architecture.tensors[*index].rows();
        let mut plane = Plane {
            weights,
            kept: &mut kept,
            columns,
        };
        loss(&mut plane, &mut random);
        *bits = Bits::from_bools(kept.into_iter());
    }
    with_base(trained, base, mask)
}

/// `mask` over `base`, for the rest as `trained`.
fn with_base(trained: &Trained, base: Weights, mask: Mask) -> Trained {
    Trained {
        name: trained.name.clone(),
        network: trained.network.clone(),
        site: trained.site.clone(),
        recipe: trained.recipe.clone(),
        start: None,
        mask,
        digest: base.digest(),
        base: Arc::new(base),
    }
}
