//! The daemon is killed again and again while records keep coming: nothing is lost, doubled or changed.

mod support;

use kafka_store::avro::verify;
use kafka_store_statecharts::name::SegmentName;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::archive::{Archive, Stamp};
use support::broker::{Broker, flush, send};
use support::daemon::{Daemon, Running};
use support::records::{MORNING_MS, Record, assert_same, logged_from, numbered, record};
use support::seed::Chance;
use support::wait_until;

const PARTITIONS: i32 = 4;
const KILLS: usize = 25;

/// Produces bursts of records to all partitions until it is told to stop.
struct Traffic<'a> {
    broker: &'a Broker,
    topic: &'a str,
    produced: Mutex<Vec<Vec<Record>>>,
    stop: AtomicBool,
}

impl Traffic<'_> {
    fn run(&self, mut chance: Chance) {
        let producer = self.broker.producer(&[("linger.ms", "1"), ("compression.type", "lz4")]);
        while !self.stop.load(Ordering::Relaxed) {
            let partition = chance.below(PARTITIONS as u64) as usize;
            let known = self.produced.lock().expect("no panic")[partition].len();
            let records: Vec<Record> =
                (0..chance.below(60)).map(|number| any_record(known as u64 + number, &mut chance)).collect();
            records.iter().for_each(|record| send(&producer, self.topic, partition as i32, record));
            flush(&producer);
            self.produced.lock().expect("no panic")[partition].extend(records);
            // The pace of the traffic.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn any_record(number: u64, chance: &mut Chance) -> Record {
    let value = if chance.below(20) == 0 {
        None
    } else {
        let noise = chance.below(600) as usize;
        Some([format!("{number} ").repeat(20).as_bytes(), &chance.bytes(noise)].concat())
    };
    record(Some(&number.to_be_bytes()), value.as_deref(), MORNING_MS + number as i64 * 200)
}

/// What was seen of an archive so far, and must stay.
#[derive(Default)]
struct Seen {
    /// For each segment what the file was, and the offset after its last record.
    segments: BTreeMap<String, (Stamp, i64)>,
}

impl Seen {
    /// Looks at every file; the answer is the end of each partition's chain.
    #[track_caller]
    fn look(&mut self, archive: &Archive, topic: &str) -> BTreeMap<i32, i64> {
        let segments = archive.segments();
        for path in self.segments.keys() {
            assert!(segments.contains(path), "{path} has vanished");
        }
        for path in segments {
            let stamp = archive.stamp(&path);
            match self.segments.get(&path) {
                Some((seen, _)) => assert_eq!(stamp, *seen, "{path} has changed"),
                None => {
                    let start = SegmentName::parse_file_name(path.rsplit('/').next().expect("a name"));
                    let file = File::open(archive.path().join(&path)).expect("readable");
                    let verified = verify(file, start.expect("an offset"));
                    let verified = verified.unwrap_or_else(|error| panic!("{path} is not whole: {error}"));
                    self.segments.insert(path, (stamp, verified.range.next_offset().get()));
                }
            }
        }
        (0..PARTITIONS).map(|partition| (partition, self.chain_end(topic, partition, archive))).collect()
    }

    #[track_caller]
    fn chain_end(&self, topic: &str, partition: i32, archive: &Archive) -> i64 {
        archive.starts(topic, partition).into_iter().fold(0, |next_offset, start| {
            assert_eq!(start, next_offset, "partition {partition}: a hole or an overlap");
            self.segments[&format!("{topic}/{partition:06}/{start:020}")].1
        })
    }
}

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
    let traffic = Traffic {
        broker: &broker,
        topic: &topic,
        produced: Mutex::new(vec![Vec::new(); PARTITIONS as usize]),
        stop: AtomicBool::new(false),
    };
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let traffic_chance = Chance::fixed(chance.next());
        scope.spawn(|| traffic.run(traffic_chance));
        let _stop = StopAtTheEnd(&traffic.stop);
        for kill in 0..KILLS {
            let mut running = daemon().spawn();
            wait_for_the_moment(&mut running, &mut chance, &archive);
            assert!(running.is_running(), "it ended by itself. Its log:\n{}", running.log());
            running.kill();
            let ends = seen.look(&archive, &topic);
            println!("kill {kill}: {} segments, ends {:?}", seen.segments.len(), ends.values());
            check_commits(&broker, &topic, &seen, &ends);
        }
    });
    assert!(seen.segments.len() > KILLS, "hardly anything was archived: nothing was tried");
    daemon().until_end();
    seen.look(&archive, &topic);
    println!("{}", archive.check());
    let mut archived = archive.all_records();
    for (partition, produced) in (0..).zip(traffic.produced.into_inner().expect("no panic")) {
        let archived = archived.remove(&(topic.clone(), partition)).unwrap_or_default();
        assert_same("the archive and what was produced", &archived, &logged_from(0, &produced));
    }
    assert_eq!(archive.instance_directories(), Vec::<String>::new(), "what killed processes left is removed");
}

/// Ends the traffic also when the test fails.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
fn check_commits(broker: &Broker, topic: &str, seen: &Seen, ends: &BTreeMap<i32, i64>) {
    for (partition, end) in ends {
        let Some((committed, metadata)) = broker.committed(topic, topic, *partition) else { continue };
        assert!(committed <= *end, "partition {partition}: {committed} is committed, and the archive ends at {end}");
        let start: i64 =
            metadata.strip_prefix("kafka-store/1 segment=").expect("our metadata").parse().expect("a number");
        let (_, segment_end) = &seen.segments[&format!("{topic}/{partition:06}/{start:020}")];
        assert_eq!(committed, *segment_end, "partition {partition}");
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
    let directory = archive.path().join(format!("~kafka-store/tmp/{}-1", running.id()));
    // The first blocks of the open segment, behind the room for the header.
    wait_until("a segment is open", || {
        let files = std::fs::read_dir(&directory).into_iter().flatten().map(|entry| entry.expect("an entry"));
        files.into_iter().any(|entry| entry.metadata().is_ok_and(|metadata| metadata.len() > 4_096))
    });
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(archive.segments(), Vec::<String>::new());
    assert_eq!(archive.instance_directories(), Vec::<String>::new());
    assert_eq!(broker.committed(&topic, &topic, 0), None);

    daemon().until_end();
    assert_eq!(archive.starts(&topic, 0), [0]);
    assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..5_000)));
}
