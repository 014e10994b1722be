//! What brokers say of topics, asked once for all partitions that want to know it at the same time.
//!
//! An answer about a topic names each of its partitions. With a thousand of them, a thousand questions at the start
//! and at the end would take longer than to archive what they hold.

use super::asked_once::AskedOnce;
use crate::kafka::ffi::{BrokerViews, Client, KafkaError};
use kafka_store_actors::ports::TopicAnswer;
use kafka_store_statecharts::topic::{TopicId, TopicName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a broker may take. These are good things to have, not worth a delay.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What is known of topics, and since when.
#[derive(Debug, Default)]
pub struct TopicFacts {
    ids: AskedOnce<TopicName, Option<TopicId>>,
    retentions: AskedOnce<TopicName, Option<u64>>,
    looks: AskedOnce<TopicName, Look>,
}

/// What several brokers say of the cluster and a topic, where there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Ids of the cluster that answered: more than one if the brokers are of several clusters.
    pub(super) cluster_ids: BTreeSet<String>,
    /// The answer about the topic, which all that answered agree on.
    pub(super) topic: TopicAnswer,
    /// Two brokers have answered, or the cluster has only one.
    pub(super) is_certain: bool,
}

impl TopicFacts {
    /// The topic's id, where the brokers have one, by an answer to a question that was not asked before `not_before`.
    pub(super) fn id(
        &self,
        client: &Client,
        topic: &TopicName,
        not_before: Instant,
    ) -> Result<Option<TopicId>, KafkaError> {
        self.ids.get(topic, not_before, || client.topic_id(topic, ANSWER_TIME))
    }

    /// What up to three brokers say of the cluster and the topic.
    ///
    /// # Errors
    /// If none answers, or if they disagree.
    pub(super) fn look(&self, client: &Client, topic: &TopicName, not_before: Instant) -> Result<Look, KafkaError> {
        self.looks.get(topic, not_before, || {
            let views = client.broker_views(std::slice::from_ref(topic), ANSWER_TIME)?;
            look_at(&views, topic).ok_or_else(|| disagreement(topic))
        })
    }

    /// The same of several topics, without those of which the brokers say nothing, or disagree.
    pub(super) fn looks(&self, client: &Client, topics: &[TopicName]) -> BTreeMap<TopicName, Look> {
        let Ok(views) = client.broker_views(topics, ANSWER_TIME) else { return BTreeMap::new() };
        topics.iter().filter_map(|topic| Some((topic.clone(), look_at(&views, topic)?))).collect()
    }

    /// How long the topic keeps records, in ms, where it removes them by time.
    pub(super) fn retention_ms(
        &self,
        client: &Client,
        topic: &TopicName,
        not_before: Instant,
    ) -> Result<Option<u64>, KafkaError> {
        self.retentions.get(topic, not_before, || {
            let value = client.topic_setting(topic, "retention.ms", ANSWER_TIME)?;
            Ok(value.and_then(|value| value.parse().ok())) // -1 is for ever.
        })
    }
}

/// The answer that an id, or its absence, gives. An error that says nothing of the topic gives none.
fn answer(id: &Result<Option<TopicId>, KafkaError>) -> Option<TopicAnswer> {
    match id {
        Ok(id) => Some(TopicAnswer::Exists(*id)),
        Err(error) if error.name == "UNKNOWN_TOPIC_OR_PART" => Some(TopicAnswer::Absent),
        Err(_) => None,
    }
}

/// What brokers agree on; `None` if they disagree, or say nothing of the topic.
fn look_at(views: &BrokerViews, topic: &TopicName) -> Option<Look> {
    let answers: Vec<TopicAnswer> = views.views.iter().filter_map(|view| answer(view.topics.get(topic)?)).collect();
    let (first, others) = answers.split_first()?;
    let cluster_ids = views.views.iter().filter_map(|view| view.cluster_id.clone()).collect();
    let is_certain = answers.len() >= views.broker_count.min(2);
    others.iter().all(|other| other == first).then_some(Look { cluster_ids, topic: *first, is_certain })
}

fn disagreement(topic: &TopicName) -> KafkaError {
    KafkaError {
        name: "_INCONSISTENT".to_owned(),
        text: format!("the brokers disagree on whether topic {topic} exists, or on its id"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::ffi::BrokerView;

    fn topic() -> TopicName {
        TopicName::new("orders").expect("legal")
    }

    fn id(number: u8) -> Option<TopicId> {
        TopicId::new([number; 16])
    }

    fn failed(name: &str) -> KafkaError {
        KafkaError { name: name.to_owned(), text: String::new() }
    }

    fn views(ids: &[Result<Option<TopicId>, KafkaError>], broker_count: usize) -> BrokerViews {
        let view = |(number, id): (usize, &Result<Option<TopicId>, KafkaError>)| BrokerView {
            cluster_id: Some(format!("cluster-{}", number / 2)),
            topics: BTreeMap::from([(topic(), id.clone())]),
        };
        BrokerViews { views: ids.iter().enumerate().map(view).collect(), broker_count }
    }

    fn seen(ids: &[Result<Option<TopicId>, KafkaError>], broker_count: usize) -> Option<(TopicAnswer, bool)> {
        look_at(&views(ids, broker_count), &topic()).map(|look| (look.topic, look.is_certain))
    }

    #[test]
    fn an_answer_is_certain_when_two_brokers_agree_where_there_are_two() {
        let exists = |number| TopicAnswer::Exists(id(number));
        assert_eq!(seen(&[Ok(id(1))], 1), Some((exists(1), true)));
        assert_eq!(seen(&[Ok(id(1))], 3), Some((exists(1), false)));
        assert_eq!(seen(&[Ok(id(1)), Ok(id(1))], 3), Some((exists(1), true)));
        assert_eq!(seen(&[Ok(id(1)), Ok(id(2))], 2), None);
        assert_eq!(seen(&[Ok(None), Ok(None)], 2), Some((TopicAnswer::Exists(None), true)));
        let absent = || Err(failed("UNKNOWN_TOPIC_OR_PART"));
        assert_eq!(seen(&[absent(), absent()], 2), Some((TopicAnswer::Absent, true)));
        assert_eq!(seen(&[absent(), Ok(id(1))], 2), None);
    }

    #[test]
    fn no_answer_is_not_no_id() {
        let silent = || Err(failed("LEADER_NOT_AVAILABLE"));
        assert_eq!(seen(&[silent()], 1), None);
        assert_eq!(seen(&[silent(), Ok(id(1))], 2), Some((TopicAnswer::Exists(id(1)), false)));
        assert_eq!(seen(&[], 1), None);
    }

    #[test]
    fn brokers_of_two_clusters_are_told_apart() {
        let look = look_at(&views(&[Ok(id(1)), Ok(id(1)), Ok(id(1))], 3), &topic()).expect("they agree");
        assert_eq!(look.cluster_ids, BTreeSet::from(["cluster-0".to_owned(), "cluster-1".to_owned()]));
    }
}
