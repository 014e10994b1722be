//! The last record of an open segment: its hash and leader epoch are those of the last record taken, at any moment and
//! wherever its bytes are by then: in memory, set aside, or in a block that was written.

use crate::support::seed::Chance;
use crate::support::segments::{CODECS, chain, offset};
use kafka_store::archive::{Identity, Spool};
use kafka_store::avro::{Codec, Isolation, verify};
use kafka_store::page_cache::PageCache;
use kafka_store::store::InstanceDir;
use kafka_store_actors::batch::{RecordBatch, RecordMark};
use kafka_store_actors::budget::Budget;
use kafka_store_actors::open_segment::{Appended, Cursor, HeldRecord, OpenSegment};
use kafka_store_actors::ports::SegmentSpool;
use kafka_store_actors::spool_account::SpoolAccount;
use kafka_store_statecharts::boundary::{BoundarySettings, SealReason};
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::offset::{LeaderEpoch, OffsetRange};
use kafka_store_statecharts::record::{RecordFields, TimestampType, encode_record};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

const SETTINGS: BoundarySettings = BoundarySettings {
    segment_bytes: NonZeroU64::new(20_000_000).expect("not zero"),
    segment_records: NonZeroU64::new(150),
    segment_age_ms: NonZeroU64::new(3_600_000).expect("not zero"),
};

const NOON: i64 = 1_700_000_000_000;

fn instance(directory: &Path) -> Arc<InstanceDir> {
    Arc::new(InstanceDir::create(directory).expect("a directory for spool files"))
}

fn spool(instance: &Arc<InstanceDir>, codec: Codec) -> Spool {
    let identity = Identity { cluster_id: Some("a-cluster".to_owned()), isolation: Isolation::ReadCommitted };
    Spool::new(Arc::clone(instance), codec, SETTINGS, identity, PageCache::Kept)
}

/// An empty segment at 0, whose open block has so much memory.
fn open(instance: &Arc<InstanceDir>, codec: Codec, memory_bytes: u64) -> OpenSegment {
    let file = spool(instance, codec).open(&chain("t", "000000"), None, offset(0)).expect("a spool file");
    let share = SpoolAccount::new(u64::MAX, u64::MAX).open().expect("no limit");
    OpenSegment::new(offset(0), (file, share), SETTINGS, Budget::new(memory_bytes), Now::default())
}

/// Records of these lengths from `first` on, a second apart.
fn batch(first: i64, lengths: &[usize], leader_epoch: Option<LeaderEpoch>, chance: &mut Chance) -> RecordBatch {
    let mut batch = RecordBatch { leader_epoch, ..RecordBatch::default() };
    for (place, length) in (first..).zip(lengths) {
        let value = chance.bytes(*length);
        let timestamp = NOON + place * 1_000;
        let fields = RecordFields {
            timestamp,
            timestamp_type: TimestampType::CreateTime,
            offset: offset(place),
            key: None,
            value: Some(&value),
        };
        encode_record(&fields, std::iter::empty(), &mut batch.bytes);
        batch.marks.push(RecordMark { offset: offset(place), timestamp, end: batch.bytes.len() });
    }
    batch
}

/// What the segment should say when the record at this index of the batch is its last one.
fn held(batch: &RecordBatch, index: usize) -> HeldRecord {
    let from = index.checked_sub(1).map_or(0, |before| batch.marks[before].end);
    let mark = batch.marks[index];
    let hash = RecordHash::of(&batch.bytes[from..mark.end]);
    let record = LastRecord { hash, leader_epoch: batch.leader_epoch };
    HeldRecord { offset: mark.offset, timestamp: mark.timestamp, record }
}

