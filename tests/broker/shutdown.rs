//! SIGTERM while something does not answer: the process ends in time, and nothing is lost.

use crate::support::broker::Broker;
use crate::support::bucket::Bucket;
use crate::support::daemon::Running;
use crate::support::fake_gcs::{Fault, Kind};
use crate::support::records::numbered;
use crate::support::wait_until;
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 8;
/// Segments that are sent at a time.
const UPLOADS: usize = 4;

/// A bucket that hangs while a segment is sent to it, and how the daemon ends then.
struct Hanging {
    broker: Broker,
    topic: String,
    bucket: Bucket,
    running: Running,
}

impl Hanging {
    fn new(label: &str, args: &[&str]) -> Hanging {
        let broker = Broker::get();
        let topic = broker.create_topic(label, PARTITIONS, &[]);
        (0..PARTITIONS).for_each(|partition| broker.produce(&topic, partition, &numbered(0..10), &[]));
        let bucket = Bucket::new();
        bucket.fake.arm_sequence(&[Kind::DataPut], &[Fault::Stall; UPLOADS]);
        let daemon = bucket.patient_daemon(&broker, &topic, "100s").args(&["--file-records", "5"]).args(args);
        let running = daemon.spawn();
        wait_until("the bucket hangs", || bucket.fake.counts().of(Kind::DataPut) == UPLOADS as u64);
        Hanging { broker, topic, bucket, running }
    }

    /// The next start archives what was not stored.
    #[track_caller]
    fn next_start_goes_on(self) {
        drop(self.running);
        self.bucket.daemon(&self.broker, &self.topic, &self.topic).args(&["--file-records", "5"]).until_end();
        assert_eq!(self.bucket.segments().len(), 2 * PARTITIONS as usize);
        self.bucket.check();
    }
}

#[test]
fn a_bucket_that_hangs_does_not_hold_up_the_end() {
    let mut hanging = Hanging::new("shutdown", &["--shutdown-timeout", "2s"]);
    let asked = Instant::now();
    assert_eq!(hanging.running.terminate(), Some(0), "{}", hanging.running.log());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    let log = hanging.running.log();
    assert!(log.contains("segments did not finish in time"), "{log}");
    assert!(!log.contains("internal error"), "{log}");
    hanging.next_start_goes_on();
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut hanging = Hanging::new("shutdown-twice", &[]);
    hanging.running.request_end();
    hanging.running.wait_for(" INFO stopping");
    let asked = Instant::now();
    assert_eq!(hanging.running.terminate(), Some(130), "{}", hanging.running.log());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!(!hanging.running.log().contains("internal error"), "{}", hanging.running.log());
    hanging.next_start_goes_on();
}
