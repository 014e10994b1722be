//! Goal: a chain holds one history, whatever happens to Kafka's log; an operator decides where it became another. Method: real
//! brokers whose disks are set back, unclean elections, topics that are re-created; daemons stopped and running meanwhile.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, Ended};
use crate::support::metrics::Shown;
use crate::support::records::{Logged, assert_same, logged_from, numbered};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// A second look comes a minute after the first.
const TWO_LOOKS: Duration = Duration::from_secs(60);

/// An archive of one topic of one partition, by a group of the topic's name.
struct Stage {
    broker: Broker,
    topic: String,
    archive: Archive,
}

impl Stage {
    fn new(broker: Broker, topic: &str) -> Stage {
        Stage { broker, topic: topic.to_owned(), archive: Archive::new() }
    }

    /// In files of 250 records, none of which ends by the clock.
    fn daemon(&self) -> Daemon {
        self.daemon_of(&self.topic)
    }

    fn daemon_of(&self, group: &str) -> Daemon {
        let daemon = Daemon::new(&self.broker, &[&self.topic], group, self.archive.path());
        daemon.args(&["--file-records", "250"]).never_seals_by_the_clock()
    }

    fn produce(&self, numbers: std::ops::Range<i64>) {
        self.broker.produce(&self.topic, 0, &numbered(numbers), &[]);
    }

    fn archived(&self) -> Vec<Logged> {
        self.archive.records(&self.topic, 0)
    }

    /// The finding at a chain's end, and the objects beside it.
    fn finding(&self, end: i64) -> (Value, usize) {
        let folder = self.archive.path().join(format!("~kafka-store/histories/{}/000000/{end:020}", self.topic));
        let finding = fs::read(folder.join("1")).expect("a finding");
        (serde_json::from_slice(&finding).expect("JSON"), fs::read_dir(folder).expect("a folder").count())
    }

    fn has_findings(&self) -> bool {
        self.archive.path().join("~kafka-store/histories").exists()
    }

    /// Freezes after two looks, and then at once; archives nothing.
    #[track_caller]
    fn freezes(&self, words: &[&str]) {
        let before = self.archive.contents();
        self.freezes_once(words);
        let start = Instant::now();
        self.freezes_once(words);
        assert!(start.elapsed() < TWO_LOOKS, "it was known: {:?}", start.elapsed());
        let mut after = self.archive.contents();
        after.retain(|path, _| !path.starts_with("~kafka-store/histories/"));
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "something was archived");
    }

    #[track_caller]
    fn freezes_once(&self, words: &[&str]) {
        let Ended { log, .. } = self.daemon().until_end_with_code(3);
        let mut errors = log.lines().filter(|line| line.contains(" ERRO "));
        assert!(errors.any(|line| words.iter().all(|words| line.contains(words))), "{words:?} in\n{log}");
    }

    /// `kafka-store resolve`: its exit code and all that it says.
    fn resolve(&self, more: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
        command.args(["resolve", "--broker-list", &self.broker.address, "--topic", &self.topic]);
        command.args(["--group", &self.topic, "--local-store"]).arg(self.archive.path()).args(more);
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8"))
    }

    /// Explains the partition's history; nothing is changed.
    #[track_caller]
    fn explains(&self, words: &[&str]) {
        let (code, said) = self.resolve(&["--partition", &format!("{}-0", self.topic)]);
        assert_eq!(code, Some(3), "{said}");
        words.iter().for_each(|words| assert!(said.contains(words), "{words:?} in\n{said}"));
    }

    #[track_caller]
    fn takes(&self, way: &[&str]) {
        let partition = format!("{}-0", self.topic);
        let (code, said) = self.resolve(&[&["--partition", &partition, "--yes"], way].concat());
        assert_eq!(code, Some(0), "{said}");
    }

    /// `kafka-store verify`: its exit code and all that it says.
    fn verify(&self, more: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
        let output = command.arg("verify").arg(self.archive.path()).args(more).output().expect("it runs");
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8"))
    }

    fn verify_against_kafka(&self) -> (Option<i32>, String) {
        self.verify(&["--against-kafka", "--broker-list", &self.broker.address, "--group", &self.topic])
    }

    /// A copy of the archive, for another decision.
    fn copied(&self) -> Stage {
        let copy = Stage::new(Broker { address: self.broker.address.clone() }, &self.topic);
        let status = Command::new("cp").arg("-aT").arg(self.archive.path()).arg(copy.archive.path()).status();
        assert!(status.expect("cp runs").success());
        copy
    }
}

