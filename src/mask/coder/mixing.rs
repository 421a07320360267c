//! The model of level `best`: eight contexts and what is known of row and column, mixed.

use super::adaptive::{Counter, Mixers};
use super::frozen::Frozen;
use super::levels::{CLASSES, LEVELS, class, level, logit, middle, shrunk};
use super::logistic::{LOGIT_MAX, Logistic};
use super::walk::{Model, Next};

/// Counters that are asked.
const TABLES: usize = 8;
/// Predictions that are mixed: the prior, the counters', row, column, a constant.
const INPUTS: usize = TABLES + 4;
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

/// What was seen in one row: weights passed and flipped, by stratum and sign.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    passed: [u32; 4],
    flipped: [u32; 4],
}

impl Row {
    /// The frequencies of flips among all weights of a stratum, and among those of one sign.
    fn frequencies(&self, cell: usize, density: u32) -> (u32, u32) {
        let sum = |of: [u32; 4]| of[cell] + of[cell ^ 1];
        let both = shrunk(sum(self.flipped), sum(self.passed), density, ROW_WEIGHT);
        (
            both,
            shrunk(self.flipped[cell], self.passed[cell], both, SIGN_WEIGHT),
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
    counters: [Vec<Counter>; TABLES],
    mixers: Mixers<INPUTS>,
    // Of the tensor.
    density: [u32; 2],
    columns: Vec<[u32; 2]>,
    rows_passed: u32,
    // Of the row.
    row: Row,
    // Of the prediction.
    column: usize,
    cell: usize,
    at: [usize; TABLES],
    sets: [usize; 3],
    mixed: [i32; 3],
    logits: [i16; INPUTS],
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
        weights[0] = 40_000;
        weights[TABLES + 3..].fill(0);
        Self {
            logistic,
            counters: [
                by_density(CLASSES * CLASSES),
                by_density(CLASSES * CLASSES),
                by_both(),
                by_both(),
                by_density(CLASSES),
                by_density(CLASSES),
                by_three,
                by_density(CLASSES * CLASSES),
            ],
            mixers: Mixers::new([LEVELS * 2, CLASSES * LEVELS, COARSE * CLASSES], weights),
            density: [1; 2],
            columns: Vec::new(),
            rows_passed: 0,
            row: Row::default(),
            column: 0,
            cell: 0,
            at: [0; TABLES],
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
    }

    fn begin_row(&mut self) {
        self.rows_passed += 1;
        self.row = Row::default();
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
        let [row_sign_logit, col_logit] = [logit(row_sign, self.logistic), logit(col, self.logistic)];
        let dense = level(logit(density, self.logistic));
        let row = level(logit(row, self.logistic));
        let (row_sign, col) = (level(row_sign_logit), level(col_logit));
        let tensor_class = class(next.standing.tensor);
        let row_class = class(next.standing.row);
        let column_class = class(next.standing.column);
        self.logits[TABLES + 1] = row_sign_logit as i16;
        self.logits[TABLES + 2] = col_logit as i16;
        self.logits[TABLES + 3] = 256;
        let activity = class(next.standing.activity);
        self.at = [
            (dense * CLASSES + tensor_class) * CLASSES + row_class,
            (dense * CLASSES + row_class) * CLASSES + column_class,
            (dense * LEVELS + row) * LEVELS + col,
            (dense * LEVELS + row_sign) * LEVELS + col,
            row_sign * CLASSES + tensor_class,
            col * CLASSES + row_class,
            (row_sign * COARSE + coarse(col)) * CLASSES + tensor_class,
            (row_sign * CLASSES + activity) * CLASSES + column_class,
        ];
        self.logits[0] = next.prior.clamp(-LOGIT_MAX, LOGIT_MAX) as i16;
        for ((logit, table), at) in self.logits[1..=TABLES]
            .iter_mut()
            .zip(&self.counters)
            .zip(self.at)
        {
            *logit = self.logistic.stretch(table[at].probability()) as i16;
        }
        self.sets = [
            row_sign * 2 + usize::from(next.seen),
            tensor_class * LEVELS + dense,
            coarse(col) * CLASSES + activity,
        ];
        self.mixed = self.mixers.mix(self.sets, &self.logits);
        (self.column, self.cell) = (column, cell);
        self.logistic.squash(self.mixed.iter().sum::<i32>() / 3)
    }

    #[inline]
    fn update(&mut self, flipped: bool) {
        self.mixers
            .update(self.sets, &self.logits, self.mixed, flipped, self.logistic);
        for (table, at) in self.counters.iter_mut().zip(self.at) {
            table[at].update::<LIMIT>(flipped);
        }
        self.row.passed[self.cell] += 1;
        if flipped {
            self.row.flipped[self.cell] += 1;
            self.columns[self.column][self.cell / 2] += 1;
        }
    }
}
