//! Uploads that break off, and a store that hangs.

use crate::support::broker::Broker;
use crate::support::bucket::{BUCKET, Bucket};
use crate::support::fake_gcs::{After, Fault, Kind};
use crate::support::metrics::Shown;
use crate::support::records::{Record, assert_same, logged_from, numbered, record};
use crate::support::seed::Chance;
use crate::support::wait_until;

const MIB: u64 = 1 << 20;

/// Records that no codec makes smaller.
fn random_records(count: i64, value_bytes: usize, chance: &mut Chance) -> Vec<Record> {
    (0..count).map(|number| record(None, Some(&chance.bytes(value_bytes)), 1_700_000_000_000 + number)).collect()
}

/// Fails if the successor of a killed process sends again what is persisted.
#[test]
fn a_killed_upload_of_512_mib_goes_on_where_it_was() {
    let mut chance = Chance::from_seed();
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-large", 1, &[]);
    // Random, so that the file is as large as its records.
    let records = random_records(512, MIB as usize, &mut chance);
    broker.produce(&topic, 0, &records, &[]);
    let bucket = Bucket::new();
    let daemon = || {
        let daemon = bucket.patient_daemon(&broker, &topic, "60s");
        daemon.args(&["--file-size", "512Mi", "--codec", "null"])
    };
    bucket.fake.arm(&[Kind::DataPut], Fault::StallAfter(After::Object(300 * MIB)));
    let mut running = daemon().spawn();
    wait_until("300 MiB are persisted", || {
        assert!(running.is_running(), "it ended. Its log:\n{}", running.log());
        bucket.fake.sessions().iter().any(|session| session.persisted_bytes >= 299 * MIB)
    });
    running.kill();
    bucket.fake.faults(|faults| faults.disarm());
    let ended = daemon().until_end();
    bucket.check();
    let counts = bucket.fake.counts();
    println!("{} bytes received, {} of them twice", counts.bytes_received, counts.bytes_sent_twice);
    assert_eq!(counts.of(Kind::Initiate), 1, "one session. The log:\n{}", ended.log);
    assert!(counts.bytes_sent_twice < 256 * 1024, "sent twice: {}", counts.bytes_sent_twice);
    let stored = bucket.segments().into_values().next().expect("it is stored");
    assert!(stored.content.length() > 512 * MIB && stored.checksums == stored.content.checksums());
    let archive = bucket.download();
    assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &records));
}

/// What an upload tries again is counted.
#[test]
fn a_bucket_that_does_not_answer_is_counted() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-counted", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..5), &[]);
    let bucket = Bucket::new();
    bucket.fake.arm_sequence(&[Kind::DataPut], &[Fault::Answer(503), Fault::Reset]);
    let mut shown = Shown::start(bucket.daemon(&broker, &topic, &topic).args(&["--file-records", "5"]));
    let metrics = shown.wait_for("kafka_store_partition_archived_offset", "0", 5.0);
    for class in ["unavailable", "unreachable"] {
        let labels = [("of", "store"), ("class", class)];
        assert_eq!(metrics.value("kafka_store_failures_total", &labels), Some(1.0), "{}", metrics.text);
    }
    assert_eq!(shown.running.terminate(), Some(0));
    bucket.check();
}

/// A process whose user does not want sessions to outlive it begins anew, and the archive is as exact.
#[test]
fn resuming_can_be_switched_off() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-anew", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..20_000), &[]);
    let bucket = Bucket::new();
    let daemon = || {
        let daemon = bucket.patient_daemon(&broker, &topic, "60s");
        daemon.args(&["--file-records", "20000", "--codec", "null", "--gcs-resume-sessions=false"])
    };
    bucket.fake.arm(&[Kind::DataPut], Fault::StallAfter(After::Object(MIB)));
    let mut running = daemon().spawn();
    wait_until("a part is persisted", || bucket.fake.sessions().iter().any(|session| session.persisted_bytes >= MIB));
    running.kill();
    bucket.fake.faults(|faults| faults.disarm());
    daemon().until_end();
    bucket.check();
    assert_eq!(bucket.fake.counts().of(Kind::Initiate), 2, "another session");
    assert_same("the archive", &bucket.download().records(&topic, 0), &logged_from(0, &numbered(0..20_000)));
}

