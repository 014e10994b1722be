//! A bucket and a directory beside it: the bucket decides, and the directory holds the same bytes.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::bucket::{BUCKET, Bucket};
use crate::support::daemon::Daemon;
use crate::support::fake_gcs::{Fault, Kind, StoredObject};
use crate::support::records::{assert_same, logged_from, numbered};
use crate::support::small_disk::SmallDisk;
use crate::support::wait_until;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

impl Bucket {
    pub(super) fn mirrored_daemon(&self, broker: &Broker, topic: &str, mirror: &Archive) -> Daemon {
        let mirror = mirror.path().to_str().expect("UTF-8");
        self.daemon(broker, topic, topic).args(&["--local-store", mirror, "--file-records", "500"])
    }

    /// Fails if the directory lacks a file, has one more, or has other bytes.
    #[track_caller]
    pub(super) fn is_mirrored_in(&self, mirror: &Archive) {
        let bytes = |object: &std::sync::Arc<StoredObject>| object.bytes();
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
    running.wait_for("partition frozen");
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

/// Fails if a commit precedes the mirror after a restart between the two, or if a quiet partition is forgotten.
#[test]
fn after_a_restart_no_commit_precedes_the_mirror() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-precede", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_000), &[]);
    let (bucket, mirror) = (Bucket::new(), Archive::new());
    let committed = || broker.committed(&topic, &topic, 0).map(|(offset, _)| offset);
    let in_the_way = mirror.segment(&topic, 0, 500);
    std::fs::create_dir_all(&in_the_way).expect("a directory");
    let mut running = bucket.mirrored_daemon(&broker, &topic, &mirror).spawn();
    running.wait_for("partition frozen");
    running.kill();
    assert_eq!((bucket.segments().len(), committed()), (2, Some(500)));

    let mut running = bucket.mirrored_daemon(&broker, &topic, &mirror).spawn();
    running.wait_for("the mirror lacks segments, whose commit waits");
    running.wait_for("the mirror lacks segments, trying again");
    assert_eq!(committed(), Some(500), "what both have");
    std::fs::remove_dir(&in_the_way).expect("it is empty");
    wait_until("the mirror is filled though nothing new comes", || in_the_way.is_file());
    assert_eq!(running.terminate(), Some(0));
    bucket.mirrored_daemon(&broker, &topic, &mirror).until_end();
    assert_eq!(committed(), Some(1_000));
    bucket.is_mirrored_in(&mirror);
    bucket.check();
}

/// The spool file was stored in the bucket, and has changed when it is to be linked into the mirror.
#[test]
fn a_spool_file_that_has_changed_is_not_mirrored() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-spool-changed", 1, &[]);
    let (bucket, disk) = (Bucket::new(), SmallDisk::mount());
    let mirror = &disk.archive;
    let mut running = bucket.mirrored_daemon(&broker, &topic, mirror).spawn();
    running.wait_for("chain located");
    let ballast = disk.fill();
    broker.produce(&topic, 0, &numbered(0..500), &[]);
    running.wait_for("segment not mirrored, trying again");
    let spool = bucket.spool.path().join(format!("~kafka-store/tmp/{}-1", running.id()));
    let files = std::fs::read_dir(spool).expect("it runs").map(|entry| entry.expect("an entry").path());
    let file =
        files.into_iter().find(|path| path.to_string_lossy().contains(",000000,")).expect("it is stored already");
    damage(&file);
    drop(ballast);
    wait_until("it is mirrored and committed", || broker.committed(&topic, &topic, 0).is_some());
    assert_eq!(running.terminate(), Some(0));
    assert!(running.log().contains("copying the object from the arbiter instead"), "{}", running.log());
    bucket.is_mirrored_in(mirror);
}

/// Fails if only lengths are compared.
#[test]
fn a_file_of_the_same_length_and_other_bytes_is_found() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-mirror-bytes", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_500), &[]);
    let (bucket, mirror) = (Bucket::new(), Archive::new());
    bucket.mirrored_daemon(&broker, &topic, &mirror).until_end();
    let log = bucket.mirrored_daemon(&broker, &topic, &mirror).until_end().log;
    assert!(!log.contains("filling the mirror"), "what was compared is not compared again: {log}");
    let file = mirror.segment(&topic, 0, 500);
    damage(&file);
    for _ in 0..2 {
        let log = bucket.mirrored_daemon(&broker, &topic, &mirror).until_end_with_code(3).log;
        assert!(log.contains("is in the mirror, and holds other bytes: move it out of there"), "{log}");
    }
    std::fs::remove_file(&file).expect("moved out");
    bucket.mirrored_daemon(&broker, &topic, &mirror).until_end();
    bucket.is_mirrored_in(&mirror);

    // A mirror that others made is compared once; the memory of it may be removed at any time.
    std::fs::remove_dir_all(mirror.path().join("~kafka-store/tmp/compared")).expect("it is there");
    let log = bucket.mirrored_daemon(&broker, &topic, &mirror).until_end().log;
    assert!(log.contains("to_compare: 3"), "{log}");
}

/// Changes one bit, as a disk may.
fn damage(path: &std::path::Path) {
    let file = std::fs::File::options().read(true).write(true).open(path).expect("it is there");
    let (at, mut byte) = (file.metadata().expect("a file").len() / 2, [0]);
    file.read_exact_at(&mut byte, at).expect("readable");
    file.write_all_at(&[byte[0] ^ 16], at).expect("writable");
}
