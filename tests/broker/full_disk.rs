//! Goal: a full disk loses and changes nothing, and the daemon finishes once there is room. Method: a small file system
//! of its own (tmpfs), which only root can mount.

use crate::support::broker::Broker;
use crate::support::daemon::Daemon;
use crate::support::http::get;
use crate::support::ports::free_port;
use crate::support::records::{Record, assert_same, logged_from, numbered, record};
use crate::support::seed::Chance;
use crate::support::small_disk::{MIB, SmallDisk};
use crate::support::wait_until;
use std::path::Path;

/// 6 MB that no codec makes smaller.
fn produce(broker: &Broker, topic: &str) -> Vec<Record> {
    let mut chance = Chance::fixed(3);
    let records: Vec<Record> =
        (0..6_000).map(|number| record(None, Some(&chance.bytes(1_000)), 1_700_000_000_000 + number)).collect();
    broker.produce(topic, 0, &records, &[]);
    records
}

fn daemon(broker: &Broker, topic: &str, archive: &Path) -> Daemon {
    Daemon::new(broker, &[topic], topic, archive).args(&["--file-records", "3000"]).never_seals_by_the_clock()
}

#[test]
fn a_segment_that_finds_no_room_is_stored_once_there_is_some() {
    let broker = Broker::get();
    let topic = broker.create_topic("full-store", 1, &[]);
    let records = produce(&broker, &topic);
    let (disk, spool) = (SmallDisk::mount(), tempfile::tempdir().expect("a temporary directory"));
    let ballast = disk.fill_up_to(4 * MIB);
    let spool_dir = ["--spool-dir", spool.path().to_str().expect("UTF-8")];
    let daemon = daemon(&broker, &topic, disk.archive.path()).args(&spool_dir);
    let mut running = daemon.args(&["--until-end", "--timeout", "100"]).spawn();
    running.wait_for("segment not stored, trying again");
    assert!(running.log().contains("make space"), "{}", running.log());
    assert_eq!(broker.committed(&topic, &topic, 0).map_or(3_000, |(offset, _)| offset), 3_000, "what has found room");
    drop(ballast);
    assert_eq!(running.wait().code(), Some(0), "{}", running.log());
    assert_eq!(disk.archive.starts(&topic, 0), [0, 3_000]);
    assert_same("the archive", &disk.archive.records(&topic, 0), &logged_from(0, &records));
}

#[test]
fn an_open_segment_that_finds_no_room_is_given_up_and_fetched_again_once_there_is_some() {
    let broker = Broker::get();
    let topic = broker.create_topic("full-spool", 1, &[]);
    let records = produce(&broker, &topic);
    let disk = SmallDisk::mount();
    let ballast = disk.fill_up_to(2 * MIB);
    let mut running = daemon(&broker, &topic, disk.archive.path()).args(&["--until-end", "--timeout", "100"]).spawn();
    running.wait_for("attempt: 3");
    let log = running.log();
    assert!(log.contains("cannot write the spool file") && log.contains("make room"), "{log}");
    assert!(log.contains("class: no_space"), "{log}");
    assert_eq!(disk.archive.starts(&topic, 0), Vec::<i64>::new());
    drop(ballast);
    assert_eq!(running.wait().code(), Some(0), "{}", running.log());
    assert!(!running.log().contains("frozen"), "{}", running.log());
    assert_eq!(disk.archive.starts(&topic, 0), [0, 3_000]);
    assert_same("the archive", &disk.archive.records(&topic, 0), &logged_from(0, &records));
}

/// A disk without any room is tried later and later, and not ten times a second: each time, the records are fetched again.
/// That brokers give them again says nothing about the disk.
#[test]
fn a_full_disk_is_tried_later_and_later() {
    let broker = Broker::get();
    let topic = broker.create_topic("no-room", 1, &[]);
    let disk = SmallDisk::mount();
    // So few records that they are written when the segment ends, and not before.
    let daemon = Daemon::new(&broker, &[&topic], &topic, disk.archive.path()).args(&["--file-records", "20"]);
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = daemon.args(&["--status-listen", &address]);
    let mut running = daemon.never_seals_by_the_clock().spawn();
    broker.produce(&topic, 0, &numbered(0..20), &[]);
    wait_until("there is a segment", || disk.archive.starts(&topic, 0) == [0]);
    let ballast = disk.fill();
    broker.produce(&topic, 0, &numbered(20..40), &[]);
    running.wait_for("attempt: 6");
    let log = running.log();
    let tries = log.lines().filter(|line| line.contains("records not kept on disk")).count();
    assert!((6..12).contains(&tries), "{log}");
    drop(ballast);
    wait_until("the rest is stored", || disk.archive.starts(&topic, 0) == [0, 20]);
    wait_until("it is ready again", || get(&address, "/readyz").status == 200);
    assert_eq!(running.terminate(), Some(0), "{}", running.log());
    assert_same("the archive", &disk.archive.records(&topic, 0), &logged_from(0, &numbered(0..40)));
}
