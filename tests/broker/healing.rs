//! Goal: what passes heals by itself, and what somebody has mended goes on without a restart. Method: real daemons, whose
//! store, spool and brokers fail in every way that can be had, and are put right while the daemons run.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, unique};
use crate::support::bucket::Bucket;
use crate::support::daemon::{Daemon, Running};
use crate::support::fake_gcs::{Fault, Kind};
use crate::support::http::get;
use crate::support::metrics::Metrics;
use crate::support::ports::free_port;
use crate::support::raw_produce;
use crate::support::records::{assert_same, logged_from, numbered};
use crate::support::scene::Scene;
use crate::support::wait_until;
use kafka_store::kafka::ffi::MockBrokers;
use kafka_store_statecharts::topic::TopicName;
use std::path::PathBuf;

const FETCH: i16 = 1;
const OFFSET_COMMIT: i16 = 8;

impl Scene {
    #[track_caller]
    fn is_archived_by(&self, running: &mut Running) {
        wait_until("everything is committed", || self.committed() == Some(1_000));
        assert_eq!(running.terminate(), Some(0));
        assert_eq!(self.archive.starts(&self.topic, 0), [0, 500]);
        assert_same("the archive", &self.archive.records(&self.topic, 0), &logged_from(0, &numbered(0..1_000)));
    }
}

/// Fails if it is tried for ever, or if nobody looks again.
#[test]
fn a_directory_in_a_segments_place_freezes_and_once_it_is_moved_away_a_signal_is_enough() {
    let scene = Scene::new("heal-directory");
    let in_the_way = scene.archive.segment(&scene.topic, 0, 500);
    std::fs::create_dir_all(&in_the_way).expect("a directory");
    let log = scene.daemon().until_end_with_code(3).log;
    assert!(log.contains("partition frozen") && log.contains("move away what kafka-store has not made"), "{log}");
    let mut running = scene.daemon().spawn();
    running.wait_for("partition frozen");
    running.hang_up();
    running.wait_for("looking at frozen partitions again");
    std::fs::remove_dir(&in_the_way).expect("it is empty");
    running.hang_up();
    running.wait_for("partition goes on");
    scene.is_archived_by(&mut running);
}

/// Nobody has to send a signal either.
#[test]
fn a_frozen_partition_is_looked_at_again_by_itself() {
    let scene = Scene::new("heal-looks");
    let in_the_way = scene.archive.segment(&scene.topic, 0, 500);
    std::fs::create_dir_all(&in_the_way).expect("a directory");
    let mut running = scene.daemon().args(&["--reexamine-after", "1s"]).spawn();
    running.wait_for("partition frozen");
    std::fs::remove_dir(&in_the_way).expect("it is empty");
    scene.is_archived_by(&mut running);
}

fn files_of(bucket: &Bucket, running: &Running) -> Vec<PathBuf> {
    let directory = bucket.spool.path().join(format!("~kafka-store/tmp/{}-1", running.id()));
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| path.to_string_lossy().contains(",000000,")).collect()
}

/// What a cleaner of temporary files does: a file that is on its way, and the whole directory.
#[test]
fn files_of_the_spool_that_a_cleaner_has_removed_are_made_again() {
    for whole_directory in [false, true] {
        let broker = Broker::get();
        let topic = broker.create_topic("heal-cleaner", 1, &[]);
        broker.produce(&topic, 0, &numbered(0..1_000), &[]);
        let bucket = Bucket::new();
        bucket.fake.faults(|faults| faults.arm_chance(&[Kind::DataPut], Fault::Answer(503), 1_000, 1));
        let mut running = bucket.daemon(&broker, &topic, &topic).args(&["--file-records", "500"]).spawn();
        running.wait_for("segment not stored, trying again");
        if whole_directory {
            std::fs::remove_dir_all(bucket.spool.path().join("~kafka-store")).expect("it is there");
        } else {
            for file in files_of(&bucket, &running) {
                std::fs::remove_file(file).expect("it is there");
            }
        }
        bucket.fake.faults(|faults| faults.disarm());
        wait_until("everything is committed", || {
            broker.committed(&topic, &topic, 0).is_some_and(|(offset, _)| offset == 1_000)
        });
        assert_eq!(running.terminate(), Some(0), "{}", running.log());
        assert!(running.log().contains("class: lost"), "{}", running.log());
        assert!(!running.log().contains("frozen"), "{}", running.log());
        bucket.check();
        let archive = bucket.download();
        assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..1_000)));
    }
}

