//! Kafka clusters of a test's own: real brokers that it stops, kills and suspends, and whose disks it sets back.
//!
//! ```ignore
//! let mut cluster = Cluster::start(1);
//! let topic = cluster.create_topic("cut", 1, 1, &[]);
//! cluster.produce(&topic, 0, &numbered(0..500));
//! let half = cluster.node(1).stopped(|node| node.save_partition(&topic, 0));
//! cluster.produce(&topic, 0, &numbered(500..1_000));
//! cluster.node(1).stopped(|node| node.restore(&half));
//! assert_eq!(cluster.broker().watermarks(&topic, 0), (0, 500));
//! ```
//!
//! - [`Cluster`]: starts one or three brokers, creates topics, produces, and runs the recipe of an unclean election.
//! - [`Node`]: one process of it, with its ports and its data directory.
//! - [`Snapshot`]: a copy of a data directory, or of one partition's, to go back to.
//! - [`Cluster::broker`] has everything else: watermarks, commits, transactions, reading.
//!
//! Settings are those of tests/kafka/server.properties, and a cluster of three replicates offsets and transactions three
//! times. Everything ends with the value: processes are killed, directories removed.

mod launch;
mod node;
mod snapshot;
mod unclean;

pub(crate) use node::Node;
pub(crate) use snapshot::Snapshot;
pub(crate) use unclean::LoneLeader;

use super::broker::{Broker, answer, unique};
use super::ports::free_port;
use super::records::Record;
use super::wait_until;
use launch::Kafka;
use rdkafka::ClientConfig;
use rdkafka::admin::TopicReplication;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::Duration;

/// Starts that find a port taken, before the test fails.
const ATTEMPTS: usize = 5;
/// How long one broker is asked before another is.
const ONE_TRY: Duration = Duration::from_secs(5);

/// The controller's id in a cluster of three. In a cluster of one, the broker is its own controller.
pub(crate) const CONTROLLER: i32 = 100;

/// A running cluster. Its brokers are the nodes 1, or 1 to 3.
#[derive(Debug)]
pub(crate) struct Cluster {
    id: String,
    nodes: Vec<Node>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    /// Starts a cluster of one or three brokers, and waits until all of them answer.
    #[track_caller]
    pub(crate) fn start(brokers: i32) -> Cluster {
        Cluster::start_with(brokers, &[])
    }

    /// Does the same, with more settings for each broker and controller.
    #[track_caller]
    pub(crate) fn start_with(brokers: i32, settings: &[(&str, &str)]) -> Cluster {
        for _ in 0..ATTEMPTS {
            let mut cluster = Cluster::prepare(brokers, settings);
            // All at once: starting is mostly waiting.
            cluster.nodes.iter_mut().for_each(Node::spawn);
            if cluster.nodes.iter_mut().all(Node::comes_up) {
                return cluster;
            }
            let log = cluster.nodes.iter().map(Node::log).collect::<Vec<_>>().join("\n");
            assert!(log.contains("Address already in use"), "the cluster does not start:\n{log}");
        }
        panic!("ports were taken {ATTEMPTS} times")
    }

    fn prepare(brokers: i32, settings: &[(&str, &str)]) -> Cluster {
        assert!(brokers == 1 || brokers == 3, "one broker or three");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (id, kafka) = (launch::new_id(), Kafka::find());
        let settings: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (controller_port, is_alone) = (free_port(), brokers == 1);
        let controller = if is_alone { 1 } else { CONTROLLER };
        let mut common = vec![format!("controller.quorum.voters={controller}@127.0.0.1:{controller_port}")];
        if !is_alone {
            common.extend(launch::REPLICATED.map(str::to_owned));
        }
        common.extend(settings);
        let node = |id: i32, roles: &str, listeners: &str| {
            let settings = launch::settings(id, roles, listeners, &common);
            Node::new(id, directory.path(), &kafka, settings)
        };
        let controller_listener = format!("CONTROLLER://127.0.0.1:{controller_port}");
        let client_listener = |port| format!("PLAINTEXT://127.0.0.1:{port}");
        let nodes: Vec<Node> = if is_alone {
            let port = free_port();
            let listeners = format!("{},{controller_listener}", client_listener(port));
            vec![node(1, "broker,controller", &listeners).at(port)]
        } else {
            let broker = |id| {
                let port = free_port();
                node(id, "broker", &client_listener(port)).at(port)
            };
            let mut nodes = vec![node(CONTROLLER, "controller", &controller_listener)];
            nodes.extend((1..=brokers).map(broker));
            nodes
        };
        nodes.iter().for_each(|node| launch::format(&kafka, &node.data(), node.id(), &id));
        Cluster { id, nodes, _directory: directory }
    }

