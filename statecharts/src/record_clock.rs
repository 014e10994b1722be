//! The debounced record clock: what time it is, judged by the records' own timestamps.

use crate::TimestampMs;
use core::num::NonZeroU64;

/// placeholder
#[derive(Clone, Debug)]
pub struct RecordClock {
    age_ms: NonZeroU64,
}

impl RecordClock {
    /// A clock that has seen nothing.
    pub fn new(age_ms: NonZeroU64) -> RecordClock {
        RecordClock { age_ms }
    }

    /// Takes the next record's time in; true if by the clock it is `age` or more past the first.
    pub fn observe(&mut self, timestamp: TimestampMs) -> bool {
        let _ = (timestamp, self.age_ms);
        false
    }
}
