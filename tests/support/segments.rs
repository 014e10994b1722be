//! Segments that tests write: records as values, written by the program's own writer.

use kafka_store::avro::{
    BLOCK_RECORD_BYTES, Codec, Compressor, Isolation, ReadError, SealedFile, SegmentHeader, SegmentReader,
    SegmentSummary, SegmentWriter, TimestampRange,
};
use kafka_store::page_cache::PageCache;
use kafka_store_statecharts::boundary::BoundarySettings;
use kafka_store_statecharts::gap::{Gap, GapReason};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::record::{Decoder, RecordFields, TimestampType, encode_bytes, encode_long, encode_record};
use kafka_store_statecharts::topic::TopicId;
use proptest::prelude::*;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::path::Path;

/// A header: name and value.
pub(crate) type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

/// A record as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedRecord {
    pub(crate) timestamp: i64,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<OwnedHeader>,
}

/// One of each codec, by its name.
pub(crate) const CODECS: [(&str, Codec); 4] = [
    ("deflate", Codec::Deflate { level: 1 }),
    ("null", Codec::Null),
    ("snappy", Codec::Snappy),
    ("zstandard", Codec::Zstandard { level: 1 }),
];

pub(crate) fn any_codec() -> impl Strategy<Value = Codec> {
    prop_oneof![
        Just(Codec::Null),
        Just(Codec::Snappy),
        (1_u8..=12).prop_map(|level| Codec::Deflate { level }),
        (1_u8..=19).prop_map(|level| Codec::Zstandard { level }),
    ]
}

pub(crate) fn offset(offset: i64) -> Offset {
    Offset::new(offset).expect("an offset")
}

/// The chain of these two folder names.
pub(crate) fn chain(topic: &str, partition: &str) -> ChainName {
    ChainName::parse(topic, partition).expect("a chain's name")
}

