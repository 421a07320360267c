//! Data on standard output, everything else on standard error.

use serde::Serialize;

/// Prints `value` as JSON, for programs.
pub fn json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("what is printed has only text keys");
    line(&text);
}

/// Prints one line of data. A reader that went away (`| head`) is no error.
pub fn line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints rows as aligned columns under a header.
pub fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let print = |cells: [&str; N]| {
        let padded = (0..N).map(|column| format!("{:<width$}", cells[column], width = width(column)));
        line(padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    print(header);
    for row in rows {
        print(row.each_ref().map(String::as_str));
    }
}

/// Prints rows of any width as aligned columns.
pub fn columns(rows: &[Vec<String>]) {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(padded.join("  ").trim_end());
    }
}

/// Prints what is known of one thing, a fact a line.
pub fn facts(facts: &[(&str, String)]) {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        line(&format!("{name:<width$}  {value}"));
    }
}

/// Says on standard error which command comes next.
pub fn next(command: &str) {
    note(&format!("next: {command}"));
}

/// Says something to people on standard error.
pub fn note(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What is there, or a dash.
pub fn or_dash(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A number of bytes in the unit that people read.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}
