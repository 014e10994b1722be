//! The daemon goes on where the original kafka-store stopped: its archive, its group, the same broker.
//!
//! `tests/golden/tree` is what the original archived of the records in `tests/golden/produced`. They are produced
//! again, to the same offsets; then more come, and the daemon is started over a copy of the tree.

use crate::support::archive::{Archive, bytes_or_null};
use crate::support::broker::{Broker, unique};
use crate::support::daemon::Daemon;
use crate::support::mysql::{Database, command};
use crate::support::records::{Logged, Record, assert_same, logged_from, numbered};
use crate::support::rows::assert_rows_are_the_files;
use crate::support::verified::assert_same_as_kafka;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One partition of the golden archive, in a topic that has another name on this broker.
struct Partition {
    topic: String,
    partition: i32,
    /// Where the original's segments start.
    starts: Vec<i64>,
    /// The offset after the last record that the original archived.
    next_offset: i64,
    /// All that its log holds before more come.
    log: Vec<Logged>,
}

/// The topics of the golden archive that are used here, with the number of their partitions.
const TOPICS: [(&str, i32); 3] = [("sample", 4), ("ones", 1), ("trimmed", 1)];

struct Golden {
    broker: Broker,
    group: String,
    topics: Vec<String>,
    partitions: Vec<Partition>,
    archive: Archive,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

impl Golden {
    /// The broker and the archive as the original left them, without what it committed.
    fn new() -> Golden {
        let (broker, archive) = (Broker::get(), Archive::new());
        let (mut topics, mut partitions) = (Vec::new(), Vec::new());
        for (name, count) in TOPICS {
            let topic = broker.create_topic(name, count, &[]);
            partitions.extend((0..count).map(|partition| restore(&broker, &archive, name, &topic, partition)));
            topics.push(topic);
        }
        Golden { broker, group: unique("golden"), topics, partitions, archive }
    }

    /// Commits what the original had committed: the end of the last segment, without metadata.
    fn commit(&self) {
        for partition in self.partitions.iter().filter(|partition| !partition.starts.is_empty()) {
            self.broker.commit(&self.group, &partition.topic, partition.partition, partition.next_offset);
        }
    }

    fn produce_more(&mut self) {
        for partition in &mut self.partitions {
            self.broker.produce(&partition.topic, partition.partition, &numbered(0..10), &[]);
            let next = partition.log.last().map_or(0, |last| last.offset + 1);
            partition.log.extend(logged_from(next, &numbered(0..10)));
        }
    }

    fn daemon(&self) -> Daemon {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        Daemon::new(&self.broker, &topics, &self.group, self.archive.path())
    }

    fn find(&self, name: &str) -> &Partition {
        self.partitions.iter().find(|partition| partition.topic.starts_with(name)).expect("it is one of them")
    }

    /// One more segment in each partition, from the original's end on, with all the rest of the log.
    #[track_caller]
    fn check_continued(&self) {
        let mut archived = self.archive.all_records();
        for Partition { topic, partition, starts, next_offset, log } in &self.partitions {
            let expected: Vec<i64> = starts.iter().copied().chain([*next_offset]).collect();
            assert_eq!(self.archive.starts(topic, *partition), expected, "{topic} {partition}");
            // The original kept neither headers nor the timestamp's type.
            let expected: Vec<Logged> = log
                .iter()
                .map(|logged| match logged.offset < *next_offset {
                    true => Logged {
                        timestamp_type: String::new(),
                        record: Record { headers: Vec::new(), ..logged.record.clone() },
                        ..logged.clone()
                    },
                    false => logged.clone(),
                })
                .collect();
            let archived = archived.remove(&(topic.clone(), *partition)).unwrap_or_default();
            assert_same(topic, &archived, &expected);
            let committed = self.broker.committed(&self.group, topic, *partition);
            let end = log.last().map_or(0, |last| last.offset + 1);
            assert_eq!(committed, Some((end, format!("kafka-store/1 segment={next_offset}"))), "{topic} {partition}");
        }
        println!("{}", self.archive.check());
        assert_same_as_kafka(&self.broker, &self.group, self.archive.path());
    }
}

/// Produces a partition's golden records to the same offsets, and copies its segments.
fn restore(broker: &Broker, archive: &Archive, name: &str, topic: &str, partition: i32) -> Partition {
    let produced = golden().join(format!("produced/{name}-{partition}.jsonl"));
    let records: Vec<Record> = match fs::read_to_string(produced) {
        Ok(lines) => lines.lines().map(|line| golden_record(&serde_json::from_str(line).expect("JSON"))).collect(),
        Err(_) => Vec::new(), // The empty partition.
    };
    broker.produce(topic, partition, &records, &[]);
    let mut starts = Vec::new();
    for entry in fs::read_dir(golden().join(format!("tree/{name}/{partition:06}"))).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let start: i64 = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").parse().expect("an offset");
        let copy = archive.segment(topic, partition, start);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("created");
        fs::copy(path, copy).expect("copied");
        starts.push(start);
    }
    starts.sort_unstable();
    let mut log = logged_from(0, &records);
    if let Some(first) = starts.first().filter(|first| **first > 0) {
        broker.delete_records(topic, partition, *first);
        log.drain(..usize::try_from(*first).expect("positive"));
    }
    let next_offset = archive.records(topic, partition).last().map_or(0, |last| last.offset + 1);
    Partition { topic: topic.to_owned(), partition, starts, next_offset, log }
}

