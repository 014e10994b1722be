//! The debounced record clock: what time it is, judged by the records' own timestamps.
//!
//! A segment is sealed *before* the record whose time is `age` or more past the segment's first. In a
//! log whose times only grow, that is all there is to say, and there this clock does exactly that. But
//! Kafka takes any `i64` for a timestamp, and one wrong time must neither keep a segment open for ever
//! nor cut the archive to shreds.
//!
//! The clock belongs to one segment, and is a pure function of the segment's timestamps from its start
//! on: who restarts at that start finds the same end. So it knows nothing of the segments before, and
//! has to make up its mind anew about what is wrong, after every seal.
//!
//! # The rule
//! With *J* = `age` (a wider one lets near errors through) and *K* = 8:
//!
//! 1. A time counts if it is in `[10^12, 10^13)` ms: 2001 to 2286. Zero, -1, seconds, microseconds and
//!    the year 3000 are not. Records whose time does not count never seal; size, number and the wall
//!    clock bound them.
//! 2. The first time that counts is `first`, and the clock shows it. The clock shows the latest of the
//!    *supporters* in the last one to two blocks of K; a supporter is a record within J of the clock.
//!    A supporter at `first + age` or later seals, at once.
//! 3. A record further off is a *stray*. K strays *ahead* without a supporter between them confirm that
//!    time jumped, however far they lie from each other: seal before the last of them.
//! 4. Strays *behind* that follow on each other within J, without a supporter between them, are another
//!    clock. It takes over, with its own first time (the latest of its first K) and without a seal, when
//!    it has as many records as the present clock has supporters, and at least K.
//! 5. A stray further than J from the stray before it is *scattered*. With three of them, and more than
//!    one for three supporters, the times are *noisy*. In noise what looks like the passing of time may
//!    be the clock on its way from where the segment happened to begin, somewhere in the noise, to the
//!    noise's upper edge, the one thing in it that keeps time. So in noise `first` follows the clock
//!    through the segment's first 4 K records, and later, up to four times a segment, is *corrected* to
//!    the record that would have sealed: where strays ahead confirm a jump; and where since the clock
//!    was set they were more than half as many as supporters, which is not the edge yet.
//!
//! # Why no simpler one
//! `tests/record_clock_scenarios.rs` has the scenarios, and this is what each part is for:
//!
//! * `time - first >= age` alone: 1 % of times some hours ahead, and segments get seventeen times as long,
//!   because one that begins with such a time ends by it.
//! * Strays ahead only confirmed by strays near them: where every time is wrong by ±1-23 h, segments get
//!   five times as long. Where any will do, the clock finds the noise's upper edge and keeps to it.
//! * A clock that shows the latest supporter of all: of 5 % times that are random within ±3 days some lie
//!   a little ahead, the next a little ahead of that; they carry the clock off, and there are three times
//!   the segments. So what was not seen again in two blocks is forgotten.
//! * Strays behind confirmed by K alone: under a jitter of ±2 h at 20,000 records an `age`, or with a
//!   second producer 3 h behind, eight in a row happen by chance: twenty times the segments. Never
//!   confirmed: a segment that begins with a time far ahead got ninety times the records.
//! * The other clock's first time being its first record's: in a jitter that is anywhere, so the jitter's
//!   upper edge soon is past `age`. The latest of K is near the edge.
//! * `first` not following: where `--file-size` cuts, each segment begins anywhere in a jitter of ±2 h, and
//!   its climb to the edge is cut off as a segment of its own: more than twice the segments.
//! * Without corrections the climb through random times is cut off again and again: more than three
//!   times the segments. With any number of them, noise can keep a thin segment open for days.
//!
//! # Limits
//! If *every* time is random over a range so wide that hardly any record an `age` lies near its upper
//! edge (±23 h at 60 records an hour, ±1 year), there is no clock to be found: segments get longer than
//! `age`, about ten times at ±23 h, not more numerous, and `--seal-after-seconds` bounds them.
//! In a jitter much wider than `age`, strays behind are seldom near each other, so that a first time days
//! ahead may stand for hours.

use crate::TimestampMs;
use core::num::NonZeroU64;
use core::ops::Range;

/// The debounced clock at work on one segment.
#[derive(Clone, Debug)]
pub struct RecordClock {
    /// Both the age that seals, and J, how near a record must be to support the clock.
    age_ms: i64,
    reading: Option<Reading>,
}

