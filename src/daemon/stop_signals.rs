//! How a daemon is asked to stop, and to look again.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT; SIGHUP, which does not stop it.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl StopSignals {
    pub(super) fn new() -> std::io::Result<StopSignals> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal to stop; each one to look again is told to `look_again`.
    pub(super) async fn next(&mut self, look_again: impl Fn()) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => look_again(),
            }
        }
    }
}
