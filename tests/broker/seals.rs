//! When segments end, and when `--until-end` does.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, flush, send, unique};
use crate::support::daemon::Daemon;
use crate::support::records::{MORNING_MS, Record, assert_same, logged_from, numbered, numbered_from, record};
use crate::support::seed::Chance;
use crate::support::wait_until;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::record::{RecordFields, TimestampType, encode_record};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::Producer;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}

/// As the original did: a segment may span 19,999 ms and not 20,000.
#[test]
fn a_record_as_old_as_the_age_begins_the_next_segment() {
    let broker = Broker::get();
    let topic = broker.create_topic("age", 1, &[]);
    let times = [0, 19_999, 20_000, 5_000, 39_999, 40_000, 60_000];
    let records: Vec<Record> = times.map(|time| record(None, Some(b"v"), MORNING_MS + time)).into();
    broker.produce(&topic, 0, &records, &[]);
    let archive = Archive::new();
    let ended = Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-age-seconds", "20"]).until_end();
    assert_eq!(archive.starts(&topic, 0), [0, 2, 5, 6]);
    assert_eq!(ended.log.matches("reason: age").count(), 3, "{}", ended.log);
    assert_eq!(ended.log.matches("reason: until-end").count(), 1, "{}", ended.log);
}

#[test]
fn the_record_that_brings_the_size_is_a_segments_last() {
    const LIMIT: usize = 5_000;
    let broker = Broker::get();
    let topic = broker.create_topic("size", 1, &[]);
    let mut chance = Chance::fixed(3);
    let records: Vec<Record> = (0..200)
        .map(|number| {
            let length = chance.below(900) as usize;
            record(Some(b"key"), Some(&chance.bytes(length)), MORNING_MS + number)
        })
        .collect();
    broker.produce(&topic, 0, &records, &[]);
    let archive = Archive::new();
    let size = LIMIT.to_string();
    Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-size", &size]).until_end();
    assert_eq!(archive.starts(&topic, 0), expected_starts(&records, LIMIT));
    assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &records));
}

/// By the records' bytes as `docs/format.md` has them.
fn expected_starts(records: &[Record], limit: usize) -> Vec<i64> {
    let mut starts = vec![0];
    let mut bytes = Vec::new();
    for (record, offset) in records.iter().zip(0..) {
        let fields = RecordFields {
            timestamp: record.timestamp,
            timestamp_type: TimestampType::CreateTime,
            offset: Offset::new(offset).expect("an offset"),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        };
        encode_record(&fields, [].into_iter(), &mut bytes);
        if bytes.len() >= limit && offset + 1 < records.len() as i64 {
            starts.push(offset + 1);
            bytes.clear();
        }
    }
    starts
}

#[test]
fn a_segment_holds_as_many_records_as_it_may() {
    let broker = Broker::get();
    let topic = broker.create_topic("records", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..25), &[]);
    let archive = Archive::new();
    let daemon = || Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-records", "10"]);
    let mut running = daemon().never_seals_by_the_clock().spawn();
    wait_until("what is full is stored", || archive.starts(&topic, 0) == [0, 10]);
    wait_until("and committed", || broker.committed(&topic, &topic, 0).is_some_and(|(offset, _)| offset == 20));
    assert_eq!(running.terminate(), Some(0));
    daemon().until_end();
    assert_eq!(archive.starts(&topic, 0), [0, 10, 20]);
}

#[test]
fn when_nothing_comes_any_more_a_segment_ends() {
    let broker = Broker::get();
    let topic = broker.create_topic("idle", 1, &[]);
    let archive = Archive::new();
    let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path());
    let mut running = daemon.args(&["--idle-seal-seconds", "1"]).spawn();
    running.wait_for("chain located");
    let first = numbered_from(now_ms(), 0..3);
    broker.produce(&topic, 0, &first, &[]);
    wait_until("the first is stored", || archive.starts(&topic, 0) == [0]);
    let second = numbered_from(now_ms(), 3..5);
    broker.produce(&topic, 0, &second, &[]);
    wait_until("the second is stored", || archive.starts(&topic, 0) == [0, 3]);
    wait_until("and committed", || broker.committed(&topic, &topic, 0).is_some_and(|(offset, _)| offset == 5));
    wait_until("both are told", || running.log().matches("reason: idle").count() == 2);
    assert_eq!(running.terminate(), Some(0));
    assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &[first, second].concat()));
}

/// The silence is as old as the last record: who starts again does not wait for it once more.
#[test]
fn an_old_backlog_ends_in_a_segment_at_once() {
    let broker = Broker::get();
    let topic = broker.create_topic("backlog", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..10), &[]);
    let archive = Archive::new();
    let mut running = Daemon::new(&broker, &[&topic], &topic, archive.path()).spawn();
    running.wait_for("reason: idle");
    assert_eq!(archive.starts(&topic, 0), [0]);
    assert_eq!(running.terminate(), Some(0));
}

