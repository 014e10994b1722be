//! The log of one partition, as Kafka has it.

use super::prng::Prng;
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::record::{RecordFields, TimestampType, encode_record};

/// One visible record.
#[derive(Clone, Debug)]
pub(crate) struct LogRecord {
    pub(crate) offset: Offset,
    pub(crate) timestamp: TimestampMs,
    /// Its canonical bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Records in offset order, with gaps between them.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) records: Vec<LogRecord>,
    /// Last stable offset and high watermark.
    pub(crate) end: Offset,
}

impl Log {
    pub(crate) fn new(start: Offset) -> Log {
        Log { records: Vec::new(), end: start }
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
            self.records.push(LogRecord { offset: self.end, timestamp, bytes });
            self.skip(1);
        }
        if rng.per_mille(200) {
            self.skip(1); // A transaction's marker.
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