fn golden_record(line: &Value) -> Record {
    let header = |header: &Value| (header[0].as_str().expect("a name").as_bytes().to_vec(), bytes_or_null(&header[1]));
    Record {
        key: bytes_or_null(&line["key"]),
        value: bytes_or_null(&line["value"]),
        timestamp: line["timestamp"].as_i64().expect("a number"),
        headers: line["headers"].as_array().map(|all| all.iter().map(header).collect()).unwrap_or_default(),
    }
}

#[test]
fn it_goes_on_from_what_the_original_committed() {
    let mut golden = Golden::new();
    assert_eq!(golden.partitions[2].log.len(), 6, "the original did not close the segment of offset 5");
    golden.commit();
    golden.produce_more();
    let before = golden.archive.stamps();
    golden.daemon().until_end();
    let mut after = golden.archive.stamps();
    after.retain(|path, _| before.contains_key(path));
    assert_eq!(after, before, "the original's segments have changed");
    golden.check_continued();
    check_reader(&golden);
}

/// The reader goes from the original's segments over to ours.
fn check_reader(golden: &Golden) {
    let Partition { topic, partition, log, .. } = &golden.partitions[0];
    let first = golden.archive.segment(topic, *partition, 0);
    let output = Command::new(env!("CARGO_BIN_EXE_kafka-store-reader")).arg("local").arg(first).output();
    let output = output.expect("the reader runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "Next file not ready.");
    let offset = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["offset"].as_i64();
    let printed: Vec<_> = String::from_utf8(output.stdout).expect("UTF-8").lines().map(offset).collect();
    assert_eq!(printed, log.iter().map(|logged| Some(logged.offset)).collect::<Vec<_>>());
}

#[test]
fn it_goes_on_from_the_objects_where_nothing_is_committed() {
    let mut golden = Golden::new();
    golden.produce_more();
    golden.daemon().until_end();
    golden.check_continued();
}

#[test]
fn a_late_commit_is_put_right_without_a_new_segment() {
    let golden = Golden::new();
    // It stored the last segment, and was killed before it committed.
    let Partition { topic, starts, next_offset, .. } = golden.find("trimmed");
    let last = *starts.last().expect("segments");
    golden.broker.commit(&golden.group, topic, 0, last);
    let before = golden.archive.contents();
    Daemon::new(&golden.broker, &[topic], &golden.group, golden.archive.path()).offset_reset("error").until_end();
    assert_eq!(golden.archive.contents(), before);
    let committed = golden.broker.committed(&golden.group, topic, 0);
    assert_eq!(committed, Some((*next_offset, format!("kafka-store/1 segment={last}"))));
}

#[test]
fn a_truncated_segment_freezes_its_partition_until_it_is_moved_away() {
    let mut golden = Golden::new();
    // It was killed while it wrote its last segment: that is short, and not committed.
    let Partition { topic, starts, next_offset, .. } = golden.find("ones");
    let (topic, last, next_offset) = (topic.clone(), *starts.last().expect("segments"), *next_offset);
    let path = golden.archive.segment(&topic, 0, last);
    let whole = fs::read(&path).expect("readable");
    fs::write(&path, &whole[..whole.len() - 10]).expect("writable");
    golden.commit();
    golden.broker.commit(&golden.group, &topic, 0, last);
    golden.produce_more();
    let ended = golden.daemon().until_end_with_code(3);
    let words = format!(
        "{} is not a whole segment: the file is truncated: it ends at byte {}",
        path.display(),
        whole.len() - 10
    );
    assert!(ended.log.contains(&words), "{}", ended.log);
    assert!(ended.log.contains("move it out of the archive"), "{}", ended.log);
    assert_eq!(golden.archive.starts(&topic, 0), starts_of(&golden, "ones"));
    assert_eq!(golden.broker.committed(&golden.group, &topic, 0), Some((last, String::new())));
    // The others went on.
    let trimmed = golden.find("trimmed");
    assert_eq!(golden.archive.starts(&trimmed.topic, 0).last(), Some(&trimmed.next_offset));

    fs::rename(&path, golden.archive.path().join("~kafka-store/moved-away")).expect("moved");
    golden.daemon().until_end();
    assert!(golden.archive.starts(&topic, 0).contains(&last));
    let archived = golden.archive.records(&topic, 0);
    let expected: Vec<_> = golden.find("ones").log.iter().filter(|logged| logged.offset >= last).cloned().collect();
    assert_same("archived anew", &archived[archived.len() - expected.len()..], &expected);
    assert!(expected[0].offset < next_offset, "the truncated segment's record is among them");
    golden.archive.check();
}

fn starts_of(golden: &Golden, name: &str) -> Vec<i64> {
    golden.find(name).starts.clone()
}

/// The original's table beside its archive: it is widened in place, its rows stay as they are, and ours follow.
#[test]
fn its_table_goes_on_with_its_archive() {
    let mut golden = Golden::new();
    let database = Database::of_the_original("golden");
    for (name, topic) in ["sample", "ones", "trimmed"].iter().zip(&golden.topics) {
        // The topics have other names on this broker.
        database.execute(&format!("UPDATE kafka_store SET topic = '{topic}' WHERE topic = '{name}'"));
    }
    database.execute("DELETE FROM kafka_store WHERE topic IN ('codecs', 'sizes')");
    golden.commit();
    golden.produce_more();
    let url = database.url();
    let (code, told) = command(&["index", "migrate", "--mysql-metadata-url", &url]);
    assert_eq!(code, Some(0), "{told}");
    const OLD: &str = "SELECT topic, `partition`, startOffset, finalOffset, byteSize, md5Hash, CAST(`time` AS CHAR) FROM \
                       kafka_store WHERE writer IS NULL ORDER BY topic, `partition`, startOffset";
    type Old = (String, i32, i64, i64, i64, String, String);
    let before: Vec<Old> = database.query(OLD);
    assert_eq!(before.len(), 16, "the rows of sample, ones and trimmed");

    golden.daemon().args(&["--mysql-metadata-url", &url]).until_end();
    golden.check_continued();
    let rows = assert_rows_are_the_files(&database, &golden.archive);
    assert_eq!(rows, 16 + golden.partitions.len(), "one more segment of each partition");
    assert_eq!(database.query::<Old>(OLD), before, "the original's rows are as they were");

    // It did not say when its records are from, so a moment may lie in its files.
    let (topic, archive) = (&golden.topics[2], golden.archive.path().to_str().expect("UTF-8"));
    let find =
        |more: &[&str]| command(&[&["find", topic, "--time=0", "--json", "--mysql-metadata-url", &url], more].concat());
    let (code, told) = find(&[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("have no times in the index"), "{told}");
    let first = |told: &str| serde_json::from_str::<Value>(told).expect("JSON")["start_offset"].clone();
    let (code, told) = find(&["--local-store", archive]);
    assert_eq!((code, first(&told)), (Some(0), Value::from(7)), "the archive knows");
    let (code, told) = command(&["index", "rebuild", archive, "--mysql-metadata-url", &url]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("16 rows of the original kafka-store have all columns now"), "{told}");
    assert_eq!(database.query::<i64>("SELECT COUNT(*) FROM kafka_store WHERE maxTimestampSoFar IS NULL"), [0]);
    let (code, told) = find(&[]);
    assert_eq!((code, first(&told)), (Some(0), Value::from(7)), "and now the index does");
    let (code, told) = command(&["verify", archive, "--deep", "--index", "--mysql-metadata-url", &url]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(database.query::<Old>(OLD), before, "and what the original wrote is still as it was");
}
