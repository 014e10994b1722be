//! What the daemon archives from a real broker is what the log holds, record by record, as fastavro reads it.
//!
//! The log is read by a plain consumer too, and both are compared with what was produced. The large topic that
//! most tests read is produced once; each test archives it in another way, and the files must come out the same.

use rdkafka::producer::Producer;

use crate::support::archive::Archive;
use crate::support::broker::{Broker, unique};
use crate::support::daemon::Daemon;
use crate::support::raw_produce;
use crate::support::records::{Logged, MORNING_MS, Record, assert_same, logged_from, numbered, record};
use crate::support::seed::Chance;
use crate::support::verified::assert_same_as_kafka;
use crate::support::wait_until;
use std::sync::OnceLock;

/// The topic that most tests read.
struct Fixture {
    broker: Broker,
    topic: String,
    /// What must be found in each partition.
    expected: Vec<Vec<Logged>>,
    /// The archive of one run from start to end.
    archive: Archive,
    group: String,
}

/// Small files, so that there are many.
const SIZES: [&str; 2] = ["--file-size", "300k"];

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let broker = Broker::get();
        let topic = broker.create_topic("exact", 4, &[("max.message.bytes", "12000000")]);
        let odd = odd_records();
        broker.produce(&topic, 0, &odd, &[]);
        let expected = vec![
            logged_from(0, &odd),
            logged_from(0, &produce_with_every_codec(&broker, &topic, 1)),
            logged_from(0, &produce_large(&broker, &topic, 2)),
            produce_transactions(&broker, &topic, 3),
        ];
        let (archive, group) = (Archive::new(), unique("first"));
        Daemon::new(&broker, &[&topic], &group, archive.path()).args(&SIZES).until_end();
        Fixture { broker, topic, expected, archive, group }
    })
}

/// Null and empty, every byte, header names twice, times that are none.
fn odd_records() -> Vec<Record> {
    let header = |name: &str, value: Option<&[u8]>| (name.as_bytes().to_vec(), value.map(<[u8]>::to_vec));
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut odd = vec![
        record(None, None, MORNING_MS),
        record(Some(b""), None, MORNING_MS + 1),
        record(None, Some(b""), MORNING_MS + 1),
        record(Some(b""), Some(b""), MORNING_MS),
        record(Some(&every_byte), Some(&every_byte), 1),
        record(Some("ключ".as_bytes()), Some("значение — 値 🎉".as_bytes()), 4_102_444_800_000),
    ];
    let times = [999_999_999_999, 1_000_000_000_000, 9_999_999_999_999, 10_000_000_000_000, i64::MAX / 2, MORNING_MS];
    odd.extend(times.map(|time| record(Some(b"time"), Some(b"odd"), time)));
    odd.extend(
        [
            vec![header("", None), header("", Some(b""))],
            vec![header("twice", Some(b"1")), header("other", Some(b"2")), header("twice", Some(b"1"))],
            vec![header("заголовок 🎉", Some(&every_byte)), header(" ", None)],
            (0..1_000).map(|number| header(&format!("h{}", number % 7), Some(&[0xff; 3][..number % 4]))).collect(),
        ]
        .map(|headers| Record { headers, ..record(None, Some(b"headers"), MORNING_MS) }),
    );
    odd
}

/// Batches of every codec, some of one record, some large.
fn produce_with_every_codec(broker: &Broker, topic: &str, partition: i32) -> Vec<Record> {
    let mut chance = Chance::fixed(1);
    let mut all = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for (batch, count) in [("1", 5), ("10000", 500)] {
            let number = all.len() as i64;
            let records: Vec<Record> = (number..number + count)
                .map(|number| {
                    let noise = chance.below(1_500) as usize;
                    let text = format!("{{\"codec\": \"{codec}\", \"number\": {number}}}").repeat(8);
                    let value = [text.as_bytes(), &chance.bytes(noise)].concat();
                    record(Some(&number.to_le_bytes()), Some(&value), MORNING_MS + number * 1_000)
                })
                .collect();
            let config = [("compression.type", codec), ("batch.num.messages", batch), ("linger.ms", "50")];
            broker.produce(topic, partition, &records, &config);
            all.extend(records);
        }
    }
    all
}

