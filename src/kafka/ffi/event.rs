//! What librdkafka's queues deliver.

use super::list::{elements_of, partition_of};
use super::{KafkaError, owned, rd};
use kafka_store_statecharts::topic::TopicPartition;
use std::ptr::{NonNull, null};

/// One event, and all that it holds.
#[derive(Debug)]
pub struct Event(NonNull<rd::rd_kafka_event_t>);

// SAFETY: an event is an operation taken off a queue; librdkafka binds it to no thread, and it has one owner.
unsafe impl Send for Event {}

/// What an event is about.
#[derive(Debug)]
pub enum EventKind {
    /// The group gives partitions; they wait for an answer.
    Assign(Vec<TopicPartition>),
    /// The group takes partitions away, or they are lost; they wait for an answer.
    Revoke(Vec<TopicPartition>),
    /// All that may be read of a partition has been.
    PartitionEnd(TopicPartition, i64),
    /// A partition cannot be read as it should.
    PartitionFailed(PartitionProblem),
    /// The client itself can do nothing more.
    Fatal(KafkaError),
    /// Something that librdkafka deals with itself, worth a line in the log.
    Notice(KafkaError),
    /// A line of librdkafka's own log, with its syslog level.
    Log {
        /// 0 (emergency) to 7 (debug).
        level: i32,
        /// The line.
        text: String,
    },
    /// Anything else.
    Other,
}

/// A partition that cannot be read as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProblem {
    /// Which.
    pub partition: TopicPartition,
    /// Where, by Kafka's signed number; negative if it is not known.
    pub offset: i64,
    /// Why.
    pub error: KafkaError,
}

impl EventKind {
    /// What an error that names a partition is about.
    pub(super) fn of_partition(
        partition: TopicPartition,
        offset: i64,
        code: rd::rd_kafka_resp_err_t,
        text: String,
    ) -> EventKind {
        if code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
            return EventKind::PartitionEnd(partition, offset);
        }
        let error = KafkaError { text, ..KafkaError::from_code(code) };
        EventKind::PartitionFailed(PartitionProblem { partition, offset, error })
    }
}

impl Event {
    /// Takes an event over that a queue gave to us; `None` for null.
    pub(super) fn from_owned(event: *mut rd::rd_kafka_event_t) -> Option<Event> {
        NonNull::new(event).map(Event)
    }

    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_event_t {
        self.0.as_ptr()
    }

    /// What the event is about.
    pub fn kind(&self) -> EventKind {
        // SAFETY: the event is valid as long as `self`.
        match unsafe { rd::rd_kafka_event_type(self.as_ptr()) } {
            // Whatever is led elsewhere does not come here (rdkafka.h, `rd_kafka_queue_forward`). It must not be lost in silence.
            rd::RD_KAFKA_EVENT_FETCH => {
                EventKind::Fatal(KafkaError::local("a record came where none is taken".to_owned()))
            }
            rd::RD_KAFKA_EVENT_REBALANCE => self.rebalance(),
            rd::RD_KAFKA_EVENT_ERROR => self.error(),
            rd::RD_KAFKA_EVENT_LOG => self.log(),
            _ => EventKind::Other,
        }
    }

    fn rebalance(&self) -> EventKind {
        // SAFETY: the event is a rebalance; its list belongs to it and is only read here.
        let (code, list) = unsafe {
            (rd::rd_kafka_event_error(self.as_ptr()), rd::rd_kafka_event_topic_partition_list(self.as_ptr()))
        };
        // SAFETY: the list, where there is one, lives as long as the event.
        let elements = if list.is_null() { &[] } else { unsafe { elements_of(list) } };
        let partitions = elements.iter().filter_map(partition_of).collect();
        match code {
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => EventKind::Assign(partitions),
            _ => EventKind::Revoke(partitions),
        }
    }

    fn error(&self) -> EventKind {
        use rd::rd_kafka_resp_err_t as Code;
        // SAFETY: the event is an error; its string belongs to it and is copied.
        let (code, text, is_fatal) = unsafe {
            let code = rd::rd_kafka_event_error(self.as_ptr());
            (
                code,
                owned(rd::rd_kafka_event_error_string(self.as_ptr())),
                rd::rd_kafka_event_error_is_fatal(self.as_ptr()),
            )
        };
        let mut error = KafkaError::from_code(code);
        if is_fatal != 0 || code == Code::RD_KAFKA_RESP_ERR__FATAL {
            error.text = text;
            return EventKind::Fatal(error);
        }
        // SAFETY: the answer is a new element that is ours to free, or null.
        let element = unsafe { rd::rd_kafka_event_topic_partition(self.as_ptr()) };
        if element.is_null() {
            error.text = text;
            return EventKind::Notice(error);
        }
        // SAFETY: not null, ours, and not used after it is freed.
        let (partition, offset) = unsafe {
            let named = (partition_of(&*element), (*element).offset);
            rd::rd_kafka_topic_partition_destroy(element);
            named
        };
        match partition {
            Some(partition) => EventKind::of_partition(partition, offset, code, text),
            None => {
                error.text = text;
                EventKind::Notice(error)
            }
        }
    }

    fn log(&self) -> EventKind {
        let (mut facility, mut text, mut level) = (null(), null(), 0);
        // SAFETY: the event is a log line; the strings belong to it and are copied.
        unsafe { rd::rd_kafka_event_log(self.as_ptr(), &mut facility, &mut text, &mut level) };
        EventKind::Log { level, text: format!("{}: {}", owned(facility), owned(text)) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours and nothing borrows from it any more.
        unsafe { rd::rd_kafka_event_destroy(self.as_ptr()) };
    }
}
