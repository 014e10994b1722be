//! Ctrl-C, for commands that end in good order.

use super::error::CommandError;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Whether it came to that.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// For whoever looks often.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.0
    }
}
