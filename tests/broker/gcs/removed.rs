//! Objects that were removed from a bucket, or that cannot be: lifecycle rules, soft delete and versions, retention
//! policies and holds. Each says what to do, and that is done.

use crate::support::broker::Broker;
use crate::support::bucket::{BUCKET, Bucket};
use crate::support::fake_gcs::{Fault, Kind, Permissions, Protection};
use crate::support::records::{assert_same, logged_from, numbered};
use std::process::Command;

impl Bucket {
    fn names(&self) -> Vec<String> {
        self.fake.objects(BUCKET).into_keys().collect()
    }

    /// What a lifecycle rule does.
    fn delete(&self, which: impl Fn(&str) -> bool) -> Vec<String> {
        let names: Vec<String> = self.names().into_iter().filter(|name| which(name)).collect();
        names.iter().for_each(|name| self.fake.delete_object(BUCKET, name));
        assert!(!names.is_empty(), "there is nothing of this kind in {:?}", self.names());
        names
    }

    fn resolve(&self, broker: &Broker, topic: &str, choice: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_kafka-store"))
            .args(["resolve", "--broker-list", &broker.address, "--topic", topic, "--group", topic])
            .args(["--gcloud-store-url", "gs://archive/prefix", "--gcs-endpoint", self.fake.base_url()])
            .args(["--spool-dir", self.spool.path().to_str().expect("UTF-8"), "--offset-reset", "earliest"])
            .args(["--partition", &format!("{topic}-0"), "--yes"])
            .args(choice)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    }
}

/// 1,000 records in five segments, of which the last two are gone.
fn without_its_end(label: &str) -> (Broker, String, Bucket, Vec<String>) {
    let broker = Broker::get();
    let topic = broker.create_topic(label, 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_000), &[]);
    let bucket = Bucket::new();
    bucket.daemon(&broker, &topic, &topic).args(&["--file-records", "200"]).until_end();
    let removed = bucket.delete(|name| name.ends_with("00600") || name.ends_with("00800"));
    assert_eq!(removed.len(), 2);
    let log = bucket.daemon(&broker, &topic, &topic).until_end_with_code(3).log;
    for words in ["as the end of the segment 800", "has no such segment", "lifecycle rule", "gcloud storage restore"] {
        assert!(log.contains(words), "{words:?} is not in:\n{log}");
    }
    (broker, topic, bucket, removed)
}

#[test]
fn segments_that_a_lifecycle_rule_removed_are_restored() {
    let (broker, topic, bucket, removed) = without_its_end("gcs-restored");
    removed.iter().for_each(|name| bucket.fake.restore_object(BUCKET, name));
    broker.produce(&topic, 0, &numbered(1_000..1_200), &[]);
    bucket.daemon(&broker, &topic, &topic).args(&["--file-records", "200"]).until_end();
    let archive = bucket.download();
    println!("{}", archive.check());
    assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..1_200)));
    assert_eq!(bucket.fake.violations(), Vec::<String>::new());
}

#[test]
fn segments_that_a_lifecycle_rule_removed_are_archived_again() {
    let (broker, topic, bucket, _) = without_its_end("gcs-again");
    bucket.resolve(&broker, &topic, &["--reset-commit"]);
    bucket.daemon(&broker, &topic, &topic).args(&["--file-records", "200"]).until_end();
    let archive = bucket.download();
    assert_eq!(archive.starts(&topic, 0), [0, 200, 400, 600, 800]);
    assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..1_000)));
    assert_eq!(bucket.fake.violations(), Vec::<String>::new());
}

/// Fails if a partition that appeared after the group's first start is taken for one that existed then, and begins at
/// its end.
#[test]
fn a_first_start_that_was_removed_is_not_made_up() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-reserved", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..500), &[]);
    let bucket = Bucket::new();
    bucket.daemon(&broker, &topic, &topic).until_end();
    bucket.delete(|name| name.contains("/~kafka-store/"));
    broker.create_partitions(&topic, 2);
    broker.produce(&topic, 1, &numbered(0..500), &[]);
    broker.produce(&topic, 0, &numbered(500..700), &[]);
    let log = bucket.daemon(&broker, &topic, &topic).offset_reset("latest").until_end().log;
    for words in ["~kafka-store/ was removed, or this is another store", "lifecycle rule"] {
        assert!(log.contains(words), "{words:?} is not in:\n{log}");
    }
    let archive = bucket.download();
    println!("{}", archive.check());
    for (partition, count) in [(0, 700), (1, 500)] {
        assert_same("the archive", &archive.records(&topic, partition), &logged_from(0, &numbered(0..count)));
    }
    let log = bucket.daemon(&broker, &topic, &topic).until_end().log;
    assert!(!log.contains("was removed"), "it is known again: {log}");
}

/// Nothing is left of a partition, and nothing can be restored: what Kafka still has goes to a new chain.
#[test]
fn a_partition_of_which_everything_was_removed_begins_a_new_chain() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-everything", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..500), &[]);
    let bucket = Bucket::new();
    bucket.daemon(&broker, &topic, &topic).until_end();
    bucket.delete(|name| name.contains(&topic));
    let log = bucket.daemon(&broker, &topic, &topic).until_end_with_code(3).log;
    for words in ["has committed 500", "has no such segment", "gcloud storage restore"] {
        assert!(log.contains(words), "{words:?} is not in:\n{log}");
    }
    let said = bucket.resolve(&broker, &topic, &["--begin-anew"]);
    println!("{said}");
    bucket.daemon(&broker, &topic, &topic).until_end();
    let archive = bucket.download();
    assert_same("the archive", &archive.records(&format!("{topic}~2"), 0), &logged_from(0, &numbered(0..500)));
}

/// What can be neither replaced nor deleted is no obstacle to a daemon that does neither: also not where it is killed, or
/// finds a name taken. What is in the way stays there, and the partition continues in a new chain.
#[test]
fn retention_policies_and_holds_are_no_obstacle() {
    for protection in [Protection::Retention, Protection::Hold] {
        let broker = Broker::get();
        let topic = broker.create_topic("gcs-protected", 1, &[]);
        broker.produce(&topic, 0, &numbered(0..1_000), &[]);
        let bucket = Bucket::new();
        bucket.fake.set(|settings| {
            settings.protection = Some(protection);
            settings.versioning = true;
            settings.forbidden_before_precondition = true;
            settings.permissions = Permissions::creator_and_viewer();
        });
        let daemon = || bucket.daemon(&broker, &topic, &topic).args(&["--file-records", "500"]);
        // An answer is lost, and another session meets the object.
        bucket.fake.arm_sequence(Kind::SESSION, &[Fault::DropFinalAnswer, Fault::Answer(410)]);
        daemon().until_end();
        assert_eq!(bucket.segments().len(), 2);

        let in_the_way = format!("prefix/{topic}/000000/{:020}", 1_000);
        bucket.fake.put_object(BUCKET, &in_the_way, b"something else", &[]);
        broker.produce(&topic, 0, &numbered(1_000..1_500), &[]);
        let log = daemon().until_end_with_code(3).log;
        assert!(log.contains("is not a whole segment"), "{log}");
        bucket.resolve(&broker, &topic, &["--begin-anew", "--at", "1000"]);
        daemon().until_end();
        let archive = bucket.download();
        std::fs::remove_file(archive.segment(&topic, 0, 1_000)).expect("what is in the way is no Avro file");
        assert_same(
            "the new chain",
            &archive.records(&format!("{topic}~2"), 0),
            &logged_from(1_000, &numbered(1_000..1_500)),
        );
        bucket.check();
    }
}