#[test]
fn the_last_record_is_known_wherever_its_bytes_are() {
    let mut chance = Chance::from_seed();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let instance = instance(directory.path());
    for run in 0..24 {
        let (_, codec) = CODECS[run % 4];
        // None at all: what does not fill a block is set aside.
        let memory_bytes = [u64::MAX, 0, 50_000][run % 3];
        let mut segment = open(&instance, codec, memory_bytes);
        assert_eq!(segment.last_record().expect("nothing is read"), None);
        let (mut next, mut last) = (0, None);
        let reason = loop {
            let lengths: Vec<usize> = (0..1 + chance.below(20))
                .map(|_| match chance.below(80) {
                    0 => 4_500_000,
                    1..6 => 100_000,
                    6..16 => 65_500,
                    _ => chance.below(5_000) as usize,
                })
                .collect();
            let epoch = LeaderEpoch::new(chance.below(4) as i32 - 1);
            let batch = batch(next, &lengths, epoch, &mut chance);
            next += batch.marks.len() as i64;
            let mut cursor = Cursor::default();
            let reached = loop {
                let reached = segment.append(&batch, &mut cursor, None, Now::default()).expect("written");
                let (taken, _) = segment.last_position().expect("a record");
                let index = batch.marks.iter().position(|mark| mark.offset == taken);
                last = index.map(|index| held(&batch, index)).or(last);
                // Asking at any moment, or never before the end.
                if run < 18 && chance.below(3) == 0 {
                    assert_eq!(segment.last_record().expect("read back"), last, "run {run}");
                    assert_eq!(segment.last_record().expect("remembered"), last, "run {run}");
                }
                if reached != Appended::Block {
                    break reached;
                }
            };
            if let Appended::Boundary(reason) = reached {
                break reason;
            }
        };
        let last = last.expect("a record");
        let range = OffsetRange::new(offset(0), last.offset).expect("in order");
        let completed = segment.complete(range, reason).expect("written");
        assert_eq!(completed.summary.last_record, last.record, "run {run}");
        let file = std::fs::File::open(completed.file.path()).expect("opens");
        let verified = verify(file, offset(0)).expect("whole");
        assert_eq!(verified.header.ours().expect("ours").summary.last_record, Some(last.record), "run {run}");
    }
}

/// A batch of another leader whose first record begins the next segment says nothing of this one.
#[test]
fn the_epoch_of_a_record_that_was_not_taken_does_not_count() {
    let mut chance = Chance::fixed(7);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut segment = open(&instance(directory.path()), CODECS[0].1, u64::MAX);
    // Twenty minutes apart, of which the fourth is an hour after the first.
    let spread = |mut batch: RecordBatch| {
        batch.marks.iter_mut().for_each(|mark| mark.timestamp = NOON + mark.offset.get() * 1_200_000);
        batch
    };
    let first = spread(batch(0, &[100; 3], LeaderEpoch::new(4), &mut chance));
    let taken = segment.append(&first, &mut Cursor::default(), None, Now::default());
    assert_eq!(taken.expect("written"), Appended::All);
    let second = spread(batch(3, &[100; 5], LeaderEpoch::new(5), &mut chance));
    let sealed = segment.append(&second, &mut Cursor::default(), None, Now::default());
    assert_eq!(sealed.expect("written"), Appended::Boundary(SealReason::Age));
    assert_eq!(segment.last_record().expect("in memory"), Some(held(&first, 2)));
    let range = OffsetRange::new(offset(0), offset(2)).expect("in order");
    let completed = segment.complete(range, SealReason::Age).expect("written");
    assert_eq!(completed.summary.last_record.leader_epoch, LeaderEpoch::new(4));
}

/// A complete segment is read back as it was written, or not at all.
#[test]
fn a_complete_segment_is_read_back_unless_its_file_has_changed() {
    let mut chance = Chance::fixed(11);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let instance = instance(directory.path());
    for (_, codec) in CODECS {
        let mut segment = open(&instance, codec, 0);
        let batch = batch(0, &[30_000; 20], LeaderEpoch::new(4), &mut chance);
        let mut cursor = Cursor::default();
        while segment.append(&batch, &mut cursor, None, Now::default()).expect("written") == Appended::Block {}
        let range = OffsetRange::new(offset(0), offset(19)).expect("in order");
        let completed = segment.complete(range, SealReason::TopicGone).expect("written");
        let spool = spool(&instance, codec);
        let mut blocks = spool.read_back(&completed).expect("whole");
        let (mut records, mut count) = (Vec::new(), 0);
        while let Some(block) = blocks.next_block().expect("whole") {
            records.extend(block);
            count += 1;
        }
        assert!(records == *batch.bytes && count > 3, "{count} blocks");
        let path = completed.file.path();
        let mut bytes = std::fs::read(path).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, &bytes).expect("written");
        let error = spool.read_back(&completed).expect_err("another bit");
        assert!(
            error.class == kafka_store_statecharts::failure::Class::Lost
                && error.reason.contains("returns other bytes than were written"),
            "{error:?}"
        );
        std::fs::write(path, &bytes[..middle]).expect("written");
        spool.read_back(&completed).expect_err("cut");
    }
}