/// 10 MB that no codec makes smaller, 10 MB that every codec does, and small ones between.
fn produce_large(broker: &Broker, topic: &str, partition: i32) -> Vec<Record> {
    let mut records = numbered(0..10);
    records.push(record(None, Some(&Chance::fixed(2).bytes(10_000_000)), MORNING_MS + 2_000));
    records.extend(numbered(10..20));
    records.push(record(Some(&[b'k'; 70_000]), Some(&[b'v'; 10_000_000]), MORNING_MS + 3_000));
    records.extend(numbered(20..30));
    broker.produce(topic, partition, &records, &[("compression.type", "lz4"), ("batch.size", "11000000")]);
    records
}

/// Plain records, committed and aborted transactions; the log ends with an aborted one. Each of them ends with a
/// marker, which takes an offset.
fn produce_transactions(broker: &Broker, topic: &str, partition: i32) -> Vec<Logged> {
    broker.produce(topic, partition, &numbered(0..10), &[]);
    broker.transaction(topic, partition, &numbered(10..20), true);
    broker.transaction(topic, partition, &numbered(900..910), false);
    broker.produce(topic, partition, &numbered(20..25), &[]);
    broker.transaction(topic, partition, &numbered(25..30), true);
    broker.transaction(topic, partition, &numbered(910..911), false);
    let visible = [(0, 0..10), (10, 10..20), (32, 20..25), (37, 25..30)];
    visible.into_iter().flat_map(|(offset, numbers)| logged_from(offset, &numbered(numbers))).collect()
}

#[test]
fn the_archive_is_the_log_record_by_record() {
    let Fixture { broker, topic, expected, archive, group } = fixture();
    println!("{}", archive.check());
    archive.verified();
    let verified = assert_same_as_kafka(broker, group, archive.path());
    for (tail, expected) in verified.report["kafka"].as_array().expect("partitions").iter().zip(expected) {
        assert_eq!(tail["records"]["equal"], expected.len(), "{tail:#}");
    }
    let mut archived = archive.all_records();
    for (partition, expected) in (0..).zip(expected) {
        let archived = archived.remove(&(topic.clone(), partition)).expect("it has records");
        assert_same("the archive and what was produced", &archived, expected);
        assert_same("the archive and the log", &archived, &broker.read_all(topic, partition));
    }
    assert!(archived.is_empty());
}

#[test]
fn the_committed_offset_is_the_end_of_the_last_segment() {
    let Fixture { broker, topic, expected, archive, group } = fixture();
    for (partition, expected) in (0..).zip(expected) {
        let last = expected.last().expect("records").offset;
        let start = archive.starts(topic, partition).pop().expect("segments");
        let mut metadata = format!("kafka-store/1 segment={start}");
        // Markers and an aborted transaction lie behind the last record of one.
        let end = broker.watermarks(topic, partition).1;
        if end > last + 1 {
            metadata += &format!(" seen_to={end}");
        }
        assert_eq!(broker.committed(group, topic, partition), Some((last + 1, metadata)), "partition {partition}");
    }
}

#[test]
fn a_second_run_changes_nothing() {
    let Fixture { broker, topic, .. } = fixture();
    let (archive, group) = (Archive::new(), unique("twice"));
    let run = || {
        let ended = Daemon::new(broker, &[topic], &group, archive.path()).args(&SIZES).until_end();
        assert!(!ended.log.contains("WARN") && !ended.log.contains("ERRO"), "{}", ended.log);
        let committed: Vec<_> = (0..4).map(|partition| broker.committed(&group, topic, partition)).collect();
        (archive.stamps(), committed)
    };
    let first = run();
    assert_eq!(run(), first);
}

