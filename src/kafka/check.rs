//! What must hold before records of a partition are taken: the log still is the one that was read before.

use super::ffi::{FetchedRecord, KafkaError};
use kafka_store_actors::batch::RecordBatch;
use kafka_store_statecharts::anchor::{Anchor, Evidence, Proof};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::record::{RecordFields, encode_fields, encode_headers};

/// What must hold before the next record is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing more.
    Passed,
    /// This record comes first.
    Record(Anchor),
    /// The leader confirms that its log reaches the position in this epoch. Records that come before it was asked are
    /// dropped.
    Epoch(LeaderEpoch),
    /// Fetching begins again. Until it has, whatever comes is dropped.
    Restart,
}

/// What became of a record before the log has proved itself.
#[derive(Debug)]
pub(super) enum Checked {
    /// It may be taken.
    Pass,
    /// It lies before what is looked for, or comes too early.
    Drop,
    /// It is the record that was taken before. What follows it may be taken.
    Proved(Anchor),
    /// The record looked for is in the log no more, and the leader must be asked.
    Unproven,
    /// Another record lies there.
    Broken(Evidence),
    /// It cannot be read.
    Unreadable(KafkaError),
}

impl Check {
    pub(super) fn of(proof: Proof) -> Check {
        match proof {
            Proof::Record(anchor) => Check::Record(anchor),
            Proof::Epoch(epoch) => Check::Epoch(epoch),
            Proof::Nothing => Check::Passed,
        }
    }

    /// Without the record that was looked for: compaction or retention has removed it.
    pub(super) fn without_record(self) -> Check {
        match self {
            Check::Record(anchor) => Check::of(Proof::Record(anchor).without_record()),
            other => other,
        }
    }

    /// Judges the next record, and passes once it has proved the log.
    pub(super) fn record(&mut self, record: &FetchedRecord<'_>) -> Checked {
        let Check::Record(anchor) = *self else {
            return if *self == Check::Passed { Checked::Pass } else { Checked::Drop };
        };
        match record.offset().cmp(&anchor.offset.get()) {
            std::cmp::Ordering::Less => Checked::Drop,
            std::cmp::Ordering::Greater => {
                *self = self.without_record();
                if *self == Check::Passed { Checked::Pass } else { Checked::Unproven }
            }
            std::cmp::Ordering::Equal => match known(record, anchor.offset) {
                Err(error) => Checked::Unreadable(error),
                Ok(found) if anchor.is(&found) => {
                    *self = Check::Passed;
                    Checked::Proved(anchor)
                }
                Ok(found) => Checked::Broken(Evidence::Differs(found)),
            },
        }
    }
}

/// Hash and leader epoch of a fetched record.
fn known(record: &FetchedRecord<'_>, offset: Offset) -> Result<LastRecord, KafkaError> {
    let (timestamp, timestamp_type) = record.timestamp();
    let fields = RecordFields { timestamp, timestamp_type, offset, key: record.key(), value: record.value() };
    let mut bytes = Vec::with_capacity(record.size() + 64);
    encode_fields(&fields, &mut bytes);
    encode_headers(record.headers()?, &mut bytes);
    Ok(LastRecord { hash: RecordHash::of(&bytes), leader_epoch: record.leader_epoch() })
}

/// The last record of a batch.
pub(super) fn last_of(batch: &RecordBatch) -> Option<Anchor> {
    let (last, before) = batch.marks.split_last()?;
    let from = before.last().map_or(0, |mark| mark.end);
    let record = LastRecord { hash: RecordHash::of(&batch.bytes[from..last.end]), leader_epoch: batch.leader_epoch };
    Some(Anchor { offset: last.offset, record })
}
