//! The model of level `fast`: one counter for each density of a row among
//! weights of one sign, density of a column, and class of standing out. No
//! mixing, few divisions.

use super::adaptive::Counter;
use super::frozen::Frozen;
use super::levels::{CLASSES, LEVELS, class, level, logit, middle, shrunk};
use super::logistic::Logistic;
use super::walk::{Model, Next};

/// A row's densities are estimated anew after so many weights, a column's after so many rows.
const INTERVAL: u32 = 8;
/// A counter forgets what is longer ago than this many bits.
const LIMIT: u32 = 127;

/// See the module.
pub(super) struct Table {
    logistic: Logistic,
    counters: Vec<Counter>,
    // Of the tensor.
    density: [u32; 2],
    columns: Vec<Column>,
    rows_passed: u32,
    // Of the row.
    passed: [u32; 4],
    flipped: [u32; 4],
    levels: [u8; 4],
    until: u32,
    // Of the prediction.
    column: usize,
    cell: usize,
    at: usize,
}

/// What was seen in a column.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    flipped: [u16; 2],
    levels: [u8; 2],
}

impl Table {
    pub(super) fn new() -> Self {
        let logistic = Logistic::new();
        let start = |at: usize| {
            let [row, column] = [at / CLASSES / LEVELS, at / CLASSES % LEVELS];
            logistic.squash(middle(row) + middle(column) - middle(13))
        };
        Self {
            logistic,
            counters: (0..LEVELS * LEVELS * CLASSES)
                .map(|at| Counter::new(start(at), 1))
                .collect(),
            density: [1; 2],
            columns: Vec::new(),
            rows_passed: 0,
            passed: [0; 4],
            flipped: [0; 4],
            levels: [0; 4],
            until: 0,
            column: 0,
            cell: 0,
            at: 0,
        }
    }

    /// The level of what was seen; as long as that is little, nearly that of the tensor's density.
    fn level(&self, flipped: u32, passed: u32, stratum: usize, weight: u32) -> u8 {
        level(logit(
            shrunk(flipped, passed, self.density[stratum], weight),
            self.logistic,
        )) as u8
    }

    fn settle_row(&mut self) {
        self.until = INTERVAL;
        for cell in 0..4 {
            self.levels[cell] = self.level(self.flipped[cell], self.passed[cell], cell / 2, 24);
        }
    }

    fn settle_column(&mut self, column: usize, stratum: usize) {
        // As if every row had its weight in this stratum: passing a row then costs its columns nothing.
        let flipped = u32::from(self.columns[column].flipped[stratum]);
        self.columns[column].levels[stratum] = self.level(flipped, self.rows_passed, stratum, 10);
    }

    fn settle_columns(&mut self) {
        for column in 0..self.columns.len() {
            (0..2).for_each(|stratum| self.settle_column(column, stratum));
        }
    }
}

impl Model for Table {
    const PRIOR: bool = false;

    fn begin_tensor(&mut self, frozen: &Frozen, density: [u32; 2]) {
        self.density = density;
        self.columns.clear();
        self.columns.resize(frozen.columns, Column::default());
        self.rows_passed = 0;
        self.settle_columns();
    }

    fn begin_row(&mut self) {
        self.rows_passed += 1;
        (self.passed, self.flipped) = ([0; 4], [0; 4]);
        self.settle_row();
        if self.rows_passed.is_multiple_of(INTERVAL) {
            self.settle_columns();
        }
    }

    #[inline]
    fn predict(&mut self, next: &Next) -> u32 {
        let cell = next.stratum * 2 + usize::from(next.negative);
        let (row, column) = (self.levels[cell], self.columns[next.column].levels[next.stratum]);
        self.at = (usize::from(row) * LEVELS + usize::from(column)) * CLASSES + class(next.standing.lift());
        (self.column, self.cell) = (next.column, cell);
        self.counters[self.at].probability()
    }

    #[inline]
    fn update(&mut self, flipped: bool) {
        self.counters[self.at].update::<LIMIT>(flipped);
        self.passed[self.cell] += 1;
        self.until -= 1;
        if flipped {
            self.flipped[self.cell] += 1;
            let stratum = self.cell / 2;
            let seen = &mut self.columns[self.column].flipped[stratum];
            *seen = seen.saturating_add(1);
            self.settle_column(self.column, stratum);
        }
        if flipped || self.until == 0 {
            self.settle_row();
        }
    }
}
