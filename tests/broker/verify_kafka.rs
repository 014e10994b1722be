//! `kafka-store verify --against-kafka`: an archive's ends against a real broker's log and the group's commits.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::daemon::Daemon;
use crate::support::records::numbered;
use crate::support::verified::Verified;
use serde_json::Value;
use std::process::Command;

struct Stage {
    broker: Broker,
    topic: String,
    archive: Archive,
}

impl Stage {
    /// A topic of 30 records, archived in segments of ten.
    fn new(label: &str) -> Stage {
        let broker = Broker::get();
        let topic = broker.create_topic(label, 1, &[]);
        broker.produce(&topic, 0, &numbered(0..30), &[]);
        let archive = Archive::new();
        Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-records", "10"]).until_end();
        assert_eq!(archive.starts(&topic, 0), [0, 10, 20]);
        Stage { broker, topic, archive }
    }

    fn verify(&self) -> Verified {
        Verified::against(&self.broker, &self.topic, self.archive.path(), &["--deep"])
    }

    #[track_caller]
    fn finds(&self, kinds: &[&str]) -> Value {
        self.verify().finds(kinds).report["kafka"][0].clone()
    }
}

#[test]
fn what_the_daemon_archived_is_whole_and_its_lag_is_known() {
    let stage = Stage::new("verified");
    let tail = stage.finds(&[]);
    assert_eq!([&tail["next_offset"], &tail["committed"], &tail["lag"]], [30, 30, 0]);
    stage.broker.produce(&stage.topic, 0, &numbered(30..35), &[]);
    assert_eq!(stage.finds(&[])["lag"], 5);
}

#[test]
fn a_commit_beyond_the_archive_is_found() {
    let stage = Stage::new("beyond");
    std::fs::remove_file(stage.archive.path().join(&stage.topic).join("000000/00000000000000000020")).expect("removed");
    let tail = stage.finds(&["commit beyond the archive"]);
    assert_eq!([&tail["next_offset"], &tail["committed"]], [20, 30]);
}

#[test]
fn records_that_kafka_deleted_before_they_were_archived_are_lost() {
    let stage = Stage::new("lost");
    stage.broker.produce(&stage.topic, 0, &numbered(30..40), &[]);
    // What is archived may be deleted.
    stage.broker.delete_records(&stage.topic, 0, 30);
    stage.finds(&[]);
    stage.broker.delete_records(&stage.topic, 0, 34);
    assert_eq!(stage.finds(&["lost"])["log_start"], 34);
}

#[test]
fn another_topic_of_the_name_is_found() {
    let stage = Stage::new("recreated");
    stage.broker.delete_topic(&stage.topic);
    let verified = stage.verify();
    let report = &verified.finds(&[]).report;
    assert!(report["notes"].to_string().contains("Kafka has no topic"), "{report:#}");
    stage.broker.create_topic_named(&stage.topic, 1, &[]);
    stage.finds(&["another log"]);
}

#[test]
fn brokers_that_do_not_answer_are_one_line() {
    let stage = Stage::new("unreachable");
    let output = Command::new(env!("CARGO_BIN_EXE_kafka-store"))
        .args(["verify", "--against-kafka", "--broker-list", "127.0.0.1:1", "--group", "g"])
        .arg(stage.archive.path())
        .output()
        .expect("it runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("127.0.0.1:1") && stderr.contains("--broker-list"), "{stderr}");
}
