//! Segment files, seen by this program's reader, by two independent Avro implementations, and byte by byte.
//!
//! The format is frozen: the files in `tests/formats/` never change, those of its version come out the same
//! indefinitely, and their literal schema is the one in `docs/format.md`. Needs KAFKA_STORE_TEST_PYTHON (a Python with fastavro).

use crate::support::segments::{
    CODECS, OwnedHeader, OwnedRecord, any_codec, any_records, as_version_1, bytes_of, chain, offset, read_back, record,
    samples, summary, write_into_archive, write_segment,
};
use apache_avro::Schema;
use apache_avro::types::Value;
use kafka_store::avro::{
    Codec, FORMAT_VERSION, FileHeader, ORIGINAL_SCHEMA, SCHEMA, SegmentHeader, SegmentSummary, sync_marker, verify,
};
use kafka_store_statecharts::name::SegmentName;
use proptest::prelude::*;
use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Command;

fn sample_path(version: u32, codec_name: &str, name: &SegmentName) -> PathBuf {
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    formats.join(format!("v{version}")).join(codec_name).join(name.to_string())
}

fn sample_file(version: u32, codec_name: &str, name: &SegmentName) -> Vec<u8> {
    fs::read(sample_path(version, codec_name, name)).expect("the sample file")
}

/// A sample's summary as a file of this version has it.
fn in_version(version: u32, summary: &SegmentSummary) -> SegmentSummary {
    SegmentSummary { last_record: summary.last_record.filter(|_| version > 1), ..summary.clone() }
}

const VERSIONS: [u32; 2] = [1, FORMAT_VERSION];

#[test]
fn the_sample_files_of_version_1_have_not_changed() {
    let mut hasher = blake3::Hasher::new();
    for (codec_name, _) in CODECS {
        for (name, _, _) in samples() {
            hasher.update(&sample_file(1, codec_name, &name));
        }
    }
    assert_eq!(hasher.finalize().to_string(), "6bcab2233b3dfd0f91fe6f903c1c5f1d115c1c9a6b6b5abbdd596f671781bda9");
}

/// So tests may make more of them.
#[test]
fn files_of_version_1_can_be_made_of_those_of_version_2() {
    for (codec_name, _) in CODECS {
        for (name, _, _) in samples() {
            assert!(as_version_1(&sample_file(2, codec_name, &name)) == sample_file(1, codec_name, &name), "{name}");
        }
    }
}

#[test]
fn the_sample_files_of_version_2_come_out_byte_for_byte() {
    for (codec_name, codec) in CODECS {
        for (name, records, summary) in samples() {
            let path = sample_path(2, codec_name, &name);
            let bytes = bytes_of(&name, codec, &records, &summary);
            if std::env::var_os("KAFKA_STORE_WRITE_FORMATS").is_some() && !path.exists() {
                fs::create_dir_all(path.parent().expect("a folder")).expect("created");
                fs::write(&path, &bytes).expect("written");
            }
            let stored = fs::read(&path).expect("the sample file");
            assert!(stored == bytes, "{} has changed: files of version 2 never change", path.display());
        }
    }
}

#[test]
fn a_sealed_file_has_the_checksum_that_its_writer_says() {
    for (_, codec) in CODECS {
        for (name, records, summary) in samples() {
            let file = tempfile::tempfile().expect("a temporary file");
            let mut sealed = write_segment(file, &name, codec, &records, &summary);
            let mut bytes = Vec::new();
            sealed.file.rewind().expect("rewinds");
            sealed.file.read_to_end(&mut bytes).expect("reads");
            assert_eq!((sealed.file_bytes, sealed.crc32c), (bytes.len() as u64, crc32c::crc32c(&bytes)), "{name}");
        }
    }
}

