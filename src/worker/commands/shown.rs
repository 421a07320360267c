//! What `train` shows while it runs, and the checkpoint that it keeps.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::base::write_atomically;
use crate::domain::job::{Order, Phase, Progress};
use crate::worker::attempt::AttemptEvents;

/// A progress bar, and a file for the newest checkpoint.
pub(super) struct Shown {
    bar: ProgressBar,
    phase: Phase,
    checkpoint: Option<PathBuf>,
    began: Instant,
    /// From the beginning to the last step of the training.
    trained: Duration,
}

impl Shown {
    pub(super) fn new(checkpoint: Option<PathBuf>) -> Self {
        let style = "{prefix} {bar:30} {pos}/{len}{msg}, {eta} left";
        let style = ProgressStyle::with_template(style).expect("the template is a constant");
        let bar = ProgressBar::new(0).with_style(style).with_prefix("decoding");
        Self {
            bar,
            phase: Phase::Fetch,
            checkpoint,
            began: Instant::now(),
            trained: Duration::ZERO,
        }
    }

    /// How long decoding and training took, judging not counted.
    pub(super) fn trained(&self) -> Duration {
        self.trained
    }

    /// Takes the bar away; what is printed next is the result.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl AttemptEvents for Shown {
    fn progress(&mut self, progress: Progress) -> Order {
        if progress.phase != self.phase {
            self.phase = progress.phase;
            self.bar.reset();
            self.bar.set_message("");
            self.bar.set_prefix(match progress.phase {
                Phase::Fetch => "decoding",
                Phase::Train => "training",
                Phase::Judge => "judging",
                Phase::Publish => "writing",
            });
        }
        if progress.phase == Phase::Train {
            self.trained = self.began.elapsed();
        }
        self.bar.set_length(progress.steps);
        self.bar.set_position(progress.step);
        if let Some(loss) = progress.loss {
            let dropped = progress.dropped;
            let dropped = dropped.map(|dropped| format!(", {dropped} weights dropped"));
            let dropped = dropped.unwrap_or_default();
            self.bar.set_message(format!(", loss {loss:.3}{dropped}"));
        }
        Order::Continue
    }

    fn checkpoint(&mut self, _step: u32, bytes: &[u8]) {
        if let Some(path) = &self.checkpoint
            && let Err(error) = write_atomically(path, |file| file.write_all(bytes))
        {
            // A training that is hours old does not end because a disk is full.
            self.note(&format!("no checkpoint was kept: `{}`: {error}", path.display()));
        }
    }

    fn note(&mut self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }
}
