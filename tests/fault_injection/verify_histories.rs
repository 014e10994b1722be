//! `kafka-store verify --against-kafka` on logs that really are other ones: cut on disk and written again, elected
//! uncleanly, restored as a whole.

use crate::support::archive::Archive;
use crate::support::cluster::{Cluster, Snapshot};
use crate::support::daemon::Daemon;
use crate::support::records::{Record, numbered};
use crate::support::verified::Verified;
use crate::support::wait_until;
use std::process::Command;

/// Archives a topic in segments of 100 records.
fn archive(cluster: &Cluster, topic: &str, archive: &Archive) {
    Daemon::new(&cluster.broker(), &[topic], topic, archive.path()).args(&["--file-records", "100"]).until_end();
}

/// A topic of 1,000 records, all archived, and a copy of its log when it had 500.
fn archived_beyond_a_copy(name: &str) -> (Cluster, String, Snapshot, Archive) {
    let mut cluster = Cluster::start(1);
    let topic = cluster.create_topic(name, 1, 1, &[]);
    cluster.produce(&topic, 0, &numbered(0..500));
    let half = cluster.node(1).stopped(|node| node.save_partition(&topic, 0));
    cluster.produce(&topic, 0, &numbered(500..1_000));
    let archived = Archive::new();
    archive(&cluster, &topic, &archived);
    (cluster, topic, half, archived)
}

fn verify(cluster: &Cluster, topic: &str, archive: &Archive, depth: &str) -> Verified {
    Verified::against(&cluster.broker(), topic, archive.path(), &[depth])
}

/// From offset 500 on the log is another one.
#[track_caller]
fn assert_histories_part_at_500(cluster: &Cluster, topic: &str, archive: &Archive) {
    for depth in ["--quick", "--deep"] {
        let verified = verify(cluster, topic, archive, depth);
        verified.finds(&["another history"]).counts(&[("last_equal", 499), ("first_different", 500)]);
        verified.says("differ from the archived ones from offset 500 on (499 is the last that is the same)");
    }
    verify(cluster, topic, archive, "--deep").counts(&[("equal", 500), ("different", 500), ("not_archived", 0)]);
}

#[test]
fn a_log_that_was_cut_and_written_again() {
    let (mut cluster, topic, half, archived) = archived_beyond_a_copy("cut");
    for depth in ["--quick", "--deep"] {
        verify(&cluster, &topic, &archived, depth).finds(&[]);
    }
    // Shorter than the archive.
    cluster.node(1).stopped(|node| node.restore(&half));
    for depth in ["--quick", "--deep"] {
        let cut = verify(&cluster, &topic, &archived, depth);
        cut.finds(&["another log"]).counts(&[("last_equal", 499), ("different", 0)]);
        cut.says("Kafka's log already at 500");
    }
    // As long, and longer.
    for numbers in [2_000..2_500, 2_500..3_500] {
        cluster.produce(&topic, 0, &numbered(numbers));
        assert_histories_part_at_500(&cluster, &topic, &archived);
    }
}

/// An operator said that it is the same history; the log is cut once more.
#[test]
fn an_accepted_history_is_no_problem_until_the_next_one() {
    let (mut cluster, topic, half, archived) = archived_beyond_a_copy("accepted");
    cluster.node(1).stopped(|node| node.restore(&half));
    cluster.produce(&topic, 0, &numbered(2_000..2_600));
    let daemon = Daemon::new(&cluster.broker(), &[&topic], &topic, archived.path());
    daemon.args(&["--file-records", "100"]).until_end_with_code(3);
    assert_histories_part_at_500(&cluster, &topic, &archived);
    let mut resolve = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
    resolve.args(["resolve", "--broker-list", &cluster.broker().address, "--topic", &topic, "--group", &topic]);
    resolve.arg("--local-store").arg(archived.path());
    resolve.args(["--partition", &format!("{topic}-0"), "--same-history", "--yes"]);
    let output = resolve.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let accepted = |cluster: &Cluster, archived_to: i64| {
        let deep = verify(cluster, &topic, &archived, "--deep");
        deep.finds(&[]).counts(&[("equal", archived_to - 500), ("different", 0), ("accepted", 500)]);
        assert!(deep.report["notes"].to_string().contains("500 records before offset 1000"), "{:#}", deep.report);
        verify(cluster, &topic, &archived, "--quick").finds(&[]);
    };
    accepted(&cluster, 1_000);
    archive(&cluster, &topic, &archived);
    accepted(&cluster, 1_100);
    let second = cluster.node(1).stopped(|node| node.save_partition(&topic, 0));
    cluster.produce(&topic, 0, &numbered(2_600..2_900));
    archive(&cluster, &topic, &archived);
    cluster.node(1).stopped(|node| node.restore(&second));
    cluster.produce(&topic, 0, &numbered(3_000..3_300));
    for depth in ["--quick", "--deep"] {
        let verified = verify(&cluster, &topic, &archived, depth);
        verified.finds(&["another history"]).counts(&[("last_equal", 1_099), ("first_different", 1_100)]);
    }
}

