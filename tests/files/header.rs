//! The header of a segment: its length, what fits into it, and what a store keeps beside the object.

use crate::support::segments::{CODECS, OwnedRecord, bytes_of, chain, offset, read_back, record, samples, summary};
use kafka_store::avro::{
    Codec, Compressor, FileHeader, SealError, SegmentHeader, SegmentSummary, SegmentWriter, verify,
};
use kafka_store::page_cache::PageCache;
use kafka_store_statecharts::gap::{Gap, GapReason};
use kafka_store_statecharts::offset::{LeaderEpoch, OffsetRange};
use kafka_store_statecharts::record::Decoder;
use kafka_store_statecharts::topic::TopicId;
use std::io::Read as _;

fn header_bytes(bytes: &[u8]) -> usize {
    let start = SegmentHeader::parse(bytes).expect("a header").name.start;
    FileHeader::parse(bytes, start).expect("a header").header_bytes as usize
}

/// The entries of a header in a file, in order.
fn entries(bytes: &[u8]) -> Vec<(String, String)> {
    let mut decoder = Decoder::new(&bytes[4..]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let count = decoder.long().expect("a count");
    (0..count).map(|_| (text(decoder.bytes().expect("a key")), text(decoder.bytes().expect("a value")))).collect()
}

/// A summary with nothing, and one with everything that a header can name.
fn least_and_most(records: &[OwnedRecord]) -> [SegmentSummary; 2] {
    let least = summary(records);
    let mut most = least.clone();
    most.cluster_id = Some("c".repeat(22));
    most.topic_id = TopicId::new([0xff; 16]);
    most.boundaries.segment_records = 1_000.try_into().ok();
    most.last_record.as_mut().expect("there").leader_epoch = LeaderEpoch::new(3);
    [least, most]
}

fn gaps(count: i64) -> Vec<Gap> {
    let gap = |index: i64| {
        let first = offset(1_000 + 2 * index);
        Gap { offsets: OffsetRange::new(first, first).expect("one"), reason: GapReason::Deleted }
    };
    (0..count).map(gap).collect()
}

#[test]
fn the_length_is_the_least_multiple_of_512_whatever_the_numbers() {
    const NUMBERS: [&str; 16] = [
        "format",
        "partition",
        "lineage",
        "start_offset",
        "final_offset",
        "record_count",
        "invisible_count",
        "first_timestamp_ms",
        "min_timestamp_ms",
        "max_timestamp_ms",
        "last_leader_epoch",
        "segment_bytes",
        "segment_records",
        "segment_age_ms",
        "block_bytes",
        "file_bytes",
    ];
    let long = |length: usize| if length < 64 { 1 } else { 2 };
    for topic_bytes in (1..249).step_by(9) {
        let name = chain(&"t".repeat(topic_bytes), "000000").segment(offset(5));
        let records = vec![record(5, "first"), record(900, "last")];
        for (index, summary) in least_and_most(&records).into_iter().enumerate() {
            let bytes = bytes_of(&name, Codec::Null, &records, &summary);
            let entries = entries(&bytes);
            let counted = entries.iter().map(|(key, value)| {
                let short = key.strip_prefix("kafka_store.").unwrap_or(key);
                let length = match short {
                    "padding" => 64,
                    _ if NUMBERS.contains(&short) => 20,
                    _ => value.len(),
                };
                long(key.len()) + key.len() + if short == "padding" { 2 } else { long(length) } + length
            });
            let least = 4 + 1 + counted.sum::<usize>() + 1 + 16;
            assert_eq!(header_bytes(&bytes), least.next_multiple_of(512), "{topic_bytes} {index}: {entries:?}");
            assert!(entries.last().expect("entries").1.len() >= 64);

            // The same entries with other numbers.
            let far = 8_999_999_999_999_999_999;
            let records = vec![OwnedRecord { timestamp: i64::MIN, ..record(far, "last") }];
            let mut far_summary =
                SegmentSummary { boundaries: summary.boundaries, ..least_and_most(&records)[index].clone() };
            far_summary.boundaries.segment_bytes = u64::MAX.try_into().expect("not zero");
            far_summary.boundaries.segment_age_ms = u64::MAX.try_into().expect("not zero");
            let far_bytes = bytes_of(&name, Codec::Null, &records, &far_summary);
            assert_eq!(header_bytes(&far_bytes), header_bytes(&bytes));
        }
    }
}

#[test]
fn ten_records_of_100_bytes_make_a_file_of_4_kilobytes_at_most() {
    let name = chain("a.topic.of.ordinary.length", "000012").segment(offset(1_234_567_890));
    let value =
        |offset: i64| format!("{:x}", (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(10)[..100].to_owned();
    let records: Vec<OwnedRecord> =
        (1_234_567_890..1_234_567_900).map(|offset| record(offset, &value(offset))).collect();
    for (codec_name, codec) in CODECS {
        let bytes = bytes_of(&name, codec, &records, &least_and_most(&records)[1]);
        println!("{codec_name}: {} bytes", bytes.len());
        assert!(bytes.len() <= 4_000, "{codec_name}: {} bytes", bytes.len());
    }
}

/// The writer reserves room by what is known at the first record.
#[test]
fn a_header_of_another_length_than_was_reserved_moves_the_blocks() {
    // Of a length that the ids bring over a multiple of 512.
    let name = chain(&"t".repeat(160), "000000").segment(offset(0));
    let mut records: Vec<OwnedRecord> = (0..1_000).map(|offset| record(offset, &"value ".repeat(400))).collect();
    records.push(record(9_000, "last"));
    let [least, most] = least_and_most(&records);
    let with_gaps = SegmentSummary { gaps: gaps(4_000), ..most.clone() };
    let sealed = |expected: &SegmentSummary, summary: &SegmentSummary, codec| {
        let file = tempfile::tempfile().expect("a temporary file");
        let mut writer = SegmentWriter::create(file, name.clone(), codec, PageCache::Kept, expected).expect("empty");
        let mut compressor = Compressor::new();
        for run in records.chunks(27) {
            let block: Vec<u8> = run.iter().flat_map(crate::support::segments::canonical).collect();
            writer.append_block(&mut compressor, &block, run.len() as u64).expect("written");
        }
        let mut sealed = writer.seal(summary).expect("sealed");
        let mut bytes = Vec::new();
        sealed.file.read_to_end(&mut bytes).expect("read");
        assert_eq!((sealed.file_bytes, sealed.crc32c), (bytes.len() as u64, crc32c::crc32c(&bytes)));
        bytes
    };
    let mut lengths = Vec::new();
    for (_, codec) in CODECS {
        for summary in [&least, &most, &with_gaps] {
            let as_reserved = sealed(summary, summary, codec);
            lengths.push(header_bytes(&as_reserved));
            assert_eq!(read_back(&as_reserved, 0).expect("reads").len(), records.len());
            for expected in [&least, &most, &with_gaps] {
                assert!(sealed(expected, summary, codec) == as_reserved, "{codec}");
            }
        }
    }
    println!("{lengths:?}");
    assert!(lengths[0] < lengths[1] && lengths[1] + 100_000 < lengths[2], "{lengths:?}");
}

#[test]
fn many_gaps_fit_and_what_readers_refuse_is_not_written() {
    let name = chain("t", "000000").segment(offset(0));
    let records = vec![record(0, "first"), record(200_000, "last")];
    let with_gaps = |count| SegmentSummary { gaps: gaps(count), ..summary(&records) };
    for count in [1, 100, 300, 1_000, 10_000, 20_000] {
        let bytes = bytes_of(&name, Codec::default(), &records, &with_gaps(count));
        let verified = verify(&bytes[..], name.start).expect("verifies");
        let header = verified.header.ours().expect("ours");
        assert_eq!(header.summary.gaps.len() as i64, count);
        // As many as a store takes; otherwise the header alone says it.
        let attributes = header.attributes();
        let attribute_bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(attribute_bytes <= 3584, "{count}: {attribute_bytes}");
        let expected = (count <= 100).then_some(header);
        assert_eq!(SegmentHeader::from_attributes(&attributes).expect("read").as_ref(), expected, "{count}");
    }
    let file = tempfile::tempfile().expect("a temporary file");
    let too_long = with_gaps(25_000);
    let mut writer = SegmentWriter::create(file, name, Codec::Null, PageCache::Kept, &too_long).expect("empty");
    writer.append_block(&mut Compressor::new(), b"not judged here", 2).expect("written");
    let error = writer.seal(&too_long).expect_err("too long");
    assert!(matches!(error, SealError::HeaderTooLong { gap_count: 25_000, .. }), "{error}");
}

/// Two writers whose brokers say different things of the same records.
#[test]
fn a_leader_epoch_is_written_where_it_is_known() {
    let name = chain("t", "000000").segment(offset(0));
    let records = vec![record(0, "only")];
    for (epoch, said) in [(None, None), (LeaderEpoch::new(0), Some("0")), (LeaderEpoch::new(41), Some("41"))] {
        let mut summary = summary(&records);
        summary.last_record.as_mut().expect("there").leader_epoch = epoch;
        let bytes = bytes_of(&name, Codec::Null, &records, &summary);
        let entries = entries(&bytes);
        let entry = entries.iter().find(|(key, _)| key == "kafka_store.last_leader_epoch");
        assert_eq!(entry.map(|(_, value)| &value[..]), said);
        assert_eq!(SegmentHeader::parse(&bytes).expect("parses").summary.last_record, summary.last_record);
    }
    let unnamed = SegmentSummary { last_record: None, ..summary(&records) };
    let file = tempfile::tempfile().expect("a temporary file");
    let mut writer = SegmentWriter::create(file, name, Codec::Null, PageCache::Kept, &unnamed).expect("empty");
    writer.append_block(&mut Compressor::new(), b"not judged here", 1).expect("written");
    assert!(matches!(writer.seal(&unnamed), Err(SealError::Inconsistent(_))));
}

#[test]
fn a_last_record_that_is_another_is_found() {
    let name = chain("t", "000000").segment(offset(0));
    let records: Vec<OwnedRecord> = (0..3).map(|offset| record(offset, "value")).collect();
    let mut wrong = summary(&records);
    wrong.last_record = summary(&records[..2]).last_record;
    let bytes = bytes_of(&name, Codec::Null, &records, &wrong);
    let error = verify(&bytes[..], name.start).expect_err("another record").to_string();
    assert!(error.contains("its last record is not the one that its header's hash is of"), "{error}");
}

/// For a segment that must end, or fetching that must begin again, at a record whose block is in the file already.
#[test]
fn the_last_block_is_read_back_as_it_was_written() {
    for (_, codec) in CODECS {
        let file = tempfile::tempfile().expect("a temporary file");
        let name = chain("t", "000000").segment(offset(0));
        let expected = summary(&[record(0, "")]);
        let mut writer = SegmentWriter::create(file, name, codec, PageCache::Kept, &expected).expect("empty");
        let mut compressor = Compressor::new();
        for length in [1, 100, 70_000, 65_536, 400_000, 3] {
            let block: Vec<u8> = (0..length).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 20) as u8).collect();
            writer.append_block(&mut compressor, &block, 1).expect("written");
            assert!(writer.read_last_block().expect("read") == block, "{codec}, {length}");
            writer.set_aside(b"of the next block").expect("written");
            assert!(writer.read_last_block().expect("read") == block, "{codec}, {length}");
            writer.take_back(&mut Vec::new()).expect("read");
        }
    }
}

#[test]
fn everything_that_a_header_can_hold_fits() {
    let longest_topic = "t".repeat(249);
    let name = chain(&longest_topic, "2147483647~4294967295").segment(offset(0));
    let far = i64::MAX - 1;
    let records = vec![OwnedRecord { timestamp: i64::MIN, ..record(far, "last") }];
    let mut full = summary(&records);
    full.cluster_id = Some("c".repeat(255));
    full.topic_id = TopicId::new([0xff; 16]);
    full.last_record.as_mut().expect("there").leader_epoch = LeaderEpoch::new(i32::MAX);
    full.boundaries.segment_bytes = u64::MAX.try_into().expect("not zero");
    full.boundaries.segment_records = u64::MAX.try_into().ok();
    full.boundaries.segment_age_ms = u64::MAX.try_into().expect("not zero");
    full.gaps = (0..20)
        .map(|index| {
            let first = 9_000_000_000_000_000_000 + 2 * index;
            let offsets = OffsetRange::new(offset(first), offset(first)).expect("one");
            Gap { offsets, reason: GapReason::Deleted }
        })
        .collect();
    let bytes = bytes_of(&name, Codec::Null, &records, &full);
    assert_eq!(verify(&bytes[..], name.start).expect("verifies").header.ours().expect("ours").summary, full);
}

#[test]
fn what_a_store_keeps_beside_an_object_reads_back_as_its_header() {
    for (name, records, summary) in samples() {
        let bytes = bytes_of(&name, Codec::Snappy, &records, &summary);
        let header = SegmentHeader::parse(&bytes).expect("parses");
        let mut attributes = header.attributes();
        assert_eq!(attributes["record-count"], records.len().to_string());
        assert_eq!(attributes["codec"], "snappy");
        attributes.insert("writer".to_owned(), "any".to_owned());
        assert_eq!(SegmentHeader::from_attributes(&attributes).expect("read").as_ref(), Some(&header));
        // One record more, and as many offsets as before: the sum is wrong.
        attributes.insert("record-count".to_owned(), (records.len() + 1).to_string());
        let error = SegmentHeader::from_attributes(&attributes).expect_err("a wrong sum").to_string();
        assert!(error.contains("its metadata"), "{error}");
        let mut changed = header.attributes();
        changed.insert("last-record-blake3".to_owned(), "0".repeat(64));
        let error = SegmentHeader::from_attributes(&changed).expect_err("another record").to_string();
        assert!(error.contains("its metadata are not those that its header's hash is of"), "{error}");
        attributes.remove("format");
        assert_eq!(SegmentHeader::from_attributes(&attributes).expect("none"), None);
    }
}
