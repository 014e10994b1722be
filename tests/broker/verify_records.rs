//! `kafka-store verify --against-kafka`: archived records against those of a real broker.
//!
//! A different history under the same ids is made by writing the archive's files again with other records: what differs
//! is the same, and the broker is real. `cut_logs.rs` cuts real logs.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::daemon::Daemon;
use crate::support::records::{Record, numbered};
use crate::support::segments::{OwnedRecord, canonical, chain, offset, read_back, write_summarized};
use crate::support::verified::Verified;
use crate::support::wait_until;
use kafka_store::archive::{AgainstKafka, Depth, VerifyJob, Watch, Work};
use kafka_store::avro::{Codec, FileHeader, SegmentSummary};
use kafka_store::config::KafkaProperties;
use kafka_store::kafka::ffi::Client;
use kafka_store::kafka::{LogReaders, asking_properties};
use kafka_store::store::{ArchiveStore, LocalStore, Scope};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use std::fs;
use std::sync::atomic::AtomicBool;

/// A topic and its archive.
struct Stage {
    broker: Broker,
    topic: String,
    archive: Archive,
    /// The part of the archive that is verified.
    location: String,
}

impl Stage {
    fn of_topic(broker: Broker, topic: String) -> Stage {
        Stage { broker, topic, archive: Archive::new(), location: String::new() }
    }

    /// A topic of forty records, archived in segments of ten.
    fn archived(label: &str) -> Stage {
        let broker = Broker::get();
        let topic = broker.create_topic(label, 1, &[]);
        broker.produce(&topic, 0, &numbered(0..40), &[]);
        let stage = Stage::of_topic(broker, topic);
        stage.archive();
        stage
    }

    fn archive(&self) {
        let daemon = Daemon::new(&self.broker, &[&self.topic], &self.topic, self.archive.path());
        daemon.args(&["--file-records", "10"]).until_end();
    }

    fn verify(&self, args: &[&str]) -> Verified {
        let location = self.archive.path().join(&self.location);
        Verified::against(&self.broker, &self.topic, &location, args)
    }

    fn deep(&self) -> Verified {
        self.verify(&["--deep"])
    }

    /// Writes a segment again with other records.
    fn rewrite(&self, start: i64, change: impl FnOnce(&mut Vec<OwnedRecord>, &mut SegmentSummary)) {
        let path = self.archive.segment(&self.topic, 0, start);
        let bytes = fs::read(&path).expect("read");
        let mut records = read_back(&bytes, start).expect("whole");
        let header = FileHeader::parse(&bytes, offset(start)).expect("a header");
        let mut summary = header.ours().expect("ours").summary.clone();
        change(&mut records, &mut summary);
        let hash = RecordHash::of(&canonical(records.last().expect("it has records")));
        summary.last_record = summary.last_record.map(|record| LastRecord { hash, ..record });
        fs::remove_file(&path).expect("removed");
        let name = chain(&self.topic, "000000").segment(offset(start));
        write_summarized(self.archive.path(), &name, Codec::default(), &records, &summary);
    }
}

