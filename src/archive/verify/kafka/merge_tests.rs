use super::*;
use kafka_store_statecharts::record::{RecordFields, TimestampType, encode_record};
use std::collections::VecDeque;

fn offset(number: i64) -> Offset {
    Offset::new(number).expect("legal")
}

fn epoch(number: i32) -> Option<LeaderEpoch> {
    LeaderEpoch::new(number)
}

/// A log in memory.
#[derive(Debug)]
struct MemoryLog {
    records: VecDeque<(i64, Vec<u8>, Option<LeaderEpoch>)>,
    end: i64,
    start: i64,
    /// When this record comes in front, the log's start has moved to it.
    expires_at: Option<i64>,
}

impl MemoryLog {
    fn new(offsets: impl IntoIterator<Item = i64>, end: i64) -> MemoryLog {
        let records = offsets.into_iter().map(|offset| (offset, bytes(offset, "v"), epoch(3))).collect();
        MemoryLog { records, end, start: 0, expires_at: None }
    }
}

impl Log for MemoryLog {
    fn front(&mut self) -> Result<LogFront<'_>, LogError> {
        Ok(match self.records.front() {
            None => LogFront::End(offset(self.end)),
            Some((number, bytes, leader_epoch)) => {
                if self.expires_at == Some(*number) {
                    self.start = *number;
                }
                LogFront::Record(LoggedRecord { offset: offset(*number), leader_epoch: *leader_epoch, bytes })
            }
        })
    }

    fn pop(&mut self) {
        self.records.pop_front();
    }

    fn log_start(&self) -> Offset {
        offset(self.start)
    }
}

fn bytes(number: i64, value: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let value = Some(value.as_bytes());
    let timestamp_type = TimestampType::CreateTime;
    let fields = RecordFields { timestamp: 1_000, timestamp_type, offset: offset(number), key: None, value };
    encode_record(&fields, std::iter::empty(), &mut bytes);
    bytes
}

/// Compares archived records with a log.
fn compare(log: MemoryLog, archived: impl IntoIterator<Item = (i64, &'static str)>) -> RecordComparison {
    let mut merge = Merge::new(log, Offset::default());
    for (number, value) in archived {
        let bytes = bytes(number, value);
        let _ = merge.archived(offset(number), ArchivedRecord::Whole(&bytes), None).expect("memory");
    }
    merge.finish().expect("memory")
}

fn same(offsets: impl IntoIterator<Item = i64>) -> impl Iterator<Item = (i64, &'static str)> {
    offsets.into_iter().map(|offset| (offset, "v"))
}

#[test]
fn what_both_have_is_compared() {
    let found = compare(MemoryLog::new(0..4, 4), [(0, "v"), (1, "v"), (2, "w"), (3, "x")]);
    let expected = RecordComparison {
        equal: 2,
        last_equal: Some(offset(1)),
        different: 2,
        first_different: Some(offset(2)),
        last_different: Some(offset(3)),
        ..RecordComparison::default()
    };
    assert_eq!(found, expected);
    assert!(found.is_other_history());
    let found = compare(MemoryLog::new(0..4, 4), [(0, "v"), (1, "v"), (2, "w"), (3, "v")]);
    assert!(!found.is_other_history(), "a later record is the same");
}

#[test]
fn what_one_side_lacks_is_told_apart() {
    // 1 and 6 are not archived; 2 and 3 were compacted; 8 and 9 are beyond the log's end.
    let found = compare(MemoryLog::new([0, 1, 4, 5, 6, 7], 8), same([0, 2, 3, 4, 5, 7, 8, 9]));
    assert_eq!((found.equal, found.compacted, found.beyond_log), (4, 2, 2));
    assert_eq!((found.not_archived, found.first_not_archived), (2, Some(offset(1))));
    assert_eq!(found.last_not_archived, Some(offset(6)));
    // Behind the last archived record, too.
    let found = compare(MemoryLog::new(0..5, 5), same(0..3));
    assert_eq!((found.equal, found.not_archived, found.first_not_archived), (3, 2, Some(offset(3))));
}

#[test]
fn the_logs_start_may_move_meanwhile() {
    let log = MemoryLog { start: 2, ..MemoryLog::new(2..10, 10) };
    assert_eq!(
        compare(log, same(0..10)),
        RecordComparison { expired: 2, ..compare(MemoryLog::new(2..10, 10), same(2..10)) }
    );
    // Records 4 to 6 expired after 3 was read.
    let log = MemoryLog { expires_at: Some(7), ..MemoryLog::new([0, 1, 2, 3, 7, 8, 9], 10) };
    let found = compare(log, same(0..10));
    assert_eq!((found.equal, found.expired, found.compacted), (7, 3, 0));
}

#[test]
fn epochs_are_compared_where_both_sides_have_one() {
    let verdict = |archived, logged| {
        let mut log = MemoryLog::new([0], 1);
        log.records[0].2 = logged;
        let mut merge = Merge::new(log, Offset::default());
        let flow = merge.archived(offset(0), ArchivedRecord::Whole(&bytes(0, "v")), archived).expect("memory");
        (flow.is_break(), merge.found().other_epoch.map(|other| (other.archived.get(), other.logged.get())))
    };
    assert_eq!(verdict(epoch(3), epoch(3)), (false, None));
    assert_eq!(verdict(epoch(3), None), (false, None));
    assert_eq!(verdict(None, epoch(3)), (false, None));
    assert_eq!(verdict(epoch(3), epoch(5)), (true, Some((3, 5))));
}

#[test]
fn segments_that_cannot_be_read_are_passed_over() {
    let mut merge = Merge::new(MemoryLog::new(0..10, 10), Offset::default());
    let take = |merge: &mut Merge<MemoryLog>, number| {
        let bytes = bytes(number, "v");
        let _ = merge.archived(offset(number), ArchivedRecord::Whole(&bytes), None).expect("memory");
    };
    take(&mut merge, 0);
    // 1 is before the segment, in a hole.
    merge.pass(offset(2), offset(5)).expect("memory");
    take(&mut merge, 6);
    let found = merge.finish().expect("memory");
    assert_eq!((found.equal, found.not_compared, found.not_archived), (2, 3, 5));
    assert_eq!(found.first_not_archived, Some(offset(1)));
}

#[test]
fn of_segments_that_overlap_the_first_counts() {
    let found = compare(MemoryLog::new(0..4, 4), [(0, "v"), (1, "v"), (2, "v"), (1, "other"), (2, "other"), (3, "v")]);
    assert_eq!((found.equal, found.different), (4, 0));
}

/// The original tool kept neither headers nor the timestamp's type.
#[test]
fn what_the_original_kept_is_compared() {
    let fields = |timestamp, key, value| RecordFields {
        timestamp,
        timestamp_type: TimestampType::NotAvailable,
        offset: offset(0),
        key,
        value,
    };
    let logged =
        RecordFields { timestamp_type: TimestampType::LogAppendTime, ..fields(5, Some(&b"k"[..]), Some(&b"v"[..])) };
    let mut bytes = Vec::new();
    encode_record(&logged, [(&b"name"[..], None)].into_iter(), &mut bytes);
    let is_same = |archived| {
        let record = ArchivedRecord::Partial(archived);
        assert_eq!(record.is_same(&bytes), record.digest().is_of(&bytes));
        record.is_same(&bytes)
    };
    assert!(is_same(fields(5, Some(b"k"), Some(b"v"))));
    assert!(!is_same(fields(6, Some(b"k"), Some(b"v"))));
    assert!(!is_same(fields(5, None, Some(b"v"))));
    assert!(!is_same(fields(5, Some(b"k"), Some(b"w"))));
}
