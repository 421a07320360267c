//! What the decoder holds already: the frozen weights of one tensor, and what
//! they say about which of them a mask drops.
//!
//! Training flips weights whose product with their gradient is large, so
//! large weights go first. A weight's *magnitude* is the upper part of its
//! float's bits, its logarithm in 64ths of an octave; what counts is by how
//! much it stands out from its tensor, its row and its column.

use super::logistic::Logistic;
use crate::mask::Bits;

/// One tensor as rows and columns: a row yields one output, a column reads one input at one place of the kernel.
#[derive(Debug, Clone, Copy)]
pub(in crate::mask) struct Plane<'a> {
    /// The frozen weights, row-major.
    pub(in crate::mask) weights: &'a [f32],
    /// How many rows; divides the number of weights.
    pub(in crate::mask) rows: usize,
    /// The bits of a mask that this one resembles.
    pub(in crate::mask) parent: Option<&'a Bits>,
    /// What the masks of others say of rows and columns.
    pub(in crate::mask) prior: Option<Leaning<'a>>,
}

/// By how much the logarithm of the odds is raised in each row and each column, in 256ths.
#[derive(Debug, Clone, Copy)]
pub(in crate::mask) struct Leaning<'a> {
    pub(in crate::mask) rows: &'a [i16],
    pub(in crate::mask) columns: &'a [i16],
}

impl Plane<'_> {
    /// How many weights a row has.
    pub(super) fn columns(&self) -> usize {
        self.weights.len() / self.rows
    }

    /// 1 where the parent drops the weight, 0 elsewhere.
    #[inline]
    pub(super) fn stratum(&self, at: usize) -> usize {
        self.parent.map_or(0, |parent| usize::from(!parent.get(at)))
    }

    /// How many weights each stratum has.
    pub(super) fn strata(&self) -> [usize; 2] {
        let dropped = self.parent.map_or(0, Bits::count_zeros);
        [self.weights.len() - dropped, dropped]
    }
}

/// The logarithm of a weight's size in 64ths of an octave; of 0, and of what is as good as 0, 0.
#[inline]
fn magnitude(weight: f32) -> i32 {
    ((weight.to_bits() & 0x7fff_ffff) >> 17) as i32
}

/// A plane with the averages that its weights are compared with.
pub(super) struct Frozen<'a> {
    pub(super) plane: Plane<'a>,
    pub(super) columns: usize,
    tilt: i32,
    logistic: Logistic,
    mean: i32,
    row_means: Vec<i32>,
    column_means: Vec<i32>,
}

/// By how much a weight stands out, in 64ths of an octave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) tensor: i32,
    pub(super) row: i32,
    pub(super) column: i32,
}

impl Standing {
    /// One number out of three: fitted to trained masks, a quarter of what a
    /// weight owes to its row and its column is taken off.
    #[inline]
    pub(super) fn lift(self) -> i32 {
        self.tensor - ((self.row + self.column) >> 2)
    }
}

impl<'a> Frozen<'a> {
    /// Averages `plane`. `tilt` says how steeply odds rise with [`Standing::lift`], in quarter nats an octave.
    pub(super) fn new(plane: Plane<'a>, tilt: u8) -> Self {
        let columns = plane.columns();
        let mut column_sums = vec![0_i64; columns];
        let mut row_means = Vec::with_capacity(plane.rows);
        let mut total = 0;
        for row in plane.weights.chunks_exact(columns) {
            let mut sum = 0;
            for (weight, column) in row.iter().zip(&mut column_sums) {
                let magnitude = i64::from(magnitude(*weight));
                sum += magnitude;
                *column += magnitude;
            }
            total += sum;
            row_means.push((sum / columns as i64) as i32);
        }
        let column_means = column_sums
            .iter()
            .map(|sum| (sum / plane.rows as i64) as i32)
            .collect();
        Self {
            columns,
            tilt: i32::from(tilt),
            logistic: Logistic::new(),
            mean: (total / plane.weights.len() as i64) as i32,
            row_means,
            column_means,
            plane,
        }
    }

    /// How weight `column` of `row` stands out.
    #[inline]
    pub(super) fn standing(&self, row: usize, column: usize) -> Standing {
        let magnitude = magnitude(self.plane.weights[row * self.columns + column]);
        Standing {
            tensor: magnitude - self.mean,
            row: magnitude - self.row_means[row],
            column: magnitude - self.column_means[column],
        }
    }

    /// The relative odds, in 65,536ths, that a weight is dropped. What a parent drops is all alike.
    #[inline]
    pub(super) fn odds(&self, row: usize, column: usize, standing: Standing, stratum: usize) -> u64 {
        if stratum == 1 {
            return 1 << 16;
        }
        let leaning = self.plane.prior.map_or(0, |prior| {
            i32::from(prior.rows[row]) + i32::from(prior.columns[column])
        });
        self.logistic.exp(standing.lift() * self.tilt + leaning)
    }

    /// The summed odds of each row, by stratum.
    pub(super) fn row_odds(&self) -> Vec<[u64; 2]> {
        (0..self.plane.rows)
            .map(|row| {
                let mut sums = [0; 2];
                for column in 0..self.columns {
                    let stratum = self.plane.stratum(row * self.columns + column);
                    sums[stratum] += self.odds(row, column, self.standing(row, column), stratum);
                }
                sums
            })
            .collect()
    }
}

/// The relative odds of every weight, row-major, that it is dropped.
pub(in crate::mask) fn odds(weights: &[f32], rows: usize, tilt: u8) -> Vec<u64> {
    let frozen = Frozen::new(
        Plane {
            weights,
            rows,
            parent: None,
            prior: None,
        },
        tilt,
    );
    let of = |at: usize| {
        let (row, column) = (at / frozen.columns, at % frozen.columns);
        frozen.odds(row, column, frozen.standing(row, column), 0)
    };
    (0..weights.len()).map(of).collect()
}
