//! The only clock of the process.

use kafka_store_actors::ports::Clock;
use kafka_store_statecharts::chart::Now;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The host's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn start() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Now {
            monotonic_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_ms: i64::try_from(wall_ms).unwrap_or(i64::MAX),
        }
    }
}
