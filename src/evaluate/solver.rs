//! Logistic regression in the space of images instead of dimensions.
//!
//! A linear probe's weights are combinations of its training embeddings, `w =
//! Xᵀa`, so everything is said by scalar products of images. L-BFGS (Nocedal
//! 1980) runs on the coefficients `a` under the inner product `⟨a, b⟩ = aᵀKb`,
//! which makes it step for step the same method as L-BFGS on `w`, at `images²`
//! instead of `images × dim` for each product. Each vector is kept together
//! with its product with `K`, so an iteration needs one new product.

use super::embeddings::dot;

/// Pairs of steps and gradient changes that L-BFGS remembers.
const MEMORY: usize = 10;
/// Iterations at most; convergence usually takes a few dozen.
const ITERATIONS: usize = 200;
/// The gradient's length, relative to the first one, that ends the search.
const PRECISION: f64 = 1e-5;

/// Coefficients of a fitted probe, `[class][image]` and one intercept for each class.
pub(super) struct Fit {
    pub coefficients: Vec<Vec<f64>>,
    pub intercepts: Vec<f64>,
}

/// A vector of the search: coefficients, their product with `K`, intercepts.
#[derive(Clone)]
struct Vector {
    own: Vec<f64>,
    product: Vec<f64>,
    intercepts: Vec<f64>,
}

impl Vector {
    fn zero(length: usize, classes: usize) -> Self {
        Self {
            own: vec![0.0; length],
            product: vec![0.0; length],
            intercepts: vec![0.0; classes],
        }
    }

    fn inner(&self, other: &Self) -> f64 {
        dot(&self.own, &other.product) + dot(&self.intercepts, &other.intercepts)
    }

    fn add(&mut self, factor: f64, other: &Self) {
        let parts = [
            (&mut self.own, &other.own),
            (&mut self.product, &other.product),
            (&mut self.intercepts, &other.intercepts),
        ];
        for (to, from) in parts {
            to.iter_mut()
                .zip(from)
                .for_each(|(to, from)| *to += factor * from);
        }
    }
}

/// A training set: scalar products `[images, images]`, classes and weights of images.
pub(super) struct Problem<'a> {
    pub gram: &'a [f64],
    pub labels: &'a [usize],
    pub classes: usize,
    /// Weight of each image in the loss; they sum to 1.
    pub weights: &'a [f64],
    /// Half of it times the squared length of the weights is added to the loss.
    pub l2: f64,
}