/// A record with a text value, and nothing special.
pub(crate) fn record(offset: i64, value: &str) -> OwnedRecord {
    OwnedRecord {
        timestamp: 1_700_000_000_000 + offset % 1_000_000_000,
        timestamp_type: TimestampType::CreateTime,
        offset,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

/// The summary of records that cover everything without gaps but for what the log does not show.
pub(crate) fn summary(records: &[OwnedRecord]) -> SegmentSummary {
    let (first, last) = (records.first().expect("a record"), records.last().expect("a record"));
    let mut timestamps = TimestampRange::new(first.timestamp);
    records.iter().for_each(|record| timestamps.include(record.timestamp));
    SegmentSummary {
        final_offset: offset(last.offset),
        timestamps,
        cluster_id: None,
        topic_id: None,
        isolation: Isolation::ReadCommitted,
        boundaries: BoundarySettings {
            segment_bytes: NonZeroU64::new(256_000_000).expect("not zero"),
            segment_records: None,
            segment_age_ms: NonZeroU64::new(3_600_000).expect("not zero"),
        },
        gaps: Vec::new(),
        last_record: Some(LastRecord { hash: RecordHash::of(&canonical(last)), leader_epoch: None }),
    }
}

/// The canonical bytes of a record.
pub(crate) fn canonical(record: &OwnedRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    let fields = RecordFields {
        timestamp: record.timestamp,
        timestamp_type: record.timestamp_type,
        offset: offset(record.offset),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
    };
    let headers = record.headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
    encode_record(&fields, headers, &mut bytes);
    bytes
}

/// Writes a segment into `file`, by the block rule.
pub(crate) fn write_segment(
    file: File,
    name: &SegmentName,
    codec: Codec,
    records: &[OwnedRecord],
    summary: &SegmentSummary,
) -> SealedFile {
    let writer = SegmentWriter::create(file, name.clone(), codec, PageCache::Kept, summary);
    let mut writer = writer.expect("an empty file");
    let mut compressor = Compressor::new();
    let (mut block, mut count) = (Vec::new(), 0);
    for (index, record) in records.iter().enumerate() {
        block.extend_from_slice(&canonical(record));
        count += 1;
        if block.len() >= BLOCK_RECORD_BYTES || index + 1 == records.len() {
            writer.append_block(&mut compressor, &block, count).expect("written");
            block.clear();
            count = 0;
        }
    }
    writer.seal(summary).expect("sealed")
}

/// Writes a segment to its place below `root`.
pub(crate) fn write_into_archive(root: &Path, name: &SegmentName, codec: Codec, records: &[OwnedRecord]) {
    write_summarized(root, name, codec, records, &summary(records));
}

/// Writes a segment to its place below `root`, with this summary.
pub(crate) fn write_summarized(
    root: &Path,
    name: &SegmentName,
    codec: Codec,
    records: &[OwnedRecord],
    summary: &SegmentSummary,
) {
    let path = root.join(name.to_string());
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    let file = File::options().read(true).write(true).create_new(true).open(path).expect("created");
    write_segment(file, name, codec, records, summary);
}

/// The bytes of a segment.
pub(crate) fn bytes_of(name: &SegmentName, codec: Codec, records: &[OwnedRecord], summary: &SegmentSummary) -> Vec<u8> {
    let file = tempfile::tempfile().expect("a temporary file");
    let mut sealed = write_segment(file, name, codec, records, summary);
    let mut bytes = Vec::new();
    sealed.file.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes.len() as u64, sealed.file_bytes);
    assert_eq!(SegmentHeader::parse(&bytes).expect("parses"), sealed.header);
    bytes
}

/// A file as format version 1 had it: a header of 4096 bytes without the entries of version 2.
pub(crate) fn as_version_1(bytes: &[u8]) -> Vec<u8> {
    const NEWER: [&str; 6] = [
        "kafka_store.last_record_blake3",
        "kafka_store.last_leader_epoch",
        "kafka_store.block_bytes",
        "kafka_store.file_bytes",
        "kafka_store.blocks_crc32c",
        "kafka_store.header_blake3",
    ];
    let mut decoder = Decoder::new(&bytes[4..]);
    let count = decoder.long().expect("a count");
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = (0..count)
        .map(|_| (decoder.bytes().expect("a key").to_vec(), decoder.bytes().expect("a value").to_vec()))
        .filter(|(key, _)| !NEWER.iter().any(|newer| newer.as_bytes() == &key[..]))
        .collect();
    let behind_entries = &decoder.rest()[1..];
    let mut header = Vec::new();
    loop {
        header.clear();
        header.extend_from_slice(&bytes[..4]);
        encode_long(entries.len() as i64, &mut header);
        for (key, value) in &entries {
            encode_bytes(key, &mut header);
            encode_bytes(value, &mut header);
        }
        let padding = &mut entries.last_mut().expect("the padding").1;
        match (4096 - 1 - 16_usize).checked_sub(header.len()).expect("room") {
            0 => break,
            // Of two bytes, its length stays as long as it is.
            more => padding.resize(padding.len() + more, b' '),
        }
        let format = entries.iter_mut().find(|(key, _)| key == b"kafka_store.format").expect("a format");
        format.1 = b"1".to_vec();
    }
    header.push(0);
    [&header, behind_entries].concat()
}

/// Everything that our reader reads.
pub(crate) fn read_back(bytes: &[u8], start: i64) -> Result<Vec<OwnedRecord>, ReadError> {
    let mut reader = SegmentReader::new(bytes, offset(start))?;
    let mut read = Vec::new();
    while let Some(block) = reader.next_block()? {
        let mut records = block.records();
        while let Some(record) = records.next_record()? {
            read.push(OwnedRecord {
                timestamp: record.fields.timestamp,
                timestamp_type: record.fields.timestamp_type,
                offset: record.fields.offset.get(),
                key: record.fields.key.map(<[u8]>::to_vec),
                value: record.fields.value.map(<[u8]>::to_vec),
                headers: record
                    .headers
                    .iter()
                    .map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec)))
                    .collect(),
            });
        }
    }
    Ok(read)
}

/// A record with any bytes in it.
fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300));
    let headers = proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..9), bytes()), 0..4);
    (any::<i64>(), 0_i64..3, 1_i64..4, bytes(), bytes(), headers).prop_map(
        |(timestamp, timestamp_type, step, key, value, headers)| OwnedRecord {
            timestamp,
            timestamp_type: TimestampType::from_index(timestamp_type).expect("in range"),
            // The step to the next one; made an offset below.
            offset: step,
            key,
            value,
            headers,
        },
    )
}

