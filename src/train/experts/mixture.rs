//! A mixture of Gaussians with full covariances, by expectation and
//! maximisation (Dempster, Laird, Rubin 1977).
//!
//! Each covariance has an inverse Wishart prior, as if the group had so many
//! images more with the same variance in every direction: groups of few images stay
//! round, and each round raises the *posterior*, which is a bound that rounding alone can break.

use rayon::prelude::*;

use crate::mask::cascade::Group;
use crate::train::random::{Purpose, Stream};

/// What a round must gain, for each image, for another one to follow.
const GAIN: f64 = 1e-7;
/// Beginnings that are tried; the one that leads to the greatest posterior counts.
const BEGINNINGS: u64 = 8;
/// A group with less of an image than this is none: it keeps its place and is dropped by whoever counts.
const NOTHING: f64 = 1e-6;

/// A mixture over points of one length.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
struct Part {
    weight: f64,
    mean: Vec<f64>,
    /// The lower triangle L of the covariance LLᵀ, row by row.
    root: Vec<f64>,
}

/// What all covariances are drawn to.
#[derive(Debug, Clone, Copy)]
pub struct Prior {
    /// The variance in each direction.
    pub variance: f64,
    /// As so many images more.
    pub images: f64,
}

impl Mixture {
    /// Finds `count` groups among `points`, at least as many: the best of a few beginnings, chance of `seed`.
    pub fn fit(points: &[Vec<f64>], count: usize, prior: Prior, rounds: u32, seed: u64) -> Self {
        let from = |beginning: u64| {
            let mut stream = Stream::new(seed, Purpose::Groups, [beginning, 0, 0]);
            let mut mixture = Self::beginning(points, count, prior, &mut stream);
            let course = mixture.settle(points, prior, rounds);
            (course.last().copied().unwrap_or(f64::NEG_INFINITY), mixture)
        };
        let mut best = from(0);
        for beginning in 1..BEGINNINGS {
            let other = from(beginning);
            if other.0 > best.0 {
                best = other;
            }
        }
        best.1
    }

    /// Groups around points that lie far apart (k-means++: Arthur and Vassilvitskii 2007).
    fn beginning(points: &[Vec<f64>], count: usize, prior: Prior, stream: &mut Stream) -> Self {
        let mut middles = vec![points[(stream.next_unit() * points.len() as f64) as usize].clone()];
        while middles.len() < count {
            let nearest = |point: &Vec<f64>| {
                let apart = middles.iter().map(|middle| apart(point, middle));
                apart.fold(f64::INFINITY, f64::min)
            };
            let apart: Vec<f64> = points.iter().map(nearest).collect();
            let mut left = stream.next_unit() * apart.iter().sum::<f64>();
            let drawn = apart.iter().position(|apart| {
                left -= apart;
                left < 0.0
            });
            middles.push(points[drawn.unwrap_or(points.len() - 1)].clone());
        }
        let nearest = |point: &Vec<f64>| {
            let nearer =
                |a: &usize, b: &usize| apart(point, &middles[*a]).total_cmp(&apart(point, &middles[*b]));
            let own = (0..count).min_by(nearer).unwrap_or(0);
            (0..count).map(|part| f64::from(u8::from(part == own))).collect()
        };
        let belongs: Vec<Vec<f64>> = points.iter().map(nearest).collect();
        let parts = middles.into_iter().map(|mean| Part {
            weight: 1.0,
            root: vec![0.0; mean.len() * (mean.len() + 1) / 2],
            mean,
        });
        let mut mixture = Self {
            parts: parts.collect(),
        };
        mixture.maximise(points, &belongs, prior);
        mixture
    }

    /// Goes on until nothing is gained, for at most `rounds`. Answers the posterior's logarithm before each round.
    pub fn settle(&mut self, points: &[Vec<f64>], prior: Prior, rounds: u32) -> Vec<f64> {
        let mut course: Vec<f64> = Vec::new();
        for _ in 0..rounds {
            let (likelihood, belongs) = self.expect(points);
            let posterior = likelihood + self.parts.iter().map(|part| part.favour(prior)).sum::<f64>();
            let gained = course.last().map_or(f64::INFINITY, |before| posterior - before);
            course.push(posterior);
            if gained < GAIN * points.len() as f64 {
                break;
            }
            self.maximise(points, &belongs, prior);
        }
        course
    }

    /// Drops group `at`; the others share its images. To be settled afterwards.
    pub fn remove(&mut self, at: usize) {
        self.parts.remove(at);
        let all: f64 = self.parts.iter().map(|part| part.weight).sum();
        self.parts.iter_mut().for_each(|part| part.weight /= all);
    }

    /// The groups as a router holds them.
    pub fn groups(&self) -> Vec<Group> {
        let group = |part: &Part| Group {
            weight: (part.weight as f32).max(f32::MIN_POSITIVE),
            mean: part.mean.iter().map(|value| *value as f32).collect(),
            factor: inverse(&part.root, part.mean.len())
                .into_iter()
                .map(|value| value as f32)
                .collect(),
        };
        self.parts.iter().map(group).collect()
    }

