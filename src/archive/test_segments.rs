//! Segments for unit tests, written by the program's own writer into a directory's archive.

use crate::avro::{Codec, Compressor, Isolation, SegmentSummary, SegmentWriter, TimestampRange};
use crate::page_cache::PageCache;
use crate::store::LocalStore;
use kafka_store_statecharts::boundary::BoundarySettings;
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::record::{RecordFields, TimestampType, encode_record};
use kafka_store_statecharts::topic::TopicId;
use std::fs::File;
use std::num::NonZeroU64;

/// Cluster of the segments.
pub(super) const CLUSTER: &str = "cluster-of-the-archive";

pub(super) fn offset(number: i64) -> Offset {
    Offset::new(number).expect("legal")
}

pub(super) fn id(number: u8) -> TopicId {
    TopicId::new([number; 16]).expect("not zeros")
}

pub(super) fn chain() -> ChainName {
    ChainName::parse("orders", "000000").expect("legal")
}

/// Canonical bytes of the record at an offset.
pub(super) fn record(number: i64, value: &str) -> Vec<u8> {
    let fields = RecordFields {
        timestamp: 1_700_000_000_000 + number,
        timestamp_type: TimestampType::CreateTime,
        offset: offset(number),
        key: None,
        value: Some(value.as_bytes()),
    };
    let mut bytes = Vec::new();
    encode_record(&fields, std::iter::empty(), &mut bytes);
    bytes
}

/// Writes a segment of the offsets `[start, next)`, whose last record was written in leader epoch 3.
pub(super) fn write_segment(store: &LocalStore, start: i64, next: i64, topic_id: Option<TopicId>) -> LastRecord {
    let name = chain().segment(offset(start));
    let path = store.root().join(name.to_string());
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    let file = File::options().read(true).write(true).create_new(true).open(path).expect("created");
    let records: Vec<Vec<u8>> = (start..next).map(|number| record(number, "value")).collect();
    let mut timestamps = TimestampRange::new(1_700_000_000_000 + start);
    timestamps.include(1_700_000_000_000 + next - 1);
    let last = records.last().expect("not empty");
    let last_record = LastRecord { hash: RecordHash::of(last), leader_epoch: LeaderEpoch::new(3) };
    let summary = SegmentSummary {
        final_offset: offset(next - 1),
        timestamps,
        cluster_id: Some(CLUSTER.to_owned()),
        topic_id,
        isolation: Isolation::ReadCommitted,
        boundaries: BoundarySettings {
            segment_bytes: NonZeroU64::new(256_000_000).expect("not zero"),
            segment_records: None,
            segment_age_ms: NonZeroU64::new(3_600_000).expect("not zero"),
        },
        gaps: Vec::new(),
        last_record: Some(last_record),
    };
    let mut writer = SegmentWriter::create(file, name, Codec::Null, PageCache::Kept, &summary).expect("an empty file");
    let count = u64::try_from(records.len()).expect("a few");
    writer.append_block(&mut Compressor::new(), &records.concat(), count).expect("written");
    writer.seal(&summary).expect("sealed");
    last_record
}
