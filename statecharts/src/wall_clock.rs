//! When the host's clock seals a segment that no record has ended.
//!
//! As safe as any other boundary, because the arbiter store decides where a segment ends; only less
//! repeatable, and recorded as the reason.

use crate::TimestampMs;
use crate::boundary::SealReason;
use crate::chart::Now;

/// The settings, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClockSettings {
    /// `--idle-seal-seconds`: how long nothing may have arrived once all there is has been read.
    pub idle_seal_ms: u64,
    /// `--seal-after-seconds`: how long after the first record's arrival a segment may stay open.
    pub seal_after_ms: u64,
}

/// What the clock judges of an open segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSince {
    /// When its first record arrived here.
    pub opened_at: Now,
    /// When its last record arrived here.
    pub last_arrival: Now,
    /// The last record's own time.
    pub last_timestamp: TimestampMs,
    /// Whether everything there is has been read: position = last stable offset = high watermark.
    pub caught_up: bool,
    /// Whether that was the first time since fetching started: the arrivals of the backlog then say
    /// nothing of when the records came to be, and their own times are asked instead. Later on they are
    /// not: records with old times, trickling in, would each end a segment.
    pub first_catch_up: bool,
}

/// What the clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Seal, for this reason.
    Now(SealReason),
    /// Ask again after this many milliseconds, if nothing changes before.
    InMs(u64),
}

impl WallClockSettings {
    /// The settings for a topic that Kafka keeps for `retention_ms`: no segment stays open for more than half of it.
    #[must_use]
    pub fn within_retention(self, retention_ms: Option<u64>) -> WallClockSettings {
        let half = retention_ms.map_or(u64::MAX, |retention_ms| retention_ms / 2);
        WallClockSettings { seal_after_ms: self.seal_after_ms.min(half), ..self }
    }

    /// Whether an open segment is due, or when to ask again.
    pub fn due(&self, open: &OpenSince, now: Now) -> Due {
        let open_ms = now.monotonic_ms.saturating_sub(open.opened_at.monotonic_ms);
        if open_ms >= self.seal_after_ms {
            return Due::Now(SealReason::Overdue);
        }
        let overdue_in = self.seal_after_ms - open_ms;
        if !open.caught_up {
            return Due::InMs(overdue_in);
        }
        let mut idle_ms = now.monotonic_ms.saturating_sub(open.last_arrival.monotonic_ms);
        if open.first_catch_up && open.last_timestamp > 0 {
            let by_its_own_time = u64::try_from(now.wall_ms.saturating_sub(open.last_timestamp)).unwrap_or(0);
            idle_ms = idle_ms.max(by_its_own_time);
        }
        if idle_ms >= self.idle_seal_ms {
            return Due::Now(SealReason::Idle);
        }
        Due::InMs(overdue_in.min(self.idle_seal_ms - idle_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: WallClockSettings = WallClockSettings { idle_seal_ms: 1_000, seal_after_ms: 5_000 };
    const START: i64 = 1_700_000_000_000;

    fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: START + monotonic_ms as i64 }
    }

    fn open(caught_up: bool, first_catch_up: bool, last_timestamp: TimestampMs) -> OpenSince {
        OpenSince { opened_at: at(0), last_arrival: at(100), last_timestamp, caught_up, first_catch_up }
    }

    #[test]
    fn a_segment_that_is_behind_is_only_ever_overdue() {
        assert_eq!(SETTINGS.due(&open(false, false, START), at(4_000)), Due::InMs(1_000));
        assert_eq!(SETTINGS.due(&open(false, false, START), at(5_000)), Due::Now(SealReason::Overdue));
    }

    #[test]
    fn no_segment_stays_open_for_more_than_half_of_the_retention() {
        let settings = SETTINGS.within_retention(Some(3_000));
        assert_eq!(settings.due(&open(false, false, START), at(1_500)), Due::Now(SealReason::Overdue));
        assert_eq!(SETTINGS.within_retention(None), SETTINGS);
        assert_eq!(SETTINGS.within_retention(Some(u64::MAX)), SETTINGS);
    }

    #[test]
    fn silence_is_counted_from_the_last_arrival() {
        assert_eq!(SETTINGS.due(&open(true, false, 1), at(600)), Due::InMs(500));
        assert_eq!(SETTINGS.due(&open(true, false, 1), at(1_100)), Due::Now(SealReason::Idle));
    }

    #[test]
    fn at_the_first_catch_up_an_old_backlog_is_idle_at_once() {
        assert_eq!(SETTINGS.due(&open(true, true, START - 2_000), at(100)), Due::Now(SealReason::Idle));
        assert_eq!(SETTINGS.due(&open(true, true, START + 86_400_000), at(100)), Due::InMs(1_000));
        assert_eq!(SETTINGS.due(&open(true, true, -1), at(100)), Due::InMs(1_000));
    }
}
