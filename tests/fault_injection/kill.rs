//! The daemon is killed again and again while records keep coming: nothing is lost, doubled or changed.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::daemon::{Daemon, Running};
use crate::support::records::{assert_same, logged_from, numbered};
use crate::support::seed::Chance;
use crate::support::seen::Seen;
use crate::support::traffic::Traffic;
use crate::support::wait_until;
use std::time::Duration;

const PARTITIONS: i32 = 4;
const KILLS: usize = 25;

#[test]
fn killed_25_times_it_loses_doubles_and_changes_nothing() {
    let mut chance = Chance::from_seed();
    let broker = Broker::get();
    let topic = broker.create_topic("kill", PARTITIONS, &[]);
    let archive = Archive::new();
    let daemon = || {
        let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path()).session_timeout_ms(1_000);
        daemon.args(&["--file-size", "60k", "--file-records", "100"])
    };
    let mut seen = Seen::new(&archive, &topic, PARTITIONS);
    let traffic_chance = Chance::fixed(chance.next());
    let produced = Traffic::new(&broker, &topic, PARTITIONS).during(traffic_chance, || {
        for kill in 0..KILLS {
            let mut running = daemon().spawn();
            wait_for_the_moment(&mut running, &mut chance, &archive);
            assert!(running.is_running(), "it ended by itself. Its log:\n{}", running.log());
            running.kill();
            let ends = seen.look();
            println!("kill {kill}: {} segments, ends {ends:?}", seen.count());
            check_commits(&broker, &topic, &seen, &ends);
        }
    });
    assert!(seen.count() > KILLS, "hardly anything was archived: nothing was tried");
    daemon().until_end();
    seen.look();
    println!("{}", archive.check());
    let mut archived = archive.all_records();
    for (partition, produced) in (0..).zip(produced) {
        let archived = archived.remove(&(topic.clone(), partition)).unwrap_or_default();
        assert_same("the archive and what was produced", &archived, &logged_from(0, &produced));
    }
    assert_eq!(archive.instance_directories(), Vec::<String>::new(), "what killed processes left is removed");
}

/// Some die young, most while they store segments.
fn wait_for_the_moment(running: &mut Running, chance: &mut Chance, archive: &Archive) {
    if chance.below(5) > 0 {
        running.wait_for("chain located");
    }
    if chance.below(3) > 0 {
        let (before, more) = (archive.segments().len(), 1 + chance.below(8) as usize);
        wait_until("segments more", || archive.segments().len() >= before + more || !running.is_running());
    }
    // Not to wait for something: any moment will do, and all of them should come.
    std::thread::sleep(Duration::from_micros(chance.below(200_000)));
}

/// What is committed is the end of a segment that is there.
#[track_caller]
fn check_commits(broker: &Broker, topic: &str, seen: &Seen<'_>, ends: &[i64]) {
    for (partition, end) in (0..).zip(ends) {
        let Some((committed, metadata)) = broker.committed(topic, topic, partition) else { continue };
        assert!(committed <= *end, "partition {partition}: {committed} is committed, and the archive ends at {end}");
        let start = metadata.strip_prefix("kafka-store/1 segment=").expect("our metadata");
        assert_eq!(Some(committed), seen.end_of(partition, start.parse().expect("a number")), "partition {partition}");
    }
}

#[test]
fn what_is_open_at_sigterm_is_discarded() {
    let broker = Broker::get();
    let topic = broker.create_topic("terminate", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..5_000), &[]);
    let archive = Archive::new();
    let daemon = || Daemon::new(&broker, &[&topic], &topic, archive.path()).never_seals_by_the_clock();
    let mut running = daemon().spawn();
    wait_until("a segment is open", || archive.has_first_segment_open(running.id()));
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(archive.segments(), Vec::<String>::new());
    assert_eq!(archive.instance_directories(), Vec::<String>::new());
    assert_eq!(broker.committed(&topic, &topic, 0), None);

    daemon().until_end();
    assert_eq!(archive.starts(&topic, 0), [0]);
    assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..5_000)));
}
