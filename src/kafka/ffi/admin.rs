//! Questions to the brokers that are not about consuming. They block: ask them off the poll thread.

use super::client::{Client, milliseconds};
use super::event::Event;
use super::list::{PartitionList, leader_epoch_of, partition_of, topic_string};
use super::{KafkaError, owned, rd};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::time::Duration;

/// Which end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// The log start offset.
    Start,
    /// The last stable offset: where readers of committed records stop.
    LastStable,
    /// The high watermark.
    HighWatermark,
}

impl LogEnd {
    /// Kafka's OffsetSpec: -2 asks for the earliest offset, -1 for the latest.
    fn spec(self) -> i64 {
        if self == LogEnd::Start { -2 } else { -1 }
    }

    fn isolation(self) -> rd::rd_kafka_IsolationLevel_t {
        match self {
            LogEnd::HighWatermark => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
            _ => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        }
    }
}

/// A place in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// The offset.
    pub offset: Offset,
    /// At the start of a log: the epoch of the leader that wrote its first record. At its end: the leader's own epoch, if it has
    /// written anything; else that of the last record. `None` where the broker reports none.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Where a log ends, or why nobody says it.
type AnsweredEnd = Result<(TopicPartition, LogPosition), KafkaError>;

impl Client {
    /// Where logs begin or end.
    pub fn log_ends(
        &self,
        partitions: &[TopicPartition],
        end: LogEnd,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, Offset>, KafkaError> {
        Ok(offsets(self.log_positions(partitions, end, timeout)?))
    }

    /// The same, with leader epochs.
    pub fn log_positions(
        &self,
        partitions: &[TopicPartition],
        end: LogEnd,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, LogPosition>, KafkaError> {
        self.each_log_end(partitions, end, timeout)?.into_iter().collect()
    }

    /// The same of those partitions for which somebody answers.
    pub fn known_log_ends(
        &self,
        partitions: &[TopicPartition],
        end: LogEnd,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, Offset>, KafkaError> {
        Ok(offsets(self.each_log_end(partitions, end, timeout)?.into_iter().flatten().collect()))
    }

    fn each_log_end(
        &self,
        partitions: &[TopicPartition],
        end: LogEnd,
        timeout: Duration,
    ) -> Result<Vec<AnsweredEnd>, KafkaError> {
        let mut list = PartitionList::new();
        for partition in partitions {
            list.add(partition).offset = end.spec();
        }
        let request = Request::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout)?;
        // SAFETY: options, list and queue are valid; the list is copied.
        unsafe {
            KafkaError::take(rd::rd_kafka_AdminOptions_set_isolation_level(request.options.as_ptr(), end.isolation()))?;
            rd::rd_kafka_ListOffsets(self.handle(), list.as_ptr(), request.options.as_ptr(), request.queue.as_ptr());
        }
        let answer = request.answer(timeout)?;
        let mut ends = Vec::new();
        // SAFETY: the event answers ListOffsets; what is read belongs to it and lives as long.
        unsafe {
            let result = rd::rd_kafka_event_ListOffsets_result(answer.as_ptr());
            if result.is_null() {
                return Err(KafkaError::local("the broker did not answer ListOffsets".to_owned()));
            }
            let mut count = 0;
            let infos = rd::rd_kafka_ListOffsets_result_infos(result, &mut count);
            for index in 0..count {
                let element = &*rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
                let of_element = (partition_of(element), Offset::new(element.offset));
                match (KafkaError::check(element.err), of_element) {
                    (Err(error), _) => ends.push(Err(error)),
                    (Ok(()), (Some(partition), Some(offset))) => {
                        ends.push(Ok((partition, LogPosition { offset, leader_epoch: leader_epoch_of(element) })));
                    }
                    (Ok(()), _) => {}
                }
            }
        }
        Ok(ends)
    }
}

impl Client {
    /// The value of a topic's setting, as `retention.ms`; `None` if the topic has no such setting.
    pub fn topic_setting(
        &self,
        topic: &TopicName,
        setting: &str,
        timeout: Duration,
    ) -> Result<Option<String>, KafkaError> {
        if !self.has_controller(timeout)? {
            return Ok(None);
        }
        let request = Request::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout)?;
        let name = topic_string(topic);
        // SAFETY: the resource copies the name and is freed after the call that reads it.
        unsafe {
            let kind = rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let resource = rd::rd_kafka_ConfigResource_new(kind, name.as_ptr());
            let mut resources = [resource];
            rd::rd_kafka_DescribeConfigs(
                self.handle(),
                resources.as_mut_ptr(),
                resources.len(),
                request.options.as_ptr(),
                request.queue.as_ptr(),
            );
            rd::rd_kafka_ConfigResource_destroy(resource);
        }
        let answer = request.answer(timeout)?;
        // SAFETY: the event answers DescribeConfigs; what is read belongs to it and lives as long.
        unsafe {
            let result = rd::rd_kafka_event_DescribeConfigs_result(answer.as_ptr());
            if result.is_null() {
                return Ok(None);
            }
            let mut count = 0;
            let described = rd::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
            if described.is_null() || count == 0 {
                return Ok(None);
            }
            KafkaError::check(rd::rd_kafka_ConfigResource_error(*described))?;
            let mut entry_count = 0;
            let entries = rd::rd_kafka_ConfigResource_configs(*described, &mut entry_count);
            for index in 0..entry_count {
                let entry = *entries.add(index);
                if owned(rd::rd_kafka_ConfigEntry_name(entry)) == setting {
                    return Ok(Some(owned(rd::rd_kafka_ConfigEntry_value(entry))));
                }
            }
            Ok(None)
        }
    }
}

fn offsets(positions: BTreeMap<TopicPartition, LogPosition>) -> BTreeMap<TopicPartition, Offset> {
    positions.into_iter().map(|(partition, position)| (partition, position.offset)).collect()
}

/// One question with its options, and the queue on which the answer comes.
pub(super) struct Request {
    options: NonNull<rd::rd_kafka_AdminOptions_t>,
    queue: NonNull<rd::rd_kafka_queue_t>,
}

impl Request {
    pub(super) fn new(
        client: &Client,
        operation: rd::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Result<Request, KafkaError> {
        let mut text = [0; 256];
        // SAFETY: the client is valid; both objects are freed by `Drop`.
        unsafe {
            let options = NonNull::new(rd::rd_kafka_AdminOptions_new(client.handle(), operation));
            let queue = NonNull::new(rd::rd_kafka_queue_new(client.handle()));
            let request = Request {
                options: options.expect("librdkafka knows the operation"),
                queue: queue.expect("librdkafka allocates or aborts"),
            };
            let code = rd::rd_kafka_AdminOptions_set_request_timeout(
                request.options.as_ptr(),
                milliseconds(timeout),
                text.as_mut_ptr(),
                text.len(),
            );
            KafkaError::check(code).map_err(|_| KafkaError::local(owned(text.as_ptr())))?;
            Ok(request)
        }
    }

    /// Sends it to this broker, and no other.
    pub(super) fn with_broker(self, broker: i32) -> Result<Request, KafkaError> {
        let mut text = [0; 256];
        // SAFETY: the options are valid; the message is written to our buffer.
        let code = unsafe {
            rd::rd_kafka_AdminOptions_set_broker(self.options.as_ptr(), broker, text.as_mut_ptr(), text.len())
        };
        KafkaError::check(code).map_err(|_| KafkaError::local(owned(text.as_ptr())))?;
        Ok(self)
    }

    pub(super) fn options(&self) -> *mut rd::rd_kafka_AdminOptions_t {
        self.options.as_ptr()
    }

    pub(super) fn queue(&self) -> *mut rd::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    pub(super) fn answer(&self, timeout: Duration) -> Result<Event, KafkaError> {
        // The broker's own answer to a late request comes first; the margin is for the way.
        let margin = Duration::from_secs(1);
        // SAFETY: the queue is valid; the event becomes ours.
        let event =
            Event::from_owned(unsafe { rd::rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds(timeout + margin)) });
        let event = event.ok_or_else(|| KafkaError::local("no broker answered in time".to_owned()))?;
        // SAFETY: the event is valid; its string is copied.
        let (code, text) = unsafe {
            (rd::rd_kafka_event_error(event.as_ptr()), owned(rd::rd_kafka_event_error_string(event.as_ptr())))
        };
        KafkaError::check(code).map_err(|error| KafkaError { text, ..error })?;
        Ok(event)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: both are ours and not used any more.
        unsafe {
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
            rd::rd_kafka_AdminOptions_destroy(self.options.as_ptr());
        }
    }
}