    /// The logarithm of the likelihood, and how much of each point belongs to each group.
    fn expect(&self, points: &[Vec<f64>]) -> (f64, Vec<Vec<f64>>) {
        let of_point = |point: &Vec<f64>| {
            let scores: Vec<f64> = self.parts.iter().map(|part| part.score(point)).collect();
            let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - greatest).exp()).sum();
            let whole = greatest + sum.ln();
            (whole, scores.iter().map(|score| (score - whole).exp()).collect())
        };
        let (each, belongs): (Vec<f64>, Vec<Vec<f64>>) = points.par_iter().map(of_point).unzip();
        (each.iter().sum(), belongs)
    }

    /// Fits each group to what belongs to it.
    fn maximise(&mut self, points: &[Vec<f64>], belongs: &[Vec<f64>], prior: Prior) {
        self.parts.par_iter_mut().enumerate().for_each(|(number, part)| {
            let shares = || belongs.iter().map(|shares| shares[number]);
            let images: f64 = shares().sum();
            part.weight = (images / points.len() as f64).max(f64::MIN_POSITIVE);
            let dim = part.mean.len();
            if images > NOTHING {
                part.mean = vec![0.0; dim];
                for (point, share) in points.iter().zip(shares()) {
                    let share = share / images;
                    part.mean
                        .iter_mut()
                        .zip(point)
                        .for_each(|(mean, value)| *mean += share * value);
                }
            }
            let mut covariance = vec![0.0; dim * (dim + 1) / 2];
            for (point, share) in points.iter().zip(shares()) {
                let apart: Vec<f64> = point
                    .iter()
                    .zip(&part.mean)
                    .map(|(value, mean)| value - mean)
                    .collect();
                for (entry, (row, column)) in covariance.iter_mut().zip(triangle(dim)) {
                    *entry += share * apart[row] * apart[column];
                }
            }
            for row in 0..dim {
                covariance[row * (row + 3) / 2] += prior.images * prior.variance;
            }
            let of = images + prior.images;
            part.root = root(covariance.iter().map(|entry| entry / of).collect(), dim);
        });
    }
}

impl Part {
    /// The logarithm of the weighted density at `point`.
    fn score(&self, point: &[f64]) -> f64 {
        let dim = self.mean.len();
        let mut along: Vec<f64> = Vec::with_capacity(dim);
        let mut score = self.weight.ln() - 0.5 * dim as f64 * std::f64::consts::TAU.ln();
        for (row, (value, mean)) in point.iter().zip(&self.mean).enumerate() {
            let entries = &self.root[row * (row + 1) / 2..][..=row];
            let known: f64 = entries
                .iter()
                .zip(&along)
                .map(|(entry, value)| entry * value)
                .sum();
            let value = (value - mean - known) / entries[row];
            score -= entries[row].ln() + 0.5 * value * value;
            along.push(value);
        }
        score
    }

    /// The logarithm of the prior's density at the covariance, but for a constant.
    fn favour(&self, prior: Prior) -> f64 {
        let dim = self.mean.len();
        let determinant: f64 = (0..dim)
            .map(|row| 2.0 * self.root[row * (row + 3) / 2].ln())
            .sum();
        let inverse = inverse(&self.root, dim);
        let trace: f64 = inverse.iter().map(|entry| entry * entry).sum();
        -0.5 * prior.images * (determinant + prior.variance * trace)
    }
}

/// The places of a lower triangle, row by row.
fn triangle(dim: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..dim).flat_map(|row| (0..=row).map(move |column| (row, column)))
}

/// The square of the distance.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The lower triangle L of LLᵀ = `matrix`, both row by row (Cholesky). The matrix is positive: it has the prior in it.
fn root(matrix: Vec<f64>, dim: usize) -> Vec<f64> {
    let mut root = matrix;
    for row in 0..dim {
        for column in 0..=row {
            let (own, other) = (row * (row + 1) / 2, column * (column + 1) / 2);
            let known: f64 = (0..column).map(|at| root[own + at] * root[other + at]).sum();
            let left = root[own + column] - known;
            root[own + column] = if column == row {
                left.max(f64::MIN_POSITIVE).sqrt()
            } else {
                left / root[other + column]
            };
        }
    }
    root
}