impl RecordClock {
    /// A clock that has seen nothing.
    pub fn new(age_ms: NonZeroU64) -> RecordClock {
        RecordClock { age_ms: i64::try_from(age_ms.get()).unwrap_or(i64::MAX), reading: None }
    }

    /// Takes the next record's time in; true if by the clock it is `age` or more past the first.
    ///
    /// After a true, the record belongs to the next segment and this clock has no more to say.
    #[inline]
    pub fn observe(&mut self, timestamp: TimestampMs) -> bool {
        if !USABLE_MS.contains(&timestamp) {
            return false;
        }
        match &mut self.reading {
            Some(reading) => reading.observe(self.age_ms, timestamp),
            None => {
                self.reading = Some(Reading::starting_at(timestamp));
                false
            }
        }
    }
}

/// What the clock has made of the usable times so far. No difference of two of them overflows.
#[derive(Clone, Debug)]
struct Reading {
    /// The segment's first time.
    first: TimestampMs,
    /// The latest supporter of the present block of K, and of the block before.
    block_latest: TimestampMs,
    previous_block_latest: TimestampMs,
    supporter_count: u64,
    /// Usable records after the first.
    observed_count: u64,
    last_stray: TimestampMs,
    scattered_count: u64,
    /// Strays ahead since the last supporter.
    ahead_run: u32,
    /// Strays ahead since the clock was set.
    ahead_count: u64,
    behind: OtherClock,
    correction_count: u32,
}

/// Strays behind, each within J of the one before.
#[derive(Clone, Debug)]
struct OtherClock {
    record_count: u64,
    /// The latest of its first K.
    first: TimestampMs,
    latest: TimestampMs,
}

impl Reading {
    fn starting_at(time: TimestampMs) -> Reading {
        Reading {
            first: time,
            block_latest: time,
            previous_block_latest: time,
            supporter_count: 1,
            observed_count: 0,
            last_stray: time,
            scattered_count: 0,
            ahead_run: 0,
            ahead_count: 0,
            behind: OtherClock::starting_at(time, 0),
            correction_count: 0,
        }
    }

    #[inline]
    fn observe(&mut self, age_ms: i64, time: TimestampMs) -> bool {
        self.observed_count += 1;
        let ahead_ms = time - self.block_latest.max(self.previous_block_latest);
        if ahead_ms.abs() <= age_ms {
            self.observe_supporter(age_ms, time)
        } else {
            self.observe_stray(age_ms, time, ahead_ms > 0)
        }
    }

    #[inline]
    fn observe_supporter(&mut self, age_ms: i64, time: TimestampMs) -> bool {
        self.ahead_run = 0;
        self.behind.record_count = 0;
        self.supporter_count += 1;
        self.block_latest = self.block_latest.max(time);
        if self.supporter_count.is_multiple_of(CONFIRMATIONS) {
            self.previous_block_latest = self.block_latest;
            self.block_latest = time;
        }
        if self.observed_count < YOUNG_RECORDS && self.is_noisy() {
            self.first = self.block_latest.max(self.previous_block_latest);
        }
        if time - self.first < age_ms {
            return false;
        }
        let is_below_the_edge = self.ahead_count * 2 > self.supporter_count;
        if is_below_the_edge && self.takes_correction() {
            self.first = time;
            return false;
        }
        true
    }

    fn observe_stray(&mut self, age_ms: i64, time: TimestampMs, is_ahead: bool) -> bool {
        let is_near_the_last = (time - self.last_stray).abs() <= age_ms;
        self.last_stray = time;
        self.scattered_count += u64::from(!is_near_the_last);
        if is_ahead {
            return self.observe_ahead(time);
        }
        if is_near_the_last {
            self.behind.add(time);
        } else {
            self.behind = OtherClock::starting_at(time, 1);
        }
        if self.behind.record_count < self.supporter_count.max(CONFIRMATIONS) {
            return false;
        }
        self.set(self.behind.first, self.behind.latest, self.behind.record_count);
        time - self.first >= age_ms
    }

    fn observe_ahead(&mut self, time: TimestampMs) -> bool {
        self.ahead_run = self.ahead_run.saturating_add(1);
        self.ahead_count += 1;
        if u64::from(self.ahead_run) < CONFIRMATIONS {
            return false;
        }
        if self.takes_correction() {
            self.set(time, time, 1);
            return false;
        }
        true
    }

