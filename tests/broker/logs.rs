//! Logs as they are: transactions, and what Kafka removes before and after it is archived.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, flush, send, unique};
use crate::support::daemon::{Daemon, Ended, Running};
use crate::support::raw_produce;
use crate::support::records::{Logged, MORNING_MS, Record, assert_same, logged_from, numbered, record};
use crate::support::seed::Chance;
use crate::support::wait_until;
use kafka_store::avro::{FileKind, SegmentReader};
use kafka_store_statecharts::offset::Offset;
use rdkafka::producer::Producer;
use std::fs;
use std::time::Duration;

/// A topic and its archive; the group is named as the topic is.
struct Log {
    broker: Broker,
    topic: String,
    archive: Archive,
}

impl Log {
    fn new(label: &str, partitions: i32) -> Log {
        let broker = Broker::get();
        let topic = broker.create_topic(label, partitions, &[]);
        Log { broker, topic, archive: Archive::new() }
    }

    /// Ten records in partition 0, archived.
    fn archived(label: &str) -> Log {
        let log = Log::new(label, 1);
        log.produce(0..10);
        log.daemon().until_end();
        log
    }

    fn daemon(&self) -> Daemon {
        Daemon::new(&self.broker, &[&self.topic], &self.topic, self.archive.path()).never_seals_by_the_clock()
    }

    fn records_loss(&self) -> Daemon {
        self.daemon().args(&["--on-data-loss", "record"])
    }

    fn produce(&self, numbers: std::ops::Range<i64>) {
        self.broker.produce(&self.topic, 0, &numbered(numbers), &[]);
    }

    fn delete_before(&self, offset: i64) {
        self.broker.delete_records(&self.topic, 0, offset);
    }

    fn committed(&self) -> (i64, String) {
        self.broker.committed(&self.topic, &self.topic, 0).expect("a commit")
    }

    /// What the header of a segment says is missing: first and last offset, and why.
    fn gaps(&self, start: i64) -> Vec<(i64, i64, &'static str)> {
        let file = fs::File::open(self.archive.segment(&self.topic, 0, start)).expect("a segment");
        let reader = SegmentReader::new(file, Offset::new(start).expect("an offset")).expect("a segment");
        let FileKind::Ours(header) = &reader.header().kind else { panic!("not ours") };
        let gaps = header.summary.gaps.iter();
        gaps.map(|gap| (gap.offsets.start().get(), gap.offsets.final_offset().get(), gap.reason.as_str())).collect()
    }

    /// The archive is whole, and holds these records.
    #[track_caller]
    fn check(&self, expected: &[Logged]) {
        self.archive.check();
        self.archive.verified();
        assert_same("the archive", &self.archive.records(&self.topic, 0), expected);
    }
}

#[track_caller]
fn check_words(ended: &Ended, words: &[&str]) {
    let mut errors = ended.log.lines().filter(|line| line.contains(" ERRO "));
    assert!(errors.any(|line| words.iter().all(|words| line.contains(words))), "{words:?} in\n{}", ended.log);
}

#[track_caller]
fn check_quiet(ended: &Ended) {
    assert!(!ended.log.contains(" WARN ") && !ended.log.contains(" ERRO "), "{}", ended.log);
}

/// Nobody writes to it for so long that retention passes its last markers, which no record follows.
#[test]
fn an_idle_transactional_topic_survives_retention() {
    let log = Log::new("idle", 1);
    log.broker.transaction(&log.topic, 0, &numbered(0..10), true);
    log.broker.transaction(&log.topic, 0, &numbered(900..902), false);
    log.daemon().until_end();
    assert_eq!(log.committed(), (10, "kafka-store/1 segment=0 seen_to=14".to_owned()));
    let before = log.archive.stamps();
    log.delete_before(14);
    for _ in 0..2 {
        check_quiet(&log.daemon().until_end());
        assert_eq!(log.archive.stamps(), before);
    }
    log.broker.transaction(&log.topic, 0, &numbered(14..20), true);
    check_quiet(&log.daemon().until_end());
    assert_eq!(log.archive.starts(&log.topic, 0), [0, 10]);
    assert_eq!(log.gaps(10), []);
    log.check(&[logged_from(0, &numbered(0..10)), logged_from(14, &numbered(14..20))].concat());
}

/// The same while the daemon runs all the time, and again from a partition that never had a record.
#[test]
fn a_daemon_that_waits_says_how_far_it_has_seen() {
    let log = Log::new("waits", 1);
    let mut running = log.daemon().args(&["--file-records", "5"]).spawn();
    log.broker.transaction(&log.topic, 0, &numbered(900..905), false);
    wait_until("it is told that nothing was there", || {
        log.broker.committed(&log.topic, &log.topic, 0) == Some((0, "kafka-store/1 seen_to=6".to_owned()))
    });
    log.delete_before(6);
    assert_eq!(running.terminate(), Some(0));
    let mut running = log.daemon().args(&["--file-records", "5"]).spawn();
    log.broker.transaction(&log.topic, 0, &numbered(0..5), true);
    wait_until("the marker was seen", || log.committed() == (11, "kafka-store/1 segment=0 seen_to=12".to_owned()));
    log.delete_before(12);
    log.broker.transaction(&log.topic, 0, &numbered(5..10), true);
    wait_until("it has gone on", || log.committed().0 == 17);
    assert_eq!(running.terminate(), Some(0));
    assert!(!running.log().contains(" ERRO "), "{}", running.log());
    check_quiet(&log.daemon().until_end());
    assert_eq!(log.archive.starts(&log.topic, 0), [0, 11]);
    assert_eq!(log.gaps(0), []);
    log.check(&[logged_from(6, &numbered(0..5)), logged_from(12, &numbered(5..10))].concat());
}

