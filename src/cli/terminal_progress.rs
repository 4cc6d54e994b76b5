//! A progress bar for what takes longer than a second, on a terminal only.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Progress towards a known number.
pub(super) struct TerminalProgress {
    bar: ProgressBar,
    began: Instant,
}

impl TerminalProgress {
    /// Progress towards `total`; it shows itself after a second.
    pub(super) fn towards(total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let style = "{wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self {
            bar,
            began: Instant::now(),
        }
    }

    /// `done` more are done.
    pub(super) fn advance(&self, done: u64) {
        self.bar.inc(done);
        self.show_late();
    }

    /// So many of `total` are done.
    pub(super) fn show(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.show_late();
    }

    /// Writes something above the bar.
    pub(super) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    fn show_late(&self) {
        let late = self.bar.is_hidden() && self.began.elapsed() > PATIENCE;
        if late && std::io::stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Takes the bar away: the result says the rest.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