/// What a transaction hides may still come: that is no silence.
#[test]
fn an_open_transaction_is_no_silence() {
    let broker = Broker::get();
    let topic = broker.create_topic("no-silence", 2, &[]);
    broker.produce(&topic, 0, &numbered_from(now_ms(), 0..5), &[]);
    let producer = broker.open_transaction(&topic, 0, &numbered_from(now_ms(), 5..10));
    let archive = Archive::new();
    let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path());
    let mut running = daemon.args(&["--idle-seal-seconds", "1"]).spawn();
    running.wait_for("chain located");
    // The other partition shows that time passes.
    for number in 0..2 {
        broker.produce(&topic, 1, &numbered_from(now_ms(), number..number + 1), &[]);
        wait_until("silence in the other partition", || archive.starts(&topic, 1).len() as i64 == number + 1);
    }
    assert_eq!(archive.starts(&topic, 0), Vec::<i64>::new());
    producer.commit_transaction(Duration::from_secs(30)).expect("committed");
    wait_until("silence", || archive.starts(&topic, 0) == [0]);
    assert_eq!(archive.records(&topic, 0).len(), 10);
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn a_segment_that_stays_open_too_long_ends() {
    let broker = Broker::get();
    let topic = broker.create_topic("overdue", 1, &[]);
    let archive = Archive::new();
    let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path());
    let daemon = daemon.args(&["--seal-after-seconds", "2", "--idle-seal-seconds", "4000000000"]);
    let mut running = daemon.spawn();
    running.wait_for("chain located");
    let mut count = 0;
    // The log tells of a segment after the archive has it.
    wait_until("two segments are overdue", || {
        broker.produce(&topic, 0, &numbered_from(now_ms(), count..count + 1), &[]);
        count += 1;
        running.log().matches("reason: overdue").count() >= 2
    });
    assert!(archive.starts(&topic, 0).len() >= 2);
    assert_eq!(running.terminate(), Some(0));
    archive.check();
}

#[test]
fn what_comes_after_the_start_is_not_waited_for() {
    let broker = Broker::get();
    let topic = broker.create_topic("target", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_000), &[]);
    let archive = Archive::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let producer = broker.producer(&[]);
            let mut number = 1_000;
            while !stop.load(Ordering::Relaxed) {
                let records = numbered(number..number + 10);
                records.iter().for_each(|record| send(&producer, &topic, 0, record));
                flush(&producer);
                number += 10;
            }
        });
        let _stop = StopAtTheEnd(&stop);
        wait_until("records are coming", || broker.watermarks(&topic, 0).1 > 1_000);
        let before = broker.watermarks(&topic, 0).1;
        Daemon::new(&broker, &[&topic], &topic, archive.path()).until_end();
        let end = archive.records(&topic, 0).last().expect("records").offset + 1;
        assert!(end >= before, "it ended at {end}, and {before} were there when it started");
        wait_until("records still come", || broker.watermarks(&topic, 0).1 > end);
    });
    archive.check();
}

/// Ends the traffic also when the test fails.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_end_of_an_empty_topic_is_reached_at_once() {
    let broker = Broker::get();
    let topic = broker.create_topic("empty", 3, &[]);
    let archive = Archive::new();
    for _ in 0..2 {
        Daemon::new(&broker, &[&topic], &topic, archive.path()).until_end();
        assert_eq!(archive.segments(), Vec::<String>::new());
    }
}

/// Another member of the group holds the partition and archives nothing.
#[test]
fn the_time_is_up_before_the_target() {
    ends_beside_a_holder("time-is-up", &["--timeout", "3"], 4, "targets not reached");
}

/// The same, and nobody has to say for how long the whole run may last.
#[test]
fn a_target_that_another_member_does_not_bring_forward_ends_the_run() {
    ends_beside_a_holder("stalled", &["--stall-timeout", "3"], 6, "target stands still");
}

fn ends_beside_a_holder(label: &str, args: &[&str], code: i32, words: &str) {
    let broker = Broker::get();
    let topic = broker.create_topic(label, 1, &[]);
    broker.produce(&topic, 0, &numbered(0..10), &[]);
    let archive = Archive::new();
    let holder: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("group.id", &topic)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    holder.subscribe(&[&topic]).expect("subscribed");
    let holds = || {
        drop(holder.poll(Duration::from_millis(10)));
        holder.assignment().expect("known").count() == 1
    };
    wait_until("it holds the partition", holds);
    let daemon = || Daemon::new(&broker, &[&topic], &topic, archive.path());
    let mut running = daemon().args(&["--until-end"]).args(args).spawn();
    while running.is_running() {
        assert!(holds(), "it gave the partition away");
    }
    assert_eq!(running.wait().code(), Some(code), "{}", running.log());
    assert!(running.log().contains(words), "{}", running.log());
    assert_eq!(archive.segments(), Vec::<String>::new());
    drop(holder);
    daemon().until_end();
    assert_eq!(archive.starts(&topic, 0), [0]);
}

/// Whoever wrote it: this process gets no partition, and ends when the archive has everything.
#[test]
fn what_another_member_archives_counts() {
    let broker = Broker::get();
    let topic = broker.create_topic("another-member", 1, &[]);
    let archive = Archive::new();
    let group = unique("members");
    let daemon = || Daemon::new(&broker, &[&topic], &group, archive.path());
    let mut owner = daemon().args(&["--idle-seal-seconds", "1"]).spawn();
    owner.wait_for("chain located");
    broker.produce(&topic, 0, &numbered_from(now_ms(), 0..10), &[]);
    let ended = daemon().until_end();
    assert!(!ended.log.contains("chain located"), "it had the partition itself:\n{}", ended.log);
    assert!(owner.is_running());
    assert_eq!(archive.starts(&topic, 0), [0]);
}