/// Records with increasing offsets, from 0 or later.
pub(crate) fn any_records() -> impl Strategy<Value = Vec<OwnedRecord>> {
    proptest::collection::vec(any_record(), 1..60).prop_map(|mut records| {
        let mut next = -1;
        for record in &mut records {
            next += record.offset;
            record.offset = next;
        }
        records
    })
}

/// The segments of the sample archive, which holds everything that the format knows. It never changes:
/// `tests/formats/v1/`, which lacks the last record, and `tests/formats/v2/` were made from it.
pub(crate) fn samples() -> Vec<(SegmentName, Vec<OwnedRecord>, SegmentSummary)> {
    let odd = odd_records();
    let mut odd_summary = summary(&odd);
    odd_summary.cluster_id = Some("sample-cluster-Äß".into());
    odd_summary.topic_id = TopicId::new([0xa5; 16]);
    odd_summary.boundaries.segment_records = NonZeroU64::new(1_000_000);
    odd_summary.last_record.as_mut().expect("there").leader_epoch = LeaderEpoch::new(7);
    odd_summary.gaps = vec![gap(1_003, 1_009), gap(1_200, 1_200)];
    let plain: Vec<OwnedRecord> = (1_301..1_304).map(|offset| record(offset, "plain")).collect();
    let mut plain_summary = summary(&plain);
    plain_summary.isolation = Isolation::ReadUncommitted;
    let first = chain("sample.topic_1", "000003");
    let second = chain("sample.topic_1", "000003~2");
    let again: Vec<OwnedRecord> = (0..2).map(|offset| record(offset, "a later lineage")).collect();
    let mut again_summary = summary(&again);
    again_summary.last_record.as_mut().expect("there").leader_epoch = LeaderEpoch::new(0);
    vec![
        (first.segment(offset(1_000)), odd, odd_summary),
        (first.segment(offset(1_301)), plain, plain_summary),
        (second.segment(offset(0)), again, again_summary),
    ]
}

fn gap(first: i64, last: i64) -> Gap {
    let offsets = OffsetRange::new(offset(first), offset(last)).expect("in order");
    Gap { offsets, reason: GapReason::Deleted }
}

/// Everything that Kafka allows, from 1001 on (1000 is invisible) to 1300, over several blocks.
fn odd_records() -> Vec<OwnedRecord> {
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let odd = |offset, timestamp, timestamp_type, key, value, headers| OwnedRecord {
        timestamp,
        timestamp_type,
        offset,
        key,
        value,
        headers,
    };
    let header = |name: &[u8], value: Option<&[u8]>| (name.to_vec(), value.map(<[u8]>::to_vec));
    let mut records = vec![
        odd(1_001, -1, TimestampType::NotAvailable, None, None, vec![]),
        odd(1_002, 0, TimestampType::CreateTime, bytes(""), bytes(""), vec![header(b"", None), header(b"", Some(b""))]),
        odd(1_010, i64::MIN, TimestampType::LogAppendTime, bytes("ключ"), bytes("\u{1f389} \u{0}\u{7f}\""), vec![]),
        odd(
            1_012,
            i64::MAX,
            TimestampType::CreateTime,
            Some((0..=255).collect()),
            Some((0..=255).rev().collect()),
            vec![
                header(b"b", Some(b"2")),
                header(b"a", Some(b"\xff\xfe")),
                header(b"b", Some(b"2")),
                header(b"\xc3\x28", None),
            ],
        ),
    ];
    for offset in (1_013..1_200).chain(1_201..1_301) {
        // Numbers without a pattern that a compressor could find too easily, the same in every run.
        let noise = (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let value =
            format!("{{\"id\": \"{noise:016x}\", \"text\": \"{}\"}}", "sample ".repeat((noise >> 58) as usize + 20));
        let mut sample = record(offset, &value);
        sample.key = bytes(&format!("key-{}", noise % 7));
        if noise.is_multiple_of(5) {
            sample.headers = vec![header(b"trace", Some(&noise.to_be_bytes()))];
        }
        records.push(sample);
    }
    records
}
