//! A bucket and a directory beside it: the bucket decides, and the directory holds the same bytes.

use super::fake_gcs::{Fault, Kind};
use super::support::archive::Archive;
use super::support::broker::Broker;
use super::support::daemon::Daemon;
use super::support::records::{assert_same, logged_from, numbered};
use super::{BUCKET, Bucket};
use std::collections::BTreeMap;

impl Bucket {
    fn mirrored_daemon(&self, broker: &Broker, topic: &str, mirror: &Archive) -> Daemon {
        let mirror = mirror.path().to_str().expect("UTF-8");
        self.daemon(broker, topic, topic).args(&["--local-store", mirror, "--file-records", "500"])
    }

    /// Fails if the directory lacks a file, has one more, or has other bytes.
    #[track_caller]
    fn is_mirrored_in(&self, mirror: &Archive) {
        let bytes = |object: &std::sync::Arc<super::StoredObject>| object.bytes();
        let stored: BTreeMap<String, Vec<u8>> =
            self.segments().iter().map(|(name, object)| (name.clone(), bytes(object))).collect();
        assert!(mirror.contents() == stored, "{:?} and {:?}", mirror.segments(), stored.keys());
        for (name, object) in self.fake.objects(BUCKET) {
            let name = name.strip_prefix("prefix/").expect("all are below it");
            if name.starts_with("~kafka-store/origins/") {
                assert_eq!(std::fs::read(mirror.path().join(name)).expect(name), object.bytes());
            }
        }
    }
}

/// The bucket has an archive; a directory that is empty is filled, also where nothing new comes.
#[test]
fn an_empty_mirror_is_filled() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-mirror", 2, &[]);
    (0..2).for_each(|partition| broker.produce(&topic, partition, &numbered(0..2_200), &[]));
    let bucket = Bucket::new();
    bucket.daemon(&broker, &topic, &topic).args(&["--file-records", "500"]).until_end();
    assert_eq!(bucket.segments().len(), 10);
    let mirror = Archive::new();
    bucket.mirrored_daemon(&broker, &topic, &mirror).until_end();
    bucket.is_mirrored_in(&mirror);

    // What comes goes to both; the bucket fails now and then, and reading from it breaks off.
    (0..2).for_each(|partition| broker.produce(&topic, partition, &numbered(2_200..4_000), &[]));
    bucket.fake.arm_sequence(&[Kind::DataPut], &[Fault::DropFinalAnswer, Fault::Reset]);
    let log = bucket.mirrored_daemon(&broker, &topic, &mirror).until_end().log;
    assert!(!log.contains("filling the mirror"), "nothing was missing: {log}");
    bucket.is_mirrored_in(&mirror);
    let another = Archive::new();
    bucket.fake.arm_sequence(&[Kind::MediaGet], &[Fault::BreakMedia(2_000), Fault::BreakMedia(3_000)]);
    bucket.mirrored_daemon(&broker, &topic, &another).until_end();
    bucket.is_mirrored_in(&another);
    bucket.check();
    println!("{}", mirror.check());
    for partition in 0..2 {
        assert_same("the mirror", &mirror.records(&topic, partition), &logged_from(0, &numbered(0..4_000)));
    }
}

/// Fails if a commit does not wait for the mirror: killed between the two, it has both in the end.
#[test]
fn a_mirror_that_lags_is_caught_up_with() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-lag", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_500), &[]);
    let bucket = Bucket::new();
    let mirror = Archive::new();
    // A directory stands where a file is to be: the mirror cannot take it, and nobody may take it away.
    let in_the_way = mirror.segment(&topic, 0, 500);
    std::fs::create_dir_all(&in_the_way).expect("a directory");
    let mut running = bucket.mirrored_daemon(&broker, &topic, &mirror).spawn();
    running.wait_for("segment not mirrored, trying again");
    assert_eq!(broker.committed(&topic, &topic, 0).map(|(offset, _)| offset), Some(500), "what both have");
    running.kill();
    std::fs::remove_dir(&in_the_way).expect("it is empty");
    bucket.mirrored_daemon(&broker, &topic, &mirror).until_end();
    bucket.is_mirrored_in(&mirror);
    bucket.check();
}

#[test]
fn other_bytes_in_a_mirror_freeze_the_partition() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-stray", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_000), &[]);
    let bucket = Bucket::new();
    let mirror = Archive::new();
    let stray = mirror.segment(&topic, 0, 500);
    std::fs::create_dir_all(stray.parent().expect("a folder")).expect("a directory");
    std::fs::write(&stray, b"something else").expect("room for it");
    let log = bucket.mirrored_daemon(&broker, &topic, &mirror).until_end_with_code(3).log;
    assert!(log.contains("is in the mirror, and holds other bytes: move it out of there"), "{log}");
    assert_eq!(std::fs::read(&stray).expect("it stays"), b"something else");
    std::fs::remove_file(&stray).expect("moved out");
    bucket.mirrored_daemon(&broker, &topic, &mirror).until_end();
    bucket.is_mirrored_in(&mirror);
}