    /// Returns the cluster id, which no other cluster has.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns what clients need: the addresses of all brokers, also of those that are down.
    pub(crate) fn broker(&self) -> Broker {
        let addresses: Vec<_> = self.nodes.iter().filter_map(Node::address).collect();
        Broker { address: addresses.join(",") }
    }

    fn running(&self) -> Vec<String> {
        self.nodes.iter().filter(|node| node.is_running()).filter_map(Node::address).collect()
    }

    /// Returns a broker by its id, or the [`CONTROLLER`].
    #[track_caller]
    pub(crate) fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id() == id).expect("a node of this cluster")
    }

    /// Creates a topic with a name of its own; `config` are topic settings.
    pub(crate) fn create_topic(&self, label: &str, partitions: i32, replicas: i32, config: &[(&str, &str)]) -> String {
        let name = unique(label);
        self.broker().create_replicated_topic(&name, partitions, TopicReplication::Fixed(replicas), config);
        name
    }

    /// Produces records to a partition, in order, and waits until the brokers have them. Unlike [`Broker::produce`] it
    /// tries again, once and in order still: a leader may not know yet that it is one.
    pub(crate) fn produce(&self, topic: &str, partition: i32, records: &[Record]) {
        let retries = [("enable.idempotence", "true"), ("message.send.max.retries", "1000")];
        self.broker().produce(topic, partition, records, &retries);
    }

    /// Returns the leader of a partition; `None` while it has none.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        self.replicas(topic, partition).leader
    }

    /// Returns the replicas of a partition, as a broker that runs knows them: none if it has just started.
    pub(crate) fn replicas(&self, topic: &str, partition: i32) -> Replicas {
        let mut config = ClientConfig::new();
        let consumer: BaseConsumer =
            config.set("bootstrap.servers", self.running().join(",")).create().expect("a consumer");
        let metadata = answer("metadata", || consumer.fetch_metadata(Some(topic), ONE_TRY));
        let topic = metadata.topics().first().expect("the topic");
        let Some(found) = topic.partitions().iter().find(|found| found.id() == partition) else {
            return Replicas::default();
        };
        Replicas {
            leader: Some(found.leader()).filter(|leader| *leader >= 0),
            all: found.replicas().to_vec(),
            in_sync: found.isr().to_vec(),
        }
    }

    /// Waits until all replicas of a partition are in sync.
    #[track_caller]
    pub(crate) fn wait_until_in_sync(&self, topic: &str, partition: i32) {
        wait_until("all replicas are in sync", || {
            let replicas = self.replicas(topic, partition);
            replicas.leader.is_some() && replicas.in_sync.len() == replicas.all.len()
        });
    }

    /// Waits until a partition's high watermark is this. After an election in which nothing is lost it is behind for a
    /// moment, and readers see an earlier end: a new leader knows what is replicated only when its followers have asked.
    #[track_caller]
    pub(crate) fn wait_for_end(&self, topic: &str, partition: i32, end: i64) {
        wait_until("the high watermark is there", || self.broker().watermarks(topic, partition).1 == end);
    }

    /// Stops every node, does something to the cluster's disks, and starts them all at their addresses.
    #[track_caller]
    pub(crate) fn stopped<T>(&mut self, action: impl FnOnce(&mut Cluster) -> T) -> T {
        // The controller last: a broker's orderly stop asks it.
        self.nodes.iter_mut().rev().for_each(Node::stop);
        let result = action(self);
        self.nodes.iter_mut().for_each(Node::spawn);
        self.nodes.iter_mut().for_each(Node::wait_until_up);
        result
    }

    /// Copies the disks of all nodes, which must be down.
    pub(crate) fn save(&self) -> Vec<Snapshot> {
        self.nodes.iter().map(Node::save).collect()
    }

    /// Sets the disks of all nodes back, which must be down.
    pub(crate) fn restore(&mut self, snapshots: &[Snapshot]) {
        self.nodes.iter_mut().zip(snapshots).for_each(|(node, snapshot)| node.restore(snapshot));
    }
}

/// Where a partition's replicas are, by the ids of their brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replicas {
    pub(crate) leader: Option<i32>,
    pub(crate) all: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
}