/// Archives 1,000 records of each topic, cuts their logs to 500, and produces so many others to each.
fn cut_and_rewritten(others: &[i64]) -> (Cluster, Vec<Stage>) {
    let mut cluster = Cluster::start(1);
    let stages: Vec<Stage> =
        others.iter().map(|_| Stage::new(cluster.broker(), &cluster.create_topic("cut", 1, 1, &[]))).collect();
    stages.iter().for_each(|stage| stage.produce(0..500));
    let halves: Vec<_> =
        cluster.node(1).stopped(|node| stages.iter().map(|stage| node.save_partition(&stage.topic, 0)).collect());
    stages.iter().for_each(|stage| stage.produce(500..1_000));
    for stage in &stages {
        stage.daemon().until_end();
        assert_eq!(stage.archive.starts(&stage.topic, 0), [0, 250, 500, 750]);
    }
    cluster.node(1).stopped(|node| halves.iter().for_each(|half| node.restore(half)));
    for (stage, others) in stages.iter().zip(others) {
        stage.produce(2_000..2_000 + others);
    }
    (cluster, stages)
}

/// Whether the new log is shorter than the archive, as long, or longer when it is looked at.
#[test]
fn a_log_that_was_cut_below_the_archives_end_is_another_history() {
    let lengths = [0, 300, 500, 1_500];
    let (_cluster, stages) = cut_and_rewritten(&lengths);
    std::thread::scope(|scope| {
        for (stage, others) in stages.iter().zip(lengths) {
            scope.spawn(move || {
                stage.freezes(&["the archive", "cut", "kafka-store resolve --partition", "histories"]);
                let (finding, count) = stage.finding(1_000);
                assert_eq!(count, 1, "{finding}");
                assert_eq!(finding["last_record"]["offset"], 999, "{finding}");
                assert_eq!(finding["log"]["end"], 500 + others, "{finding}");
            });
        }
    });
}

#[test]
fn an_operator_decides_about_another_history() {
    let (_cluster, stages) = cut_and_rewritten(&[1_500]);
    let stage = &stages[0];
    stage.freezes(&["has another record at offset 999"]);
    let (code, said) = stage.verify_against_kafka();
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("resolve"), "{said}");
    stage.explains(&[
        "the same up to 499",
        "from 500 on Kafka has other records than the archive",
        "--begin-anew: begin",
        "with --at 500, where the histories part, only what differs",
        "--same-history: continue",
        "between the offsets 500 and 999 is never archived",
        "Nothing was changed",
    ]);
    let (code, said) = stage.resolve(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("1 of 1 partitions cannot go on") && said.contains("finding"), "{said}");

    // The histories count as one: the archive goes on at its end.
    let joined = stage.copied();
    joined.takes(&["--same-history"]);
    joined.daemon().until_end();
    let expected = [logged_from(0, &numbered(0..1_000)), logged_from(1_000, &numbered(2_500..3_500))].concat();
    assert_same("what was joined", &joined.archived(), &expected);
    joined.produce(4_000..4_100);
    joined.daemon().until_end();
    assert_eq!(joined.archived().len(), 2_100, "the next start needs no decision");

    // A chain of its own, for a group that has committed nothing: the store alone says what was found.
    let before = stage.archived();
    stage.takes(&["--begin-anew", "--at", "500"]);
    stage.daemon_of("another").until_end();
    let expected = [numbered(2_000..3_500), numbered(4_000..4_100)].concat();
    let anew = stage.archive.records(&format!("{}~2", stage.topic), 0);
    assert_same("the chain that was begun anew", &anew, &logged_from(500, &expected));
    assert_same("the one before", &stage.archived(), &before);
}

/// The brokers were set back as a whole: topic ids, leader epochs and offsets repeat, and the commits are gone. Only the records
/// tell.
#[test]
fn a_cluster_restored_from_snapshots_is_another_history() {
    let mut cluster = Cluster::start(1);
    let stage = Stage::new(cluster.broker(), &cluster.create_topic("restored", 1, 1, &[]));
    stage.produce(0..500);
    let early = cluster.stopped(|cluster| cluster.save());
    stage.produce(500..1_000);
    stage.daemon().until_end();
    cluster.stopped(|cluster| cluster.restore(&early));
    stage.produce(2_000..2_700);
    stage.freezes(&["Kafka's log", "resolve"]);
    stage.explains(&["the same up to 499", "from 500 on Kafka has other records"]);
}

