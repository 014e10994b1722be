//! Goal: what was read of a topic before it was deleted or re-created is archived, since no log has it any more. Method: real
//! brokers, and daemons that hold records when their topic goes.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::metrics::Shown;
use crate::support::records::{assert_same, logged_from, numbered};
use crate::support::wait_until;
use std::time::{Duration, Instant};

/// A deletion is noticed within this time.
const NOTICED: Duration = Duration::from_secs(60);

/// A daemon that seals nothing by the clock.
fn daemon(broker: &Broker, topic: &str, group: &str, file_records: &str, archive: &Archive) -> Daemon {
    let daemon = Daemon::new(broker, &[topic], &format!("{topic}-{group}"), archive.path());
    daemon.args(&["--file-records", file_records, "-v"]).never_seals_by_the_clock()
}

/// A daemon that holds the topic's records from 0 on, and knows that they are the topic's: the brokers are asked for its id
/// from time to time.
fn holding(daemon: Daemon, records: i64) -> Shown {
    let mut shown = Shown::start(daemon);
    shown.wait_for("kafka_store_partition_taken_offset", "0", records as f64);
    shown.running.wait_for(&format!("confirmed_to: {records}"));
    shown
}

#[test]
fn a_topic_that_is_re_created_under_a_running_daemon_is_noticed() {
    let lengths = [5, 20, 40];
    let cluster = Cluster::start(1);
    std::thread::scope(|scope| {
        for length in lengths {
            let cluster = &cluster;
            scope.spawn(move || {
                let (broker, archive) = (cluster.broker(), Archive::new());
                let topic = cluster.create_topic("again-under", 1, 1, &[]);
                broker.produce(&topic, 0, &numbered(0..20), &[]);
                let mut running = holding(daemon(&broker, &topic, "one", "250", &archive), 20);
                broker.delete_topic(&topic);
                broker.create_topic_named(&topic, 1, &[]);
                broker.produce(&topic, 0, &numbered(100..100 + length), &[]);
                let start = Instant::now();
                running.running.wait_for("partition frozen");
                assert!(start.elapsed() < NOTICED, "{:?}", start.elapsed());
                assert_eq!(running.running.terminate(), Some(0));
                assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..20)));
            });
        }
    });
}

/// Two daemons of two groups archive one partition under different limits when its topic is deleted. One has stored a
/// segment that ends within what the other holds, and runs on, or ended before.
#[test]
fn records_beyond_another_daemons_segment_outlive_their_topic() {
    let cluster = Cluster::start(1);
    std::thread::scope(|scope| {
        for is_running in [false, true] {
            let cluster = &cluster;
            scope.spawn(move || {
                let (broker, archive) = (cluster.broker(), Archive::new());
                let topic = cluster.create_topic("two-daemons", 1, 1, &[]);
                broker.produce(&topic, 0, &numbered(0..10), &[]);
                let slow = || daemon(&broker, &topic, "slow", "250", &archive);
                let mut slow = Shown::start(slow());
                slow.wait_for("kafka_store_partition_taken_offset", "0", 10.0);
                broker.produce(&topic, 0, &numbered(10..50), &[]);
                let mut quick = Shown::start(daemon(&broker, &topic, "quick", "15", &archive));
                wait_until("the other has stored its segments", || archive.starts(&topic, 0) == [0, 15, 30]);
                if !is_running {
                    assert_eq!(quick.running.terminate(), Some(0));
                }
                slow.running.wait_for("confirmed_to: 50");
                broker.delete_topic(&topic);
                // A deletion is noticed by a look, or arrives as a revocation.
                slow.running.wait_for("topic is gone");
                wait_until("what is left is stored", || archive.starts(&topic, 0) == [0, 15, 30, 45]);
                assert_eq!(slow.running.terminate(), Some(0));
                assert!(slow.running.log().contains("the object is there already"), "{}", slow.running.log());
                if is_running {
                    quick.running.wait_for("topic is gone");
                    assert_eq!(quick.running.terminate(), Some(0));
                }
                assert_same("the archive", &archive.records(&topic, 0), &logged_from(0, &numbered(0..50)));
                assert_eq!(archive.starts(&topic, 0), [0, 15, 30, 45]);
            });
        }
    });
}
