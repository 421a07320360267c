//! Progress bars on standard error, with the time that is left.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::printer;

/// A bar over files. With `open`, more of them will come than `count` says.
pub fn files(what: String, count: u64, open: bool) -> ProgressBar {
    let template = if open {
        "{msg} {spinner} {pos} files, {elapsed}"
    } else {
        "{msg} [{bar:30}] {pos} of {len} files, {eta} left"
    };
    bar(template, what, (!open).then_some(count))
}

/// A bar over bytes.
pub fn bytes(what: String, count: Option<u64>) -> ProgressBar {
    let template = match count {
        Some(_) => "{msg} [{bar:30}] {bytes} of {total_bytes}, {eta} left",
        None => "{msg} {spinner} {bytes}, {elapsed}",
    };
    bar(template, what, count)
}

/// A bar over steps of a job.
pub fn steps(what: String) -> ProgressBar {
    bar(
        "{prefix:<8}[{bar:30}] {pos} of {len}, {eta} left{msg}",
        String::new(),
        Some(0),
    )
    .with_prefix(what)
}

/// Says something above a bar, or on standard error where no bar can be drawn.
pub fn say(bar: &ProgressBar, text: &str) {
    if bar.is_hidden() {
        printer::note(text);
    } else {
        bar.println(text);
    }
}

fn bar(template: &str, message: String, count: Option<u64>) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("templates are part of the program");
    let bar = match count {
        Some(count) => ProgressBar::new(count),
        None => ProgressBar::new_spinner(),
    };
    let bar = bar.with_style(style.progress_chars("=> ")).with_message(message);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
