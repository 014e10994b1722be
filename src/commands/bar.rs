//! How far a command has come, on a terminal.

use crate::archive::{Watch, Work};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};

/// A bar on stderr that is there until it is dropped. Elsewhere than on a terminal it is nothing.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    label: &'static str,
}

impl Bar {
    /// A bar that shows nothing yet.
    pub(super) fn new(label: &'static str) -> Bar {
        let is_terminal = io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        Bar { bar: ProgressBar::with_draw_target(Some(0), target), label }
    }

    /// No bar.
    pub(super) fn hidden() -> Bar {
        Bar { bar: ProgressBar::hidden(), label: "" }
    }
}

impl Watch for Bar {
    fn begin(&self, work: Work) {
        let (length, style) = match work {
            Work::Bytes(bytes) => {
                (bytes, "{msg} {bar:30} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} to go")
            }
            Work::Segments(segments) => (segments, "{msg} {bar:30} {human_pos} of {human_len} segments, {eta} to go"),
            Work::Partitions(partitions) => {
                (partitions, "{msg} {bar:30} {human_pos} of {human_len} partitions, {eta} to go")
            }
        };
        self.bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
        self.bar.set_message(self.label);
        self.bar.set_length(length);
    }

    fn advance(&self, done: u64) {
        self.bar.inc(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
