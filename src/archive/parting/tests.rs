//! Comparisons of chains and logs in memory.

use super::*;
use kafka_store_statecharts::record::{RecordFields, TimestampType, encode_record};

/// A log from `start` to `end`, with these records: offset, content, leader epoch.
struct MemoryLog {
    records: Vec<(Offset, Vec<u8>, Option<LeaderEpoch>)>,
    start: Offset,
    end: Offset,
    next: usize,
    until: Offset,
    starts: usize,
}

/// Segments of offsets and contents.
struct MemorySegments(Vec<Vec<(Offset, Vec<u8>)>>);

fn offset(number: i64) -> Offset {
    Offset::new(number).expect("legal")
}

fn bytes(number: i64, content: &str) -> Vec<u8> {
    let fields = RecordFields {
        timestamp: number,
        timestamp_type: TimestampType::CreateTime,
        offset: offset(number),
        key: None,
        value: Some(content.as_bytes()),
    };
    let mut bytes = Vec::new();
    encode_record(&fields, std::iter::empty(), &mut bytes);
    bytes
}

impl Log for MemoryLog {
    fn start(&mut self, from: Offset, until: Offset) -> Result<(), LogError> {
        self.starts += 1;
        self.next = self.records.partition_point(|(offset, ..)| *offset < from);
        self.until = until;
        Ok(())
    }

    fn front(&mut self) -> Result<LogFront<'_>, LogError> {
        Ok(match self.records.get(self.next) {
            Some((offset, bytes, leader_epoch)) if *offset < self.until => {
                LogFront::Record(LoggedRecord { offset: *offset, leader_epoch: *leader_epoch, bytes })
            }
            Some(_) => LogFront::End(self.until),
            None => LogFront::End(self.until.min(self.end)),
        })
    }

    fn pop(&mut self) {
        self.next += 1;
    }

    fn log_start(&self) -> Offset {
        self.start
    }
}

impl Segments for MemorySegments {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn start(&self, index: usize) -> Offset {
        self.0[index][0].0
    }

    fn last(&self, index: usize) -> Result<Option<Sample>, PartingError> {
        let last = self.0[index].last();
        Ok(last.map(|(offset, bytes)| Sample {
            offset: *offset,
            digest: Digest::Whole(RecordHash::of(bytes)),
            leader_epoch: LeaderEpoch::new(1),
        }))
    }

    fn visit(&self, index: usize, visit: Visitor<'_>) -> Result<(), PartingError> {
        for (offset, bytes) in &self.0[index] {
            if visit(*offset, ArchivedRecord::Whole(bytes))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A chain of the offsets 0 to 99 in segments of ten.
fn chain() -> MemorySegments {
    MemorySegments((0..10).map(|ten| (10 * ten..10 * ten + 10).map(|n| (offset(n), bytes(n, "a"))).collect()).collect())
}

/// A log from `start` to `end` whose records are others from `parted` on, without those that `is_removed`.
fn log(start: i64, parted: i64, end: i64, is_removed: impl Fn(i64) -> bool) -> MemoryLog {
    let records = (start..end).filter(|number| !is_removed(*number)).map(|number| {
        let (content, epoch) = if number < parted { ("a", 1) } else { ("b", 2) };
        (offset(number), bytes(number, content), LeaderEpoch::new(epoch))
    });
    MemoryLog {
        records: records.collect(),
        start: offset(start),
        end: offset(end),
        next: 0,
        until: Offset::default(),
        starts: 0,
    }
}

fn parting(log: MemoryLog) -> Parting {
    Comparison { segments: chain(), log }.run().expect("both can be read").expect("the chain has records")
}

#[test]
fn the_first_offset_that_differs_is_found() {
    for parted in 0..100 {
        let found = parting(log(0, parted, 150, |_| false));
        assert!(matches!(found.at_end, AtEnd::Other(_)), "{parted}: {found:?}");
        assert_eq!(found.from, Some(offset(parted)));
    }
}

#[test]
fn a_log_that_ends_early_differs_from_its_end_on() {
    for end in 0..100 {
        let found = parting(log(0, 1000, end, |_| false));
        assert_eq!(found, Parting { at_end: AtEnd::EndsBefore(offset(end)), from: Some(offset(end)) });
        let (parted, found) = (end / 2, parting(log(0, end / 2, end, |_| false)));
        assert_eq!(found, Parting { at_end: AtEnd::EndsBefore(offset(end)), from: Some(offset(parted)) });
    }
}

#[test]
fn retention_hides_what_lies_before_the_start_of_the_log() {
    for start in [1, 9, 10, 35, 90, 99] {
        for parted in 0..100 {
            let found = parting(log(start, parted, 150, |_| false));
            assert_eq!(found.from, Some(offset(parted.max(start))), "start {start}, parted {parted}");
        }
    }
}

#[test]
fn compaction_hides_single_records() {
    for parted in 0..99 {
        let removed: [&dyn Fn(i64) -> bool; 3] =
            [&|number| number % 10 == 9 && number != 99, &|number| number < 80 && number % 10 != 3, &|number| {
                number == 50
            }];
        for (index, is_removed) in removed.into_iter().enumerate() {
            let first_left = (parted..100).find(|number| !is_removed(*number)).expect("the last is left");
            let found = parting(log(0, parted, 150, is_removed));
            assert_eq!(found.from, Some(offset(first_left)), "{index}, parted {parted}");
        }
    }
}

#[test]
fn records_that_the_archive_lacks_are_differences() {
    let mut segments = chain();
    segments.0[4].retain(|(offset, _)| offset.get() != 45);
    let found = Comparison { segments, log: log(0, 60, 150, |_| false) }.run().expect("both can be read");
    assert_eq!(found.expect("records").from, Some(offset(60)), "its segment ends with a record that both have");
    let mut segments = chain();
    segments.0[4].retain(|(offset, _)| offset.get() != 45);
    let found = Comparison { segments, log: log(0, 47, 150, |_| false) }.run().expect("both can be read");
    assert_eq!(found.expect("records").from, Some(offset(45)));
}

#[test]
fn one_record_of_two_epochs_is_two_records() {
    let mut log = log(0, 1000, 150, |_| false);
    log.records[99].2 = LeaderEpoch::new(2);
    let found = parting(log);
    let record = LastRecord { hash: RecordHash::of(&bytes(99, "a")), leader_epoch: LeaderEpoch::new(2) };
    assert_eq!(found, Parting { at_end: AtEnd::Other(record), from: Some(offset(99)) });
}

#[test]
fn logs_that_are_the_same_or_cannot_be_compared_have_no_difference() {
    assert_eq!(parting(log(0, 100, 150, |_| false)), Parting { at_end: AtEnd::Same, from: None });
    assert_eq!(parting(log(100, 100, 150, |_| false)), Parting { at_end: AtEnd::Removed, from: None });
    let compacted = parting(log(0, 50, 150, |number| number == 99));
    assert_eq!(compacted, Parting { at_end: AtEnd::Removed, from: None });
    let empty = Comparison { segments: MemorySegments(Vec::new()), log: log(0, 0, 10, |_| false) };
    assert_eq!(empty.run().expect("it can be read"), None);
}
