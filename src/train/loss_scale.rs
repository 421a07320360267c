//! Dynamic loss scaling: float16 knows no number between 0 and 6·10⁻⁸, where most gradients of a
//! deep network lie, and none above 65,504.
//!
//! The loss is multiplied before it runs backwards and the gradients divided after, by a
//! power of two, so neither rounds. A step whose gradients left the range moves nothing and halves the
//! scale; after some time without one the scale is doubled (Mixed Precision Training, arXiv 1710.03740, §3.2).

use super::TrainError;

/// Where the scale begins.
const FIRST: f32 = 65_536.0;
/// It falls no lower: then the network itself leaves the range, and no scale helps.
const LEAST: f32 = 1.0;
/// It rises no higher.
const GREATEST: f32 = 16_777_216.0;
/// Steps in a row without an overflow after which it is doubled.
const STEADY: f32 = 500.0;

/// The scale of the loss, part of a training's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LossScale {
    /// The scale, and the steps since it last changed: as a checkpoint keeps them.
    numbers: [f32; 2],
}

impl LossScale {
    /// The scale of the first step.
    pub(super) fn new() -> Self {
        Self {
            numbers: [FIRST, 0.0],
        }
    }

    /// What the loss is multiplied by.
    pub(super) fn factor(&self) -> f32 {
        self.numbers[0]
    }

    /// All numbers of the state.
    pub(super) fn plane(&self) -> &[f32] {
        &self.numbers
    }

    /// The same numbers, to be overwritten.
    pub(super) fn plane_mut(&mut self) -> &mut [f32] {
        &mut self.numbers
    }

    /// Divides the `gradients` of `step` by the scale and says whether they may move anything: not
    /// if one of them left the range. Either way the scale is that of the next step from here on.
    pub(super) fn undo(&mut self, step: u32, gradients: &mut [Vec<f32>]) -> Result<bool, TrainError> {
        let [scale, steady] = self.numbers;
        if !(gradients.iter().flatten()).all(|gradient| gradient.is_finite()) {
            if scale <= LEAST {
                return Err(TrainError::OutOfRange { step });
            }
            self.numbers = [scale / 2.0, 0.0];
            return Ok(false);
        }
        let inverse = 1.0 / scale;
        for gradient in gradients.iter_mut().flatten() {
            *gradient *= inverse;
        }
        self.numbers = if steady + 1.0 < STEADY {
            [scale, steady + 1.0]
        } else {
            [(scale * 2.0).min(GREATEST), 0.0]
        };
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Vec<Vec<f32>> {
        vec![vec![3.0 * FIRST, -1.0], vec![0.0]]
    }

    #[test]
    fn gradients_come_out_as_they_would_be_without_a_scale() {
        let mut gradients = fine();
        assert!(LossScale::new().undo(0, &mut gradients).unwrap());
        assert_eq!(gradients, [vec![3.0, -1.0 / FIRST], vec![0.0]]);
    }

    #[test]
    fn a_step_that_left_the_range_moves_nothing_and_halves_the_scale() {
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut scale = LossScale::new();
            assert!(scale.undo(0, &mut fine()).unwrap());
            assert!(!scale.undo(1, &mut [vec![1.0], vec![0.0, bad]]).unwrap());
            assert_eq!(scale.plane(), [FIRST / 2.0, 0.0]);
        }
    }

    #[test]
    fn it_rises_only_after_many_steps_in_a_row_and_not_for_ever() {
        let mut scale = LossScale::new();
        let steps = |scale: &mut LossScale, count: u32| {
            for step in 0..count {
                assert!(scale.undo(step, &mut fine()).unwrap());
            }
        };
        let steady = STEADY as u32;
        steps(&mut scale, steady - 1);
        scale.undo(0, &mut [vec![f32::NAN]]).unwrap();
        steps(&mut scale, steady - 1);
        assert_eq!(scale.factor(), FIRST / 2.0);
        steps(&mut scale, 1);
        assert_eq!(scale.factor(), FIRST);
        steps(&mut scale, 20 * steady);
        assert_eq!(scale.factor(), GREATEST);
    }

    #[test]
    fn where_no_scale_helps_the_training_ends_with_a_sentence() {
        let mut scale = LossScale::new();
        let last = (0..100).find_map(|step| scale.undo(step, &mut [vec![f32::INFINITY]]).err());
        assert_eq!(scale.factor(), LEAST);
        let said = last.unwrap().to_string();
        assert!(said.contains("step 16") && said.contains("bfloat16"), "{said}");
    }

    #[test]
    fn it_goes_on_from_its_numbers() {
        let mut whole = LossScale::new();
        whole.undo(0, &mut [vec![f32::NAN]]).unwrap();
        whole.undo(1, &mut fine()).unwrap();
        let mut resumed = LossScale::new();
        resumed.plane_mut().copy_from_slice(whole.plane());
        assert_eq!(resumed, whole);
    }
}