/// Only what came after the markers was lost.
#[test]
fn what_came_after_the_last_look_is_lost() {
    let log = Log::new("after", 1);
    log.broker.transaction(&log.topic, 0, &numbered(0..10), true);
    log.daemon().until_end();
    log.produce(11..20);
    log.delete_before(15);
    let ended = log.daemon().until_end_with_code(3);
    check_words(&ended, &["Kafka's log begins at 15", "(4 offsets)", "--on-data-loss=record"]);
    log.records_loss().until_end();
    assert_eq!(log.gaps(10), [(11, 14, "deleted")]);
    log.check(&[logged_from(0, &numbered(0..10)), logged_from(15, &numbered(15..20))].concat());
}

#[test]
fn lost_records_freeze_or_are_written_down() {
    let log = Log::archived("lost");
    log.produce(10..20);
    log.delete_before(15);
    let before = log.archive.stamps();
    for _ in 0..2 {
        let ended = log.daemon().until_end_with_code(3);
        let words =
            ["frozen", "the archive ends before 10", "log begins at 15", "(5 offsets)", "--on-data-loss=record"];
        check_words(&ended, &words);
        assert_eq!(log.archive.stamps(), before);
    }
    let ended = log.records_loss().until_end();
    check_words(&ended, &["records were deleted before they were archived", "10", "14"]);
    assert_eq!(log.archive.starts(&log.topic, 0), [0, 10]);
    assert_eq!(log.gaps(10), [(10, 14, "deleted")]);
    // It is over: what follows needs no flag, and says nothing of it.
    log.produce(20..30);
    check_quiet(&log.daemon().until_end());
    assert_eq!(log.archive.starts(&log.topic, 0), [0, 10, 20]);
    assert_eq!(log.gaps(20), []);
    log.check(&[logged_from(0, &numbered(0..10)), logged_from(15, &numbered(15..30))].concat());
}

/// A loss is written down with the next record. Until there is one, every start finds it anew.
#[test]
fn a_loss_is_not_forgotten_while_nothing_comes() {
    let log = Log::archived("forgotten");
    log.produce(10..20);
    log.delete_before(20);
    let before = log.archive.stamps();
    for _ in 0..2 {
        log.records_loss().until_end();
        assert_eq!(log.archive.stamps(), before);
        assert_eq!(log.committed(), (10, "kafka-store/1 segment=0".to_owned()));
    }
    // An aborted transaction takes it to the end of the log, and still no record.
    log.broker.transaction(&log.topic, 0, &numbered(900..905), false);
    log.records_loss().until_end();
    check_words(&log.daemon().until_end_with_code(3), &["the archive ends before 10", "log begins at 20"]);
    log.produce(26..30);
    log.records_loss().until_end();
    assert_eq!(log.gaps(10), [(10, 19, "deleted")]);
    log.check(&[logged_from(0, &numbered(0..10)), logged_from(26, &numbered(26..30))].concat());
}

/// Kafka deletes records while the daemon, which holds earlier ones, cannot look.
fn deleted_while_it_is_stopped(log: &Log, daemon: Daemon) -> Running {
    log.produce(0..5_000);
    let mut running = daemon.session_timeout_ms(30_000).spawn();
    wait_until("it holds records", || log.archive.has_first_segment_open(running.id()));
    running.stop();
    // More than one answer to a fetch that is under way can bring.
    let mut chance = Chance::fixed(4);
    let large: Vec<Record> =
        (0..40).map(|number| record(None, Some(&chance.bytes(200_000)), MORNING_MS + 500_000 + number)).collect();
    log.broker.produce(&log.topic, 0, &large, &[]);
    log.produce(5_040..5_050);
    log.delete_before(5_045);
    running.go_on();
    running
}

#[test]
fn what_is_held_when_the_rest_is_deleted_is_kept_and_then_it_freezes() {
    let log = Log::new("held", 1);
    let mut running = deleted_while_it_is_stopped(&log, log.daemon());
    running.wait_for("partition frozen");
    let ends_before = 1 + log.archive.records(&log.topic, 0).last().expect("what was held is there").offset;
    let words = format!("the archive ends before {ends_before}, and Kafka's log begins at 5045");
    assert!(running.log().contains(&words), "{words} in\n{}", running.log());
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(log.archive.starts(&log.topic, 0), [0]);
    println!("{ends_before} records were held");
    assert_eq!(log.committed(), (ends_before, "kafka-store/1 segment=0".to_owned()));
    log.records_loss().until_end();
    assert_eq!(log.gaps(ends_before), [(ends_before, 5_044, "deleted")]);
    log.archive.check();
}

