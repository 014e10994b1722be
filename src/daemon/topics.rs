//! Topics that are to be archived: those that exist at the start, and those that come and go where `--topic` has patterns.
//!
//! The group's clients subscribe to names, each to those that it has seen itself: members may differ for a moment.

use super::{START_TIME, StartError};
use crate::archive::parallel_map;
use crate::blocking::BlockingPool;
use crate::config::Subscription;
use crate::kafka::KafkaSource;
use crate::kafka::ffi::Client;
use kafka_store_actors::ports::{ChainLocator, TopicAnswer};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use slog::{Logger, info, warn};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long brokers may take to name all topics.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How many questions about one topic or partition are asked at a time at the start.
const ASKED_AT_A_TIME: usize = 16;

/// The partitions that exist now of all topics named, and of those that a pattern means, in order.
pub(super) fn all_partitions(
    client: &Client,
    topics: &Subscription,
    brokers: &str,
) -> Result<Vec<TopicPartition>, StartError> {
    // One answer names all topics with their partitions.
    let mut found = match topics.has_patterns() {
        true => client.topics(START_TIME).map_err(|error| StartError::kafka(&error, format!("{brokers}: {error}")))?,
        false => BTreeMap::new(),
    };
    let meant = topics.resolve(found.keys());
    found.retain(|topic, partitions| meant.contains(topic) && !partitions.is_empty());
    let unknown: Vec<&TopicName> = topics.names().iter().filter(|topic| !found.contains_key(topic)).collect();
    let answers = parallel_map(&unknown, ASKED_AT_A_TIME, |topic| partitions_of(client, topic, brokers));
    for (topic, partitions) in unknown.into_iter().zip(answers) {
        found.insert(topic.clone(), partitions?);
    }
    let of = |(topic, partitions): (TopicName, Vec<PartitionId>)| {
        partitions.into_iter().map(move |partition| TopicPartition { topic: topic.clone(), partition })
    };
    Ok(found.into_iter().flat_map(of).collect())
}

fn partitions_of(client: &Client, topic: &TopicName, brokers: &str) -> Result<Vec<PartitionId>, StartError> {
    client.partitions(topic, START_TIME).map_err(|error| match error.name.as_str() {
        "UNKNOWN_TOPIC_OR_PART" => {
            StartError::from(format!("there is no topic {topic} at {brokers}: create it, or check --topic"))
        }
        "_TRANSPORT" | "_TIMED_OUT" | "_ALL_BROKERS_DOWN" => {
            let within = START_TIME.as_secs();
            let reason = format!(
                "no broker of {brokers} answered within {within} s: {error}; check --broker-list, the network and -X"
            );
            StartError::kafka(&error, reason)
        }
        _ => StartError::kafka(&error, format!("topic {topic}: {error}")),
    })
}

/// Subscribes to topics when they are seen, and unsubscribes from them once they are known to be deleted.
#[derive(Debug)]
pub(super) struct TopicWatch {
    pub(super) subscription: Subscription,
    /// Topics that are subscribed to.
    pub(super) subscribed: BTreeSet<TopicName>,
    /// The client that is asked.
    pub(super) client: Arc<Client>,
    /// Says whether a topic that is not seen is deleted.
    pub(super) locator: Arc<dyn ChainLocator>,
    pub(super) source: KafkaSource,
    pub(super) interval: Duration,
    pub(super) log: Logger,
}

impl TopicWatch {
    /// Subscribes to what there is, and goes on looking for more as long as the system of actors runs. A run that ends
    /// archives what there was at its start, and does not look again.
    pub(super) fn start(self, until_end: bool) {
        if self.subscribed.is_empty() {
            let patterns = self.subscription.to_strings().join(" ");
            if until_end {
                warn!(self.log, "no topic matches, so there is nothing to archive"; "patterns" => patterns);
            } else {
                warn!(self.log, "no topic matches yet; looking again"; "every_seconds" => self.interval.as_secs_f64(),
                    "patterns" => patterns);
            }
        }
        self.subscribe();
        if self.subscription.has_patterns() && !until_end {
            actix::spawn(self.run());
        }
    }

    fn subscribe(&self) {
        self.source.subscribe(self.subscribed.iter().cloned().collect());
    }

    async fn run(mut self) {
        let pool = BlockingPool::new("topics", 1);
        loop {
            tokio::time::sleep(self.interval).await;
            let client = Arc::clone(&self.client);
            match pool.run(move || client.topics(ANSWER_TIME)).await {
                Ok(topics) => self.seen(&self.subscription.resolve(topics.keys())).await,
                Err(error) => info!(self.log, "topics not listed; asking again"; "reason" => %error),
            }
        }
    }

    /// Follows what was seen.
    async fn seen(&mut self, seen: &BTreeSet<TopicName>) {
        let added: Vec<TopicName> = seen.difference(&self.subscribed).cloned().collect();
        let unseen: Vec<TopicName> = self.subscribed.difference(seen).cloned().collect();
        let mut deleted = Vec::new();
        if !unseen.is_empty() {
            // A list may lack topics for many reasons: a right was taken away, a broker has just started.
            let answers = self.locator.topics(unseen).await;
            let absent = answers.into_iter().filter(|(_, answer)| *answer == TopicAnswer::Absent);
            deleted.extend(absent.map(|(topic, _)| topic));
        }
        if added.is_empty() && deleted.is_empty() {
            return;
        }
        for topic in &added {
            info!(self.log, "topic found, which a pattern matches"; "topic" => %topic);
        }
        for topic in &deleted {
            info!(self.log, "topic was deleted, and is subscribed to no more"; "topic" => %topic);
            self.subscribed.remove(topic);
        }
        self.subscribed.extend(added);
        self.subscribe();
    }
}
