//! Goal: a spool that is far too small for all partitions at once holds nobody up for ever, stays within its limit, and
//! changes no file. Method: a real broker, and the same topic archived with and without a limit.

mod support;

use support::archive::Archive;
use support::broker::{Broker, flush, send, unique};
use support::daemon::{Daemon, Running};
use support::records::{MORNING_MS, Record, record};
use support::seed::Chance;
use support::wait_until;

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
