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

/// A number of bytes in the unit that people read.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}
