//! What the decoder holds already: the frozen weights of one tensor, and what
//! they say about which of them a mask drops; with a parent, what that says.
//!
//! Training flips weights whose product with their gradient is large, so
//! large weights go first. A weight's *magnitude* is the upper part of its
//! float's bits, its logarithm in 64ths of an octave; what counts is by how
//! much it stands out from its tensor, its row and its column. And the gradient
//! of a weight grows with what it reads: columns that read a channel which is
//! often active lose more.

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
    /// What the columns read, if that comes out of a BatchNorm.
    pub(in crate::mask) input: Option<Input<'a>>,
}

/// The BatchNorm whose channels the columns of a plane read: a factor and a summand for each, in the order
/// of the columns, of which every channel has as many.
#[derive(Debug, Clone, Copy)]
pub(in crate::mask) struct Input<'a> {
    pub(in crate::mask) factors: &'a [f32],
    pub(in crate::mask) summands: &'a [f32],
}

/// The least size of a channel that is told from none, 2^−17.6.
const SIZE_MIN: i32 = 7_000;
/// A row or column of the parent is believed to differ from the others as if it had so many drops more.
const CAUTION: u64 = 2;
/// The largest leaning, four nats, in 256ths.
const LEANING_MAX: i32 = 1_024;
/// The furthest that a channel stands out, four octaves.
const ACTIVITY_MAX: i32 = 256;

impl Input<'_> {
    /// By how much each channel's activity stands out, in 64ths of an octave.
    ///
    /// Normalised values beyond 3 are rare, so an activation sees at most summand + 3 · factor.
    fn activities(self) -> Vec<i32> {
        let size = |(factor, summand): (&f32, &f32)| {
            let size = magnitude((summand + factor.abs() * 3.0).max(0.0));
            size.max(SIZE_MIN)
        };
        let sizes: Vec<_> = self.factors.iter().zip(self.summands).map(size).collect();
        let mean = sizes.iter().sum::<i32>() / sizes.len() as i32;
        let activity = |size: &i32| (size - mean).clamp(-ACTIVITY_MAX, ACTIVITY_MAX);
        sizes.iter().map(activity).collect()
    }
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

impl Plane<'_> {
    /// By how much rows and columns lean because the parent drops more of them than of others, in 256ths: what
    /// is dropped anew lies where much was dropped before. All 0 without a parent.
    fn leanings_of_parent(&self, logistic: Logistic) -> [Vec<i32>; 2] {
        let columns = self.columns();
        let mut drops = [vec![0_u64; self.rows], vec![0; columns]];
        let Some(parent) = self.parent else {
            return drops.map(|drops| vec![0; drops.len()]);
        };
        for at in parent.zeros() {
            drops[0][at / columns] += 1;
            drops[1][at % columns] += 1;
        }
        let total: u64 = drops[0].iter().sum();
        drops.map(|drops| {
            let of = drops.len() as u64;
            let times = |drops: &u64| (((drops + CAUTION) * of) << 24) / (total + CAUTION * of);
            let leaning = |drops| logistic.ln(times(drops)).clamp(-LEANING_MAX, LEANING_MAX);
            drops.iter().map(leaning).collect()
        })
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
    /// By how much the activity of what each column reads stands out, in 64ths of an octave; 0 where unknown.
    activities: Vec<i32>,
    /// What each row and each column adds to the logarithm of the odds, in 256ths.
    row_leanings: Vec<i32>,
    column_leanings: Vec<i32>,
}

/// By how much a weight stands out from its tensor, its row and its column, and what it reads from other
/// channels, in 64ths of an octave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) tensor: i32,
    pub(super) row: i32,
    pub(super) column: i32,
    pub(super) activity: i32,
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
        let activities = match plane.input.map(Input::activities) {
            Some(channels) => {
                let each = columns / channels.len();
                channels
                    .iter()
                    .flat_map(|activity| std::iter::repeat_n(*activity, each))
                    .collect()
            }
            None => vec![0; columns],
        };
        let logistic = Logistic::new();
        let [parent_rows, parent_columns] = plane.leanings_of_parent(logistic);
        let prior = |of: Option<&[i16]>, at: usize| of.map_or(0, |of| i32::from(of[at]));
        let row_prior = plane.prior.map(|prior| prior.rows);
        let column_prior = plane.prior.map(|prior| prior.columns);
        // Fitted to trained masks: odds rise with activity three eighths as steeply as with a weight.
        let active = |at: usize| (activities[at] * i32::from(tilt) * 3) >> 3;
        Self {
            row_leanings: (0..plane.rows)
                .map(|row| prior(row_prior, row) + parent_rows[row])
                .collect(),
            column_leanings: (0..columns)
                .map(|at| active(at) + prior(column_prior, at) + parent_columns[at])
                .collect(),
            activities,
            columns,
            tilt: i32::from(tilt),
            logistic,
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
            activity: self.activities[column],
        }
    }

    /// The logarithm, in 256ths, of the relative odds that a weight is flipped. What a parent drops is all alike.
    #[inline]
    pub(super) fn lean(&self, row: usize, column: usize, standing: Standing, stratum: usize) -> i32 {
        if stratum == 1 {
            return 0;
        }
        standing.lift() * self.tilt + self.row_leanings[row] + self.column_leanings[column]
    }

    /// The relative odds themselves, in 65,536ths.
    #[inline]
    pub(super) fn odds(&self, row: usize, column: usize, standing: Standing, stratum: usize) -> u64 {
        self.logistic.exp(self.lean(row, column, standing, stratum))
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
pub(in crate::mask) fn odds(plane: Plane, tilt: u8) -> Vec<u64> {
    let frozen = Frozen::new(plane, tilt);
    let of = |at: usize| {
        let (row, column) = (at / frozen.columns, at % frozen.columns);
        let standing = frozen.standing(row, column);
        frozen.odds(row, column, standing, plane.stratum(at))
    };
    (0..plane.weights.len()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_lean_by_what_they_read() {
        let input = Input {
            factors: &[1.0, 4.0, -1.0, 0.0, 1.0],
            summands: &[0.0, 0.0, -3.0, -1.0, f32::NAN],
        };
        // 3, 12, and none of the others is ever active: they stand out by four octaves at most.
        let activities = input.activities();
        assert_eq!(activities[1..], [256, -256, -256, -256]);
        let plane = Plane {
            weights: &[0.5; 20],
            rows: 2,
            parent: None,
            prior: None,
            input: Some(Input {
                factors: &[1.0, 4.0],
                summands: &[0.0, 0.0],
            }),
        };
        let odds = odds(plane, 8);
        assert_eq!(odds[..10], odds[10..]);
        assert!(odds[..5].iter().all(|own| *own == odds[0]) && odds[5..10].iter().all(|own| *own == odds[5]));
        // Two octaves of activity: 2 nats an octave, of which three eighths, are 1.5 nats.
        let times = odds[5] as f64 / odds[0] as f64;
        assert!((times - 1.5_f64.exp()).abs() < 0.05, "{times}");
    }
}