impl Problem<'_> {
    /// Finds the minimum of the weighted mean cross-entropy plus the penalty.
    /// Intercepts are not penalised.
    pub(super) fn solve(&self) -> Fit {
        let images = self.labels.len();
        // Intercepts in the unit of an embedding's length, or they would move far too slowly.
        let trace: f64 = (0..images).map(|image| self.gram[image * (images + 1)]).sum();
        let unit = (trace / images.max(1) as f64).sqrt().max(f64::MIN_POSITIVE);
        let mut at = Vector::zero(images * self.classes, self.classes);
        let (mut loss, mut gradient) = self.loss_and_gradient(&at, unit);
        let goal = gradient.inner(&gradient).sqrt() * PRECISION;
        let mut memory: Vec<(Vector, Vector, f64)> = Vec::new();
        for _ in 0..ITERATIONS {
            let steepness = gradient.inner(&gradient);
            if steepness.sqrt() <= goal {
                break;
            }
            let mut step = direction(&gradient, &memory);
            let mut slope = step.inner(&gradient);
            if slope >= 0.0 {
                // Rounding has spoilt the memory; the gradient itself always leads down.
                memory.clear();
                step = direction(&gradient, &memory);
                slope = -steepness;
            }
            // Without memory nothing is known of the scale; stay within the length of one embedding.
            let mut size = if memory.is_empty() {
                1.0 / steepness.sqrt().max(1.0)
            } else {
                1.0
            };
            let found = (0..40).find_map(|_| {
                let mut there = at.clone();
                there.add(size, &step);
                let lower = self.loss(&there, unit) <= loss + 1e-4 * size * slope;
                size *= 0.5;
                lower.then_some(there)
            });
            let Some(next) = found else { break };
            let (next_loss, next_gradient) = self.loss_and_gradient(&next, unit);
            let (mut moved, mut turned) = (next.clone(), next_gradient.clone());
            moved.add(-1.0, &at);
            turned.add(-1.0, &gradient);
            let curvature = moved.inner(&turned);
            if curvature > 0.0 {
                if memory.len() == MEMORY {
                    memory.remove(0);
                }
                memory.push((moved, turned, curvature));
            }
            (at, loss, gradient) = (next, next_loss, next_gradient);
        }
        Fit {
            coefficients: at.own.chunks_exact(images.max(1)).map(<[f64]>::to_vec).collect(),
            intercepts: at.intercepts.iter().map(|value| value * unit).collect(),
        }
    }

    fn logits(&self, at: &Vector, unit: f64, image: usize, into: &mut [f64]) {
        let images = self.labels.len();
        for (class, logit) in into.iter_mut().enumerate() {
            *logit = at.product[class * images + image] + unit * at.intercepts[class];
        }
    }

    fn penalty(&self, at: &Vector) -> f64 {
        self.l2 / 2.0 * dot(&at.own, &at.product)
    }

    fn loss(&self, at: &Vector, unit: f64) -> f64 {
        let mut logits = vec![0.0; self.classes];
        let mut loss = self.penalty(at);
        for (image, (label, weight)) in self.labels.iter().zip(self.weights).enumerate() {
            self.logits(at, unit, image, &mut logits);
            loss += weight * (log_sum(&logits) - logits[*label]);
        }
        loss
    }

    fn loss_and_gradient(&self, at: &Vector, unit: f64) -> (f64, Vector) {
        let images = self.labels.len();
        let mut logits = vec![0.0; self.classes];
        let mut loss = self.penalty(at);
        let mut gradient = Vector::zero(at.own.len(), self.classes);
        for (image, (label, weight)) in self.labels.iter().zip(self.weights).enumerate() {
            self.logits(at, unit, image, &mut logits);
            let total = log_sum(&logits);
            loss += weight * (total - logits[*label]);
            for (class, logit) in logits.iter().enumerate() {
                let error = weight * ((logit - total).exp() - f64::from(u8::from(class == *label)));
                gradient.own[class * images + image] = error;
                gradient.intercepts[class] += unit * error;
            }
        }
        // Row by row for all classes: of thousands of images the products fit into no cache, and
        // waiting for them is what a fit does.
        for (image, row) in self.gram.chunks_exact(images.max(1)).enumerate() {
            for class in 0..self.classes {
                let errors = &gradient.own[class * images..][..images];
                gradient.product[class * images + image] = dot(row, errors);
            }
        }
        for (to, from) in [(&mut gradient.own, &at.own), (&mut gradient.product, &at.product)] {
            to.iter_mut()
                .zip(from)
                .for_each(|(to, from)| *to += self.l2 * from);
        }
        (loss, gradient)
    }
}

/// The way down as L-BFGS's two loops find it.
fn direction(gradient: &Vector, memory: &[(Vector, Vector, f64)]) -> Vector {
    let mut step = gradient.clone();
    let mut shares = Vec::with_capacity(memory.len());
    for (moved, turned, curvature) in memory.iter().rev() {
        let share = moved.inner(&step) / curvature;
        step.add(-share, turned);
        shares.push(share);
    }
    let scale = memory
        .last()
        .map_or(1.0, |(_, turned, curvature)| curvature / turned.inner(turned));
    let mut scaled = Vector::zero(step.own.len(), step.intercepts.len());
    scaled.add(scale, &step);
    for ((moved, turned, curvature), share) in memory.iter().zip(shares.iter().rev()) {
        let again = turned.inner(&scaled) / curvature;
        scaled.add(share - again, moved);
    }
    let mut down = Vector::zero(scaled.own.len(), scaled.intercepts.len());
    down.add(-1.0, &scaled);
    down
}

/// `ln Σ exp`, without overflow.
pub(super) fn log_sum(logits: &[f64]) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dimension_meets_the_known_minimum() {
        // x = ±1, y = sign(x): two classes share w = 2u, and u minimises ln(1 + e^-2u) + l2 u².
        let fit = Problem {
            gram: &[1.0, -1.0, -1.0, 1.0],
            labels: &[0, 1],
            classes: 2,
            weights: &[0.5, 0.5],
            l2: 0.3,
        }
        .solve();
        let u = fit.coefficients[0][0] - fit.coefficients[0][1];
        let slope = -2.0 / ((2.0 * u).exp() + 1.0) + 2.0 * 0.3 * u;
        assert!(slope.abs() < 1e-4, "{u} {slope}");
        assert!(fit.intercepts.iter().all(|intercept| intercept.abs() < 1e-6));
    }

    #[test]
    fn without_anything_to_see_intercepts_hold_the_shares() {
        let weights = [0.25; 4];
        let fit = Problem {
            gram: &[0.0; 16],
            labels: &[0, 0, 0, 1],
            classes: 2,
            weights: &weights,
            l2: 0.1,
        };
        let fit = Problem {
            gram: &[1e-12; 16],
            ..fit
        }
        .solve();
        let odds = fit.intercepts[0] - fit.intercepts[1];
        assert!((odds - 3.0_f64.ln()).abs() < 1e-3, "{odds}");
    }
}