/// While nothing can be stored the member stays in its group and takes no more memory than it may; then it goes on.
#[test]
fn a_store_that_hangs_holds_back_and_nothing_else() {
    const SESSION_MS: u32 = 6_000;
    let mut chance = Chance::from_seed();
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-hang", 4, &[]);
    let records = random_records(60, 500_000, &mut chance);
    (0..4).for_each(|partition| broker.produce(&topic, partition, &records, &[]));
    let bucket = Bucket::new();
    bucket.fake.faults(|faults| faults.arm_chance(&[Kind::DataPut], Fault::Stall, 1_000, 1));
    let daemon = bucket.daemon(&broker, &topic, &topic).session_timeout_ms(SESSION_MS).args(&[
        "--file-size",
        "2M",
        "--spool-limit",
        "16M",
        "--memory-limit",
        "64M",
        "--codec",
        "null",
    ]);
    let mut running = daemon.args(&["--until-end", "--timeout", "100"]).spawn();
    running.wait_for("segment not stored, trying again");
    let until = std::time::Instant::now() + std::time::Duration::from_millis(u64::from(SESSION_MS) * 2);
    wait_until("two session timeouts have passed", || {
        assert!(running.is_running(), "it ended. Its log:\n{}", running.log());
        std::time::Instant::now() > until
    });
    assert_eq!(broker.stable_members(&topic), Some(1), "it is a member still");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).expect("Linux");
    let peak: u64 = peak.parse().expect("a number");
    println!("peak of memory: {peak} kB");
    assert!(peak * 1024 < 64_000_000 + 64 * MIB, "it took {peak} kB");
    assert!(bucket.segments().is_empty());
    bucket.fake.faults(|faults| faults.disarm());
    assert_eq!(running.wait().code(), Some(0), "its log:\n{}", running.log());
    let log = running.log();
    assert_eq!(log.matches("partitions assigned").count(), 1, "it never left. Its log:\n{log}");
    bucket.check();
    let archive = bucket.download();
    for partition in 0..4 {
        assert_same("the archive", &archive.records(&topic, partition), &logged_from(0, &records));
    }
    assert!(bucket.fake.all_generations(BUCKET).len() > 4);
}

/// One upload hangs, and behind it a partition whose records would fill all memory for batches: the other goes on.
#[test]
fn a_partition_whose_upload_hangs_does_not_hold_the_other_back() {
    const RECORDS: i64 = 60;
    let mut chance = Chance::from_seed();
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-one-hangs", 2, &[]);
    let records = random_records(RECORDS, 500_000, &mut chance);
    broker.produce(&topic, 0, &records, &[]);
    let bucket = Bucket::new();
    let daemon = || {
        let daemon = bucket.patient_daemon(&broker, &topic, "300s");
        daemon.args(&["--file-size", "2M", "--memory-limit", "64M", "--codec", "null", "-vv"])
    };
    bucket.fake.arm(&[Kind::DataPut], Fault::StallAfter(After::Object(MIB)));
    let mut running = daemon().spawn();
    running.wait_for("partitions paused");
    broker.produce(&topic, 1, &records, &[]);
    wait_until("all but the last segment of the other are committed", || {
        assert!(running.is_running(), "it ended. Its log:\n{}", running.log());
        broker.committed(&topic, &topic, 1).is_some_and(|(offset, _)| offset > RECORDS - 10)
    });
    assert_eq!(broker.committed(&topic, &topic, 0), None, "it hangs still");
    running.kill();
    bucket.fake.faults(|faults| faults.disarm());
    daemon().until_end();
    bucket.check();
    let archive = bucket.download();
    for partition in 0..2 {
        assert_same("the archive", &archive.records(&topic, partition), &logged_from(0, &records));
    }
}
