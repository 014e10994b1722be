//! What librdkafka's queues deliver.

use super::list::{elements_of, partition_of};
use super::{KafkaError, owned, rd};
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::offset::LeaderEpoch;
use kafka_store_statecharts::record::TimestampType;
use kafka_store_statecharts::topic::TopicPartition;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};

/// One event, and all that it holds. Dropping it frees the records' memory.
#[derive(Debug)]
pub struct Event {
    event: NonNull<rd::rd_kafka_event_t>,
    /// The record that was given last.
    last: Option<NonNull<rd::rd_kafka_message_t>>,
    /// It is to be given once more.
    again: bool,
}

// SAFETY: an event is an operation taken off a queue; librdkafka binds it to no thread, and it has one owner.
unsafe impl Send for Event {}

/// What an event is about.
#[derive(Debug)]
pub enum EventKind {
    /// A record; take it by [`Event::record`].
    Fetch,
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

impl Event {
    /// Takes an event over that a queue gave to us; `None` for null.
    pub(super) fn from_owned(event: *mut rd::rd_kafka_event_t) -> Option<Event> {
        NonNull::new(event).map(|event| Event { event, last: None, again: false })
    }

    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_event_t {
        self.event.as_ptr()
    }

    /// What the event is about.
    pub fn kind(&self) -> EventKind {
        // SAFETY: the event is valid as long as `self`.
        match unsafe { rd::rd_kafka_event_type(self.as_ptr()) } {
            rd::RD_KAFKA_EVENT_FETCH => EventKind::Fetch,
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
            Some(partition) if code == Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                EventKind::PartitionEnd(partition, offset)
            }
            Some(partition) => {
                error.text = text;
                EventKind::PartitionFailed(PartitionProblem { partition, offset, error })
            }
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

    /// The next record of a fetch event; `None` when it holds no more.
    pub fn record(&mut self) -> Option<FetchedRecord<'_>> {
        if !std::mem::take(&mut self.again) {
            // SAFETY: the event is valid; the message belongs to it and lives as long, which the borrow says.
            let message = unsafe { rd::rd_kafka_event_message_next(self.as_ptr()) };
            self.last = NonNull::new(message.cast_mut());
        }
        self.last.map(|message| FetchedRecord { message, event: PhantomData })
    }

    /// The record that was given last was not taken: it is given once more.
    pub fn put_back(&mut self) {
        self.again = true;
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours and nothing borrows from it any more.
        unsafe { rd::rd_kafka_event_destroy(self.as_ptr()) };
    }
}

/// A record in librdkafka's memory.
#[derive(Debug)]
pub struct FetchedRecord<'e> {
    message: NonNull<rd::rd_kafka_message_t>,
    event: PhantomData<&'e Event>,
}

impl<'e> FetchedRecord<'e> {
    fn message(&self) -> &'e rd::rd_kafka_message_t {
        // SAFETY: the message lives as long as its event, which `'e` borrows.
        unsafe { self.message.as_ref() }
    }

    /// What tells topics apart cheaply; the name behind it is [`FetchedRecord::topic`].
    pub fn topic_handle(&self) -> usize {
        self.message().rkt.addr()
    }

    /// The topic's name.
    pub fn topic(&self) -> String {
        // SAFETY: a fetched message has a topic, whose name lives as long as the client.
        owned(unsafe { rd::rd_kafka_topic_name(self.message().rkt) })
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.message().partition
    }

    /// The offset, by Kafka's signed number.
    pub fn offset(&self) -> i64 {
        self.message().offset
    }

    /// An error in the place of a record.
    pub fn error(&self) -> Result<(), KafkaError> {
        KafkaError::check(self.message().err)
    }

    /// The epoch of the leader that wrote it, if the broker says it.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        // SAFETY: the message is valid.
        LeaderEpoch::new(unsafe { rd::rd_kafka_message_leader_epoch(self.message.as_ptr()) })
    }

    /// The key; null is not empty.
    pub fn key(&self) -> Option<&'e [u8]> {
        let message = self.message();
        // SAFETY: a key that is not null has `key_len` bytes that live as long as the event.
        unsafe { bytes(message.key, message.key_len) }
    }

    /// The value; null is not empty.
    pub fn value(&self) -> Option<&'e [u8]> {
        let message = self.message();
        // SAFETY: a payload that is not null has `len` bytes that live as long as the event.
        unsafe { bytes(message.payload, message.len) }
    }

    /// The bytes of key and value.
    pub fn size(&self) -> usize {
        self.message().key_len + self.message().len
    }

    /// The timestamp, verbatim, and what it means.
    pub fn timestamp(&self) -> (TimestampMs, TimestampType) {
        use rd::rd_kafka_timestamp_type_t as Type;
        let mut timestamp_type = Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid and the type is written to our variable.
        let timestamp = unsafe { rd::rd_kafka_message_timestamp(self.message.as_ptr(), &mut timestamp_type) };
        let timestamp_type = match timestamp_type {
            Type::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampType::CreateTime,
            Type::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampType::LogAppendTime,
            Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => TimestampType::NotAvailable,
        };
        (timestamp, timestamp_type)
    }

    /// The headers, in their order, duplicates kept. An error if librdkafka cannot parse them.
    pub fn headers(&self) -> Result<Headers<'e>, KafkaError> {
        use rd::rd_kafka_resp_err_t as Code;
        let mut headers = null_mut();
        // SAFETY: the message is valid; the headers belong to it.
        match unsafe { rd::rd_kafka_message_headers(self.message.as_ptr(), &mut headers) } {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => {
                // SAFETY: the headers are valid as long as the message.
                let count = unsafe { rd::rd_kafka_header_cnt(headers) };
                Ok(Headers { headers, next: 0, count, event: PhantomData })
            }
            Code::RD_KAFKA_RESP_ERR__NOENT => Ok(Headers { headers: null(), next: 0, count: 0, event: PhantomData }),
            code => Err(KafkaError::from_code(code)),
        }
    }
}

/// # Safety
/// `start` is null, or points to `length` bytes that are not changed for `'a`.
unsafe fn bytes<'a>(start: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: by the function's own condition.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}

/// The headers of a record: names as bytes, since Kafka does not check that they are UTF-8.
///
/// librdkafka hands names over as C strings: a name that holds a zero byte ends there.
#[derive(Debug)]
pub struct Headers<'e> {
    headers: *const rd::rd_kafka_headers_t,
    next: usize,
    count: usize,
    event: PhantomData<&'e Event>,
}

impl<'e> Iterator for Headers<'e> {
    type Item = (&'e [u8], Option<&'e [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let (mut name, mut value, mut size) = (null(), null(), 0);
        // SAFETY: the headers live as long as the event, and the index is below their count.
        let code = unsafe { rd::rd_kafka_header_get_all(self.headers, self.next, &mut name, &mut value, &mut size) };
        assert_eq!(code, rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR, "a header below the count exists");
        self.next += 1;
        // SAFETY: the name is a C string and the value null or `size` bytes; both live as long as the event.
        Some(unsafe { (CStr::from_ptr(name).to_bytes(), bytes(value, size)) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count - self.next, Some(self.count - self.next))
    }
}

impl ExactSizeIterator for Headers<'_> {}
