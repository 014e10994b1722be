//! What the daemon writes of a real log, and archives whose files are of format version 1.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::daemon::Daemon;
use crate::support::records::{MORNING_MS, Record, assert_same, logged_from, numbered, record};
use crate::support::segments::{as_version_1, canonical, offset, read_back};
use kafka_store::avro::{FORMAT_VERSION, SegmentHeader};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::offset::LeaderEpoch;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn header(archive: &Archive, topic: &str, start: i64) -> SegmentHeader {
    let bytes = fs::read(archive.segment(topic, 0, start)).expect("readable");
    SegmentHeader::parse(&bytes).expect("a header of ours")
}

/// `kafka-store verify --deep`: exit code and report.
fn verify_deep(archive: &Path) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
    let output = command.args(["verify", "--deep", "--json"]).arg(archive).output().expect("it runs");
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn a_header_names_length_and_last_record_of_its_file() {
    let broker = Broker::get();
    let topic = broker.create_topic("last", 1, &[]);
    // A record that fills a block alone, at the end and elsewhere, and small ones.
    let lengths = [10, 70_000, 5, 70_000, 20, 30, 40];
    let records: Vec<Record> = lengths
        .into_iter()
        .zip(0..)
        .map(|(length, n)| record(None, Some(&vec![b'v'; length]), MORNING_MS + n))
        .collect();
    broker.produce(&topic, 0, &records, &[]);
    let archive = Archive::new();
    Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-records", "2"]).until_end();
    assert_eq!(archive.starts(&topic, 0), [0, 2, 4, 6]);
    for (start, final_offset) in [(0, 1), (2, 3), (4, 5), (6, 6)] {
        let bytes = fs::read(archive.segment(&topic, 0, start)).expect("readable");
        let header = header(&archive, &topic, start);
        let last = read_back(&bytes, start).expect("whole").pop().expect("a record");
        assert_eq!((header.format, last.offset), (FORMAT_VERSION, final_offset));
        assert_eq!(header.file_bytes, Some(bytes.len() as u64));
        let hash = RecordHash::of(&canonical(&last));
        // The partition has had one leader.
        assert_eq!(header.summary.last_record, Some(LastRecord { hash, leader_epoch: LeaderEpoch::new(0) }));
    }
    assert_eq!(broker.committed(&topic, &topic, 0).map(|(offset, _)| offset), Some(7));
}

#[test]
fn ten_small_records_take_four_kilobytes_at_most() {
    let broker = Broker::get();
    let topic = broker.create_topic("small", 1, &[]);
    let value: Vec<u8> = (0..100_u8).map(|n| n.wrapping_mul(167) ^ (n << 3)).collect();
    let records: Vec<Record> = (0..10).map(|n| record(None, Some(&value), MORNING_MS + n)).collect();
    broker.produce(&topic, 0, &records, &[]);
    for codec in ["deflate", "zstandard", "snappy", "null"] {
        let archive = Archive::new();
        Daemon::new(&broker, &[&topic], &format!("{topic}-{codec}"), archive.path())
            .args(&["--codec", codec])
            .until_end();
        let bytes = fs::metadata(archive.segment(&topic, 0, 0)).expect("there").len();
        println!("{codec}: {bytes} bytes");
        assert!(bytes <= 4_000, "{codec}: {bytes} bytes");
    }
}

#[test]
fn an_archive_of_version_1_is_continued() {
    let broker = Broker::get();
    let topic = broker.create_topic("version", 1, &[]);
    let records = numbered(0..45);
    broker.produce(&topic, 0, &records[..25], &[]);
    let archive = Archive::new();
    let daemon = || Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-records", "10"]);
    daemon().until_end();
    for start in [0, 10, 20] {
        let path = archive.segment(&topic, 0, start);
        let bytes = fs::read(&path).expect("readable");
        fs::write(path, as_version_1(&bytes)).expect("written");
    }
    let before = archive.stamps();
    broker.produce(&topic, 0, &records[25..], &[]);
    daemon().until_end();
    assert_eq!(archive.starts(&topic, 0), [0, 10, 20, 25, 35]);
    let formats = [0, 10, 20, 25, 35].map(|start| header(&archive, &topic, start).format);
    assert_eq!(formats, [1, 1, 1, 2, 2]);
    let after = archive.stamps();
    assert!(before.iter().all(|(path, stamp)| after.get(path) == Some(stamp)), "nothing is ever changed");
    assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &records));
    let (code, report) = verify_deep(archive.path());
    assert_eq!((code, &report["problems"]), (Some(0), &Value::Array(Vec::new())), "{report:#}");
    assert_eq!(header(&archive, &topic, 20).next_offset(), offset(25));

    // The whole chain again, by a group without a commit: it walks over segments of both versions.
    let other = format!("{topic}-other");
    Daemon::new(&broker, &[&topic], &other, archive.path()).args(&["--file-records", "10"]).until_end();
    let again = archive.stamps();
    assert!(after.iter().all(|(path, stamp)| again.get(path) == Some(stamp)), "nothing is ever changed");
    assert_eq!(archive.starts(&topic, 0), [0, 10, 20, 25, 35]);
    assert_eq!(broker.committed(&other, &topic, 0).map(|(offset, _)| offset), Some(45));
}
