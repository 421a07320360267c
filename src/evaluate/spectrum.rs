//! Eigenvalues of a symmetric matrix, without eigenvectors.
//!
//! Householder reflections to three diagonals, then each eigenvalue by
//! bisection on Sturm counts (Golub and Van Loan, "Matrix Computations", §8.3–8.4).
//! Our own and not a linear algebra crate's: it is small, gives the same bits
//! on every machine (crates choose kernels by instruction set), cannot fail to
//! converge, and is the only decomposition that is needed.

use rayon::prelude::*;

use super::embeddings::dot;

/// All eigenvalues of the symmetric `matrix` `[side, side]`, least first.
/// Each is exact to about `side * EPSILON` of the greatest in magnitude.
pub(super) fn symmetric_eigenvalues(matrix: Vec<f64>, side: usize) -> Vec<f64> {
    assert_eq!(matrix.len(), side * side, "a square matrix");
    let (diagonal, beside) = three_diagonals(matrix, side);
    // Gershgorin: all eigenvalues lie within these bounds.
    let radius = |row: usize| {
        let before = if row > 0 { beside[row - 1].abs() } else { 0.0 };
        before + beside.get(row).map_or(0.0, |value| value.abs())
    };
    let least = (0..side)
        .map(|row| diagonal[row] - radius(row))
        .fold(f64::INFINITY, f64::min);
    let most = (0..side)
        .map(|row| diagonal[row] + radius(row))
        .fold(f64::NEG_INFINITY, f64::max);
    let precision = least.abs().max(most.abs()) * f64::EPSILON;
    let squares: Vec<f64> = beside.iter().map(|value| value * value).collect();
    (0..side)
        .into_par_iter()
        .map(|rank| {
            let (mut low, mut high) = (least, most);
            while high - low > precision {
                let middle = f64::midpoint(low, high);
                if middle <= low || middle >= high {
                    break;
                }
                if below(&diagonal, &squares, middle, precision) > rank {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            f64::midpoint(low, high)
        })
        .collect()
}

/// How many eigenvalues lie below `bound` (Sturm's theorem).
fn below(diagonal: &[f64], squares: &[f64], bound: f64, precision: f64) -> usize {
    let tiny = precision.max(f64::MIN_POSITIVE);
    let (mut count, mut pivot) = (0, 1.0_f64);
    for (row, value) in diagonal.iter().enumerate() {
        let coupling = if row > 0 { squares[row - 1] / pivot } else { 0.0 };
        pivot = value - bound - coupling;
        if pivot.abs() < tiny {
            pivot = -tiny;
        }
        count += usize::from(pivot < 0.0);
    }
    count
}

/// Reduces `matrix` to its diagonal and the values beside it, by reflections
/// that leave the eigenvalues as they are.
fn three_diagonals(mut matrix: Vec<f64>, side: usize) -> (Vec<f64>, Vec<f64>) {
    let mut diagonal = Vec::with_capacity(side);
    let mut beside = Vec::with_capacity(side.saturating_sub(1));
    for step in 0..side {
        diagonal.push(matrix[step * side + step]);
        let rest = step + 1;
        if rest == side {
            break;
        }
        let mut mirror = matrix[step * side + rest..(step + 1) * side].to_vec();
        let length = dot(&mirror, &mirror).sqrt();
        // Away from cancellation: the mirror's first element grows.
        let target = if mirror[0] > 0.0 { -length } else { length };
        beside.push(target);
        mirror[0] -= target;
        let square = dot(&mirror, &mirror);
        if square == 0.0 {
            continue;
        }
        let active = &mut matrix[rest * side..];
        let image: Vec<f64> = active
            .par_chunks_exact(side)
            .map(|row| dot(&row[rest..], &mirror) * 2.0 / square)
            .collect();
        let along = dot(&image, &mirror) / square;
        let change: Vec<f64> = image
            .iter()
            .zip(&mirror)
            .map(|(image, mirror)| image - along * mirror)
            .collect();
        active
            .par_chunks_exact_mut(side)
            .enumerate()
            .for_each(|(row, values)| {
                let (of_mirror, of_change) = (mirror[row], change[row]);
                for ((value, mirror), change) in values[rest..].iter_mut().zip(&mirror).zip(&change) {
                    *value -= of_mirror * change + of_change * mirror;
                }
            });
    }
    (diagonal, beside)
}

#[cfg(test)]
mod tests {
    use super::super::embeddings::gram;
    use super::super::synthetic::gaussians;
    use super::*;

    #[test]
    fn known_eigenvalues_are_found() {
        let found = symmetric_eigenvalues(vec![2.0, 1.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, -5.0], 3);
        for (found, known) in found.iter().zip([-5.0, 1.0, 3.0]) {
            assert!((found - known).abs() < 1e-12);
        }
        // The path graph's matrix: 2 - 2 cos(pi j / (n + 1)).
        let mut path = vec![0.0; 400];
        for row in 0..20 {
            path[row * 21] = 2.0;
            if row < 19 {
                path[row * 20 + row + 1] = -1.0;
                path[(row + 1) * 20 + row] = -1.0;
            }
        }
        for (rank, found) in symmetric_eigenvalues(path, 20).iter().enumerate() {
            let known = 2.0 - 2.0 * (std::f64::consts::PI * (rank as f64 + 1.0) / 21.0).cos();
            assert!((found - known).abs() < 1e-12);
        }
        assert_eq!(symmetric_eigenvalues(vec![0.0; 9], 3), [0.0; 3]);
        assert_eq!(symmetric_eigenvalues(vec![4.0], 1), [4.0]);
    }

    #[test]
    fn trace_and_square_sum_are_kept() {
        let (values, _) = gaussians(40, 60, 1, 0.0, 2);
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let matrix = gram(&values, 60);
        let trace: f64 = (0..40).map(|n| matrix[n * 41]).sum();
        let squares: f64 = matrix.iter().map(|value| value * value).sum();
        let found = symmetric_eigenvalues(matrix, 40);
        assert!((found.iter().sum::<f64>() / trace - 1.0).abs() < 1e-12);
        assert!((found.iter().map(|value| value * value).sum::<f64>() / squares - 1.0).abs() < 1e-12);
        assert!(found.iter().all(|value| *value > 0.0));
    }
}
