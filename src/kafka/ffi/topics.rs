//! Questions about the cluster and its topics: which brokers there are, and which ids cluster and topics have.
//!
//! A broker answers from its own copy of the metadata, which may lag behind the others'. What depends on an id is asked of two.

use super::admin::Request;
use super::client::{Client, milliseconds};
use super::list::topic_string;
use super::{KafkaError, owned, rd};
use kafka_store_statecharts::topic::{TopicId, TopicName};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

/// Brokers that are asked where two are to agree: one of them may be down.
const ASKED_MAX: usize = 3;

/// Ids of topics, where the broker has ids, or the broker's errors.
pub type TopicIds = BTreeMap<TopicName, Result<Option<TopicId>, KafkaError>>;

/// What one broker says of the cluster and its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerView {
    /// The cluster's id, where the broker has one.
    pub cluster_id: Option<String>,
    /// The topics asked for.
    pub topics: TopicIds,
}

/// Answers of several brokers to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerViews {
    /// The answers that came.
    pub views: Vec<BrokerView>,
    /// Number of the cluster's brokers.
    pub broker_count: usize,
}

impl Client {
    /// Number of the cluster's brokers. Asks one of them.
    pub fn broker_count(&self, timeout: Duration) -> Result<usize, KafkaError> {
        Ok(self.brokers(timeout)?.len())
    }

    /// Reports whether the brokers name one of themselves as the controller, without which none answers for topics. Brokers in
    /// memory do not.
    pub(super) fn has_controller(&self, timeout: Duration) -> Result<bool, KafkaError> {
        // A broker that has named one is a real one, and continues to name one.
        if self.has_named_controller() {
            return Ok(true);
        }
        let brokers = self.brokers(timeout)?;
        // SAFETY: the handle is valid.
        let controller = unsafe { rd::rd_kafka_controllerid(self.handle(), 0) };
        let named = brokers.contains(&controller);
        if named {
            self.remember_controller();
        }
        Ok(named)
    }

    /// Numbers of the cluster's brokers. The question refreshes what librdkafka knows of leaders.
    fn brokers(&self, timeout: Duration) -> Result<Vec<i32>, KafkaError> {
        let mut metadata = std::ptr::null();
        // SAFETY: the handle is valid; the answer is read within its life, and given back.
        unsafe {
            let code =
                rd::rd_kafka_metadata(self.handle(), 0, std::ptr::null_mut(), &mut metadata, milliseconds(timeout));
            KafkaError::check(code)?;
            let count = usize::try_from((*metadata).broker_cnt).unwrap_or(0);
            let numbers = (0..count).map(|index| (*(*metadata).brokers.add(index)).id).collect();
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(numbers)
        }
    }

    /// The id of a topic; `None` where the brokers have none: old ones, and those that name no controller.
    pub fn topic_id(&self, topic: &TopicName, timeout: Duration) -> Result<Option<TopicId>, KafkaError> {
        let mut ids = self.topic_ids(std::slice::from_ref(topic), timeout)?;
        ids.remove(topic).unwrap_or_else(|| Err(KafkaError::local(format!("the broker says nothing of topic {topic}"))))
    }

    /// Ids of topics, by one answer of one broker.
    pub fn topic_ids(&self, topics: &[TopicName], timeout: Duration) -> Result<TopicIds, KafkaError> {
        if !self.has_controller(timeout)? {
            return Ok(topics.iter().map(|topic| (topic.clone(), Ok(None))).collect());
        }
        self.ask_topics(topics, None, timeout)?.topic_ids(timeout)
    }