/// Producers that repeat what they sent make the same records, under a later leader.
#[test]
fn the_same_records_again_are_another_history() {
    let (mut cluster, topic, half, archived) = archived_beyond_a_copy("again");
    cluster.node(1).stopped(|node| node.restore(&half));
    cluster.produce(&topic, 0, &numbered(500..1_000));
    // An archive knows the epoch of each segment's last record.
    for depth in ["--quick", "--deep"] {
        let verified = verify(&cluster, &topic, &archived, depth);
        verified.finds(&["another history"]).says("was appended by a leader of epoch");
        let other = &verified.report["kafka"][0]["records"]["other_epoch"];
        assert_eq!(other["offset"], 599, "{other}");
        assert!(other["archived"].as_i64() < other["logged"].as_i64(), "{other}");
    }
}

/// Its epochs repeat, too: only the records tell.
#[test]
fn a_cluster_restored_as_a_whole() {
    let mut cluster = Cluster::start(1);
    let topic = cluster.create_topic("restored", 1, 1, &[]);
    cluster.produce(&topic, 0, &numbered(0..500));
    let early = cluster.stopped(|cluster| cluster.save());
    cluster.produce(&topic, 0, &numbered(500..1_000));
    let archived = Archive::new();
    archive(&cluster, &topic, &archived);
    cluster.stopped(|cluster| cluster.restore(&early));
    cluster.produce(&topic, 0, &numbered(2_000..3_000));
    assert_histories_part_at_500(&cluster, &topic, &archived);
}

#[test]
fn an_unclean_election() {
    let mut cluster = Cluster::start(3);
    let topic = cluster.create_topic("unclean", 1, 2, &[("unclean.leader.election.enable", "true")]);
    cluster.produce(&topic, 0, &numbered(0..500));
    let lone = cluster.isolate_leader(&topic, 0);
    cluster.produce(&topic, 0, &numbered(500..1_000));
    let archived = Archive::new();
    archive(&cluster, &topic, &archived);
    cluster.elect_unclean(&lone);
    cluster.produce(&topic, 0, &numbered(2_000..3_000));
    assert_histories_part_at_500(&cluster, &topic, &archived);
}

/// Of the records that make the difference none is left: compaction has removed them. The leader's epochs tell.
#[test]
fn a_compacted_log_that_was_cut() {
    let mut cluster = Cluster::start(1);
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("max.compaction.lag.ms", "100"),
    ];
    let topic = cluster.create_topic("compacted", 1, 1, &settings);
    cluster.produce(&topic, 0, &numbered(0..500));
    let half = cluster.node(1).stopped(|node| node.save_partition(&topic, 0));
    cluster.produce(&topic, 0, &numbered(500..1_000));
    let archived = Archive::new();
    archive(&cluster, &topic, &archived);
    verify(&cluster, &topic, &archived, "--deep").finds(&[]);
    cluster.node(1).stopped(|node| node.restore(&half));
    let one_key = |numbers| -> Vec<Record> {
        let mut records = numbered(numbers);
        records.iter_mut().for_each(|record| record.key = Some(b"one key".to_vec()));
        records
    };
    cluster.produce(&topic, 0, &one_key(2_000..2_600));
    let mut next = 2_600;
    wait_until("nothing of the archive's end is left", || {
        cluster.produce(&topic, 0, &one_key(next..next + 1));
        next += 1;
        let left = cluster.broker().read_all(&topic, 0).into_iter();
        left.filter(|logged| (500..1_000).contains(&logged.offset)).count() == 0
    });
    for depth in ["--quick", "--deep"] {
        let verified = verify(&cluster, &topic, &archived, depth);
        verified.finds(&["another history"]).counts(&[("last_equal", 499), ("different", 0)]);
        verified.says("the last archived record, at offset 999, is not in Kafka");
    }
}