#[test]
fn an_unclean_election_while_stopped_is_another_history() {
    let mut cluster = Cluster::start(3);
    let topic = cluster.create_topic("unclean", 1, 2, &[("unclean.leader.election.enable", "true")]);
    let stage = Stage::new(cluster.broker(), &topic);
    stage.produce(0..500);
    let lone = cluster.isolate_leader(&topic, 0);
    stage.produce(500..1_000);
    stage.daemon().until_end();
    cluster.elect_unclean(&lone);
    stage.produce(2_000..2_700);
    cluster.node(lone.leader).start();
    cluster.wait_until_in_sync(&topic, 0);
    stage.freezes(&["resolve"]);
    stage.explains(&["the same up to 499", "from 500 on Kafka has other records"]);
}

#[test]
fn an_unclean_election_under_a_running_daemon_is_another_history() {
    let mut cluster = Cluster::start(3);
    let topic = cluster.create_topic("unclean-under", 1, 2, &[("unclean.leader.election.enable", "true")]);
    let stage = Stage::new(cluster.broker(), &topic);
    stage.produce(0..500);
    let lone = cluster.isolate_leader(&topic, 0);
    stage.produce(500..1_000);
    let mut running = Shown::start(stage.daemon());
    running.wait_for("kafka_store_partition_archived_offset", "0", 1_000.0);
    cluster.elect_unclean(&lone);
    stage.produce(2_000..2_700);
    running.running.wait_for("partition frozen");
    assert_eq!(running.running.terminate(), Some(0));
    assert_eq!(stage.archive.starts(&topic, 0), [0, 250, 500, 750]);
    let (finding, _) = stage.finding(1_000);
    assert_eq!(finding["last_record"]["offset"], 999, "{finding}");
}

/// Only what was not archived yet is lost: nobody needs to decide.
#[test]
fn a_log_that_was_cut_beyond_the_archives_end_is_read_again() {
    let mut cluster = Cluster::start(1);
    let topic = cluster.create_topic("beyond", 1, 1, &[]);
    let stage = Stage::new(cluster.broker(), &topic);
    stage.produce(0..500);
    let mut running = Shown::start(stage.daemon());
    running.wait_for("kafka_store_partition_archived_offset", "0", 500.0);
    stage.produce(500..600);
    let cut = cluster.node(1).stopped(|node| node.save_partition(&topic, 0));
    stage.produce(600..700);
    running.wait_for("kafka_store_partition_taken_offset", "0", 700.0);
    cluster.node(1).stopped(|node| node.restore(&cut));
    stage.produce(2_000..2_080);
    running.wait_for("kafka_store_partition_taken_offset", "0", 680.0);
    assert!(!running.running.log().contains("partition frozen"), "{}", running.running.log());
    // Beyond what was read before, too.
    stage.produce(2_080..2_300);
    running.wait_for("kafka_store_partition_archived_offset", "0", 750.0);
    assert_eq!(running.running.terminate(), Some(0));
    stage.daemon().until_end();
    let expected = [numbered(0..600), numbered(2_000..2_300)].concat();
    assert_same("the archive", &stage.archived(), &logged_from(0, &expected));
    assert!(!stage.has_findings());
}

#[test]
fn a_topic_that_was_re_created_while_stopped_is_another_history() {
    let lengths = [5, 20, 40];
    let cluster = Cluster::start(1);
    let stages: Vec<Stage> =
        lengths.iter().map(|_| Stage::new(cluster.broker(), &cluster.create_topic("again", 1, 1, &[]))).collect();
    std::thread::scope(|scope| {
        for (stage, length) in stages.iter().zip(lengths) {
            scope.spawn(move || {
                stage.produce(0..20);
                stage.daemon().until_end();
                stage.broker.delete_topic(&stage.topic);
                stage.broker.create_topic_named(&stage.topic, 1, &[]);
                stage.produce(100..100 + length);
                stage.freezes(&["the topic has the id", "deleted and re-created", "resolve"]);
                let (finding, _) = stage.finding(20);
                assert_eq!(finding["log"]["evidence"], "other-topic", "{finding}");
                assert_ne!(finding["topic_id"], finding["log"]["topic_id"]);
                stage.explains(&["deleted and re-created", "--begin-anew: begin"]);
                stage.takes(&["--begin-anew"]);
                stage.daemon().until_end();
                let anew = stage.archive.records(&format!("{}~2", stage.topic), 0);
                assert_same("the new topic", &anew, &logged_from(0, &numbered(100..100 + length)));
            });
        }
    });
}

