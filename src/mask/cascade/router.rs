//! What a cascade computes with embeddings: which expert a picture is for, and
//! one embedding out of those of several networks.
//!
//! Both are linear maps of embeddings, whose numbers are single bytes with a
//! scale for each row. They are settled when they are made: training groups its
//! images by the same bytes that a device will hold.

use std::fmt;
use std::str::FromStr;

/// Which networks of a cascade see a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Inference {
    /// The dispatcher and the picture's own expert.
    #[default]
    Conditional,
    /// The dispatcher and all experts.
    Unconditional,
}

impl fmt::Display for Inference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conditional => "conditional",
            Self::Unconditional => "unconditional",
        })
    }
}

/// The word is no [`Inference`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use conditional or unconditional")]
pub struct NoInference;

impl FromStr for Inference {
    type Err = NoInference;

    fn from_str(word: &str) -> Result<Self, NoInference> {
        let all = [Self::Conditional, Self::Unconditional];
        all.into_iter()
            .find(|inference| inference.to_string() == word)
            .ok_or(NoInference)
    }
}

/// A linear map of embeddings, `[rows, dim]`, less an offset: centring, principal
/// axes and the division by their deviation in one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Projection {
    pub(super) rows: Vec<Row>,
}

/// A row of a projection: `scale · Σ weight · value − offset`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) scale: f32,
    pub(super) offset: f32,
    pub(super) weights: Vec<i8>,
}

impl Projection {
    /// Rounds `rows`, each as long as an embedding and finite, to 255 steps of its own greatest number. All offsets are 0.
    pub fn rounded(rows: &[Vec<f64>]) -> Self {
        let row = |row: &Vec<f64>| {
            let greatest = row.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            let scale = (greatest / 127.0) as f32;
            let step = |value: &f64| match f64::from(scale) {
                0.0 => 0,
                scale => (value / scale).round().clamp(-127.0, 127.0) as i8,
            };
            Row {
                scale,
                offset: 0.0,
                weights: row.iter().map(step).collect(),
            }
        };
        Self {
            rows: rows.iter().map(row).collect(),
        }
    }

    /// Takes the mean of `projected`, rows of what this projection has made of embeddings, as its offset.
    pub fn centred_on(&mut self, projected: &[Vec<f64>]) {
        for (at, row) in self.rows.iter_mut().enumerate() {
            let mean = projected.iter().map(|values| values[at]).sum::<f64>() / projected.len().max(1) as f64;
            row.offset += mean as f32;
        }
    }

    /// How many numbers it makes of an embedding.
    pub fn width(&self) -> usize {
        self.rows.len()
    }

    /// What it makes of `embedding`, which is as long as its rows.
    pub fn of(&self, embedding: &[f64]) -> Vec<f64> {
        let one = |row: &Row| {
            let products = row.weights.iter().zip(embedding);
            let sum: f64 = products.map(|(weight, value)| f64::from(*weight) * value).sum();
            f64::from(row.scale) * sum - f64::from(row.offset)
        };
        self.rows.iter().map(one).collect()
    }
}

/// One group of a mixture of Gaussians.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The share of the images that belong to it, above 0.
    pub weight: f32,
    /// Its middle, `[components]`.
    pub mean: Vec<f32>,
    /// The lower triangle of A, row by row, where AᵀA is the inverse of its covariance; the diagonal above 0.
    pub factor: Vec<f32>,
}

impl Group {
    /// The logarithm of the density at `point`, weighted, but for a constant.
    pub(super) fn score(&self, point: &[f64]) -> f64 {
        let apart: Vec<f64> = point
            .iter()
            .zip(&self.mean)
            .map(|(p, m)| p - f64::from(*m))
            .collect();
        let (mut score, mut rest) = (f64::from(self.weight).ln(), self.factor.as_slice());
        for at in 0..apart.len() {
            let (row, after) = rest.split_at(at + 1);
            rest = after;
            let along: f64 = row.iter().zip(&apart).map(|(a, x)| f64::from(*a) * x).sum();
            score += f64::from(row[at]).ln() - 0.5 * along * along;
        }
        score
    }
}

/// Tells which expert a picture is for, by its embedding through the dispatcher.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Router {
    /// From embeddings of length 1 to the groups' space.
    pub projection: Projection,
    /// One group for each expert.
    pub groups: Vec<Group>,
}

impl Router {
    /// The number, from 0, of the expert for a picture whose embedding through the dispatcher is `embedding`.
    pub fn expert_of(&self, embedding: &[f32]) -> usize {
        let point = self.projection.of(&unit(embedding));
        let scores = self.groups.iter().map(|group| group.score(&point));
        let better = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
        scores.enumerate().fold((0, f64::NEG_INFINITY), better).0
    }
}

/// An embedding at length 1; one of zeros stays.
pub fn unit(embedding: &[f32]) -> Vec<f64> {
    let squares = embedding
        .iter()
        .map(|value| f64::from(*value) * f64::from(*value));
    let length = squares.sum::<f64>().sqrt();
    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
    embedding.iter().map(|value| f64::from(*value) * factor).collect()
}

/// One embedding of those of several networks: principal axes of all of them joined. A network that did not run
/// counts as its mean over the training's images, which is 0 here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Joint {
    /// The part of each network, the dispatcher's first; all of one width.
    pub parts: Vec<Projection>,
}

impl Joint {
    /// The length of a joint embedding.
    pub fn width(&self) -> usize {
        self.parts.first().map_or(0, Projection::width)
    }

    /// The joint embedding of one picture. `ran`: network (0: the dispatcher, n: expert n) and embedding.
    pub fn of<'a>(&self, ran: impl IntoIterator<Item = (usize, &'a [f32])>) -> Vec<f32> {
        let mut joint = vec![0.0; self.width()];
        for (network, embedding) in ran {
            let embedding: Vec<f64> = embedding.iter().map(|value| f64::from(*value)).collect();
            let part = self.parts[network].of(&embedding);
            joint.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        joint.into_iter().map(|value| value as f32).collect()
    }
}
