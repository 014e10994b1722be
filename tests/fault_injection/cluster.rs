//! The clusters of tests/support/cluster: each of their faults is what it says.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::records::{Record, assert_same, numbered};
use crate::support::wait_until;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::Duration;

fn values(broker: &Broker, topic: &str) -> Vec<Record> {
    broker.read_all(topic, 0).into_iter().map(|logged| logged.record).collect()
}

/// Whether a broker answers within a second.
fn answers(broker: &Broker) -> bool {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer =
        config.set("bootstrap.servers", &broker.address).set("log_level", "0").create().expect("a consumer");
    consumer.fetch_metadata(None, Duration::from_secs(1)).is_ok()
}

#[test]
fn a_partition_set_back_ends_where_it_did() {
    let mut cluster = Cluster::start(1);
    let topic = cluster.create_topic("set-back", 1, 1, &[]);
    cluster.produce(&topic, 0, &numbered(0..500));
    let half = cluster.node(1).stopped(|node| node.save_partition(&topic, 0));
    cluster.produce(&topic, 0, &numbered(500..1_000));
    let archive = Archive::new();
    Daemon::new(&cluster.broker(), &[&topic], "archiver", archive.path()).until_end();
    assert_eq!(archive.records(&topic, 0).len(), 1_000);

    cluster.node(1).stopped(|node| node.restore(&half));
    assert_eq!(cluster.broker().watermarks(&topic, 0), (0, 500));
    assert_same("the log", &values(&cluster.broker(), &topic), &numbered(0..500));
    assert_eq!(cluster.broker().committed("archiver", &topic, 0).map(|(offset, _)| offset), Some(1_000));
    // Other records get the offsets of those that are gone.
    cluster.produce(&topic, 0, &numbered(2_000..2_100));
    assert_eq!(cluster.broker().watermarks(&topic, 0), (0, 600));
}

#[test]
fn a_disk_set_back_has_neither_later_records_nor_later_topics_nor_commits() {
    let mut cluster = Cluster::start(1);
    let topic = cluster.create_topic("early", 1, 1, &[]);
    cluster.produce(&topic, 0, &numbered(0..500));
    let early = cluster.stopped(|cluster| cluster.save());
    let late = cluster.create_topic("late", 1, 1, &[]);
    cluster.produce(&topic, 0, &numbered(500..1_000));
    cluster.broker().commit("archiver", &topic, 0, 1_000);

    cluster.stopped(|cluster| cluster.restore(&early));
    assert_eq!(cluster.broker().watermarks(&topic, 0), (0, 500));
    assert_eq!(cluster.broker().committed("archiver", &topic, 0), None);
    cluster.broker().create_topic_named(&late, 1, &[]);
    assert_eq!(cluster.broker().watermarks(&late, 0), (0, 0));
}

#[test]
fn a_killed_broker_keeps_its_address_and_what_it_acknowledged() {
    let mut cluster = Cluster::start(1);
    let topic = cluster.create_topic("killed", 1, 1, &[]);
    let (broker, records) = (cluster.broker(), numbered(0..1_000));
    cluster.produce(&topic, 0, &records);
    cluster.node(1).kill();
    assert!(!answers(&broker));
    cluster.node(1).start();
    assert_eq!(cluster.broker().address, broker.address);
    assert_same("the log", &values(&broker, &topic), &records);
}

#[test]
fn a_suspended_broker_is_silent_until_it_is_resumed() {
    let mut cluster = Cluster::start(1);
    let broker = cluster.broker();
    assert!(answers(&broker));
    cluster.node(1).suspend();
    assert!(!answers(&broker));
    cluster.node(1).resume();
    wait_until("it answers again", || answers(&broker));
}

#[test]
fn two_clusters_have_nothing_in_common() {
    let clusters = [Cluster::start(1), Cluster::start(1)];
    assert_ne!(clusters[0].id(), clusters[1].id());
    for cluster in &clusters {
        let broker = cluster.broker();
        broker.create_topic_named("same-name", 1, &[]);
        let mut config = ClientConfig::new();
        let consumer: BaseConsumer = config.set("bootstrap.servers", &broker.address).create().expect("a consumer");
        assert_eq!(consumer.client().fetch_cluster_id(Duration::from_secs(60)).as_deref(), Some(cluster.id()));
    }
}

#[test]
fn an_unclean_election_loses_what_only_the_old_leader_had() {
    let mut cluster = Cluster::start(3);
    let topic = cluster.create_topic("unclean", 1, 2, &[("unclean.leader.election.enable", "true")]);
    cluster.produce(&topic, 0, &numbered(0..500));
    let lone = cluster.isolate_leader(&topic, 0);
    cluster.produce(&topic, 0, &numbered(500..1_000));
    let archive = Archive::new();
    Daemon::new(&cluster.broker(), &[&topic], "archiver", archive.path()).until_end();
    assert_eq!(archive.records(&topic, 0).len(), 1_000);

    let elected = cluster.elect_unclean(&lone);
    assert_ne!(elected, lone.leader);
    assert_eq!(cluster.broker().watermarks(&topic, 0), (0, 500));
    cluster.produce(&topic, 0, &numbered(2_000..2_100));
    // The old leader gives way, and has what the new one has.
    cluster.node(lone.leader).start();
    cluster.wait_until_in_sync(&topic, 0);
    assert_eq!(cluster.leader(&topic, 0), Some(elected));
    let expected: Vec<_> = numbered(0..500).into_iter().chain(numbered(2_000..2_100)).collect();
    cluster.wait_for_end(&topic, 0, 600);
    assert_same("the log", &values(&cluster.broker(), &topic), &expected);
}

#[test]
fn a_clean_election_loses_nothing() {
    let mut cluster = Cluster::start(3);
    let topic = cluster.create_topic("clean", 1, 3, &[]);
    cluster.produce(&topic, 0, &numbered(0..500));
    cluster.wait_until_in_sync(&topic, 0);
    let leader = cluster.leader(&topic, 0).expect("in sync");
    cluster.node(leader).kill();
    wait_until("another one leads", || cluster.leader(&topic, 0).is_some_and(|now| now != leader));
    cluster.wait_for_end(&topic, 0, 500);
    assert_same("the log", &values(&cluster.broker(), &topic), &numbered(0..500));
}