    /// What several brokers say of topics, at most three, asked at the same time. At least one has answered.
    pub fn broker_views(&self, topics: &[TopicName], timeout: Duration) -> Result<BrokerViews, KafkaError> {
        let brokers = self.brokers(timeout)?;
        let has_ids = self.has_controller(timeout)?;
        let asked: Vec<(Request, Request)> = brokers
            .iter()
            .take(ASKED_MAX)
            .map(|broker| Ok((self.ask_topics(topics, Some(*broker), timeout)?, self.ask_cluster(*broker, timeout)?)))
            .collect::<Result<_, KafkaError>>()?;
        let (mut views, mut failure) = (Vec::new(), None);
        for (topic_question, cluster_question) in asked {
            let ids = topic_question.topic_ids(timeout);
            let view = cluster_question.cluster_id(timeout).and_then(|cluster_id| {
                let mut topics = ids?;
                if !has_ids {
                    topics.values_mut().flatten().for_each(|id| *id = None);
                }
                Ok(BrokerView { cluster_id, topics })
            });
            match view {
                Ok(view) => views.push(view),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if views.is_empty() => Err(error),
            _ if views.is_empty() => Err(KafkaError::local("the cluster names no broker".to_owned())),
            _ => Ok(BrokerViews { views, broker_count: brokers.len() }),
        }
    }

    fn ask_topics(&self, topics: &[TopicName], broker: Option<i32>, timeout: Duration) -> Result<Request, KafkaError> {
        let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let request = Request::new(self, operation, timeout)?.with_broker_if_any(broker)?;
        let names: Vec<CString> = topics.iter().map(topic_string).collect();
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the collection copies the names and is freed after the call that reads it.
        unsafe {
            let topics = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            rd::rd_kafka_DescribeTopics(self.handle(), topics, request.options(), request.queue());
            rd::rd_kafka_TopicCollection_destroy(topics);
        }
        Ok(request)
    }

    fn ask_cluster(&self, broker: i32, timeout: Duration) -> Result<Request, KafkaError> {
        let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER;
        let request = Request::new(self, operation, timeout)?.with_broker_if_any(Some(broker))?;
        // SAFETY: handle, options and queue are valid.
        unsafe { rd::rd_kafka_DescribeCluster(self.handle(), request.options(), request.queue()) };
        Ok(request)
    }
}

impl Request {
    fn with_broker_if_any(self, broker: Option<i32>) -> Result<Request, KafkaError> {
        match broker {
            Some(broker) => self.with_broker(broker),
            None => Ok(self),
        }
    }

    /// The answer to DescribeTopics.
    fn topic_ids(&self, timeout: Duration) -> Result<TopicIds, KafkaError> {
        let answer = self.answer(timeout)?;
        let mut ids = TopicIds::new();
        // SAFETY: the event answers DescribeTopics; what is read belongs to it and lives as long.
        unsafe {
            let result = rd::rd_kafka_event_DescribeTopics_result(answer.as_ptr());
            if result.is_null() {
                return Err(KafkaError::local("the broker did not answer DescribeTopics".to_owned()));
            }
            let mut count = 0;
            let descriptions = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            for index in 0..if descriptions.is_null() { 0 } else { count } {
                let description = *descriptions.add(index);
                let name = owned(rd::rd_kafka_TopicDescription_name(description));
                if let Ok(topic) = TopicName::new(&name) {
                    ids.insert(topic, topic_id_of(description));
                }
            }
        }
        Ok(ids)
    }

    /// The answer to DescribeCluster.
    fn cluster_id(&self, timeout: Duration) -> Result<Option<String>, KafkaError> {
        let answer = self.answer(timeout)?;
        // SAFETY: the event answers DescribeCluster; the string belongs to it and is copied.
        let id = unsafe {
            let result = rd::rd_kafka_event_DescribeCluster_result(answer.as_ptr());
            if result.is_null() {
                return Err(KafkaError::local("the broker did not answer DescribeCluster".to_owned()));
            }
            owned(rd::rd_kafka_DescribeCluster_result_cluster_id(result))
        };
        Ok(Some(id).filter(|id| !id.is_empty()))
    }
}

/// The id that a description names; `None` if the broker has no ids.
///
/// # Safety
/// `description` is valid.
unsafe fn topic_id_of(description: *const rd::rd_kafka_TopicDescription_t) -> Result<Option<TopicId>, KafkaError> {
    // SAFETY: by the function's own condition; error and id belong to the description.
    unsafe {
        let error = rd::rd_kafka_TopicDescription_error(description);
        if !error.is_null() {
            KafkaError::check(rd::rd_kafka_error_code(error))?;
        }
        let id = rd::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            return Ok(None);
        }
        let high = rd::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes();
        let low = rd::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high);
        bytes[8..].copy_from_slice(&low);
        Ok(TopicId::new(bytes))
    }
}
