//! SwAV's loss (arXiv 2006.09882, §3): the code of each large crop, predicted
//! from every other crop of the same image; and its queue of projections.

use tch::Tensor;

use super::TrainError;
use super::backbone::tensor;
use super::embed::values;
use super::recipe::{QueueRule, SwavRule};
use super::sinkhorn;

/// How the rows of projections and similarities are ordered: crop by crop,
/// within a crop image by image, the large crops first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Views {
    /// Images.
    pub(super) batch: usize,
    /// Large crops of each.
    pub(super) large: usize,
    /// Crops of each.
    pub(super) all: usize,
}

impl Views {
    /// The rows of one crop: `[batch, …]` of `[views, …]`.
    fn of(self, view: usize, rows: &Tensor) -> Result<Tensor, TrainError> {
        let batch = self.batch as i64;
        Ok(rows.f_narrow(0, view as i64 * batch, batch)?)
    }
}

/// The codes `[batch, prototypes]` of each large crop. No gradient passes
/// through them. `queue` and `prototypes` `[prototypes, output]` balance them
/// over earlier projections, too.
pub(super) fn codes(
    similarities: &Tensor,
    views: Views,
    rule: &SwavRule,
    queue: Option<(&Queue, &Tensor)>,
) -> Result<Vec<Tensor>, TrainError> {
    let prototypes = similarities.size()[1] as usize;
    let mut codes = Vec::with_capacity(views.large);
    for view in 0..views.large {
        let mut rows = match queue {
            Some((queue, prototypes)) => queue.similarities(view, prototypes)?,
            None => Vec::new(),
        };
        rows.extend(values(&views.of(view, similarities)?.f_detach()?)?);
        let all = sinkhorn::codes(&rows, prototypes, rule.epsilon, rule.rounds);
        let own = &all[all.len() - views.batch * prototypes..];
        codes.push(tensor(own, &[views.batch, prototypes], similarities.device())?);
    }
    Ok(codes)
}

/// The loss, a scalar, of similarities `[views, prototypes]` for given codes.
pub(super) fn swapped_prediction(
    similarities: &Tensor,
    codes: &[Tensor],
    views: Views,
    temperature: f64,
) -> Result<Tensor, TrainError> {
    let mut predictions = Vec::with_capacity(views.all);
    for view in 0..views.all {
        predictions.push(
            views
                .of(view, similarities)?
                .f_div_scalar(temperature)?
                .f_log_softmax(1, None)?,
        );
    }
    let mut terms = Vec::new();
    for (code, codes) in codes.iter().enumerate() {
        for (_, prediction) in predictions.iter().enumerate().filter(|(view, _)| *view != code) {
            let agreement = codes.f_mul(prediction)?.f_sum_dim_intlist(1_i64, false, None)?;
            terms.push(agreement.f_mean(None)?.f_neg()?);
        }
    }
    Ok(Tensor::f_stack(&terms, 0)?.f_mean(None)?)
}

/// The projections of the latest batches, one list for each large crop.
pub(super) struct Queue {
    /// The rule's length, in projections.
    length: usize,
    /// The length of a projection.
    output: usize,
    /// `[length, output]` each, the newest first; zeros where nothing came yet.
    projections: Vec<Vec<f32>>,
    /// How many of each list are there.
    filled: usize,
}

impl Queue {
    pub(super) fn new(rule: &QueueRule, large: usize, output: usize) -> Self {
        Self {
            length: rule.length,
            output,
            projections: vec![vec![0.0; rule.length * output]; large],
            filled: 0,
        }
    }

    /// A queue balances codes only once it is full, as in the authors' code.
    pub(super) fn is_full(&self) -> bool {
        self.filled == self.length
    }

    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Says how many are there, of numbers put back by [`Queue::planes_mut`].
    pub(super) fn set_filled(&mut self, filled: usize) {
        self.filled = filled.min(self.length);
    }

    /// Puts the large crops' projections `[views, output]` of a batch in front.
    pub(super) fn push(&mut self, projections: &Tensor, views: Views) -> Result<(), TrainError> {
        for (view, queue) in self.projections.iter_mut().enumerate() {
            let mut newest = values(&views.of(view, projections)?.f_detach()?)?;
            newest.truncate(queue.len());
            queue.rotate_right(newest.len());
            queue[..newest.len()].copy_from_slice(&newest);
        }
        self.filled = (self.filled + views.batch).min(self.length);
        Ok(())
    }

    /// Similarities, row by row, of one crop's queue to the prototypes as they are now.
    fn similarities(&self, view: usize, prototypes: &Tensor) -> Result<Vec<f32>, TrainError> {
        tch::no_grad(|| {
            let shape = [self.length, self.output];
            let queue = tensor(&self.projections[view], &shape, prototypes.device())?;
            values(&queue.f_linear(prototypes, None::<&Tensor>)?)
        })
    }

    pub(super) fn planes(&self) -> impl Iterator<Item = &[f32]> {
        self.projections.iter().map(Vec::as_slice)
    }

    pub(super) fn planes_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.projections.iter_mut().map(Vec::as_mut_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_keeps_the_newest_and_is_used_once_it_is_full() {
        let rule = QueueRule { length: 5, from: 0.0 };
        let views = Views {
            batch: 2,
            large: 2,
            all: 3,
        };
        let mut queue = Queue::new(&rule, 2, 1);
        for batch in 0..3_u8 {
            assert!(!queue.is_full());
            let first = f32::from(batch) * 2.0;
            let rows = [first, first + 1.0, first + 10.0, first + 11.0, 99.0, 99.0];
            queue
                .push(&tensor(&rows, &[6, 1], tch::Device::Cpu).unwrap(), views)
                .unwrap();
        }
        assert!(queue.is_full());
        assert_eq!(queue.projections[0], [4.0, 5.0, 2.0, 3.0, 0.0]);
        assert_eq!(queue.projections[1], [14.0, 15.0, 12.0, 13.0, 10.0]);
    }

    #[test]
    fn a_queue_balances_the_codes_of_a_small_batch() {
        let rule = SwavRule {
            temperature: 0.1,
            epsilon: 0.5,
            rounds: 50,
            drop_connect: 0.0,
            queue: None,
        };
        let views = Views {
            batch: 2,
            large: 1,
            all: 1,
        };
        let device = tch::Device::Cpu;
        // Both images prefer the first prototype; balance alone would force one of them off it.
        let similarities = tensor(&[0.9, 0.1, 0.8, 0.1], &[2, 2], device).unwrap();
        let alone = values(&codes(&similarities, views, &rule, None).unwrap()[0]).unwrap();
        let mut queue = Queue::new(&QueueRule { length: 4, from: 0.0 }, 1, 2);
        queue.projections[0] = [[0.0, 1.0]; 4].concat();
        queue.set_filled(4);
        let prototypes = tensor(&[1.0, 0.0, 0.0, 1.0], &[2, 2], device).unwrap();
        let balanced =
            values(&codes(&similarities, views, &rule, Some((&queue, &prototypes))).unwrap()[0]).unwrap();
        assert!((alone[0] + alone[2] - 1.0).abs() < 1e-3, "{alone:?}");
        assert!(balanced[0] > 0.8 && balanced[2] > 0.8, "{balanced:?}");
    }
}
