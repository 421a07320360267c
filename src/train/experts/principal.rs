//! Principal axes of few images in many dimensions.
//!
//! By the products of images with each other instead of those of dimensions
//! (both have the same eigenvalues), and by subspace iteration with a
//! Rayleigh–Ritz step (Golub and Van Loan, "Matrix Computations", §8.2.4), whose small
//! matrix is diagonalised by Jacobi's rotations (§8.5). Every sum has its order,
//! so that the same images give the same bits, however many threads there are.

use rayon::prelude::*;

/// Rounds of subspace iteration: the first axes stand apart, and the last ones of many need not be exact.
const ROUNDS: usize = 24;
/// Vectors that are carried besides those asked for.
const SPARE: usize = 8;
/// Sweeps of Jacobi's rotations at most; it converges quadratically, in less than ten.
const SWEEPS: usize = 30;
/// Partial sums of a scalar product.
const LANES: usize = 8;
/// The share of the greatest variance below which an axis is rounding.
const NOISE: f64 = 1e-9;

/// The mean of rows and their principal axes.
#[derive(Debug)]
pub struct Principal {
    /// The axes, each of length 1, that of the greatest variance first; as many as were asked for, or as there are.
    pub axes: Vec<Vec<f64>>,
    /// The standard deviation of the rows along each.
    pub deviations: Vec<f64>,
}

/// Finds at most `count` principal axes of `rows`, all of one length.
pub fn principal(rows: &[Vec<f64>], count: usize) -> Principal {
    let (images, dim) = (rows.len(), rows.first().map_or(0, Vec::len));
    let mean: Vec<f64> = (0..dim)
        .map(|at| rows.iter().map(|row| row[at]).sum::<f64>() / images as f64)
        .collect();
    let centred: Vec<Vec<f64>> = (rows.par_iter())
        .map(|row| row.iter().zip(&mean).map(|(value, mean)| value - mean).collect())
        .collect();
    let mut gram: Vec<Vec<f64>> = (0..images)
        .into_par_iter()
        .map(|row| {
            centred[..=row]
                .iter()
                .map(|other| dot(&centred[row], other))
                .collect()
        })
        .collect();
    for row in 0..images {
        let mirrored: Vec<f64> = gram[row + 1..].iter().map(|below| below[row]).collect();
        gram[row].extend(mirrored);
    }
    let (values, vectors) = leading(&gram, count.min(images.saturating_sub(1)));
    let greatest = values.first().copied().unwrap_or(0.0);
    let sound = values
        .iter()
        .take_while(|value| **value > NOISE * greatest)
        .count();
    let axis = |at: usize| {
        let mut axis = vec![0.0; dim];
        for (share, row) in vectors[at].iter().zip(&centred) {
            axis.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += share * value);
        }
        let length = dot(&axis, &axis).sqrt();
        axis.iter_mut().for_each(|value| *value /= length);
        axis
    };
    Principal {
        axes: (0..sound).into_par_iter().map(axis).collect(),
        deviations: values[..sound]
            .iter()
            .map(|value| (value / images as f64).sqrt())
            .collect(),
    }
}

/// In partial sums side by side, so that the compiler may use vector registers although the order of additions is fixed.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

/// The `count` greatest eigenvalues of a symmetric matrix without negative ones, greatest first, and their vectors.
fn leading(matrix: &[Vec<f64>], count: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let side = matrix.len();
    let carried = (count + SPARE).min(side);
    // Any start that no eigenvector is at right angles to.
    let start = |vector: usize| {
        let mixed = |at: usize| ((vector * 7_919 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64;
        (0..side).map(|at| mixed(at) / f64::from(1 << 23) - 1.0).collect()
    };
    let mut basis: Vec<Vec<f64>> = (0..carried).map(start).collect();
    orthonormalise(&mut basis);
    let times = |vector: &Vec<f64>| matrix.iter().map(|row| dot(row, vector)).collect::<Vec<f64>>();
    for _ in 0..ROUNDS {
        basis = basis.par_iter().map(times).collect();
        orthonormalise(&mut basis);
    }
    let images: Vec<Vec<f64>> = basis.par_iter().map(times).collect();
    let small = (basis.iter())
        .map(|one| images.iter().map(|other| dot(one, other)).collect())
        .collect();
    let (values, turns) = diagonalised(small);
    let turned = |turn: &Vec<f64>| {
        let mut vector = vec![0.0; side];
        for (share, own) in turn.iter().zip(&basis) {
            vector
                .iter_mut()
                .zip(own)
                .for_each(|(sum, value)| *sum += share * value);
        }
        vector
    };
    let values: Vec<f64> = values
        .into_iter()
        .take(count)
        .map(|value| value.max(0.0))
        .collect();
    (values, turns.iter().take(count).map(turned).collect())
}

/// Makes vectors of length 1 at right angles to each other (modified Gram–Schmidt, twice). One that
/// depends on those before becomes 0.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    for at in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(at);
        let own = &mut rest[0];
        let whole = dot(own, own).sqrt();
        for _ in 0..2 {
            for other in &*before {
                let shared = dot(own, other);
                own.iter_mut()
                    .zip(other)
                    .for_each(|(value, other)| *value -= shared * other);
            }
        }
        let length = dot(own, own).sqrt();
        let factor = if length > 1e-12 * whole { 1.0 / length } else { 0.0 };
        own.iter_mut().for_each(|value| *value *= factor);
    }
}