/// The inverse of a lower triangle, row by row.
fn inverse(root: &[f64], dim: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; root.len()];
    for column in 0..dim {
        for row in column..dim {
            let own = row * (row + 1) / 2;
            let unit = f64::from(u8::from(row == column));
            let known: f64 = (column..row)
                .map(|at| root[own + at] * inverse[at * (at + 1) / 2 + column])
                .sum();
            inverse[own + column] = (unit - known) / root[own + row];
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::cascade::{Projection, Router};

    const PRIOR: Prior = Prior {
        variance: 0.05,
        images: 3.0,
    };

    /// Points around middles, each group stretched along its own direction.
    fn points(seed: u64, middles: &[[f64; 2]], each: usize) -> Vec<Vec<f64>> {
        let mut stream = Stream::new(seed, Purpose::Groups, [1, 0, 0]);
        let mut points = Vec::new();
        for (number, middle) in middles.iter().enumerate() {
            for _ in 0..each {
                let (a, b) = (stream.next_in(-1.0, 1.0), stream.next_in(-0.2, 0.2));
                let tilt = number as f64;
                points.push(vec![middle[0] + a, middle[1] + tilt * a + b]);
            }
        }
        points
    }

    #[test]
    fn groups_that_lie_apart_are_found_whatever_the_seed() {
        let middles = [[0.0, 0.0], [6.0, 0.0], [0.0, 9.0]];
        let points = points(1, &middles, 60);
        for seed in 0..5 {
            let mixture = Mixture::fit(&points, 3, PRIOR, 100, seed);
            let mut found: Vec<usize> = Vec::new();
            for (middle, points) in middles.iter().zip(points.chunks(60)) {
                let near = |part: &&Part| apart(&part.mean, middle) < 0.2;
                let own = mixture
                    .parts
                    .iter()
                    .position(|part| near(&part))
                    .expect("a group is there");
                assert!((mixture.parts[own].weight - 1.0 / 3.0).abs() < 0.01);
                let (_, belongs) = mixture.expect(points);
                assert!(belongs.iter().all(|shares| shares[own] > 0.99));
                found.push(own);
            }
            found.sort_unstable();
            assert_eq!(found, [0, 1, 2]);
        }
    }

    #[test]
    fn a_router_puts_points_where_the_mixture_does() {
        let points = points(2, &[[0.0, 0.0], [1.5, 0.0]], 80);
        let mixture = Mixture::fit(&points, 2, PRIOR, 100, 0);
        let (_, belongs) = mixture.expect(&points);
        // Embeddings of length 1 that the projection takes back to the points: a third dimension fills up.
        let router = Router {
            projection: Projection::rounded(&[vec![12.7, 0.0, 0.0], vec![0.0, 12.7, 0.0]]),
            groups: mixture.groups(),
        };
        let mut clear = 0;
        for (point, shares) in points.iter().zip(&belongs) {
            let (a, b) = (point[0] / 12.7, point[1] / 12.7);
            let embedding = [a, b, (1.0 - a * a - b * b).sqrt()].map(|value| value as f32);
            if (shares[0] - shares[1]).abs() > 0.01 {
                clear += 1;
                assert_eq!(router.expert_of(&embedding), usize::from(shares[1] > shares[0]));
            }
        }
        assert!(clear > 100, "{clear} points are clear");
    }

    #[test]
    fn a_dropped_groups_images_go_to_the_others() {
        let points = points(3, &[[0.0, 0.0], [6.0, 0.0], [0.0, 9.0]], 40);
        let mut mixture = Mixture::fit(&points, 3, PRIOR, 100, 1);
        mixture.remove(0);
        mixture.settle(&points, PRIOR, 100);
        let weights: f64 = mixture.parts.iter().map(|part| part.weight).sum();
        assert!((weights - 1.0).abs() < 1e-9);
        assert!(mixture.groups().iter().all(|group| group.weight > 0.3));
    }

    #[test]
    fn more_groups_than_different_points_break_nothing() {
        let points = vec![vec![1.0, 2.0]; 6];
        let mixture = Mixture::fit(&points, 3, PRIOR, 10, 0);
        let numbers = mixture
            .groups()
            .into_iter()
            .flat_map(|group| [group.mean, group.factor].concat());
        assert!(numbers.into_iter().all(f32::is_finite));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_round_lowers_the_posterior(
            seed in any::<u64>(), count in 1..5_usize, spread in 0.1..8.0_f64, variance in 0.001..1.0_f64,
        ) {
            let points = points(seed, &[[0.0, 0.0], [spread, 0.0], [0.0, spread]], 15);
            let prior = Prior { variance, images: 3.0 };
            let mut mixture = Mixture::fit(&points, count, prior, 0, seed);
            let course = mixture.settle(&points, prior, 60);
            prop_assert!(course.len() > 1 || count == 1, "{course:?}");
            for pair in course.windows(2) {
                prop_assert!(pair[1] >= pair[0] - 1e-9 * pair[0].abs().max(1.0), "{course:?}");
            }
        }
    }

    #[test]
    fn the_same_points_and_seed_give_the_same_bits() {
        let points = points(4, &[[0.0, 0.0], [2.0, 1.0]], 20);
        for seed in 0..3 {
            let fit = || Mixture::fit(&points, 3, PRIOR, 20, seed);
            assert_eq!(fit(), fit());
        }
    }
}