#[test]
fn the_sample_files_read_back_as_they_were_written() {
    for (version, (codec_name, codec)) in VERSIONS.into_iter().flat_map(|version| CODECS.map(|codec| (version, codec)))
    {
        for (name, records, summary) in samples() {
            let bytes = sample_file(version, codec_name, &name);
            assert_eq!(read_back(&bytes, name.start.get()).expect("reads"), records);
            let verified = verify(&bytes[..], name.start).expect("verifies");
            let header = verified.header.ours().expect("ours");
            assert_eq!((header.format, &header.name), (version, &name));
            assert_eq!(header.summary, in_version(version, &summary));
            assert_eq!(header.file_bytes, (version > 1).then_some(bytes.len() as u64));
            assert_eq!(header.block_bytes, (version > 1).then_some(65_536));
            assert_eq!(header.codec, codec.block_codec());
            assert_eq!(verified.record_count, records.len() as u64);
            assert_eq!(verified.content_hash, header.content_hash);
            assert_eq!(verified.file_bytes, bytes.len() as u64);
            assert_eq!(verified.crc32c, crc32c::crc32c(&bytes));
        }
    }
    let (name, _, _) = &samples()[0];
    for (version, header_bytes) in VERSIONS.into_iter().zip([4096, 2048]) {
        let bytes = sample_file(version, "null", name);
        let header = FileHeader::parse(&bytes, name.start).expect("parses");
        assert_eq!(header.header_bytes, header_bytes);
        let ours = header.ours().expect("ours");
        assert_eq!(ours.invisible_count(), 301 - ours.record_count - 8);
        assert!(bytes.len() as u64 > header_bytes + 65_536 + 20_000, "several blocks");
    }
}

#[test]
fn the_codec_changes_neither_what_a_file_is_called_nor_what_it_says() {
    for (name, _, _) in samples() {
        for version in VERSIONS {
            let headers = CODECS
                .map(|(codec_name, _)| SegmentHeader::parse(&sample_file(version, codec_name, &name)).expect("parses"));
            let of_records = |header: &SegmentHeader| SegmentHeader {
                codec: headers[0].codec,
                file_bytes: None,
                blocks_crc32c: None,
                ..header.clone()
            };
            headers.iter().for_each(|header| assert_eq!(of_records(header), of_records(&headers[0])));
        }
    }
}

#[test]
fn the_document_has_the_literal_schemas() {
    let document = include_str!("../../docs/format.md");
    let schemas: Vec<&str> =
        document.split("```json\n").skip(1).map(|rest| rest.split_once("\n```").expect("the block ends").0).collect();
    assert_eq!(schemas, [SCHEMA, ORIGINAL_SCHEMA]);
}

#[test]
fn the_document_has_every_header_entry_in_order() {
    let document = include_str!("../../docs/format.md");
    let (_, document) = document.split_once("### Header entries").expect("the entries");
    let (document, _) = document.split_once("\n\nThe length of the header").expect("the table ends");
    let (name, records, summary) = samples().remove(0);
    let later_lineage = SegmentName { chain: chain("sample.topic_1", "000003~2"), ..name.clone() };
    let bytes = bytes_of(&later_lineage, Codec::Null, &records, &summary);
    let header_bytes = FileHeader::parse(&bytes, name.start).expect("a header").header_bytes as usize;
    let header = String::from_utf8_lossy(&bytes[..header_bytes]);
    let (mut in_document, mut in_header, mut count) = (0, 0, 0);
    for entry in document.split("| `").flat_map(|row| row.split('`').step_by(2)) {
        if !entry.starts_with("kafka_store.") {
            continue;
        }
        in_document = document[in_document..].find(entry).expect(entry) + in_document;
        in_header = header[in_header..].find(entry).expect(entry) + in_header;
        count += 1;
    }
    assert_eq!((count, header.matches("kafka_store.").count()), (26, 26), "an entry is not in the document");
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
    let header = |(name, value): &OwnedHeader| {
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
    for (version, (codec_name, _)) in VERSIONS.into_iter().flat_map(|version| CODECS.map(|codec| (version, codec))) {
        for (name, records, _) in samples() {
            paths.push(sample_path(version, codec_name, &name));
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
    for (codec_name, codec) in CODECS {
        let [a, b] = ["a", "b"].map(|run| {
            let root = directory.path().join(codec_name).join(run);
            write_into_archive(&root, &name, codec, &records);
            fs::read(root.join(name.to_string())).expect("there")
        });
        assert!(a == b, "{codec_name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_records_survive_and_apache_avro_agrees(records in any_records(), codec in any_codec()) {
        let name = chain("t", "000000").segment(offset(0));
        let bytes = bytes_of(&name, codec, &records, &summary(&records));
        prop_assert_eq!(read_back(&bytes, 0).expect("reads"), records.clone());
        let values: Vec<Value> =
            apache_avro::Reader::new(&bytes[..]).expect("opens").map(|value| value.expect("reads")).collect();
        prop_assert_eq!(values, records.iter().map(full_value).collect::<Vec<_>>());
    }
}
