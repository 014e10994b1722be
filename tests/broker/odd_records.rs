//! Records at the limits of what Kafka takes, and those that must stop a partition: never lost silently.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, unique};
use crate::support::daemon::{Daemon, Ended};
use crate::support::raw_produce;
use crate::support::records::{MORNING_MS, Record, assert_same, logged_from, numbered, record};
use crate::support::seed::Chance;
use crate::support::verified::assert_same_as_kafka;
use kafka_store::avro::SegmentReader;
use kafka_store::kafka::ffi::MockBrokers;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicName;
use std::fs::File;

#[track_caller]
fn check_words(ended: &Ended, words: &[&str]) {
    let mut errors = ended.log.lines().filter(|line| line.contains(" ERRO "));
    assert!(errors.any(|line| words.iter().all(|words| line.contains(words))), "{words:?} in\n{}", ended.log);
}

/// As large as the broker takes them, between small ones, with the settings that everybody has.
#[test]
fn records_of_100_megabytes() {
    const LARGE: usize = 100_000_000;
    let broker = Broker::get();
    let topic = broker.create_topic("large", 1, &[("max.message.bytes", "110000000")]);
    let mut records = numbered(0..10);
    records.push(record(Some(b"large"), Some(&Chance::fixed(5).bytes(LARGE)), MORNING_MS + 2_000));
    records.extend(numbered(10..20));
    records.push(record(Some(b"large"), Some(&Chance::fixed(6).bytes(LARGE)), MORNING_MS + 3_000));
    records.extend(numbered(20..30));
    broker.produce(&topic, 0, &records, &[]);
    let archive = Archive::new();
    let ended = Daemon::new(&broker, &[&topic], &topic, archive.path()).until_end();
    assert!(!ended.log.contains(" ERRO "), "{}", ended.log);
    println!("{}", archive.check());
    assert_eq!(archive.starts(&topic, 0), [0]);
    // The oracle's text form of such records would take a gigabyte.
    let file = File::open(archive.segment(&topic, 0, 0)).expect("a segment");
    let mut reader = SegmentReader::new(file, Offset::new(0).expect("an offset")).expect("a segment");
    let mut found = Vec::new();
    while let Some(block) = reader.next_block().expect("a whole segment") {
        let mut records = block.records();
        while let Some(record) = records.next_record().expect("a record") {
            assert_eq!(record.fields.offset.get(), found.len() as i64);
            found.push(Record {
                key: record.fields.key.map(<[u8]>::to_vec),
                value: record.fields.value.map(<[u8]>::to_vec),
                timestamp: record.fields.timestamp,
                headers: Vec::new(),
            });
        }
    }
    assert_same("the archive and what was produced", &found, &records);
    assert_same_as_kafka(&broker, &topic, archive.path());
}

fn with_headers(count: usize) -> Record {
    let headers = (0..count).map(|number| (format!("h{}", number % 1_000).into_bytes(), Some(vec![number as u8])));
    Record { headers: headers.collect(), ..record(Some(b"headers"), Some(b"many"), MORNING_MS + 1_000) }
}

#[test]
fn a_record_may_have_100_000_headers() {
    let broker = Broker::get();
    let topic = broker.create_topic("headers", 1, &[("max.message.bytes", "12000000")]);
    let records = [numbered(0..3), vec![with_headers(100_000)], numbered(11..14)].concat();
    broker.produce(&topic, 0, &records, &[]);
    let archive = Archive::new();
    Daemon::new(&broker, &[&topic], &topic, archive.path()).until_end();
    archive.check();
    archive.verified();
    assert_same("the archive and what was produced", &archive.records(&topic, 0), &logged_from(0, &records));
    assert_same_as_kafka(&broker, &topic, archive.path());
}

/// librdkafka hands such a record over as if it had no headers at all.
#[test]
fn a_record_with_more_headers_than_librdkafka_reads_freezes() {
    let broker = Broker::get();
    let topic = broker.create_topic("headers", 2, &[("max.message.bytes", "12000000")]);
    broker.produce(&topic, 0, &numbered(0..3), &[]);
    raw_produce::produce(&broker.address, &topic, 0, &[with_headers(100_001)]);
    broker.produce(&topic, 0, &numbered(4..8), &[]);
    broker.produce(&topic, 1, &numbered(0..5), &[]);
    let archive = Archive::new();
    let daemon = || Daemon::new(&broker, &[&topic], &topic, archive.path());
    for _ in 0..2 {
        let ended = daemon().until_end_with_code(3);
        let unreadable = format!("the record at offset 3 of {topic}-0 cannot be read");
        check_words(&ended, &["partition frozen", &unreadable, "look at it with another consumer"]);
        check_words(&ended, &["partitions are frozen", &format!("{topic}-0")]);
        assert_same("what lies before it", &archive.records(&topic, 0), &logged_from(0, &numbered(0..3)));
        assert_same("the other partition", &archive.records(&topic, 1), &logged_from(0, &numbered(0..5)));
    }
    // Once nothing is left but to go on without it, nothing else is lost.
    broker.delete_records(&topic, 0, 4);
    daemon().args(&["--on-data-loss", "record"]).until_end();
    let expected = [logged_from(0, &numbered(0..3)), logged_from(4, &numbered(4..8))].concat();
    assert_same("all but that record", &archive.records(&topic, 0), &expected);
    archive.check();
}

#[test]
fn every_number_may_be_a_time() {
    let broker = Broker::get();
    let topic = broker.create_topic("times", 1, &[]);
    let times = [i64::MIN, -1, 0, i64::MAX, i64::MIN, 1, i64::MAX, -2, MORNING_MS];
    let records = times.map(|time| record(Some(b"time"), Some(&time.to_le_bytes()), time));
    raw_produce::produce(&broker.address, &topic, 0, &records);
    let archive = Archive::new();
    Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-age-seconds", "1"]).until_end();
    archive.check();
    archive.verified();
    assert_same("the archive and what was produced", &archive.records(&topic, 0), &logged_from(0, &records));
    assert_same_as_kafka(&broker, &topic, archive.path());
    let files = archive.starts(&topic, 0).len();
    assert!(files <= 3, "wrong times made {files} files");
}

/// A real broker takes no batch whose checksum is wrong, and one in memory does not look.
#[test]
fn a_damaged_batch_freezes() {
    let mock = MockBrokers::start(1).expect("brokers in memory");
    let broker = Broker { address: mock.bootstrap_servers() };
    let topic = unique("damaged");
    mock.create_topic(&TopicName::new(&topic).expect("legal"), 2).expect("a topic");
    let produce = |partition, numbers| raw_produce::produce(&broker.address, &topic, partition, &numbered(numbers));
    produce(0, 0..5);
    raw_produce::produce_damaged(&broker.address, &topic, 0, &numbered(5..6)[0]);
    produce(0, 6..10);
    produce(1, 0..5);
    let archive = Archive::new();
    for _ in 0..2 {
        let ended = Daemon::new(&broker, &[&topic], &topic, archive.path()).until_end_with_code(3);
        let damaged = format!("the log of {topic}-0 is damaged near offset 5");
        check_words(&ended, &["partition frozen", &damaged, "check the broker's disks"]);
        assert_same("what lies before it", &archive.records(&topic, 0), &logged_from(0, &numbered(0..5)));
        assert_same("the other partition", &archive.records(&topic, 1), &logged_from(0, &numbered(0..5)));
        // What lies before it can be compared.
        assert_same_as_kafka(&broker, &topic, archive.path());
    }
}
