//! Where a segment ends.
//!
//! A pure function of the records from the segment's start on: the same records and settings give the
//! same boundaries on any machine, after any crash, however the records were batched.

use crate::TimestampMs;
use crate::record_clock::RecordClock;
use core::fmt;
use core::num::NonZeroU64;

/// The settings that boundaries depend on. They are recorded in every segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundarySettings {
    /// `--file-size`: record bytes, before compression.
    pub segment_bytes: NonZeroU64,
    /// `--file-records`.
    pub segment_records: Option<NonZeroU64>,
    /// `--file-age-seconds`, in milliseconds: how far record times may spread within a segment.
    pub segment_age_ms: NonZeroU64,
}

/// Why a segment was sealed. The first three follow from the records alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealReason {
    /// The record bytes reached `--file-size`.
    Size,
    /// The records reached `--file-records`.
    Records,
    /// The next record's time was `--file-age-seconds` past the segment's first.
    Age,
    /// Nothing arrived for `--idle-seal-seconds` and everything there is has been read.
    Idle,
    /// The first record arrived `--seal-after-seconds` ago.
    Overdue,
    /// `--until-end` reached its target.
    UntilEnd,
    /// Kafka deleted what comes next.
    Retention,
    /// The topic was deleted or re-created.
    TopicGone,
}

impl SealReason {
    /// Every reason.
    pub const ALL: [SealReason; 8] = [
        SealReason::Size,
        SealReason::Records,
        SealReason::Age,
        SealReason::Idle,
        SealReason::Overdue,
        SealReason::UntilEnd,
        SealReason::Retention,
        SealReason::TopicGone,
    ];

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<SealReason> {
        SealReason::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The word that logs and object metadata use.
    pub const fn as_str(self) -> &'static str {
        match self {
            SealReason::Size => "size",
            SealReason::Records => "records",
            SealReason::Age => "age",
            SealReason::Idle => "idle",
            SealReason::Overdue => "overdue",
            SealReason::UntilEnd => "until-end",
            SealReason::Retention => "retention",
            SealReason::TopicGone => "topic-gone",
        }
    }
}

impl fmt::Display for SealReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the rule says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The record belongs to the segment, and the segment goes on.
    Keep,
    /// The record belongs to the segment and is its last.
    SealAfter(SealReason),
    /// The record begins the next segment; this one has not counted it. Give it to the next one's rule.
    SealBefore(SealReason),
}

/// The rule at work on one segment: what it has seen so far of the segment's records.
#[derive(Clone, Debug)]
pub struct BoundaryRule {
    settings: BoundarySettings,
    record_bytes: u64,
    record_count: u64,
    clock: RecordClock,
}

impl BoundaryRule {
    /// The rule at the start of a segment.
    pub fn new(settings: BoundarySettings) -> BoundaryRule {
        let clock = RecordClock::new(settings.segment_age_ms);
        BoundaryRule { settings, record_bytes: 0, record_count: 0, clock }
    }

    /// Judges the next record, by the length of its canonical bytes and its timestamp.
    pub fn observe(&mut self, canonical_bytes: u64, timestamp: TimestampMs) -> Verdict {
        if self.clock.observe(timestamp) && self.record_count > 0 {
            return Verdict::SealBefore(SealReason::Age);
        }
        self.record_bytes = self.record_bytes.saturating_add(canonical_bytes);
        self.record_count += 1;
        if self.record_bytes >= self.settings.segment_bytes.get() {
            Verdict::SealAfter(SealReason::Size)
        } else if self.settings.segment_records.is_some_and(|most| self.record_count >= most.get()) {
            Verdict::SealAfter(SealReason::Records)
        } else {
            Verdict::Keep
        }
    }

    /// Canonical bytes of the records counted so far.
    pub fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// Records counted so far.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }
}