/// Eigenvalues of a small symmetric matrix, greatest first, and their vectors.
fn diagonalised(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let side = matrix.len();
    let mut vectors: Vec<Vec<f64>> = (0..side)
        .map(|row| {
            (0..side)
                .map(|column| f64::from(u8::from(row == column)))
                .collect()
        })
        .collect();
    for _ in 0..SWEEPS {
        let beside: f64 = (0..side)
            .flat_map(|row| (0..row).map(move |column| (row, column)))
            .map(|(row, column)| matrix[row][column].powi(2))
            .sum();
        let all: f64 = matrix.iter().flatten().map(|value| value.powi(2)).sum();
        if beside <= all * f64::EPSILON.powi(2) {
            break;
        }
        for p in 0..side {
            for q in p + 1..side {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..side).collect();
    order.sort_by(|a, b| matrix[*b][*b].total_cmp(&matrix[*a][*a]));
    (
        order.iter().map(|at| matrix[*at][*at]).collect(),
        order.iter().map(|at| vectors[*at].clone()).collect(),
    )
}

/// Turns the plane of `p` and `q` so that their entry becomes 0. `vectors` are rows.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let entry = matrix[p][q];
    if entry == 0.0 {
        return;
    }
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * entry);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for row in matrix.iter_mut() {
        let (a, b) = (row[p], row[q]);
        (row[p], row[q]) = (cosine * a - sine * b, sine * a + cosine * b);
    }
    let turn = |rows: &mut [Vec<f64>]| {
        let (before, from) = rows.split_at_mut(q);
        for (a, b) in before[p].iter_mut().zip(&mut from[0]) {
            (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
        }
    };
    turn(matrix);
    turn(vectors);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::train::random::{Purpose, Stream};

    fn noise(seed: u64, images: usize, dim: usize) -> Vec<Vec<f64>> {
        let mut stream = Stream::new(seed, Purpose::Groups, [0; 3]);
        let mut row = || (0..dim).map(|_| stream.next_in(-1.0, 1.0)).collect();
        (0..images).map(|_| row()).collect()
    }

    #[test]
    fn axes_of_what_varies_along_few_are_those_and_in_their_order() {
        // Along (3, 4) / 5 with deviation 10, along (-4, 3) / 5 with deviation 2; nothing in the third dimension.
        let rows: Vec<Vec<f64>> = [(10.0, 2.0), (-10.0, 2.0), (10.0, -2.0), (-10.0, -2.0)]
            .map(|(a, b)| vec![0.6 * a - 0.8 * b + 7.0, 0.8 * a + 0.6 * b, 5.0])
            .to_vec();
        let found = principal(&rows, 3);
        assert_eq!(found.axes.len(), 2, "no axis without variance");
        for (axis, expected) in found.axes.iter().zip([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0]]) {
            assert!((dot(axis, &expected).abs() - 1.0).abs() < 1e-9, "{axis:?}");
        }
        for (deviation, expected) in found.deviations.iter().zip([10.0, 2.0]) {
            assert!((deviation - expected).abs() < 1e-9, "{deviation}");
        }
    }

    #[test]
    fn equal_rows_have_no_axes() {
        assert!(principal(&vec![vec![1.0, 2.0]; 5], 2).axes.is_empty());
        assert!(principal(&[vec![1.0, 2.0]], 2).axes.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn axes_are_at_right_angles_and_deviations_fall(
            seed in any::<u64>(), images in 2..40_usize, dim in 1..30_usize, count in 1..12_usize,
        ) {
            let rows = noise(seed, images, dim);
            let found = principal(&rows, count);
            prop_assert!(found.axes.len() <= count.min(dim).min(images - 1));
            for (at, axis) in found.axes.iter().enumerate() {
                for (other_at, other) in found.axes.iter().enumerate() {
                    let expected = f64::from(u8::from(at == other_at));
                    prop_assert!((dot(axis, other) - expected).abs() < 1e-6, "{at} {other_at}");
                }
            }
            prop_assert!(found.deviations.is_sorted_by(|a, b| a >= b));
            // All axes together hold all of the variance.
            if count >= dim.min(images - 1) {
                let mean: Vec<f64> = (0..dim)
                    .map(|at| rows.iter().map(|row| row[at]).sum::<f64>() / images as f64)
                    .collect();
                let apart = rows.iter().flat_map(|row| row.iter().zip(&mean).map(|(a, b)| (a - b).powi(2)));
                let all = apart.sum::<f64>() / images as f64;
                let held: f64 = found.deviations.iter().map(|deviation| deviation.powi(2)).sum();
                prop_assert!((all - held).abs() <= 1e-6 * all, "{all} {held}");
            }
        }
    }
}