#[test]
fn another_group_writes_the_same_bytes_into_an_empty_store() {
    let Fixture { broker, topic, archive: first, .. } = fixture();
    let archive = Archive::new();
    // Smaller and other batches.
    let batching = ["-X", "fetch.wait.max.ms=1", "-X", "fetch.min.bytes=1", "-X", "socket.receive.buffer.bytes=8192"];
    Daemon::new(broker, &[topic], &unique("again"), archive.path()).args(&SIZES).args(&batching).until_end();
    assert_same_files(&archive, first);
}

#[test]
fn runs_that_are_interrupted_write_the_same_bytes() {
    let Fixture { broker, topic, archive: first, .. } = fixture();
    let (archive, group) = (Archive::new(), unique("interrupted"));
    let daemon = || Daemon::new(broker, &[topic], &group, archive.path()).args(&SIZES).never_seals_by_the_clock();
    for _ in 0..4 {
        let files = archive.segments().len();
        let mut running = daemon().spawn();
        // All that end by their records may be there already.
        wait_until("a segment more", || archive.segments().len() > files.min(first.segments().len() - 5));
        assert_eq!(running.terminate(), Some(0));
        assert_eq!(archive.instance_directories(), Vec::<String>::new(), "a process in good order leaves nothing");
    }
    daemon().until_end();
    assert_same_files(&archive, first);
}

#[test]
fn members_that_share_the_partitions_write_the_same_bytes() {
    let Fixture { broker, topic, archive: first, .. } = fixture();
    let (archive, group) = (Archive::new(), unique("shared"));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| Daemon::new(broker, &[topic], &group, archive.path()).args(&SIZES).until_end());
        }
    });
    assert_same_files(&archive, first);
}

#[test]
fn without_compression_the_names_and_the_records_are_the_same() {
    let Fixture { broker, topic, archive: first, .. } = fixture();
    let archive = Archive::new();
    let daemon = Daemon::new(broker, &[topic], &unique("null"), archive.path());
    daemon.args(&SIZES).args(&["--codec", "null"]).until_end();
    archive.check();
    assert_eq!(archive.verified(), first.verified());
    assert_ne!(archive.contents(), first.contents());
}

#[track_caller]
fn assert_same_files(archive: &Archive, expected: &Archive) {
    let (archive, expected) = (archive.contents(), expected.contents());
    assert_eq!(archive.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (path, bytes) in &archive {
        assert!(expected[path] == *bytes, "{path} differs");
    }
}

/// A topic may change whose time its records have.
#[test]
fn the_brokers_time_is_kept_as_the_brokers() {
    let broker = Broker::get();
    let topic = broker.create_topic("append-time", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..100), &[]);
    broker.alter_topic(&topic, &[("message.timestamp.type", "LogAppendTime")]);
    wait_until("the broker gives the time", || {
        broker.produce(&topic, 0, &numbered(0..10), &[("compression.type", "zstd")]);
        broker.read_all(&topic, 0).last().is_some_and(|last| last.timestamp_type == "LOG_APPEND_TIME")
    });
    let archive = Archive::new();
    Daemon::new(&broker, &[&topic], &topic, archive.path()).until_end();
    let archived = archive.records(&topic, 0);
    assert_same("the archive and the log", &archived, &broker.read_all(&topic, 0));
    assert_same("the producer's times", &archived[..100], &logged_from(0, &numbered(0..100)));
    let last = archived.last().expect("records");
    assert_same_as_kafka(&broker, &topic, archive.path());
    assert!(last.timestamp_type == "LOG_APPEND_TIME" && last.record.timestamp > MORNING_MS + 1_000_000, "{last:?}");
}

