//! Embeddings of many images, checked once, and the sums over them.

use rayon::prelude::*;

/// Partial sums kept side by side, so that the compiler may use vector
/// registers although the order of additions is fixed.
const LANES: usize = 8;

/// Why embeddings or labels cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// The values do not fill whole rows.
    #[error("{values} values are no whole number of embeddings of {dim} dimensions")]
    Shape {
        /// Values given.
        values: usize,
        /// Dimensions said.
        dim: usize,
    },
    /// A value is NaN or infinite.
    #[error("the embedding of image {image} is not finite; is the network collapsed?")]
    NotFinite {
        /// The first such image.
        image: usize,
    },
    /// Two things that belong together have other numbers of images.
    #[error("{left} images cannot be compared with {right}: the same images are needed, in the same order")]
    Unpaired {
        /// Images here.
        left: usize,
        /// Images there.
        right: usize,
    },
    /// A class has too few images for the question.
    #[error("a class has {found} labelled images, {needed} are needed")]
    TooFew {
        /// Images of the smallest class (or of all, without classes).
        found: usize,
        /// Images needed.
        needed: usize,
    },
    /// A label has no class.
    #[error("there are labels of {labels} classes and names of {names}")]
    Unnamed {
        /// Classes that the labels speak of.
        labels: usize,
        /// Names given.
        names: usize,
    },
    /// There is nothing to tell apart.
    #[error("all images have one label; two classes are needed")]
    OneClass,
}

/// Embeddings `[images, dim]`, f32, finite, one row for each image.
#[derive(Debug, Clone, Copy)]
pub struct Embeddings<'a> {
    values: &'a [f32],
    dim: usize,
}

impl<'a> Embeddings<'a> {
    /// Takes `values` as rows of `dim`, if they are that and finite.
    pub fn new(values: &'a [f32], dim: usize) -> Result<Self, EvaluateError> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(EvaluateError::Shape {
                values: values.len(),
                dim,
            });
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(EvaluateError::NotFinite { image: at / dim }),
            None => Ok(Self { values, dim }),
        }
    }

    /// The number of images.
    pub fn images(&self) -> usize {
        self.values.len() / self.dim
    }

    /// The width of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The embedding of `image`.
    pub fn row(&self, image: usize) -> &'a [f32] {
        &self.values[image * self.dim..][..self.dim]
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [f32]> {
        self.values.chunks_exact(self.dim)
    }

    /// Checks that there are as many images as `others`.
    pub(super) fn paired_with(&self, others: usize) -> Result<(), EvaluateError> {
        if self.images() == others {
            return Ok(());
        }
        Err(EvaluateError::Unpaired {
            left: self.images(),
            right: others,
        })
    }

    /// The rows at length one; a row of zeros stays one. `[images, dim]`
    pub(super) fn unit(&self) -> Vec<f32> {
        let mut unit = self.values.to_vec();
        unit.par_chunks_exact_mut(self.dim).for_each(|row| {
            let square: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
            let norm = square.sqrt();
            if norm > 0.0 {
                row.iter_mut()
                    .for_each(|value| *value = (f64::from(*value) / norm) as f32);
            }
        });
        unit
    }

    /// Mean and standard deviation of each dimension over all images.
    pub(super) fn moments(&self) -> Vec<(f64, f64)> {
        let count = self.images().max(1) as f64;
        let mut moments = vec![(0.0, 0.0); self.dim];
        for row in self.rows() {
            moments
                .iter_mut()
                .zip(row)
                .for_each(|((mean, _), value)| *mean += f64::from(*value));
        }
        moments.iter_mut().for_each(|(mean, _)| *mean /= count);
        for row in self.rows() {
            for ((mean, square), value) in moments.iter_mut().zip(row) {
                *square += (f64::from(*value) - *mean).powi(2);
            }
        }
        moments
            .iter_mut()
            .for_each(|(_, square)| *square = (*square / count).sqrt());
        moments
    }

    /// The rows less the mean; divided by the standard deviation of each
    /// dimension if `scaled` (a constant dimension becomes zero). `[images, dim]`
    pub(super) fn centred(&self, scaled: bool) -> Vec<f64> {
        let moments = self.moments();
        let mut centred = vec![0.0; self.values.len()];
        centred
            .par_chunks_exact_mut(self.dim)
            .zip(self.values.par_chunks_exact(self.dim))
            .for_each(|(out, row)| {
                for ((out, value), (mean, deviation)) in out.iter_mut().zip(row).zip(&moments) {
                    // Rounding leaves a constant dimension a deviation of about 1e-16 times its mean.
                    let constant = *deviation <= 1e-9 * mean.abs();
                    *out = match (scaled, constant) {
                        (true, true) => 0.0,
                        (true, false) => (f64::from(*value) - mean) / deviation,
                        (false, _) => f64::from(*value) - mean,
                    };
                }
            });
        centred
    }
}

/// The scalar product, summed in a fixed order.
pub(super) fn dot32(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The scalar product, summed in a fixed order.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0_f64; LANES];
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The scalar products of all pairs of rows of `values` `[rows, dim]`: `[rows, rows]`.
pub(super) fn gram(values: &[f64], dim: usize) -> Vec<f64> {
    /// Rows that share a visit to the cache.
    const BLOCK: usize = 16;
    let rows = values.len() / dim;
    let mut gram = vec![0.0; rows * rows];
    gram.par_chunks_mut(BLOCK * rows.max(1))
        .enumerate()
        .for_each(|(block, out)| {
            let first = block * BLOCK;
            for (other, b) in values.chunks_exact(dim).enumerate() {
                for (line, row) in out.chunks_exact_mut(rows).enumerate() {
                    // The upper half only; the lower one is its mirror image.
                    if other >= first + line {
                        row[other] = dot(&values[(first + line) * dim..][..dim], b);
                    }
                }
            }
        });
    for row in 1..rows {
        for column in 0..row {
            gram[row * rows + column] = gram[column * rows + row];
        }
    }
    gram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_embedding_is_refused() {
        assert_eq!(
            Embeddings::new(&[1.0; 5], 2).unwrap_err(),
            EvaluateError::Shape { values: 5, dim: 2 }
        );
        assert!(Embeddings::new(&[], 0).is_err());
        let bad = [0.0, 0.0, 0.0, f32::NAN];
        assert_eq!(
            Embeddings::new(&bad, 2).unwrap_err(),
            EvaluateError::NotFinite { image: 1 }
        );
    }

    #[test]
    fn a_constant_dimension_becomes_zero() {
        let values = [1e6, 1.0, 1e6, 3.0];
        let scaled = Embeddings::new(&values, 2).unwrap().centred(true);
        assert_eq!(scaled, [0.0, -1.0, 0.0, 1.0]);
    }

    #[test]
    fn scalar_products_reach_every_element() {
        let values: Vec<f64> = (0..7 * 21).map(|n| f64::from(n % 11) - 5.0).collect();
        let all = gram(&values, 21);
        for a in 0..7 {
            for b in 0..7 {
                let plain: f64 = (0..21).map(|n| values[a * 21 + n] * values[b * 21 + n]).sum();
                assert!((all[a * 7 + b] - plain).abs() < 1e-9);
            }
        }
    }
}
