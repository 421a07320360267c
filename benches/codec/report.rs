//! What is printed: one line a figure, for people and for programs.

/// Prints `figure: codec/NAME = VALUE UNIT`.
pub fn figure(name: &str, value: f64, unit: &str) {
    println!("figure: codec/{name} = {} {unit}", four_digits(value));
}

/// Prints a heading between figures.
pub fn heading(text: &str) {
    println!("\n# {text}");
}

/// The mean; none of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Four significant digits, but all those of whole numbers.
fn four_digits(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1_000.0 {
        return format!("{value:.0}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    format!("{value:.*}", (3 - magnitude).max(0) as usize)
}
