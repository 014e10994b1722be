//! Goal: the process stays within `--memory-limit` and 64 MiB, whatever is fetched. Method: a real broker, data that
//! compresses 20 to 1 and is several times the limit, and the most memory that the kernel has seen (`VmHWM`).

use crate::support::archive::Archive;
use crate::support::broker::{Broker, flush, send};
use crate::support::bucket::Bucket;
use crate::support::fake_gcs::{Fault, Kind};
use crate::support::memory::{LIMIT, ZSTD, compressible, limited, peak, run, tell};
use crate::support::seed::Chance;
use crate::support::wait_until;

#[test]
fn one_partition_of_usual_records() {
    let broker = Broker::get();
    let topic = broker.create_topic("memory-one", 1, &[]);
    let mut chance = Chance::fixed(1);
    for _ in 0..4 {
        broker.produce(&topic, 0, &compressible(60_000, 1_024, &mut chance), &ZSTD);
    }
    let archive = Archive::new();
    run("1 partition, 1 KiB", limited(&broker, &topic, &archive));
}

#[test]
fn one_partition_of_tiny_records() {
    let broker = Broker::get();
    let topic = broker.create_topic("memory-tiny", 1, &[]);
    let mut chance = Chance::fixed(2);
    for _ in 0..4 {
        broker.produce(&topic, 0, &compressible(250_000, 100, &mut chance), &ZSTD);
    }
    let archive = Archive::new();
    run("1 partition, 100 B", limited(&broker, &topic, &archive));
}

#[test]
fn a_thousand_partitions() {
    let broker = Broker::get();
    let topic = broker.create_topic("memory-many", 1_000, &[]);
    let records = compressible(300, 1_024, &mut Chance::fixed(3));
    let producer = broker.producer(&ZSTD);
    for partition in 0..1_000 {
        records.iter().for_each(|record| send(&producer, &topic, partition, record));
    }
    flush(&producer);
    let archive = Archive::new();
    run("1,000 partitions, 1 KiB", limited(&broker, &topic, &archive));
}

#[test]
fn records_of_an_eighth_of_the_limit() {
    let broker = Broker::get();
    let topic = broker.create_topic("memory-large", 2, &[("max.message.bytes", "12000000")]);
    let records = compressible(15, (LIMIT / 8) as usize - 100, &mut Chance::fixed(4));
    for partition in 0..2 {
        broker.produce(&topic, partition, &records, &ZSTD);
    }
    let archive = Archive::new();
    run("2 partitions, 8 MB", limited(&broker, &topic, &archive));
}

/// Fails if the record for which there is no room, of the partition that hangs, holds back all the others.
#[test]
fn a_partition_whose_upload_hangs_holds_back_itself_alone() {
    const PARTITIONS: i32 = 4;
    const RECORDS: i64 = 60;
    let broker = Broker::get();
    let topic = broker.create_topic("memory-hangs", PARTITIONS, &[("max.message.bytes", "12000000")]);
    let records = compressible(RECORDS, 1_100_000, &mut Chance::fixed(5));
    for partition in 0..PARTITIONS {
        broker.produce(&topic, partition, &records, &ZSTD);
    }
    let bucket = Bucket::new();
    // The first one that is sent never gets an answer.
    bucket.fake.arm(&[Kind::DataPut], Fault::Stall);
    let args = ["--memory-limit", "64M", "--file-size", "4M", "--codec", "zstandard", "--shutdown-timeout", "1s"];
    let mut running = bucket.patient_daemon(&broker, &topic, "600s").args(&args).never_seals_by_the_clock().spawn();
    let archived = |partition| {
        let committed = broker.committed(&topic, &topic, partition);
        // What is left is less than a file.
        committed.is_some_and(|(offset, _)| offset >= RECORDS - 4)
    };
    wait_until("all but one are archived", || (0..PARTITIONS).filter(|partition| archived(*partition)).count() == 3);
    tell("3 partitions, 1.1 MB, beside one that hangs", peak(&running).expect("it runs"));
    assert_eq!(running.terminate(), Some(0));
}
