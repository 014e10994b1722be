//! Segment files, seen by this program's reader, by two independent Avro implementations, and byte by byte.
//!
//! The format is frozen: the files in `tests/formats/` must come out the same for ever, and their literal schema
//! must be the one in `docs/format.md`. Needs KAFKA_STORE_TEST_PYTHON (a Python with fastavro).

#[path = "support/segments.rs"]
mod segments;

use apache_avro::Schema;
use apache_avro::types::Value;
use kafka_store::avro::{
    Codec, HEADER_BYTES, ORIGINAL_SCHEMA, ReadError, SCHEMA, SealError, SegmentHeader, SegmentReader, SegmentWriter,
    sync_marker, verify,
};
use kafka_store_statecharts::name::SegmentName;
use proptest::prelude::*;
use segments::{OwnedRecord, chain, offset, record, samples, summary, write_into_archive, write_segment};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

const CODECS: [(&str, Codec); 2] = [("deflate", Codec::Deflate { level: 1 }), ("null", Codec::Null)];

fn formats() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1")
}

/// The bytes of a segment.
fn bytes_of(
    name: &SegmentName,
    codec: Codec,
    records: &[OwnedRecord],
    summary: &kafka_store::avro::SegmentSummary,
) -> Vec<u8> {
    let file = tempfile::tempfile().expect("a temporary file");
    let mut sealed = write_segment(file, name, codec, records, summary);
    let mut bytes = Vec::new();
    sealed.file.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes.len() as u64, sealed.file_bytes);
    assert_eq!(SegmentHeader::parse(&bytes[..HEADER_BYTES]).expect("parses"), sealed.header);
    bytes
}

