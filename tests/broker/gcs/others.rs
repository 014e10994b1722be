//! Others who write to the same bucket, and rights that are missing.

use crate::support::broker::Broker;
use crate::support::bucket::{BUCKET, Bucket};
use crate::support::fake_gcs::{Fault, Kind};
use crate::support::records::{assert_same, logged_from, numbered};
use crate::support::wait_until;
use std::time::Duration;

/// Two daemons, of two groups, archive the same topic into the same place at the same time.
#[test]
fn two_daemons_that_upload_the_same_segments_both_go_on() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-two", 2, &[]);
    (0..2).for_each(|partition| broker.produce(&topic, partition, &numbered(0..5_000), &[]));
    let bucket = Bucket::new();
    // Both come to their uploads before either has ended one.
    bucket.fake.faults(|faults| faults.arm_chance(&[Kind::DataPut], Fault::Delay(Duration::from_millis(50)), 1_000, 1));
    std::thread::scope(|scope| {
        for group in ["first", "second"] {
            let daemon = bucket.daemon(&broker, &topic, &format!("{topic}-{group}"));
            scope.spawn(|| daemon.args(&["--file-records", "500"]).until_end());
        }
    });
    bucket.check();
    assert_eq!(bucket.segments().len(), 20);
    let archive = bucket.download();
    for partition in 0..2 {
        assert_same("the archive", &archive.records(&topic, partition), &logged_from(0, &numbered(0..5_000)));
        for group in ["first", "second"] {
            let committed = broker.committed(&format!("{topic}-{group}"), &topic, partition);
            assert_eq!(committed.map(|(offset, _)| offset), Some(5_000), "{group}");
        }
    }
}

/// While a segment is on its way, somebody else gives its name to another object.
fn somebody_is_quicker(
    label: &str,
    other: impl FnOnce(&Broker, &str, &Bucket) -> Vec<u8>,
    code: i32,
) -> (Bucket, String, String) {
    let broker = Broker::get();
    let topic = broker.create_topic(label, 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_000), &[]);
    let bucket = Bucket::new();
    let other = other(&broker, &topic, &bucket);
    bucket.fake.arm(&[Kind::DataPut], Fault::Delay(Duration::from_millis(1_500)));
    let before = bucket.fake.counts().of(Kind::DataPut);
    let name = format!("prefix/{topic}/000000/{:020}", 0);
    let ended = std::thread::scope(|scope| {
        let daemon = bucket.daemon(&broker, &topic, &topic).args(&["--file-records", "1000"]);
        let running = scope.spawn(|| daemon.until_end_with_code(code));
        wait_until("it uploads", || bucket.fake.counts().of(Kind::DataPut) > before);
        bucket.fake.put_object(BUCKET, &name, &other, &[]);
        running.join().expect("no panic")
    });
    assert_eq!(bucket.fake.generations(BUCKET, &name).len(), 1, "never overwritten");
    assert_eq!(bucket.fake.object(BUCKET, &name).expect("it stays").bytes(), other, "never changed");
    bucket.check();
    (bucket, topic, ended.log)
}

#[test]
fn another_segment_of_this_chain_is_adopted() {
    // The same records in smaller files, from another place.
    let smaller = |broker: &Broker, topic: &str, bucket: &Bucket| {
        let group = format!("{topic}-elsewhere");
        let daemon = bucket.daemon_at(broker, topic, &group, "gs://archive/elsewhere");
        daemon.args(&["--file-records", "300"]).until_end();
        let name = format!("elsewhere/{topic}/000000/{:020}", 0);
        bucket.fake.object(BUCKET, &name).expect("it is stored").bytes()
    };
    let (bucket, topic, log) = somebody_is_quicker("gcs-adopt", smaller, 0);
    assert!(log.contains("the object is there already"), "{log}");
    let archive = bucket.download();
    assert_eq!(archive.starts(&topic, 0)[..2], [0, 300], "goes on where the other one ends");
    assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..1_000)));
}

#[test]
fn what_is_no_segment_of_this_chain_freezes_the_partition() {
    let (bucket, _, log) = somebody_is_quicker("gcs-freeze", |_, _, _| b"something else".to_vec(), 3);
    assert!(log.contains("is not a whole segment"), "{log}");
    assert_eq!(bucket.segments().len(), 1);
}

/// A right that is taken away stops the partition and is named; when it is given back, the next start goes on.
#[test]
fn a_right_that_is_missing_freezes_the_partition() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-right", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_000), &[]);
    let bucket = Bucket::new();
    let daemon = || bucket.daemon(&broker, &topic, &topic).args(&["--file-records", "1000"]);
    bucket.fake.arm(&[Kind::Initiate], Fault::Answer(403));
    let log = daemon().until_end_with_code(3).log;
    assert!(log.contains("the right storage.objects.create") && log.contains("partition frozen"), "{log}");
    daemon().until_end();
    bucket.check();
    assert_same("the archive", &bucket.download().records(&topic, 0), &logged_from(0, &numbered(0..1_000)));
}

/// Tokens stop counting while an upload is under way: it needs none, and what comes after it gets others.
#[test]
fn tokens_may_expire_in_the_middle_of_an_upload() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-token", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_000), &[]);
    let bucket = Bucket::new();
    bucket.fake.set(|settings| settings.checks_tokens = true);
    let credentials = bucket.spool.path().join("credentials.json");
    std::fs::write(&credentials, bucket.fake.authorized_user()).expect("room for it");
    bucket.fake.arm(&[Kind::DataPut], Fault::Delay(Duration::from_millis(500)));
    let daemon = bucket
        .daemon(&broker, &topic, &topic)
        .args(&["--file-records", "500", "--gcs-credentials", "google"])
        .env("GOOGLE_APPLICATION_CREDENTIALS", credentials.to_str().expect("UTF-8"));
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.until_end());
        wait_until("it uploads", || bucket.fake.counts().of(Kind::DataPut) > 0);
        bucket.fake.revoke_tokens();
        running.join().expect("no panic")
    });
    assert!(bucket.fake.tokens_issued() >= 2, "another token. The log:\n{}", ended.log);
    assert!(!ended.log.contains("ya29"), "a token is a secret");
    bucket.check();
    assert_same("the archive", &bucket.download().records(&topic, 0), &logged_from(0, &numbered(0..1_000)));
}
