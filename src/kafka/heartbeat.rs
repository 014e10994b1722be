//! Whether the poll thread goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the poll thread last made a step. It makes one at least each second.
#[derive(Debug)]
pub struct Heartbeat {
    start: Instant,
    /// Milliseconds since the start.
    last: AtomicU64,
}

impl Heartbeat {
    pub(super) fn new() -> Heartbeat {
        Heartbeat { start: Instant::now(), last: AtomicU64::new(0) }
    }

    pub(super) fn beat(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// How long ago that was.
    pub fn since_last(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}
