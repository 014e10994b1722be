//! Where partitions begin and go on, and what stops them: the first start, origins, commits, holes, lost records.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, unique};
use crate::support::daemon::{Daemon, Ended};
use crate::support::records::{assert_same, logged_from, numbered};
use crate::support::wait_until;
use kafka_store::avro::SegmentReader;
use kafka_store_statecharts::offset::Offset;
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// A topic of so many partitions with ten records each, and an archive that is still empty.
struct Start {
    broker: Broker,
    topic: String,
    archive: Archive,
}

impl Start {
    fn new(label: &str, partitions: i32) -> Start {
        let broker = Broker::get();
        let topic = broker.create_topic(label, partitions, &[]);
        (0..partitions).for_each(|partition| broker.produce(&topic, partition, &numbered(0..10), &[]));
        Start { broker, topic, archive: Archive::new() }
    }

    /// Archives what there is, with five records in each segment.
    fn archived(label: &str, partitions: i32) -> Start {
        let start = Start::new(label, partitions);
        start.daemon().until_end();
        (0..partitions).for_each(|partition| assert_eq!(start.archive.starts(&start.topic, partition), [0, 5]));
        start
    }

    /// The group is named as the topic is.
    fn daemon(&self) -> Daemon {
        self.daemon_of(&self.topic)
    }

    fn daemon_of(&self, group: &str) -> Daemon {
        Daemon::new(&self.broker, &[&self.topic], group, self.archive.path()).args(&["--file-records", "5"])
    }

    fn produce_more(&self, partition: i32) {
        self.broker.produce(&self.topic, partition, &numbered(10..20), &[]);
    }

    /// One partition is frozen for this reason and was left as it is; the others went on.
    #[track_caller]
    fn freezes(&self, frozen: i32, daemon: Daemon, words: &[&str], others: &[(i32, &[i64])]) {
        let before = self.archive.starts(&self.topic, frozen);
        let ended = daemon.until_end_with_code(3);
        check_words(&ended, words);
        assert_eq!(self.archive.starts(&self.topic, frozen), before, "the frozen partition was written to");
        for (partition, starts) in others {
            assert_eq!(self.archive.starts(&self.topic, *partition), *starts, "partition {partition}");
        }
    }
}

/// The line that tells of a frozen partition, or of a start that is refused, has all of these words.
#[track_caller]
fn check_words(ended: &Ended, words: &[&str]) {
    let mut errors = ended.log.lines().filter(|line| line.contains(" ERRO "));
    assert!(errors.any(|line| words.iter().all(|words| line.contains(words))), "{words:?} in\n{}", ended.log);
}

#[test]
fn without_a_commit_the_first_start_is_refused_and_leaves_nothing() {
    let start = Start::new("refused", 2);
    let ended = start.daemon().offset_reset("error").run();
    assert_eq!(ended.code, Some(1));
    let words = ["has no committed offset", "(and 1 others)", "--offset-reset earliest", "--offset-reset latest"];
    check_words(&ended, &words);
    assert!(start.archive.stamps().is_empty(), "{:?}", start.archive.stamps());
    assert_eq!(start.archive.instance_directories(), Vec::<String>::new());
    // It was no first start: the next one may say otherwise.
    start.daemon().until_end();
    start.daemon().offset_reset("error").until_end();
}

#[test]
fn latest_begins_at_the_end_of_the_log() {
    let start = Start::new("latest", 2);
    start.broker.transaction(&start.topic, 1, &numbered(10..12), true);
    start.daemon().offset_reset("latest").until_end();
    assert_eq!(start.archive.segments(), Vec::<String>::new());
    let origin = |partition: i32| {
        let path = start.archive.path().join(format!("~kafka-store/origins/{}/{partition:06}", start.topic));
        let origin: serde_json::Value = serde_json::from_slice(&fs::read(path).expect("settled")).expect("JSON");
        (origin["offset"].as_i64().expect("a number"), origin["reason"].as_str().expect("a text").to_owned())
    };
    assert_eq!(origin(0), (10, "latest".to_owned()));
    assert_eq!(origin(1), (13, "latest".to_owned()));
    // The origin is settled: what is asked for later does not move it.
    (0..2).for_each(|partition| start.produce_more(partition));
    start.daemon().offset_reset("earliest").until_end();
    assert_eq!(start.archive.starts(&start.topic, 0), [10, 15]);
    assert_eq!(start.archive.starts(&start.topic, 1), [13, 18]);
}

#[test]
fn the_first_segment_is_named_by_the_origin() {
    let start = Start::new("origin", 1);
    start.broker.delete_records(&start.topic, 0, 10);
    // Settled at 10, where only a transaction that was given up follows.
    start.broker.transaction(&start.topic, 0, &numbered(900..905), false);
    start.daemon().until_end();
    start.broker.produce(&start.topic, 0, &numbered(16..20), &[]);
    start.daemon().until_end();
    assert_eq!(start.archive.starts(&start.topic, 0), [10]);
    assert_same("the archive", &start.archive.records(&start.topic, 0), &logged_from(16, &numbered(16..20)));
}