/// Everything that our reader reads.
fn read_back(bytes: &[u8], start: i64) -> Result<Vec<OwnedRecord>, ReadError> {
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

#[test]
fn the_sample_files_of_version_1_come_out_byte_for_byte() {
    for (codec_name, codec) in CODECS {
        for (name, records, summary) in samples() {
            let path = formats().join(codec_name).join(name.to_string());
            let bytes = bytes_of(&name, codec, &records, &summary);
            if std::env::var_os("KAFKA_STORE_WRITE_FORMATS").is_some() && !path.exists() {
                fs::create_dir_all(path.parent().expect("a folder")).expect("created");
                fs::write(&path, &bytes).expect("written");
            }
            let stored = fs::read(&path).expect("the sample file");
            assert!(stored == bytes, "{} has changed: files of version 1 never change", path.display());
        }
    }
}

#[test]
fn the_sample_files_read_back_as_they_were_written() {
    for (codec_name, codec) in CODECS {
        for (name, records, summary) in samples() {
            let bytes = fs::read(formats().join(codec_name).join(name.to_string())).expect("the sample file");
            assert_eq!(read_back(&bytes, name.start.get()).expect("reads"), records);
            let verified = verify(&bytes[..], name.start).expect("verifies");
            let header = verified.header.ours().expect("ours");
            assert_eq!((&header.name, &header.summary), (&name, &summary));
            assert_eq!(header.codec, codec.block_codec());
            assert_eq!(verified.record_count, records.len() as u64);
            assert_eq!(verified.content_hash, header.content_hash);
            assert_eq!(verified.file_bytes, bytes.len() as u64);
        }
    }
    let (name, _, _) = &samples()[0];
    let bytes = fs::read(formats().join("null").join(name.to_string())).expect("the sample file");
    let header = SegmentHeader::parse(&bytes[..HEADER_BYTES]).expect("parses");
    assert_eq!(header.invisible_count(), 301 - header.record_count - 8);
    assert!(bytes.len() > HEADER_BYTES + 65_536 + 20_000, "several blocks");
}

#[test]
fn the_document_has_the_literal_schemas() {
    let document = include_str!("../docs/format.md");
    let schemas: Vec<&str> =
        document.split("```json\n").skip(1).map(|rest| rest.split_once("\n```").expect("the block ends").0).collect();
    assert_eq!(schemas, [SCHEMA, ORIGINAL_SCHEMA]);
}

#[test]
fn the_document_has_every_header_entry_in_order() {
    let document = include_str!("../docs/format.md");
    let (name, records, summary) = samples().remove(0);
    let later_lineage = SegmentName { chain: chain("sample.topic_1", "000003~2"), ..name };
    let bytes = bytes_of(&later_lineage, Codec::Null, &records, &summary);
    let header = String::from_utf8_lossy(&bytes[..HEADER_BYTES]);
    let (mut in_document, mut in_header, mut count) = (0, 0, 0);
    for entry in document.split("| `").flat_map(|row| row.split('`').step_by(2)) {
        if !entry.starts_with("kafka_store.") {
            continue;
        }
        in_document = document[in_document..].find(entry).expect(entry) + in_document;
        in_header = header[in_header..].find(entry).expect(entry) + in_header;
        count += 1;
    }
    assert!(count >= 15, "{count}");
    assert_eq!(header.matches("kafka_store.").count(), 20, "an entry is not in the document");
}

#[test]
fn the_sync_marker_is_what_the_document_says() {
    let name = chain("orders", "000007").segment(offset(1234));
    let text = "kafka-store sync marker 1 orders/000007/00000000000000001234";
    assert_eq!(sync_marker(&name), blake3::hash(text.as_bytes()).as_bytes()[..16]);
    let later = chain("orders", "000007~2").segment(offset(1234));
    assert_ne!(sync_marker(&later), sync_marker(&name));
}

#[test]
fn apache_avro_reads_the_same_records() {
    let original = Schema::parse_str(ORIGINAL_SCHEMA).expect("a schema");
    for (_, codec) in CODECS {
        for (name, records, summary) in samples() {
            let bytes = bytes_of(&name, codec, &records, &summary);
            let reader = apache_avro::Reader::new(&bytes[..]).expect("opens");
            assert_eq!(
                reader.user_metadata()["kafka_store.topic"],
                name.chain.topic_partition.topic.as_str().as_bytes()
            );
            let values: Vec<Value> = reader.map(|value| value.expect("reads")).collect();
            assert_eq!(values, records.iter().map(full_value).collect::<Vec<_>>());
            let as_original = apache_avro::Reader::builder(&bytes[..]).reader_schema(&original).build().expect("opens");
            let values: Vec<Value> = as_original.map(|value| value.expect("reads")).collect();
            assert_eq!(values, records.iter().map(original_value).collect::<Vec<_>>());
        }
    }
}

fn nullable(bytes: Option<&Vec<u8>>) -> Value {
    match bytes {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(bytes) => Value::Union(1, Box::new(Value::Bytes(bytes.clone()))),
    }
}

fn original_fields(record: &OwnedRecord) -> Vec<(String, Value)> {
    vec![
        ("timestamp".into(), Value::Long(record.timestamp)),
        ("key".into(), nullable(record.key.as_ref())),
        ("value".into(), nullable(record.value.as_ref())),
    ]
}

fn original_value(record: &OwnedRecord) -> Value {
    Value::Record(original_fields(record))
}

fn full_value(record: &OwnedRecord) -> Value {
    let header = |(name, value): &segments::OwnedHeader| {
        let raw_key = std::str::from_utf8(name).is_err().then_some(name);
        Value::Record(vec![
            ("key".into(), Value::String(String::from_utf8_lossy(name).into_owned())),
            ("value".into(), nullable(value.as_ref())),
            ("raw_key".into(), nullable(raw_key)),
        ])
    };
    let mut fields = original_fields(record);
    fields.push(("offset".into(), Value::Long(record.offset)));
    let symbol = record.timestamp_type.as_str().to_owned();
    fields.push(("timestamp_type".into(), Value::Enum(record.timestamp_type as u32, symbol)));
    fields.push(("headers".into(), Value::Array(record.headers.iter().map(header).collect())));
    Value::Record(fields)
}

/// Prints, for each record, `repr` of what fastavro makes of it: with its own schema, then with the original's.
const FASTAVRO: &str = r#"
import sys, fastavro
original = fastavro.parse_schema({"name": "message", "type": "record", "fields": [
    {"name": "timestamp", "type": "long"}, {"name": "key", "type": ["null", "bytes"]},
    {"name": "value", "type": ["null", "bytes"]}]})
def text(b):
    return "-" if b is None else "x" + b.hex()
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        for r in fastavro.reader(file):
            assert list(r) == ["timestamp", "key", "value", "offset", "timestamp_type", "headers"], list(r)
            headers = ["%s %s %s" % (text(h["key"].encode()), text(h["value"]), text(h["raw_key"])) for h in r["headers"]]
            print(r["timestamp"], text(r["key"]), text(r["value"]), r["offset"], r["timestamp_type"], *headers)
    with open(path, "rb") as file:
        for r in fastavro.reader(file, original):
            assert list(r) == ["timestamp", "key", "value"], list(r)
            print(r["timestamp"], text(r["key"]), text(r["value"]))
"#;

#[test]
fn fastavro_reads_the_same_records() {
    let python = std::env::var_os("KAFKA_STORE_TEST_PYTHON").expect(
        "KAFKA_STORE_TEST_PYTHON must name a Python with fastavro: run tests/run, or eval \"$(tests/services start)\"",
    );
    let mut expected = Vec::new();
    let mut paths = Vec::new();
    for (codec_name, _) in CODECS {
        for (name, records, _) in samples() {
            paths.push(formats().join(codec_name).join(name.to_string()));
            expected.extend(records.iter().map(full_line));
            expected.extend(records.iter().map(original_line));
        }
    }
    let output = Command::new(python).arg("-c").arg(FASTAVRO).args(paths).output().expect("Python runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let lines: Vec<&str> = std::str::from_utf8(&output.stdout).expect("UTF-8").lines().collect();
    assert_eq!(lines, expected);
}

fn hex(bytes: Option<&[u8]>) -> String {
    bytes.map_or("-".into(), |bytes| bytes.iter().fold("x".into(), |text, byte| format!("{text}{byte:02x}")))
}

fn original_line(record: &OwnedRecord) -> String {
    format!("{} {} {}", record.timestamp, hex(record.key.as_deref()), hex(record.value.as_deref()))
}

fn full_line(record: &OwnedRecord) -> String {
    let mut line = format!("{} {} {}", original_line(record), record.offset, record.timestamp_type.as_str());
    for (name, value) in &record.headers {
        let raw_key = std::str::from_utf8(name).is_err().then_some(&name[..]);
        let name = String::from_utf8_lossy(name);
        line += &format!(" {} {} {}", hex(Some(name.as_bytes())), hex(value.as_deref()), hex(raw_key));
    }
    line
}

#[test]
fn a_cut_file_is_truncated_wherever_it_is_cut() {
    let name = chain("t", "000000").segment(offset(0));
    let records: Vec<OwnedRecord> = (0..200).map(|offset| record(offset, &"v".repeat(1000))).collect();
    let bytes = bytes_of(&name, Codec::default(), &records, &summary(&records));
    for length in (0..bytes.len()).rev() {
        let error = verify(&bytes[..length], name.start).expect_err("cut");
        assert!(error.is_truncated(), "{length}: {error}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_position() {
    let name = chain("t", "000000").segment(offset(0));
    let records: Vec<OwnedRecord> = (0..3).map(|offset| record(offset, "value")).collect();
    let bytes = bytes_of(&name, Codec::Null, &records, &summary(&records));
    let said = |bytes: &[u8]| verify(bytes, offset(0)).expect_err("wrong").to_string();
    assert_eq!(
        said(b"PAR1 something else"),
        "the file is not a kafka-store segment: it does not begin as an Avro file"
    );
    let mut trailing = bytes.clone();
    trailing.extend_from_slice(b"junk");
    assert!(said(&trailing).starts_with("the file is "), "{}", said(&trailing));
    let mut changed = bytes.clone();
    changed[HEADER_BYTES + 10] ^= 1;
    assert!(said(&changed).contains("corrupt at byte"), "{}", said(&changed));
    let mut marker = bytes.clone();
    *marker.last_mut().expect("not empty") ^= 1;
    let at = bytes.len() - 16;
    assert_eq!(
        said(&marker),
        format!("the file is corrupt at byte {at}: the block does not end with the file's sync marker")
    );
    let error = verify(&bytes[..], offset(1)).expect_err("another name").to_string();
    assert!(error.contains("its name says that it starts at 1, its header 0"), "{error}");
    let version = replaced(&bytes, b"kafka_store.format\x021", b"kafka_store.format\x029");
    assert_eq!(said(&version), "the file needs another version of kafka-store: its format has version 9");
    let codec = replaced(&bytes, b"avro.codec\x08null", b"avro.codec\x08zstd");
    assert_eq!(said(&codec), "the file needs another version of kafka-store: its blocks are compressed by \"zstd\"");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    let mut replaced = bytes.to_vec();
    replaced[at..at + to.len()].copy_from_slice(to);
    replaced
}

#[test]
fn a_segment_that_contradicts_itself_is_not_sealed() {
    let name = chain("t", "000000").segment(offset(5));
    let records: Vec<OwnedRecord> = (5..8).map(|offset| record(offset, "value")).collect();
    let seal = |change: &dyn Fn(&mut kafka_store::avro::SegmentSummary)| {
        let file = tempfile::tempfile().expect("a temporary file");
        let mut writer = SegmentWriter::create(file, name.clone(), Codec::Null).expect("empty");
        writer.append_block(&mut kafka_store::avro::Compressor::new(), b"not judged here", 3).expect("written");
        let mut summary = summary(&records);
        change(&mut summary);
        writer.seal(&summary)
    };
    assert!(seal(&|_| {}).is_ok());
    assert!(matches!(seal(&|summary| summary.final_offset = offset(4)), Err(SealError::Inconsistent(_))));
    assert!(matches!(seal(&|summary| summary.final_offset = offset(6)), Err(SealError::Inconsistent(_))));
    assert!(matches!(seal(&|summary| summary.timestamps.max = 0), Err(SealError::Inconsistent(_))));
    let long = "x".repeat(HEADER_BYTES);
    let error = seal(&|summary| summary.cluster_id = Some(long.clone())).expect_err("too long");
    assert!(matches!(error, SealError::HeaderTooLong { .. }), "{error}");
}

#[test]
fn an_empty_or_impossible_block_is_refused() {
    let file = tempfile::tempfile().expect("a temporary file");
    let mut writer = SegmentWriter::create(file, chain("t", "000000").segment(offset(0)), Codec::Null).expect("empty");
    let mut compressor = kafka_store::avro::Compressor::new();
    assert!(writer.append_block(&mut compressor, b"", 0).is_err());
    assert!(writer.append_block(&mut compressor, b"x", 0).is_err());
    assert_eq!(writer.record_count(), 0);
}

#[test]
fn everything_that_a_header_can_hold_fits() {
    let longest_topic = "t".repeat(249);
    let name = chain(&longest_topic, "2147483647~4294967295").segment(offset(0));
    let far = i64::MAX - 1;
    let records = vec![OwnedRecord { timestamp: i64::MIN, ..record(far, "last") }];
    let mut full = summary(&records);
    full.cluster_id = Some("c".repeat(255));
    full.topic_id = kafka_store_statecharts::topic::TopicId::new([0xff; 16]);
    full.boundaries.segment_bytes = u64::MAX.try_into().expect("not zero");
    full.boundaries.segment_records = u64::MAX.try_into().ok();
    full.boundaries.segment_age_ms = u64::MAX.try_into().expect("not zero");
    full.gaps = (0..20)
        .map(|index| {
            let first = 9_000_000_000_000_000_000 + 2 * index;
            let offsets = kafka_store_statecharts::offset::OffsetRange::new(offset(first), offset(first)).expect("one");
            kafka_store_statecharts::gap::Gap { offsets, reason: kafka_store_statecharts::gap::GapReason::Deleted }
        })
        .collect();
    let bytes = bytes_of(&name, Codec::Null, &records, &full);
    assert_eq!(verify(&bytes[..], name.start).expect("verifies").header.ours().expect("ours").summary, full);
}

#[test]
fn the_golden_files_of_the_original_verify() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let table = fs::read_to_string(golden.join("files.tsv")).expect("the table");
    let mut files = 0;
    for row in table.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let number = |index: usize| columns[index].parse::<i64>().expect("a number");
        let bytes = fs::read(golden.join("tree").join(columns[0])).expect("the file");
        let verified = verify(&bytes[..], offset(number(1))).expect(columns[0]);
        assert_eq!(verified.range.final_offset().get(), number(2), "{}", columns[0]);
        assert_eq!(verified.record_count as i64, number(3), "{}", columns[0]);
        assert_eq!(verified.file_bytes as i64, number(4), "{}", columns[0]);
        assert!(verified.header.ours().is_none());
        files += 1;
    }
    assert_eq!(files, 28);
}

#[test]
fn the_same_records_make_the_same_bytes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = chain("t", "000000").segment(offset(0));
    let records: Vec<OwnedRecord> = (0..500).map(|offset| record(offset, &"v".repeat(500))).collect();
    for run in ["a", "b"] {
        write_into_archive(&directory.path().join(run), &name, Codec::default(), &records);
    }
    let bytes = |run: &str| fs::read(directory.path().join(run).join(name.to_string())).expect("there");
    assert!(bytes("a") == bytes("b"));
}

fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300));
    let headers = proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..9), bytes()), 0..4);
    (any::<i64>(), 0_i64..3, 1_i64..4, bytes(), bytes(), headers).prop_map(
        |(timestamp, timestamp_type, step, key, value, headers)| OwnedRecord {
            timestamp,
            timestamp_type: kafka_store_statecharts::record::TimestampType::from_index(timestamp_type)
                .expect("in range"),
            // The step to the next one; made an offset below.
            offset: step,
            key,
            value,
            headers,
        },
    )
}