#[test]
fn what_is_held_when_the_rest_is_deleted_is_kept_and_then_it_goes_on() {
    goes_on_after_a_loss(&[]);
}

/// There a partition cannot be stopped and started by itself.
#[test]
fn what_is_held_when_the_rest_is_deleted_is_kept_in_an_eager_group() {
    goes_on_after_a_loss(&["-X", "partition.assignment.strategy=range"]);
}

fn goes_on_after_a_loss(group: &[&str]) {
    let log = Log::new("held", 1);
    // More than there are at first, so that these stay in an open segment; as many as there are from 5,045 on.
    let daemon = log.records_loss().args(&["--file-records", "5005"]).args(group);
    let mut running = deleted_while_it_is_stopped(&log, daemon);
    running.wait_for("records were deleted before they were archived");
    log.produce(5_050..10_050);
    wait_until("it has gone on to the end", || {
        log.broker.committed(&log.topic, &log.topic, 0).is_some_and(|(offset, _)| offset == 10_050)
    });
    assert_eq!(running.terminate(), Some(0));
    let archived = log.archive.records(&log.topic, 0);
    let held = archived.iter().position(|record| record.offset == 5_045).expect("it is there");
    println!("{held} records were held");
    assert_same("what follows", &archived[held..], &logged_from(5_045, &numbered(5_045..10_050)));
    let start = archived[held - 1].offset + 1;
    assert_eq!(log.archive.starts(&log.topic, 0).last(), Some(&start));
    assert_eq!(log.gaps(start), [(start, 5_044, "deleted")]);
    log.archive.check();
    check_quiet(&log.daemon().until_end());
}

/// It is over at the last stable offset of the start, and what a transaction hid comes with the next run.
#[test]
fn a_transaction_that_hangs_ends_the_run_where_it_begins() {
    let log = Log::new("hung", 2);
    log.produce(0..5);
    let hung = log.broker.open_transaction(&log.topic, 0, &numbered(5..10));
    log.produce(10..15);
    log.broker.produce(&log.topic, 1, &numbered(0..3), &[]);
    let ended = log.daemon().until_end();
    let warning = ended.log.lines().find(|line| line.contains(" WARN a transaction is open")).expect("a warning");
    assert!(warning.contains("high_watermark: 15") && warning.contains("last_stable_offset: 5"), "{warning}");
    log.check(&logged_from(0, &numbered(0..5)));
    assert_eq!(log.archive.starts(&log.topic, 1), [0]);
    assert_eq!(log.committed(), (5, "kafka-store/1 segment=0".to_owned()));

    // A daemon that runs waits for it.
    let mut running = log.daemon().args(&["--file-records", "10"]).spawn();
    running.wait_for("chain located");
    hung.commit_transaction(Duration::from_secs(30)).expect("committed");
    wait_until("it has gone on", || log.committed().0 == 15);
    assert_eq!(running.terminate(), Some(0));
    log.check(&logged_from(0, &numbered(0..15)));
}

/// Many producers at once; one transaction in three is aborted.
#[test]
fn transactions_that_mingle_are_what_a_consumer_sees() {
    const PARTITIONS: i32 = 2;
    let mut chance = Chance::from_seed();
    let log = Log::new("mingle", PARTITIONS);
    let daemon = || log.daemon().session_timeout_ms(1_000).args(&["--file-records", "20"]);
    let mut running = daemon().spawn();
    let producers: Vec<_> = (0..4).map(|_| log.broker.open_transaction(&log.topic, 0, &[])).collect();
    for round in 0..12_i64 {
        for (number, producer) in (0..).zip(&producers) {
            for partition in 0..PARTITIONS {
                let records = numbered(round * 100 + number * 10..round * 100 + number * 10 + chance.below(9) as i64);
                records.iter().for_each(|record| send(producer, &log.topic, partition, record));
            }
            flush(producer);
        }
        for producer in &producers {
            let time = Duration::from_secs(30);
            let aborts = chance.below(3) == 0;
            let ended = if aborts { producer.abort_transaction(time) } else { producer.commit_transaction(time) };
            ended.expect("the transaction ends");
            producer.begin_transaction().expect("another");
        }
        if round == 6 {
            running.kill();
            running = daemon().spawn();
        }
    }
    producers.iter().for_each(|producer| producer.abort_transaction(Duration::from_secs(30)).expect("aborted"));
    assert_eq!(running.terminate(), Some(0));
    check_quiet(&daemon().until_end());
    println!("{}", log.archive.check());
    for partition in 0..PARTITIONS {
        let archived = log.archive.records(&log.topic, partition);
        assert_same("the archive and the log", &archived, &log.broker.read_all(&log.topic, partition));
    }
}

#[test]
fn the_leaders_epoch_is_committed() {
    let log = Log::archived("epoch");
    assert_eq!(raw_produce::committed_leader_epoch(&log.broker.address, &log.topic, &log.topic, 0), 0);
    let other = unique("none");
    assert_eq!(raw_produce::committed_leader_epoch(&log.broker.address, &other, &log.topic, 0), -1);
}
