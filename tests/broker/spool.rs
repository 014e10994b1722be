//! Goal: a spool that is far too small for all partitions at once holds nobody up for ever, stays within its limit, and
//! changes no file. Method: a real broker, and the same topic archived with and without a limit.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, flush, send, unique};
use crate::support::daemon::{Daemon, Running};
use crate::support::records::{MORNING_MS, Record, assert_same, logged_from, record};
use crate::support::seed::Chance;
use crate::support::wait_until;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

const FILE_BYTES: u64 = 100_000;
const LIMIT: u64 = 4 * FILE_BYTES;

/// The bytes of all files below a directory.
fn disk_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            // It was removed at this moment.
            Err(_) => 0,
        })
        .sum()
}

/// Records that no codec makes smaller, about 1 KB each.
fn records(numbers: std::ops::Range<i64>, chance: &mut Chance) -> Vec<Record> {
    numbers.map(|number| record(None, Some(&chance.bytes(1_000)), MORNING_MS + number)).collect()
}

/// A daemon with small files, whose sizes on disk are those of their records.
fn daemon(broker: &Broker, topic: &str, archive: &Archive) -> Daemon {
    Daemon::new(broker, &[topic], &unique("spool"), archive.path())
        .args(&["--file-size", &FILE_BYTES.to_string(), "--codec", "null", "-v"])
        .never_seals_by_the_clock()
}

/// Waits for the daemon's end and says how much the spool held at the most.
fn watch(running: &mut Running, spool: &Path) -> u64 {
    let mut most = 0;
    while running.is_running() {
        most = most.max(disk_bytes(spool));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(running.wait().code(), Some(0), "{}", running.log());
    most
}

/// The header and the rest of a record of each file; and a block that each core writes while others give theirs up.
#[track_caller]
fn assert_limited(most: u64) {
    println!("the spool held {most} bytes of {LIMIT} at the most");
    assert!(most > 0 && most <= LIMIT + 4 * 5_200 + 4 * 66_000, "{most}");
}

#[test]
fn five_hundred_partitions_and_a_spool_of_four_files() {
    const PARTITIONS: i32 = 500;
    let broker = Broker::get();
    let topic = broker.create_topic("spool-many", PARTITIONS, &[]);
    let producer = broker.producer(&[]);
    let records = records(0..180, &mut Chance::fixed(6));
    for partition in 0..PARTITIONS {
        records.iter().for_each(|record| send(&producer, &topic, partition, record));
    }
    flush(&producer);
    let (whole, archive) = (Archive::new(), Archive::new());
    daemon(&broker, &topic, &whole).until_end();

    // Where there is another file system, so that what is stored is copied.
    let elsewhere = Path::new("/dev/shm");
    let spool = tempfile::tempdir_in(if elsewhere.is_dir() { elsewhere } else { Path::new("/tmp") }).expect("a spool");
    let limited = ["--spool-limit", &LIMIT.to_string(), "--spool-dir", spool.path().to_str().expect("UTF-8")];
    let daemon = daemon(&broker, &topic, &archive).args(&limited).args(&["--until-end", "--timeout", "100"]);
    let mut running = daemon.spawn();
    assert_limited(watch(&mut running, spool.path()));
    assert!(running.log().contains("the spool has no room for another segment"), "it was never short");
    assert!(archive.contents() == whole.contents(), "the archive is another");
    assert_eq!(disk_bytes(spool.path()), 0, "a process in good order leaves nothing");
}

#[test]
fn the_youngest_files_are_given_up_for_the_oldest() {
    const PARTITIONS: i32 = 12;
    let broker = Broker::get();
    let topic = broker.create_topic("spool-young", PARTITIONS, &[]);
    let (archive, whole, mut chance) = (Archive::new(), Archive::new(), Chance::fixed(7));
    let limit = LIMIT.to_string();
    let mut running = daemon(&broker, &topic, &archive).args(&["--spool-limit", &limit]).spawn();
    running.wait_for("chain located");
    let producer = broker.producer(&[]);
    // All files grow at the same time.
    for round in 0..25 {
        let records = records(10 * round..10 * round + 10, &mut chance);
        for partition in 0..PARTITIONS {
            records.iter().for_each(|record| send(&producer, &topic, partition, record));
        }
        flush(&producer);
        std::thread::sleep(Duration::from_millis(100));
    }
    running.wait_for("open segment given up");
    wait_until("all whole files are stored", || archive.segments().len() == 2 * PARTITIONS as usize);
    assert_eq!(running.terminate(), Some(0));
    daemon(&broker, &topic, &archive).args(&["--spool-limit", &limit]).until_end();
    daemon(&broker, &topic, &whole).until_end();
    assert!(archive.contents() == whole.contents(), "the archive is another");
}

/// Fails if the bytes that the disk returns are taken for the records that were set aside on it.
#[test]
fn records_that_come_back_damaged_are_fetched_again() {
    const PARTITIONS: i32 = 220;
    let broker = Broker::get();
    let topic = broker.create_topic("spool-damaged", PARTITIONS, &[]);
    let (archive, mut chance) = (Archive::new(), Chance::fixed(8));
    let all = records(0..65, &mut chance);
    let producer = broker.producer(&[]);
    let produce = |records: &[Record]| {
        for partition in 0..PARTITIONS {
            records.iter().for_each(|record| send(&producer, &topic, partition, record));
        }
        flush(&producer);
    };
    // All blocks together need twice the memory that there is for them, so that half of them lie in files.
    produce(&all[..50]);
    let daemon = || daemon(&broker, &topic, &archive).args(&["--memory-limit", "64M", "--file-records", "60"]);
    let mut running = daemon().spawn();
    let spool = archive.path().join(format!("~kafka-store/tmp/{}-1", running.id()));
    let mut files = Vec::new();
    wait_until("records are set aside", || {
        let entries = std::fs::read_dir(&spool).into_iter().flatten().flatten();
        files = entries.filter(|entry| entry.metadata().is_ok_and(|file| file.len() > 40_000)).collect();
        files.len() >= 20
    });
    for file in &files {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(file.path()).expect("it is open");
        let (at, mut byte) = (file.metadata().expect("a file").len() - 1_000, [0]);
        file.read_exact_at(&mut byte, at).expect("readable");
        file.write_all_at(&[byte[0] ^ 4], at).expect("writable");
    }
    produce(&all[50..]);
    running.wait_for("returns other bytes than were written");
    wait_until("all whole files are stored", || archive.segments().len() == PARTITIONS as usize);
    let log = running.log();
    assert!(log.contains("records not kept on disk, fetching them again") && log.contains("class: lost"), "{log}");
    assert_eq!(running.terminate(), Some(0));
    daemon().until_end();
    archive.check();
    for ((_, partition), archived) in archive.all_records() {
        assert_same(&format!("partition {partition}"), &archived, &logged_from(0, &all));
    }
}
