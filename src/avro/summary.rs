//! What a writer knows of a segment when it seals it.

use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::boundary::BoundarySettings;
use kafka_store_statecharts::gap::Gap;
use kafka_store_statecharts::last_record::LastRecord;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicId;
use std::fmt;

/// Which records of the log a consumer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions and those of none.
    ReadCommitted,
    /// All, aborted ones too.
    ReadUncommitted,
}

impl Isolation {
    /// Kafka's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        }
    }

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<Isolation> {
        [Isolation::ReadCommitted, Isolation::ReadUncommitted].into_iter().find(|isolation| isolation.as_str() == text)
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The timestamps of a segment's records, verbatim: also -1 and values that are no time at all count.
///
/// So a record with timestamp T is in a segment only if `min <= T <= max`, whatever T is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampRange {
    /// The first record's.
    pub first: TimestampMs,
    /// The least.
    pub min: TimestampMs,
    /// The greatest.
    pub max: TimestampMs,
}

impl TimestampRange {
    /// The range of one record.
    pub const fn new(first: TimestampMs) -> TimestampRange {
        TimestampRange { first, min: first, max: first }
    }

    /// Takes a later record's timestamp in.
    pub fn include(&mut self, timestamp: TimestampMs) {
        self.min = self.min.min(timestamp);
        self.max = self.max.max(timestamp);
    }
}

/// What a writer knows of a segment when it seals it, beyond what it has counted itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The last record's offset.
    pub final_offset: Offset,
    /// Of the records.
    pub timestamps: TimestampRange,
    /// The cluster's id, where the brokers have one.
    pub cluster_id: Option<String>,
    /// The topic's id, where the brokers have one.
    pub topic_id: Option<TopicId>,
    /// Which records were asked for.
    pub isolation: Isolation,
    /// What decided where the segment ends.
    pub boundaries: BoundarySettings,
    /// The gaps of any other reason than that the log does not show the offsets, in order.
    pub gaps: Vec<Gap>,
    /// The last record. `None` in files of format version 1.
    pub last_record: Option<LastRecord>,
}