impl Stage {
    /// As if a daemon had found another history where the chain ended, and an operator had said that it is the same.
    fn accept(&self, end: i64) {
        let folder = self.archive.path().join(format!("~kafka-store/histories/{}/000000/{end:020}", self.topic));
        fs::create_dir_all(&folder).expect("room for it");
        let finding =
            format!(r#"{{"format":1,"end":{end},"log":{{"start":0,"end":{end},"evidence":"out-of-range"}}}}"#);
        fs::write(folder.join("1"), finding).expect("written");
        fs::write(folder.join("1.choice"), r#"{"format":1,"choice":"same-history"}"#).expect("written");
    }
}

fn change_values(records: &mut [OwnedRecord], offsets: std::ops::Range<i64>) {
    for record in records.iter_mut().filter(|record| offsets.contains(&record.offset)) {
        record.value = Some(b"another history".to_vec());
    }
}

#[test]
fn what_the_daemon_archived_is_what_kafka_has() {
    let stage = Stage::archived("same");
    stage.broker.produce(&stage.topic, 0, &numbered(40..45), &[]);
    stage.deep().finds(&[]).counts(&[("equal", 40), ("last_equal", 39), ("different", 0), ("not_archived", 0)]);
    // Quickly, the last one.
    let quick = stage.verify(&[]);
    quick.finds(&[]).counts(&[("equal", 1), ("last_equal", 39)]);
    assert_eq!(quick.report["kafka"][0]["lag"], 5);
}

#[test]
fn a_difference_that_was_accepted_is_no_problem() {
    let stage = Stage::archived("accepted");
    stage.rewrite(10, |records, _| change_values(records, 17..30));
    stage.rewrite(20, |records, _| change_values(records, 17..30));
    stage.deep().finds(&["records differ"]).counts(&[("different", 13), ("accepted", 0)]);
    stage.accept(30);
    let deep = stage.deep();
    deep.finds(&[]).counts(&[("equal", 27), ("different", 0), ("accepted", 13)]);
    let notes = deep.report["notes"].to_string();
    assert!(notes.contains("13 records before offset 30") && notes.contains("--same-history"), "{notes}");
    stage.verify(&[]).finds(&[]);
    // What differs behind it was not accepted.
    stage.rewrite(30, |records, _| change_values(records, 33..40));
    let numbers = [("last_equal", 32), ("first_different", 33)];
    stage.deep().finds(&["another history"]).counts(&numbers).counts(&[("different", 7), ("accepted", 13)]);
    stage.verify(&[]).finds(&["another history"]).counts(&numbers);
    // Where the chain ends there, nothing behind it is known.
    fs::remove_file(stage.archive.segment(&stage.topic, 0, 30)).expect("removed");
    stage.verify(&[]).finds(&["commit beyond the archive"]).counts(&[("different", 0), ("accepted", 1)]);
}

/// The cut log of a restored disk, as far as an archive and a broker can show it.
#[test]
fn another_history_is_found_and_where_it_begins() {
    let stage = Stage::archived("history");
    stage.rewrite(10, |records, _| change_values(records, 17..40));
    stage.rewrite(20, |records, _| change_values(records, 17..40));
    stage.rewrite(30, |records, _| change_values(records, 17..40));
    let deep = stage.deep();
    let numbers = [("equal", 17), ("last_equal", 16), ("different", 23), ("first_different", 17)];
    deep.finds(&["another history"]).counts(&numbers);
    deep.says("from offset 17 on (16 is the last that is the same)");
    let quick = stage.verify(&[]);
    quick.finds(&["another history"]).counts(&[("last_equal", 16), ("first_different", 17)]);
    quick.says("from offset 17 on (16 is the last that is the same)");
    stage.verify(&["--sample", "50%"]).finds(&["another history"]);
    // Kafka begins after the first difference: nothing that both have is the same.
    stage.broker.delete_records(&stage.topic, 0, 25);
    for verified in [stage.deep(), stage.verify(&[])] {
        verified.finds(&["another history"]).counts(&[("first_different", 25)]);
        verified.says("of those that Kafka still has none is the same");
    }
}

#[test]
fn a_record_that_differs_alone_is_no_other_history() {
    let stage = Stage::archived("alone");
    stage.rewrite(10, |records, _| change_values(records, 12..14));
    let deep = stage.deep();
    let numbers =
        [("equal", 38), ("different", 2), ("first_different", 12), ("last_different", 13), ("last_equal", 39)];
    deep.finds(&["records differ"]).counts(&numbers);
    stage.verify(&[]).finds(&[]);
}

#[test]
fn every_field_of_a_record_counts() {
    let stage = Stage::archived("fields");
    let changes: [fn(&mut OwnedRecord); 5] = [
        |record| record.timestamp += 0x4000_0000,
        |record| record.timestamp_type = kafka_store_statecharts::record::TimestampType::LogAppendTime,
        |record| record.key = None,
        |record| record.value = Some(Vec::new()),
        |record| record.headers.push((b"name".to_vec(), None)),
    ];
    let path = stage.archive.segment(&stage.topic, 0, 30);
    let whole = fs::read(&path).expect("read");
    for (number, change) in changes.into_iter().enumerate() {
        stage.rewrite(30, |records, summary| {
            change(&mut records[9]);
            summary.timestamps.max = records[9].timestamp;
            summary.boundaries.segment_age_ms = std::num::NonZeroU64::MAX;
        });
        for verified in [stage.deep(), stage.verify(&[])] {
            verified.finds(&["another history"]).says("from offset 39 on (38 is");
            assert_eq!(verified.report["kafka"][0]["records"]["first_different"], 39, "change {number}");
        }
        fs::write(&path, &whole).expect("written");
    }
    stage.deep().finds(&[]);
}

#[test]
fn records_that_kafka_has_and_the_archive_lacks_are_a_problem() {
    let stage = Stage::archived("lacking");
    stage.rewrite(10, |records, _| records.retain(|record| ![12, 15].contains(&record.offset)));
    let deep = stage.deep();
    deep.finds(&["not archived"]).counts(&[("not_archived", 2), ("first_not_archived", 12), ("last_not_archived", 15)]);
    // A hole is one, and what Kafka still has of it is told.
    fs::remove_file(stage.archive.segment(&stage.topic, 0, 20)).expect("removed");
    let hole = stage.deep();
    hole.finds(&["missing", "not archived"]).counts(&[("not_archived", 12), ("last_not_archived", 29), ("equal", 28)]);
    // A pruned front is none.
    fs::remove_file(stage.archive.segment(&stage.topic, 0, 0)).expect("removed");
    fs::remove_file(stage.archive.segment(&stage.topic, 0, 10)).expect("removed");
    stage.deep().finds(&[]).counts(&[("equal", 10), ("not_archived", 0)]);
}

#[test]
fn a_segment_that_cannot_be_read_does_not_hide_the_others() {
    let stage = Stage::archived("damaged");
    let path = stage.archive.segment(&stage.topic, 0, 10);
    let mut bytes = fs::read(&path).expect("read");
    let middle = bytes.len() - 100;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("written");
    stage.rewrite(20, |records, _| change_values(records, 25..26));
    let deep = stage.deep();
    deep.finds(&["damaged", "records differ"]);
    deep.counts(&[("not_compared", 10), ("equal", 29), ("different", 1), ("first_different", 25)]);
}

#[test]
fn what_expired_is_counted_and_is_no_problem() {
    let stage = Stage::archived("expired");
    stage.broker.delete_records(&stage.topic, 0, 24);
    stage.deep().finds(&[]).counts(&[("expired", 24), ("equal", 16), ("compacted", 0)]);
    stage.broker.delete_records(&stage.topic, 0, 40);
    stage.deep().finds(&[]).counts(&[("expired", 40), ("equal", 0)]);
    stage.verify(&[]).finds(&[]).counts(&[("equal", 0)]);
}

#[test]
fn transactions_and_their_markers_are_seen_as_the_archive_saw_them() {
    let broker = Broker::get();
    let topic = broker.create_topic("transactions", 1, &[]);
    for number in 0..4 {
        let records = numbered(number * 10..number * 10 + 5);
        broker.transaction(&topic, 0, &records, number % 2 == 0);
    }
    broker.produce(&topic, 0, &numbered(40..45), &[]);
    let stage = Stage::of_topic(broker, topic);
    stage.archive();
    stage.deep().finds(&[]).counts(&[("equal", 15), ("not_archived", 0)]);
    stage.verify(&[]).finds(&[]).counts(&[("equal", 1)]);
    // Behind an open transaction nothing is visible, and nothing of that is archived.
    let open = stage.broker.open_transaction(&stage.topic, 0, &numbered(50..55));
    stage.deep().finds(&[]).counts(&[("equal", 15)]);
    drop(open);
    // The aborted records are in the log of a reader of uncommitted records, and an archive of one lacks them.
    let start = stage.archive.starts(&stage.topic, 0)[0];
    stage.rewrite(start, |_, summary| summary.isolation = kafka_store::avro::Isolation::ReadUncommitted);
    for other in &stage.archive.starts(&stage.topic, 0)[1..] {
        stage.rewrite(*other, |_, summary| summary.isolation = kafka_store::avro::Isolation::ReadUncommitted);
    }
    stage.deep().finds(&["not archived"]).counts(&[("equal", 15), ("not_archived", 10)]);
}

/// Without the timer, a test would have to wait for the log cleaner's own pace.
const COMPACTS_AT_ONCE: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("min.cleanable.dirty.ratio", "0.001"),
    ("segment.ms", "100"),
    ("segment.bytes", "1048576"),
    ("min.compaction.lag.ms", "0"),
];

#[test]
fn what_was_compacted_is_counted_and_is_no_problem() {
    let broker = Broker::get();
    let topic = broker.create_topic("compacted", 1, &COMPACTS_AT_ONCE);
    let keyed = |numbers: std::ops::Range<i64>| -> Vec<Record> {
        let mut records = numbered(numbers);
        records.iter_mut().for_each(|record| record.key = Some(b"one key".to_vec()));
        records
    };
    broker.produce(&topic, 0, &keyed(0..20), &[]);
    let stage = Stage::of_topic(broker, topic);
    stage.archive();
    stage.deep().finds(&[]).counts(&[("equal", 20)]);
    // What comes rolls the broker's segment and lets the cleaner take the one before it.
    let mut next = 20;
    wait_until("the records are compacted", || {
        stage.broker.produce(&stage.topic, 0, &keyed(next..next + 1), &[]);
        next += 1;
        let left = stage.broker.read_all(&stage.topic, 0).into_iter().filter(|logged| logged.offset < 20);
        left.count() == 0
    });
    stage.deep().finds(&[]).counts(&[("compacted", 20), ("equal", 0), ("expired", 0)]);
    stage.verify(&[]).finds(&[]).counts(&[("equal", 0)]);
}

#[test]
fn a_commit_tells_of_a_partition_whose_files_are_gone() {
    let stage = Stage::archived("vanished");
    fs::remove_dir_all(stage.archive.path().join(&stage.topic)).expect("removed");
    let verified = stage.deep();
    verified.finds(&["commit beyond the archive"]).says("as the end of");
    // Also where nothing else is left of it, not even its origin.
    fs::remove_dir_all(stage.archive.path().join("~kafka-store/origins")).expect("removed");
    stage.deep().finds(&["commit beyond the archive"]).says("the archive holds nothing of this partition");
}

#[test]
fn brokers_of_another_cluster_are_told_apart() {
    let stage = Stage::archived("cluster");
    for start in [0, 10, 20, 30] {
        stage.rewrite(start, |_, summary| summary.cluster_id = Some("another-cluster".to_owned()));
    }
    fs::remove_dir_all(stage.archive.path().join("~kafka-store/origins")).expect("removed");
    stage.deep().finds(&["another log"]).says("it is of the Kafka cluster another-cluster");
    // What one side does not know proves nothing.
    for start in [0, 10, 20, 30] {
        stage.rewrite(start, |_, summary| (summary.cluster_id, summary.topic_id) = (None, None));
    }
    stage.deep().finds(&[]).counts(&[("equal", 40)]);
}

/// Of the other partitions of its topic the archive of one says nothing.
#[test]
fn a_part_of_an_archive_is_compared_alone() {
    let broker = Broker::get();
    let topic = broker.create_topic("parts", 2, &[]);
    for partition in 0..2 {
        broker.produce(&topic, partition, &numbered(0..10), &[]);
    }
    let mut stage = Stage::of_topic(broker, topic);
    stage.archive();
    fs::remove_file(stage.archive.segment(&stage.topic, 1, 0)).expect("removed");
    stage.deep().finds(&["missing", "commit beyond the archive"]);
    stage.location = format!("{}/000000", stage.topic);
    stage.deep().finds(&[]).counts(&[("equal", 10)]);
    stage.location = stage.topic.clone();
    stage.deep().finds(&["missing", "commit beyond the archive"]);
}

/// A daemon may store, commit and see records expire between the listing of the archive and the questions to Kafka.
#[test]
fn a_daemon_may_go_on_while_its_archive_is_verified() {
    let stage = Stage::archived("meanwhile");
    let store = LocalStore::open_read_only(stage.archive.path()).expect("it is there");
    let go_on = AtomicBool::new(false);
    let job = VerifyJob {
        store: &store,
        scope: Scope::Archive,
        chains: store.chains().expect("listed"),
        depth: Depth::Quick,
        threads: 1,
        mirror: None,
        state: None,
        stop: &go_on,
    };
    let mut report = job.run(&Unwatched).expect("verified");
    stage.broker.produce(&stage.topic, 0, &numbered(40..60), &[]);
    stage.archive();
    stage.broker.delete_records(&stage.topic, 0, 50);
    let given = KafkaProperties::parse([]).expect("no properties");
    let properties = asking_properties(&stage.broker.address, &stage.topic, &given);
    let client = Client::new(properties.iter().map(|(name, value)| (&**name, &**value))).expect("a client");
    let against = AgainstKafka {
        client: &client,
        readers: &LogReaders::new(&stage.broker.address, &stage.topic, &given),
        group: &stage.topic,
        store: &store,
        scope: &Scope::Archive,
        is_deep: true,
        threads: 1,
        stop: &go_on,
    };
    let tails = against.compare(&mut report, &Unwatched).expect("compared");
    assert_eq!(report.problems, []);
    assert_eq!(tails[0].committed, Some(offset(60)));
    assert_eq!(tails[0].records.as_ref().map(|records| (records.expired, records.equal)), Some((40, 0)));
}

#[derive(Debug)]
struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _: Work) {}

    fn advance(&self, _: u64) {}
}