/// What librdkafka's producer and the plain consumer cannot express, so it is compared with what was produced alone.
#[test]
fn any_bytes_may_be_a_headers_name_and_any_number_a_time() {
    let broker = Broker::get();
    let topic = broker.create_topic("raw", 1, &[]);
    let mut records = numbered(0..3);
    let names: [&[u8]; 4] = [b"\xff\xfe", b"half \xf0\x9f", b"plain", b"\xff\xfe"];
    records[1].headers = names.map(|name| (name.to_vec(), Some(b"\xc3\x28".to_vec()))).into();
    records[2].headers = vec![(b"\xed\xa0\x80".to_vec(), None)];
    let times = [-1, 1, i64::MAX, i64::MIN + 1, i64::MAX - 1, MORNING_MS];
    records.extend(times.map(|time| record(None, Some(b"time"), time)));
    raw_produce::produce(&broker.address, &topic, 0, &records);
    let archive = Archive::new();
    Daemon::new(&broker, &[&topic], &topic, archive.path()).until_end();
    archive.check();
    archive.verified();
    assert_same("the archive and what was produced", &archive.records(&topic, 0), &logged_from(0, &records));
    assert_same_as_kafka(&broker, &topic, archive.path());
}

#[test]
fn what_compaction_has_removed_is_no_hole() {
    let broker = Broker::get();
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("max.compaction.lag.ms", "100"),
    ];
    let topic = broker.create_topic("compacted", 1, &config);
    // Ten keys, over and over, later on five of them; a tombstone now and then.
    let records: Vec<Record> = (0..300_i64)
        .map(|number| {
            let value = (number % 50 != 7).then(|| number.to_string().into_bytes());
            let key = if number < 100 { number % 10 } else { number % 5 };
            record(Some(&[b'k', key as u8]), value.as_deref(), MORNING_MS + number)
        })
        .collect();
    broker.produce(&topic, 0, &records, &[]);
    // The broker compacts what is not in its active segment; a later record's time makes it begin another.
    broker.produce(&topic, 0, &numbered(100..101), &[]);
    wait_until("records are compacted away", || broker.read_all(&topic, 0).len() < 200);
    let archive = Archive::new();
    let log = archive_while_it_stands(&broker, &topic, &archive);
    let archived = archive.records(&topic, 0);
    assert_same("the archive and the log", &archived, &log);
    assert!(archived.windows(2).any(|two| two[1].offset > two[0].offset + 1), "nothing was compacted");
    assert_eq!(archive.starts(&topic, 0)[0], 0, "the first segment is named by the origin");
}

/// Archives a topic that may be compacted meanwhile, until that is not so; gives what the log held.
fn archive_while_it_stands(broker: &Broker, topic: &str, archive: &Archive) -> Vec<Logged> {
    loop {
        let before = broker.read_all(topic, 0);
        let group = unique("compacted");
        let attempt = Archive::new();
        Daemon::new(broker, &[topic], &group, attempt.path()).args(&["--file-records", "20"]).until_end();
        if broker.read_all(topic, 0) == before {
            std::fs::remove_dir(archive.path()).expect("it is empty");
            std::fs::rename(attempt.path(), archive.path()).expect("moved");
            archive.check();
            return before;
        }
    }
}

#[test]
fn an_open_transaction_hides_what_comes_after_it() {
    let broker = Broker::get();
    let topic = broker.create_topic("open-transaction", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..10), &[]);
    let producer = broker.open_transaction(&topic, 0, &numbered(10..20));
    broker.produce(&topic, 0, &numbered(20..30), &[]);
    let archive = Archive::new();
    let daemon = || Daemon::new(&broker, &[&topic], &topic, archive.path());
    let ended = daemon().until_end();
    assert!(ended.log.contains("WARN a transaction is open"), "{}", ended.log);
    assert_same("below the transaction", &archive.records(&topic, 0), &logged_from(0, &numbered(0..10)));

    producer.commit_transaction(std::time::Duration::from_secs(30)).expect("committed");
    wait_until("the transaction has ended", || broker.last_stable_offset(&topic, 0) == 31);
    daemon().until_end();
    assert_eq!(archive.starts(&topic, 0), [0, 10]);
    assert_same("all of it", &archive.records(&topic, 0), &logged_from(0, &numbered(0..30)));
}
