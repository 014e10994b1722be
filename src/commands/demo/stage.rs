//! What the demo shows while it works: a bar on a terminal, a line at each stage's end elsewhere.

use crate::commands::table::grouped;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};

/// One stage of the demo.
pub(super) struct Stage {
    number: u32,
    name: &'static str,
    total: u64,
    bar: ProgressBar,
}

impl Stage {
    pub(super) fn start(number: u32, name: &'static str, total: u64) -> Stage {
        let target =
            if io::stdout().is_terminal() { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template("{msg} {bar:30} {human_pos} of {human_len} records");
        bar.set_style(style.expect("the template is right"));
        bar.set_message(format!("{number}/3 {name}"));
        Stage { number, name, total, bar }
    }

    pub(super) fn at(&self, done: u64) {
        self.bar.set_position(done.min(self.total));
    }

    pub(super) fn end(self, result: &str) {
        self.bar.finish_and_clear();
        // A closed stdout ends the demo at its next line.
        let _ = writeln!(io::stdout(), "{}/3 {}: {} records, {result}", self.number, self.name, grouped(self.total));
    }
}