#[test]
fn a_partition_that_is_added_later_is_archived_from_its_beginning() {
    for reset in ["latest", "error"] {
        let start = Start::new("added", 1);
        start.daemon().offset_reset("latest").until_end();
        start.broker.create_partitions(&start.topic, 2);
        start.broker.produce(&start.topic, 1, &numbered(0..10), &[]);
        start.daemon().offset_reset(reset).until_end();
        assert_eq!(start.archive.starts(&start.topic, 0), Vec::<i64>::new());
        assert_same("partition 1", &start.archive.records(&start.topic, 1), &logged_from(0, &numbered(0..10)));
    }
}

#[test]
fn a_commit_beyond_the_archive_freezes() {
    let start = Start::archived("beyond", 2);
    start.produce_more(0);
    start.produce_more(1);
    start.broker.commit(&start.topic, &start.topic, 0, 12);
    let words = ["has committed 12", "the archive ends before 10", "bring back what is missing", "kafka-store resolve"];
    start.freezes(0, start.daemon(), &words, &[(1, &[0, 5, 10, 15])]);
}

#[test]
fn a_commit_behind_the_archive_is_moved_on() {
    let start = Start::archived("behind", 1);
    start.broker.commit(&start.topic, &start.topic, 0, 5);
    let before = start.archive.contents();
    start.daemon().until_end();
    assert_eq!(start.archive.contents(), before);
    let committed = start.broker.committed(&start.topic, &start.topic, 0);
    assert_eq!(committed, Some((10, "kafka-store/1 segment=5".to_owned())));
}

#[test]
fn a_commit_with_an_empty_store_freezes() {
    let start = Start::new("wrong-store", 2);
    start.broker.commit(&start.topic, &start.topic, 0, 7);
    let words = ["has committed 7", "the archive holds nothing of this partition", "is this the right store?"];
    start.freezes(0, start.daemon(), &words, &[(1, &[0, 5])]);
    assert_eq!(start.broker.committed(&start.topic, &start.topic, 0), Some((7, String::new())));
}

#[test]
fn a_missing_last_segment_freezes() {
    let start = Start::archived("missing", 2);
    fs::remove_file(start.archive.segment(&start.topic, 0, 5)).expect("removed");
    start.produce_more(1);
    let words = ["has committed 10 as the end of the segment 5", "has no such segment", "bring back what is missing"];
    start.freezes(0, start.daemon(), &words, &[(1, &[0, 5, 10, 15])]);
}

#[test]
fn a_hole_in_the_chain_freezes() {
    let start = Start::archived("hole", 2);
    (0..2).for_each(|partition| start.produce_more(partition));
    start.daemon().until_end();
    fs::remove_file(start.archive.segment(&start.topic, 0, 5)).expect("removed");
    // A group that has no commit, so that the chain is walked.
    start.produce_more(1);
    let words = ["its chain has a hole", "ends before 5", "is named 10", "bring back what is missing"];
    start.freezes(0, start.daemon_of(&unique("other")), &words, &[(1, &[0, 5, 10, 15, 20, 25])]);
}

#[test]
fn records_that_were_deleted_before_they_were_archived_freeze() {
    let start = Start::archived("deleted", 2);
    (0..2).for_each(|partition| start.produce_more(partition));
    start.broker.delete_records(&start.topic, 0, 15);
    let words = ["the archive ends before 10", "Kafka's log begins at 15", "deleted before they were archived"];
    start.freezes(0, start.daemon(), &words, &[(1, &[0, 5, 10, 15])]);
}

/// The new log is as long as the old one was, so that offsets alone do not tell.
#[test]
fn a_topic_that_was_created_anew_freezes() {
    let start = Start::archived("anew", 1);
    let topic_id = |archive: &Archive| {
        let file = fs::File::open(archive.segment(&start.topic, 0, 0)).expect("a segment");
        let reader = SegmentReader::new(file, Offset::new(0).expect("an offset"));
        let header = reader.expect("a segment").header().ours().expect("ours").summary.topic_id;
        header.expect("this broker has topic ids").to_string()
    };
    let old_id = topic_id(&start.archive);
    start.broker.delete_topic(&start.topic);
    start.broker.create_topic_named(&start.topic, 1, &[]);
    start.broker.produce(&start.topic, 0, &numbered(500..520), &[]);
    // What its id is now.
    let elsewhere = Archive::new();
    Daemon::new(&start.broker, &[&start.topic], &unique("elsewhere"), elsewhere.path()).until_end();
    let new_id = topic_id(&elsewhere);
    assert_ne!(new_id, old_id);
    start.freezes(0, start.daemon(), &[&old_id, &new_id, "re-created"], &[]);
}

