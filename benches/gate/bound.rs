//! The bound of a rate that was counted.

/// The one-sided 95 % upper bound of a rate of which `found` of `all` were seen (Clopper and
/// Pearson 1934): the greatest rate at which so few are seen in at least one study of twenty.
pub fn upper(found: usize, all: usize) -> f64 {
    if found >= all {
        return 1.0;
    }
    let (mut low, mut high) = (found as f64 / all as f64, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(found, all, middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The chance of at most `found` of `all` at `rate`.
fn at_most(found: usize, all: usize, rate: f64) -> f64 {
    let mut term = (1.0 - rate).powi(all as i32);
    let mut sum = term;
    for number in 1..=found {
        term *= (all - number + 1) as f64 / number as f64 * rate / (1.0 - rate);
        sum += term;
    }
    sum
}
