//! The log of one partition, as Kafka has it.

use super::prng::Prng;
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::anchor::{Anchor, Evidence, Proof};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::record::{RecordFields, TimestampType, encode_record};

/// One visible record.
#[derive(Clone, Debug)]
pub(crate) struct LogRecord {
    pub(crate) offset: Offset,
    pub(crate) timestamp: TimestampMs,
    /// Its canonical bytes.
    pub(crate) bytes: Vec<u8>,
    /// Epoch of the leader that wrote it.
    pub(crate) epoch: LeaderEpoch,
}

impl LogRecord {
    pub(crate) fn anchor(&self) -> Anchor {
        let record = LastRecord { hash: RecordHash::of(&self.bytes), leader_epoch: Some(self.epoch) };
        Anchor { offset: self.offset, record }
    }
}

/// Records in offset order, with gaps between them.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) records: Vec<LogRecord>,
    /// Log start offset: what lies below is deleted, though the simulation remembers it.
    pub(crate) start: Offset,
    /// Last stable offset and high watermark.
    pub(crate) end: Offset,
    /// Epoch of the present leader.
    pub(crate) epoch: i32,
    /// Where each leader's epoch begins.
    pub(crate) epochs: Vec<(LeaderEpoch, Offset)>,
    /// Changes whenever a leader is elected, or a connection to it is lost.
    pub(crate) generation: u64,
}

impl Log {
    pub(crate) fn new(start: Offset) -> Log {
        Log { records: Vec::new(), start, end: start, epoch: 0, epochs: Vec::new(), generation: 0 }
    }

    pub(crate) fn append(&mut self, rng: &mut Prng, count: u64, wall_ms: i64) {
        for _ in 0..count {
            if rng.per_mille(150) {
                self.skip(rng.between(1, 4));
            }
            let timestamp = match rng.between(0, 99) {
                0 => -1,
                1 => 0,
                2 => wall_ms + 86_400_000,
                3..=9 => wall_ms - rng.between(0, 60_000) as i64,
                _ => wall_ms,
            };
            let value = vec![b'v'; rng.between(0, 90) as usize];
            let key = rng.next().to_be_bytes();
            let fields = RecordFields {
                timestamp,
                timestamp_type: TimestampType::CreateTime,
                offset: self.end,
                key: Some(&key),
                value: rng.per_mille(900).then_some(&value),
            };
            let mut bytes = Vec::new();
            encode_record(&fields, std::iter::empty(), &mut bytes);
            let epoch = LeaderEpoch::new(self.epoch).expect("not negative");
            self.records.push(LogRecord { offset: self.end, timestamp, bytes, epoch });
            self.skip(1);
        }
        if rng.per_mille(200) {
            self.skip(1); // A transaction's marker.
        }
    }

    /// Another leader, by an election in good order.
    pub(crate) fn elect(&mut self) {
        self.epoch += 1;
        self.generation += 1;
        self.epochs.push((LeaderEpoch::new(self.epoch).expect("not negative"), self.end));
    }

    /// Loses the records from `offset` on: an unclean election, or a disk that was restored.
    pub(crate) fn cut(&mut self, offset: Offset) {
        self.records.truncate(self.index_at(offset));
        self.end = offset;
        self.epochs.retain(|(_, begins)| *begins < offset);
        self.elect();
    }

    /// Where the log ends in an epoch. Of an epoch before the log's start, a broker says that start.
    pub(crate) fn end_in(&self, epoch: LeaderEpoch) -> Offset {
        let later = self.epochs.iter().find(|(later, _)| *later > epoch);
        later.map_or(self.end, |(_, begins)| *begins).max(self.start)
    }

    /// The record at an offset.
    pub(crate) fn at(&self, offset: Offset) -> Option<&LogRecord> {
        self.records.get(self.index_at(offset)).filter(|record| record.offset == offset)
    }

    /// How it is found not to continue, if a reader that wants `position` next, and proves it so, cannot go on.
    pub(crate) fn broken(&self, position: Offset, proof: Proof) -> Option<Evidence> {
        let from = match proof {
            Proof::Record(anchor) => anchor.offset,
            Proof::Epoch(_) | Proof::Nothing => position,
        };
        if from < self.start || from > self.end {
            return Some(Evidence::OutOfRange);
        }
        match proof {
            Proof::Nothing => None,
            Proof::Epoch(epoch) => (self.end_in(epoch) < position).then_some(Evidence::OutOfRange),
            Proof::Record(anchor) => match self.at(anchor.offset).map(|record| record.anchor().record) {
                Some(found) if anchor.is(&found) => None,
                Some(found) => Some(Evidence::Differs(found)),
                None if self.end <= anchor.offset => Some(Evidence::EndsAt(self.end)),
                None => self.broken(position, proof.without_record()),
            },
        }
    }

    fn skip(&mut self, count: u64) {
        self.end = self.end.advanced_by(count).expect("the log is short");
    }

    /// The index of the first record at or after `offset`.
    pub(crate) fn index_at(&self, offset: Offset) -> usize {
        self.records.partition_point(|record| record.offset < offset)
    }

    /// The records in a range.
    pub(crate) fn within(&self, range: OffsetRange) -> &[LogRecord] {
        &self.records[self.index_at(range.start())..self.index_at(range.next_offset())]
    }
}