/// librdkafka goes on at the same offset of the new log, as if nothing had happened.
#[test]
fn a_topic_that_is_created_anew_under_a_running_daemon_freezes() {
    let start = Start::archived("anew-under", 1);
    let before = start.archive.contents();
    let mut running = start.daemon().never_seals_by_the_clock().spawn();
    running.wait_for("chain located");
    start.broker.delete_topic(&start.topic);
    start.broker.create_topic_named(&start.topic, 1, &[]);
    start.broker.produce(&start.topic, 0, &numbered(500..540), &[]);
    running.wait_for("partition frozen");
    assert_eq!(start.archive.contents(), before, "another topic's records were archived");
    wait_until("its commit is deleted with the topic", || {
        start.broker.committed(&start.topic, &start.topic, 0).is_none()
    });
    assert_eq!(running.terminate(), Some(0));
    let log = running.log();
    assert!(log.contains("re-created"), "{log}");
    start.freezes(0, start.daemon(), &["re-created"], &[]);
}

#[test]
fn an_unknown_topic_is_told_at_the_start() {
    let (broker, archive) = (Broker::get(), Archive::new());
    let ended = Daemon::new(&broker, &["there-is-none"], "g", archive.path()).run();
    assert_eq!(ended.code, Some(1));
    check_words(&ended, &["cannot start", "there is no topic there-is-none", "check --topic"]);
    assert!(archive.stamps().is_empty());
}

#[test]
fn brokers_out_of_reach_are_told_at_the_start() {
    let archive = Archive::new();
    let broker = Broker { address: "127.0.0.1:1".to_owned() };
    let began = Instant::now();
    let ended = Daemon::new(&broker, &["topic"], "g", archive.path()).run();
    assert_eq!(ended.code, Some(1));
    check_words(&ended, &["cannot start", "no broker of 127.0.0.1:1 answered", "check --broker-list"]);
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    assert!(archive.stamps().is_empty());
}

/// What has worked before is waited for: it is no wrong flag, but an outage.
#[test]
fn brokers_that_answered_before_are_waited_for() {
    let (broker, archive) = (Broker::get(), Archive::new());
    let topic = broker.create_topic("answered", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..20), &[]);
    Daemon::new(&broker, &[&topic], &topic, archive.path()).until_end();
    let away = Broker { address: "127.0.0.1:1".to_owned() };
    let mut running = Daemon::new(&away, &[&topic], &topic, archive.path()).spawn();
    running.wait_for("cannot start yet, trying again");
    running.wait_for("attempt: 2");
    running.kill();
    // A scheduled run is not kept: the next one begins again.
    let ended = Daemon::new(&away, &[&topic], &topic, archive.path()).args(&["--until-end"]).run();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
}

/// Two daemons that know nothing of each other write to one store: the first to store a segment decides.
#[test]
fn a_segment_that_another_writer_stored_first_is_adopted() {
    let start = Start::new("adopted", 1);
    let group = unique("slow");
    let slow = Daemon::new(&start.broker, &[&start.topic], &group, start.archive.path());
    let mut slow = slow.never_seals_by_the_clock().args(&["--file-records", "15"]).spawn();
    let directory = start.archive.path().join(format!("~kafka-store/tmp/{}-1", slow.id()));
    wait_until("its first segment is open", || {
        let files = fs::read_dir(&directory).into_iter().flatten().map(|entry| entry.expect("an entry").file_name());
        files.into_iter().any(|name| name != "lock")
    });
    start.daemon_of(&unique("quick")).until_end();
    start.produce_more(0);
    slow.wait_for("the object is there already");
    // It gives up what it holds, and goes on where the other's chain ends: at 10, with 15 records.
    start.broker.produce(&start.topic, 0, &numbered(20..25), &[]);
    wait_until("it has stored its own", || start.archive.starts(&start.topic, 0) == [0, 5, 10]);
    wait_until("it has committed", || {
        start.broker.committed(&group, &start.topic, 0) == Some((25, "kafka-store/1 segment=10".to_owned()))
    });
    assert_eq!(slow.terminate(), Some(0));
    start.archive.check();
    assert_same("the archive", &start.archive.records(&start.topic, 0), &logged_from(0, &numbered(0..25)));
}

/// A file system that lost the end of a file still has its header, which says that all is well.
#[test]
fn a_last_segment_that_was_cut_or_damaged_at_its_end_freezes_its_partition() {
    let start = Start::archived("cut-end", 3);
    let last = |partition| start.archive.segment(&start.topic, partition, 5);
    let file = |partition| fs::OpenOptions::new().write(true).open(last(partition)).expect("it is there");
    let length = fs::metadata(last(0)).expect("it is there").len();
    file(0).set_len(length - 100).expect("cut");
    file(1).write_all_at(&[7], length - 1).expect("written");
    for partition in 0..3 {
        start.produce_more(partition);
    }
    let ended = start.daemon().until_end_with_code(3);
    for words in
        [format!("it has {} bytes, and its header says {length}", length - 100), "does not end with a block".to_owned()]
    {
        assert!(ended.log.contains(&words), "{words}:\n{}", ended.log);
    }
    assert_eq!([0, 1].map(|partition| start.archive.starts(&start.topic, partition)), [[0, 5], [0, 5]]);
    assert_eq!(start.archive.starts(&start.topic, 2), [0, 5, 10, 15]);
}