fn any_records() -> impl Strategy<Value = Vec<OwnedRecord>> {
    proptest::collection::vec(any_record(), 1..60).prop_map(|mut records| {
        let mut next = -1;
        for record in &mut records {
            next += record.offset;
            record.offset = next;
        }
        records
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_records_survive_and_apache_avro_agrees(records in any_records(), deflate: bool) {
        let name = chain("t", "000000").segment(offset(0));
        let codec = if deflate { Codec::default() } else { Codec::Null };
        let bytes = bytes_of(&name, codec, &records, &summary(&records));
        prop_assert_eq!(read_back(&bytes, 0).expect("reads"), records.clone());
        let values: Vec<Value> =
            apache_avro::Reader::new(&bytes[..]).expect("opens").map(|value| value.expect("reads")).collect();
        prop_assert_eq!(values, records.iter().map(full_value).collect::<Vec<_>>());
    }

    /// Whatever happens to a file, the reader neither panics nor gives out records that were not written.
    #[test]
    fn a_changed_file_never_reads_as_whole(
        records in any_records(),
        deflate: bool,
        place: prop::sample::Index,
        change in 1_u8..,
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let name = chain("t", "000000").segment(offset(0));
        let codec = if deflate { Codec::default() } else { Codec::Null };
        let whole = bytes_of(&name, codec, &records, &summary(&records));
        let mut bytes = whole.clone();
        // The padding is the one place where a byte says nothing.
        let padding = whole[..HEADER_BYTES].windows(64).position(|window| window == [b' '; 64]).expect("padding");
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let in_padding = (padding..HEADER_BYTES - 17).contains(&place) && bytes.len() == whole.len();
        let verified = verify(&bytes[..], name.start);
        prop_assert!(in_padding || verified.is_err() || read_back(&bytes, 0).expect("verified") == records);
    }

    #[test]
    fn the_originals_files_never_make_the_reader_panic(place: prop::sample::Index, change in 1_u8.., cut: prop::sample::Index) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree/sample/000001/00000000000000000000");
        let mut bytes = fs::read(path).expect("the file");
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        let _ = verify(&bytes[..], offset(0));
        bytes.truncate(cut.index(bytes.len()));
        let _ = verify(&bytes[..], offset(0));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let mut file = b"Obj\x01".to_vec();
        file.extend_from_slice(&bytes);
        prop_assert!(verify(&file[..], offset(0)).is_err());
    }
}
