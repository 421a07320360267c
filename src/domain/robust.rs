//! Middles and spreads that a few wild values do not move.

/// Makes the median absolute deviation of Gaussian values their standard deviation.
const GAUSSIAN: f64 = 1.4826;

/// Where most of some values lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle value.
    pub median: f64,
    /// Median absolute deviation, scaled to the standard deviation of Gaussian
    /// values; 0 if more than half of the values are the same.
    pub sigma: f64,
}

impl Spread {
    /// The spread of `values`; none of nothing. Breakdown point: one half.
    pub fn of(values: &[f64]) -> Option<Self> {
        let middle = median(values.to_vec())?;
        let deviations = values.iter().map(|value| (value - middle).abs()).collect();
        Some(Self {
            median: middle,
            sigma: GAUSSIAN * median(deviations)?,
        })
    }

    /// The spread of `values` whose upper side alone is looked at, for those that
    /// have a long tail there, such as distances: a symmetrical deviation would
    /// take the tail's beginning for wild. Breakdown point: one quarter.
    pub fn upward(values: &[f64]) -> Option<Self> {
        let middle = median(values.to_vec())?;
        let above = values.iter().filter(|value| **value >= middle);
        Some(Self {
            median: middle,
            sigma: GAUSSIAN * median(above.map(|value| value - middle).collect())?,
        })
    }
}

/// The middle value, the mean of the two middle ones of an even number; none of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    Some(if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wild_values_move_neither_middle_nor_spread() {
        let mut values: Vec<f64> = (0..101).map(f64::from).collect();
        let tame = Spread::of(&values).unwrap();
        assert_eq!(tame.median, 50.0);
        assert!((tame.sigma - 25.0 * GAUSSIAN).abs() < 1e-9);
        values.extend([1e9; 10]);
        let wild = Spread::of(&values).unwrap();
        assert!((wild.median - tame.median).abs() <= 5.0 && wild.sigma < 1.2 * tame.sigma);
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[7.0, 7.0, 7.0, 9.0]).unwrap().sigma, 0.0);
    }

    #[test]
    fn the_upper_side_is_judged_by_itself() {
        let values: Vec<f64> = (0..100).map(|n| f64::from(n).exp2().min(1e6)).collect();
        let (both, upward) = (Spread::of(&values).unwrap(), Spread::upward(&values).unwrap());
        assert_eq!(both.median, upward.median);
        let narrow = [0.0, 9.0, 10.0, 10.5, 11.0];
        assert!(Spread::upward(&narrow).unwrap().sigma <= Spread::of(&narrow).unwrap().sigma);
    }
}
