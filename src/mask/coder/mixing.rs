//! The model of level `best`: eight contexts and what is known of row and column, mixed.

use super::adaptive::{Counter, Mixer};
use super::frozen::Frozen;
use super::levels::{CLASSES, LEVELS, class, level, logit, middle, shrunk};
use super::logistic::Logistic;
use super::walk::{Model, Next};

/// Predictions that are mixed: the prior, eight counters, row, column, a constant.
const INPUTS: usize = 12;
/// Levels of columns in the context of three.
const COARSE: usize = 12;
/// A counter forgets what is longer ago than this many bits.
const LIMIT: u32 = 1_000;
/// What a counter starts with, as if it had seen so many bits.
const START: u32 = 8;

/// How many weights the tensor's density counts for a row's; the row's for that of one sign in it; the
/// tensor's for a column's.
const ROW_WEIGHT: u32 = 16;
const SIGN_WEIGHT: u32 = 6;
const COLUMN_WEIGHT: u32 = 8;

/// What was seen in one row: weights passed and dropped, by stratum and sign.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    passed: [u32; 4],
    dropped: [u32; 4],
}

impl Row {
    /// The frequencies of drops among all weights of a stratum, and among those of one sign.
    fn frequencies(&self, cell: usize, density: u32) -> (u32, u32) {
        let sum = |of: [u32; 4]| of[cell] + of[cell ^ 1];
        let both = shrunk(sum(self.dropped), sum(self.passed), density, ROW_WEIGHT);
        (
            both,
            shrunk(self.dropped[cell], self.passed[cell], both, SIGN_WEIGHT),
        )
    }
}

/// The coarse level of a level.
fn coarse(level: usize) -> usize {
    level.saturating_sub(5).min(COARSE - 1)
}

/// See the module.
pub(super) struct Mixing {
    logistic: Logistic,
    counters: [Vec<Counter>; 8],
    mixers: [Mixer<INPUTS>; 3],
    // Of the tensor.
    density: [u32; 2],
    columns: Vec<[u32; 2]>,
    rows_passed: u32,
    above: Vec<bool>,
    // Of the row.
    number: usize,
    row: Row,
    left: [bool; 2],
    corner: bool,
    // Of the prediction.
    column: usize,
    cell: usize,
    at: [usize; 8],
    sets: [usize; 3],
    mixed: [i32; 3],
    logits: [i32; INPUTS],
}

impl Mixing {
    pub(super) fn new() -> Self {
        let logistic = Logistic::new();
        let table = |size: usize, start: &dyn Fn(usize) -> i32| {
            (0..size)
                .map(|at| Counter::new(logistic.squash(start(at)), START))
                .collect::<Vec<_>>()
        };
        let by_density = |inner: usize| table(LEVELS * inner, &|at| middle(at / inner));
        // Row and column raise or lower the density independently.
        let by_both = || {
            table(LEVELS * LEVELS * LEVELS, &|at| {
                let [density, row, column] = [at / LEVELS / LEVELS, at / LEVELS % LEVELS, at % LEVELS];
                middle(row) + middle(column) - middle(density)
            })
        };
        let by_three = table(LEVELS * COARSE * CLASSES, &|at| {
            let [row, column] = [at / CLASSES / COARSE, at / CLASSES % COARSE + 5];
            middle(row) + middle(column) - middle(12)
        });
        let mut weights = [2_000; INPUTS];
        (weights[0], weights[INPUTS - 1]) = (40_000, 0);
        Self {
            logistic,
            counters: [
                by_density(CLASSES * CLASSES),
                by_density(CLASSES * CLASSES),
                by_both(),
                by_both(),
                by_density(CLASSES),
                by_density(CLASSES),
                by_density(64),
                by_three,
            ],
            mixers: [LEVELS * 8, CLASSES * LEVELS, LEVELS].map(|sets| Mixer::new(sets, weights)),
            density: [1; 2],
            columns: Vec::new(),
            above: Vec::new(),
            rows_passed: 0,
            number: 0,
            row: Row::default(),
            left: [false; 2],
            corner: false,
            column: 0,
            cell: 0,
            at: [0; 8],
            sets: [0; 3],
            mixed: [0; 3],
            logits: [0; INPUTS],
        }
    }
}