/// A topic that was restored by hand, with the same records: an operator may say that it is the same.
#[test]
fn a_topic_that_was_restored_by_hand_may_be_continued() {
    let cluster = Cluster::start(1);
    let stage = Stage::new(cluster.broker(), &cluster.create_topic("by-hand", 1, 1, &[]));
    stage.produce(0..20);
    stage.daemon().until_end();
    stage.broker.delete_topic(&stage.topic);
    stage.broker.create_topic_named(&stage.topic, 1, &[]);
    stage.produce(0..30);
    stage.freezes(&["deleted and re-created"]);
    stage.explains(&["may have been restored with the same records", "loses nothing that Kafka has"]);
    let (code, said) = stage.verify_against_kafka();
    assert_eq!(code, Some(65), "{said}");
    stage.takes(&["--same-history"]);
    // Before anything more is archived, and after.
    let (code, said) = stage.verify_against_kafka();
    assert_eq!(code, Some(0), "{said}");
    stage.daemon().until_end();
    assert_same("the archive", &stage.archived(), &logged_from(0, &numbered(0..30)));
    let (code, said) = stage.verify_against_kafka();
    assert_eq!(code, Some(0), "{said}");
    // Its files are of two topics, and that is known.
    let (code, said) = stage.verify(&["--deep"]);
    assert_eq!(code, Some(0), "{said}");
    stage.produce(30..40);
    stage.daemon_of("another").until_end();
    assert_same("the archive", &stage.archived(), &logged_from(0, &numbered(0..40)));
}

/// Kafka deletes what comes next while the daemon does not run on: that is lost, and no other history.
#[test]
fn retention_that_passes_a_running_daemon_is_no_other_history() {
    let cluster = Cluster::start(1);
    let stage = Stage::new(cluster.broker(), &cluster.create_topic("retention", 1, 1, &[]));
    stage.produce(0..300);
    let mut running = Shown::start(stage.daemon());
    running.wait_for("kafka_store_partition_taken_offset", "0", 300.0);
    running.running.stop();
    // The fetch that is under way gets the first one, and nobody asks for more.
    stage.produce(300..301);
    stage.produce(301..600);
    stage.broker.delete_records(&stage.topic, 0, 500);
    running.running.go_on();
    running.running.wait_for("deleted before they were archived");
    assert_eq!(running.running.terminate(), Some(0));
    assert_eq!(stage.archive.starts(&stage.topic, 0), [0, 250], "what was held is sealed");
    assert!(!stage.has_findings());
    stage.daemon().args(&["--on-data-loss", "record"]).until_end();
    let expected = [logged_from(0, &numbered(0..301)), logged_from(500, &numbered(500..600))].concat();
    assert_same("the archive", &stage.archived(), &expected);
}

/// The address now belongs to another cluster, which has a topic of the same name.
#[test]
fn brokers_of_another_cluster_freeze_the_process_and_write_nothing() {
    let (mut cluster, mut other) = (Cluster::start(1), Cluster::start(1));
    let topic = cluster.create_topic("moved", 1, 1, &[]);
    other.broker().create_topic_named(&topic, 1, &[]);
    other.broker().produce(&topic, 0, &numbered(100..400), &[]);
    let theirs = other.node(1).stopped(|node| node.save());
    let stage = Stage::new(cluster.broker(), &topic);
    stage.produce(0..300);
    let mut running = Shown::start(stage.daemon());
    running.wait_for("kafka_store_partition_taken_offset", "0", 300.0);
    let before = stage.archive.stamps();

    cluster.node(1).stopped(|node| node.restore(&theirs));
    running.running.wait_for("partition frozen");
    assert!(running.running.log().contains(other.id()), "{}", running.running.log());
    assert_eq!(running.running.terminate(), Some(0));
    let words = [cluster.id().to_owned(), other.id().to_owned()];
    stage.freezes_once(&[&words[0], &words[1]]);
    assert!(stage.archive.stamps().keys().eq(before.keys()), "something was written");
}
