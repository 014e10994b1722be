//! The progress of a long `--until-end`, on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kafka_store_actors::figures::Figures;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A bar on stderr that is there until it is dropped. Elsewhere than on a terminal it is nothing.
pub(crate) struct ProgressLine {
    bar: ProgressBar,
    ended: Arc<AtomicBool>,
}

impl ProgressLine {
    pub(crate) fn show(figures: Arc<Figures>) -> ProgressLine {
        let is_terminal = io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = "taken {bar:30} {human_pos} of {human_len} offsets, {per_sec}, {eta} to go";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
        let ended = Arc::new(AtomicBool::new(!is_terminal));
        let (shown, until) = (bar.clone(), Arc::clone(&ended));
        let draw = move || {
            while !until.load(Ordering::Relaxed) {
                shown.set_length(figures.wanted());
                shown.set_position(figures.reached());
                std::thread::sleep(Duration::from_millis(200));
            }
        };
        // Without the thread there is no bar, and nothing else is missing.
        let _ = std::thread::Builder::new().name("progress".to_owned()).spawn(draw);
        ProgressLine { bar, ended }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}
