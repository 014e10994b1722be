//! What the demo shows while it works: a bar on a terminal, a line at each stage's end elsewhere.

use super::super::CommandError;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// A number with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// Whether somebody pressed Ctrl-C.
#[derive(Clone)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Watches for SIGINT and SIGTERM from now on. The daemon watches for itself, too, and stops in good order.
    pub(super) fn watch() -> Result<Interrupt, CommandError> {
        let failed = |error: io::Error| CommandError::new(format!("signals cannot be watched: {error}"));
        let interrupt = Interrupt(Arc::new(AtomicBool::new(false)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let set = interrupt.clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    use tokio::signal::unix::{SignalKind, signal};
                    let signals = signal(SignalKind::interrupt())
                        .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
                    // The one who waits is told once, here or below.
                    let (mut interrupt, mut terminate) = match signals {
                        Ok(signals) => {
                            let _ = ready.send(Ok(()));
                            signals
                        }
                        Err(error) => {
                            let _ = ready.send(Err(error));
                            return;
                        }
                    };
                    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                    set.0.store(true, Ordering::Relaxed);
                });
            })
            .map_err(failed)?;
        is_ready.recv().expect("the thread tells").map_err(failed)?;
        Ok(interrupt)
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