    fn is_noisy(&self) -> bool {
        self.scattered_count >= 3 && self.scattered_count * 3 > self.supporter_count
    }

    /// In noise, until the corrections are used up: counts one more.
    fn takes_correction(&mut self) -> bool {
        let takes = self.is_noisy() && self.correction_count < CORRECTIONS_MAX;
        self.correction_count += u32::from(takes);
        takes
    }

    /// Sets the clock to another time, with another first one.
    fn set(&mut self, first: TimestampMs, latest: TimestampMs, supporter_count: u64) {
        self.first = first;
        self.block_latest = latest;
        self.previous_block_latest = latest;
        self.supporter_count = supporter_count;
        self.ahead_run = 0;
        self.ahead_count = 0;
        self.behind.record_count = 0;
    }
}

impl OtherClock {
    fn starting_at(time: TimestampMs, record_count: u64) -> OtherClock {
        OtherClock { record_count, first: time, latest: time }
    }

    fn add(&mut self, time: TimestampMs) {
        if self.record_count == 0 {
            *self = OtherClock::starting_at(time, 1);
            return;
        }
        self.record_count += 1;
        self.latest = self.latest.max(time);
        if self.record_count <= CONFIRMATIONS {
            self.first = self.first.max(time);
        }
    }
}

/// Times that count: 2001-09-09 to 2286-11-20, in milliseconds.
const USABLE_MS: Range<TimestampMs> = 1_000_000_000_000..10_000_000_000_000;
/// K.
const CONFIRMATIONS: u64 = 8;
/// In noise, the first time follows the clock for as many usable records.
const YOUNG_RECORDS: u64 = 4 * CONFIRMATIONS;
/// How often noise may correct a segment's first time later.
const CORRECTIONS_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const MORNING_MS: i64 = 1_700_000_000_000;

    /// The index of the first record that seals.
    fn sealing_index(times: impl IntoIterator<Item = TimestampMs>) -> Option<usize> {
        let mut clock = RecordClock::new(NonZeroU64::new(HOUR_MS as u64).expect("not zero"));
        times.into_iter().position(|time| clock.observe(time))
    }

    #[test]
    fn growing_times_seal_before_the_record_that_is_age_past_the_first() {
        let minutes = |count: i64| (0..count).map(|minute| MORNING_MS + minute * 60_000);
        assert_eq!(sealing_index(minutes(60)), None);
        assert_eq!(sealing_index(minutes(61)), Some(60));
        assert_eq!(sealing_index([MORNING_MS, MORNING_MS + HOUR_MS]), Some(1));
        assert_eq!(sealing_index([MORNING_MS, MORNING_MS + HOUR_MS - 1]), None);
    }

    #[test]
    fn a_pause_is_confirmed_by_eight_records_after_it() {
        let pause = |after: i64| (0..after).map(|minute| MORNING_MS + 5 * HOUR_MS + minute * 60_000);
        assert_eq!(sealing_index([MORNING_MS].into_iter().chain(pause(7))), None);
        assert_eq!(sealing_index([MORNING_MS].into_iter().chain(pause(8))), Some(8));
    }

    #[test]
    fn a_supporter_refutes_a_jump() {
        let jump = || [MORNING_MS + 5 * HOUR_MS; 7];
        assert_eq!(sealing_index([MORNING_MS].into_iter().chain(jump()).chain([MORNING_MS]).chain(jump())), None);
    }

    #[test]
    fn a_first_record_in_the_future_is_put_right_by_eight() {
        let first = MORNING_MS + 365 * 24 * HOUR_MS;
        let minutes = |count: i64| (0..count).map(|minute| MORNING_MS + minute * 60_000);
        // The first time becomes the eighth record's, at minute 7.
        assert_eq!(sealing_index([first].into_iter().chain(minutes(67))), None);
        assert_eq!(sealing_index([first].into_iter().chain(minutes(68))), Some(68));
    }

    #[test]
    fn times_that_do_not_count_change_nothing() {
        let useless = [0, -1, 1_700_000_000, i64::MIN, i64::MAX, 999_999_999_999, 10_000_000_000_000];
        let before_and_after = useless.into_iter().chain([MORNING_MS]).chain(useless);
        assert_eq!(sealing_index(before_and_after.chain([MORNING_MS + HOUR_MS])), Some(15));
    }
}
