//! Records in librdkafka's memory.

use super::event::Event;
use super::{KafkaError, owned, rd};
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::offset::LeaderEpoch;
use kafka_store_statecharts::record::TimestampType;
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};

/// A record, or an error in its place. Dropping it gives its memory back to librdkafka.
#[derive(Debug)]
#[repr(transparent)]
pub struct Message(NonNull<rd::rd_kafka_message_t>);

// SAFETY: a message is an operation taken off a queue; librdkafka binds it to no thread, and it has one owner.
unsafe impl Send for Message {}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the message is ours and nothing borrows from it any more.
        unsafe { rd::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// Takes up to `most` messages off a queue, behind those in `messages`; waits for the last of them until the time is up.
///
/// # Safety
/// The queue is valid, and gives only messages.
pub(super) unsafe fn take_from(
    queue: NonNull<rd::rd_kafka_queue_t>,
    milliseconds: i32,
    most: usize,
    messages: &mut Vec<Message>,
) {
    messages.reserve(most);
    let room = messages.spare_capacity_mut().as_mut_ptr().cast();
    // SAFETY: the queue is valid and there is room for `most` pointers, which is what a `Message` is. So many as the
    // answer says are messages that become ours, and none of them is null.
    unsafe {
        let taken = rd::rd_kafka_consume_batch_queue(queue.as_ptr(), milliseconds, room, most);
        messages.set_len(messages.len() + usize::try_from(taken).unwrap_or(0));
    }
}

impl Message {
    fn raw(&self) -> &rd::rd_kafka_message_t {
        // SAFETY: the message is valid as long as `self`.
        unsafe { self.0.as_ref() }
    }

    /// What it says if it is not a record.
    pub fn event(&self) -> Option<Event> {
        let code = self.raw().err;
        if KafkaError::check(code).is_ok() {
            return None;
        }
        // SAFETY: the message is valid; its string is copied.
        let text = owned(unsafe { rd::rd_kafka_message_errstr(self.0.as_ptr()) });
        let about = self.topic_partition().map(|partition| (partition, self.offset()));
        Some(Event::of_error(code, text, about))
    }

    /// What tells topics apart cheaply; the name behind it is [`FetchedRecord::topic`].
    pub fn topic_handle(&self) -> usize {
        self.raw().rkt.addr()
    }

    /// Its partition; `None` where an error is about none.
    pub fn topic_partition(&self) -> Option<TopicPartition> {
        if self.raw().rkt.is_null() {
            return None;
        }
        // SAFETY: the topic is valid as long as the message, and its name as long as the client.
        let name = owned(unsafe { rd::rd_kafka_topic_name(self.raw().rkt) });
        Some(TopicPartition { topic: TopicName::new(&name).ok()?, partition: PartitionId::new(self.partition())? })
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.raw().partition
    }

    /// The offset, by Kafka's signed number.
    pub fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// The epoch of the leader that wrote it, if the broker says it.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        // SAFETY: the message is valid.
        LeaderEpoch::new(unsafe { rd::rd_kafka_message_leader_epoch(self.0.as_ptr()) })
    }

    /// The key; null is not empty.
    pub fn key(&self) -> Option<&[u8]> {
        let message = self.raw();
        // SAFETY: a key that is not null has `key_len` bytes that live as long as `self`.
        unsafe { bytes(message.key, message.key_len) }
    }

    /// The value; null is not empty.
    pub fn value(&self) -> Option<&[u8]> {
        let message = self.raw();
        // SAFETY: a payload that is not null has `len` bytes that live as long as `self`.
        unsafe { bytes(message.payload, message.len) }
    }

    /// The bytes of key and value.
    pub fn size(&self) -> usize {
        self.raw().key_len + self.raw().len
    }

    /// The timestamp, verbatim, and what it means.
    pub fn timestamp(&self) -> (TimestampMs, TimestampType) {
        use rd::rd_kafka_timestamp_type_t as Type;
        let mut timestamp_type = Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid and the type is written to our variable.
        let timestamp = unsafe { rd::rd_kafka_message_timestamp(self.0.as_ptr(), &mut timestamp_type) };
        let timestamp_type = match timestamp_type {
            Type::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampType::CreateTime,
            Type::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampType::LogAppendTime,
            Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => TimestampType::NotAvailable,
        };
        (timestamp, timestamp_type)
    }

    /// The headers, in their order, duplicates kept. An error if librdkafka cannot parse them.
    pub fn headers(&self) -> Result<Headers<'_>, KafkaError> {
        use rd::rd_kafka_resp_err_t as Code;
        let mut headers = null_mut();
        // SAFETY: the message is valid; the headers belong to it.
        match unsafe { rd::rd_kafka_message_headers(self.0.as_ptr(), &mut headers) } {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => {
                // SAFETY: the headers are valid as long as the message.
                let count = unsafe { rd::rd_kafka_header_cnt(headers) };
                Ok(Headers { headers, next: 0, count, message: PhantomData })
            }
            Code::RD_KAFKA_RESP_ERR__NOENT => Ok(Headers { headers: null(), next: 0, count: 0, message: PhantomData }),
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
pub struct Headers<'m> {
    headers: *const rd::rd_kafka_headers_t,
    next: usize,
    count: usize,
    message: PhantomData<&'m Message>,
}

impl<'m> Iterator for Headers<'m> {
    type Item = (&'m [u8], Option<&'m [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let (mut name, mut value, mut size) = (null(), null(), 0);
        // SAFETY: the headers live as long as the message, and the index is below their count.
        let code = unsafe { rd::rd_kafka_header_get_all(self.headers, self.next, &mut name, &mut value, &mut size) };
        assert_eq!(code, rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR, "a header below the count exists");
        self.next += 1;
        // SAFETY: the name is a C string and the value null or `size` bytes; both live as long as `self`.
        Some(unsafe { (CStr::from_ptr(name).to_bytes(), bytes(value, size)) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count - self.next, Some(self.count - self.next))
    }
}

impl ExactSizeIterator for Headers<'_> {}