impl Model for Mixing {
    const PRIOR: bool = true;

    fn begin_tensor(&mut self, frozen: &Frozen, density: [u32; 2]) {
        self.density = density;
        self.columns.clear();
        self.columns.resize(frozen.columns, [0; 2]);
        self.rows_passed = 0;
        self.above.clear();
        self.above.resize(frozen.columns, false);
        self.number = usize::MAX;
    }

    fn begin_row(&mut self, row: usize) {
        if self.number.wrapping_add(1) != row {
            self.above.fill(false);
        }
        self.number = row;
        self.rows_passed += 1;
        self.row = Row::default();
        self.left = [false; 2];
        self.corner = false;
    }

    #[inline]
    fn predict(&mut self, next: &Next) -> u32 {
        let density = self.density[next.stratum];
        let column = next.column;
        let cell = next.stratum * 2 + usize::from(next.negative);
        let (row, row_sign) = self.row.frequencies(cell, density);
        // As if every row had its weight of this column in this stratum.
        let col = shrunk(
            self.columns[column][next.stratum],
            self.rows_passed - 1,
            density,
            COLUMN_WEIGHT,
        );
        let [dense, row, row_sign, col] = [density, row, row_sign, col].map(|of| logit(of, self.logistic));
        let [tensor_class, row_class, column_class] =
            [next.standing.tensor, next.standing.row, next.standing.column].map(class);
        let above = |at: usize| usize::from(self.above.get(at).is_some_and(|dropped| *dropped));
        let near = usize::from(self.left[0])
            | usize::from(self.left[1]) << 1
            | above(column) << 2
            | usize::from(self.corner) << 3
            | above(column + 1) << 4;
        let count = near.count_ones().min(3) as usize;
        let seen = usize::from(next.seen);
        (self.logits[9], self.logits[10], self.logits[11]) = (row_sign, col, 256);
        let [dense, row, row_sign, col] = [dense, row, row_sign, col].map(level);

        self.at = [
            (dense * CLASSES + tensor_class) * CLASSES + row_class,
            (dense * CLASSES + row_class) * CLASSES + column_class,
            (dense * LEVELS + row) * LEVELS + col,
            (dense * LEVELS + row_sign) * LEVELS + col,
            row_sign * CLASSES + tensor_class,
            col * CLASSES + row_class,
            dense * 64 + (near | seen << 5),
            (row_sign * COARSE + coarse(col)) * CLASSES + tensor_class,
        ];
        self.logits[0] = logit(next.prior, self.logistic);
        for ((logit, table), at) in self.logits[1..9].iter_mut().zip(&self.counters).zip(self.at) {
            *logit = self.logistic.stretch(table[at].probability());
        }
        self.sets = [
            row_sign * 8 + count * 2 + seen,
            tensor_class * LEVELS + dense,
            col,
        ];
        for ((mixed, mixer), set) in self.mixed.iter_mut().zip(&self.mixers).zip(self.sets) {
            *mixed = mixer.mix(set, &self.logits);
        }
        (self.column, self.cell) = (column, cell);
        self.logistic.squash(self.mixed.iter().sum::<i32>() / 3)
    }

    #[inline]
    fn update(&mut self, dropped: bool) {
        for ((mixer, mixed), set) in self.mixers.iter_mut().zip(self.mixed).zip(self.sets) {
            mixer.update(set, &self.logits, mixed, dropped, self.logistic);
        }
        for (table, at) in self.counters.iter_mut().zip(self.at) {
            table[at].update::<LIMIT>(dropped);
        }
        self.row.passed[self.cell] += 1;
        if dropped {
            self.row.dropped[self.cell] += 1;
            self.columns[self.column][self.cell / 2] += 1;
        }
        self.corner = std::mem::replace(&mut self.above[self.column], dropped);
        self.left = [dropped, self.left[0]];
    }
}