/// While the bucket is away, the daemon says so to whoever asks; what the bucket refuses freezes at once.
#[test]
fn an_outage_of_the_bucket_is_shown_and_a_refusal_freezes() {
    let broker = Broker::get();
    let topic = broker.create_topic("heal-bucket", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..500), &[]);
    let bucket = Bucket::new();
    let address = format!("127.0.0.1:{}", free_port());
    bucket.fake.faults(|faults| faults.arm_chance(&[Kind::DataPut], Fault::Answer(503), 1_000, 1));
    let args = ["--file-records", "500", "--status-listen", &address];
    let mut running = bucket.daemon(&broker, &topic, &topic).args(&args).spawn();
    running.wait_for("segment not stored, trying again");
    let readiness = get(&address, "/readyz");
    assert_eq!(readiness.status, 503);
    assert!(readiness.body.contains("store unavailable for "), "{}", readiness.body);
    assert_eq!(get(&address, "/healthz").status, 200, "a restart does not help");
    let of_store = [("of", "store"), ("class", "unavailable")];
    assert!(Metrics::of(&address).value("kafka_store_failures_total", &of_store).is_some_and(|count| count >= 1.0));
    bucket.fake.faults(|faults| faults.disarm());
    wait_until("it is ready again", || get(&address, "/readyz").status == 200);
    assert_eq!(running.terminate(), Some(0));

    for (status, class) in [(400, "Refused"), (403, "Forbidden"), (404, "Absent"), (407, "ProxyLogin")] {
        let bucket = Bucket::new();
        bucket.fake.faults(|faults| faults.arm_chance(&[Kind::Initiate], Fault::Answer(status), 1_000, 1));
        let group = format!("{topic}-{status}");
        let daemon = bucket.daemon(&broker, &topic, &group).args(&["--file-records", "500"]);
        let log = daemon.until_end_with_code(3).log;
        assert!(log.contains("partition frozen"), "{status} ({class}): {log}");
    }
}

/// A broker that gives records again is all that is needed; a right that is given again is noticed.
#[test]
fn errors_of_fetch_that_pass_are_waited_for_and_a_right_that_is_missing_freezes_until_it_is_there() {
    let mock = MockBrokers::start(1).expect("brokers in memory");
    let broker = Broker { address: mock.bootstrap_servers() };
    let topic = unique("heal-fetch");
    mock.create_topic(&TopicName::new(&topic).expect("legal"), 1).expect("a topic");
    raw_produce::produce(&broker.address, &topic, 0, &numbered(0..10));
    for (code, class) in [(-1, "unavailable"), (7, "unreachable"), (56, "unavailable"), (89, "throttled"), (6, "")] {
        let archive = Archive::new();
        mock.fail_requests(FETCH, &[code, code]);
        let group = format!("{topic}-{code}");
        let log = Daemon::new(&broker, &[&topic], &group, archive.path()).until_end().log;
        assert!(!log.contains("frozen"), "{code}: {log}");
        // What librdkafka deals with itself it does not tell.
        let told = log.contains("records not fetched, trying again") && log.contains(&format!("class: {class}"));
        assert!(told || [6, 56].contains(&code), "{code}: {log}");
        assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..10)));
    }
    let archive = Archive::new();
    mock.fail_requests(FETCH, &[29]);
    let mut running = Daemon::new(&broker, &[&topic], &topic, archive.path())
        .args(&["--reexamine-after", "1s", "--file-records", "5"])
        .spawn();
    running.wait_for("grant it Read and Describe on the topic");
    running.wait_for("partition goes on");
    wait_until("everything is archived", || archive.starts(&topic, 0) == [0, 5]);
    assert_eq!(running.terminate(), Some(0));
}

/// A coordinator that is loading or has moved, just when offsets are committed.
#[test]
fn a_coordinator_that_is_away_costs_nothing() {
    let mock = MockBrokers::start(1).expect("brokers in memory");
    let broker = Broker { address: mock.bootstrap_servers() };
    let topic = unique("heal-commit");
    mock.create_topic(&TopicName::new(&topic).expect("legal"), 1).expect("a topic");
    raw_produce::produce(&broker.address, &topic, 0, &numbered(0..10));
    for code in [14, 15, 16, 7, -1] {
        let archive = Archive::new();
        mock.fail_requests(OFFSET_COMMIT, &[code; 4]);
        let group = format!("{topic}-{code}");
        let log = Daemon::new(&broker, &[&topic], &group, archive.path()).until_end().log;
        assert!(!log.contains("frozen"), "{code}: {log}");
        assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..10)));
    }
}
