//! Records and what else comes of partitions, as librdkafka delivers it.

use super::event::{Event, EventKind};
use super::{KafkaError, owned, rd};
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::offset::LeaderEpoch;
use kafka_store_statecharts::record::TimestampType;
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::any::Any;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{NonNull, null, null_mut};

/// What comes of a partition.
#[derive(Debug)]
pub enum Delivered<'m> {
    /// A record.
    Record(FetchedRecord<'m>),
    /// Its end, or that it cannot be read.
    Event(EventKind),
}

/// Takes all that a queue holds, in its order, until `take` breaks off; says how much that was.
///
/// # Safety
/// The queue and the client that it is of are valid, and nothing but what comes of partitions is put into the queue.
pub(super) unsafe fn take_all(
    handle: *mut rd::rd_kafka_t,
    queue: *mut rd::rd_kafka_queue_t,
    take: &mut dyn FnMut(Delivered<'_>) -> ControlFlow<()>,
) -> usize {
    let mut taker = Taker { handle, take, panic: None };
    // SAFETY: the queue is valid; `on_message` is given the taker for as long as the call takes, and nobody else uses it.
    let count =
        unsafe { rd::rd_kafka_consume_callback_queue(queue, 0, Some(on_message), (&raw mut taker).cast::<c_void>()) };
    if let Some(panic) = taker.panic {
        resume_unwind(panic);
    }
    usize::try_from(count).unwrap_or(0)
}

/// Takes the next of what a queue holds; breaks off if `take` does, or if there is nothing.
///
/// # Safety
/// The queue is valid.
pub(super) unsafe fn take_one(
    queue: *mut rd::rd_kafka_queue_t,
    take: &mut dyn FnMut(Delivered<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    // SAFETY: the queue is valid; the event becomes ours.
    let Some(event) = Event::from_owned(unsafe { rd::rd_kafka_queue_poll(queue, 0) }) else {
        return ControlFlow::Break(());
    };
    // SAFETY: the event is valid; the message belongs to it, and is not used after it. It holds no other.
    let message = unsafe { rd::rd_kafka_event_message_next(event.as_ptr()) };
    match NonNull::new(message.cast_mut()) {
        // SAFETY: as above.
        Some(message) => take(unsafe { delivered(message) }),
        None => take(Delivered::Event(event.kind())),
    }
}

struct Taker<'t> {
    handle: *mut rd::rd_kafka_t,
    take: &'t mut dyn FnMut(Delivered<'_>) -> ControlFlow<()>,
    /// It must not unwind through librdkafka.
    panic: Option<Box<dyn Any + Send>>,
}

unsafe extern "C" fn on_message(message: *mut rd::rd_kafka_message_t, taker: *mut c_void) {
    // SAFETY: it is the taker of `take_all`, which waits for this call.
    let taker = unsafe { &mut *taker.cast::<Taker<'_>>() };
    let Some(message) = NonNull::new(message) else { return };
    // SAFETY: the message is valid until this function returns.
    let delivered = unsafe { delivered(message) };
    let taken = catch_unwind(AssertUnwindSafe(|| (taker.take)(delivered)));
    let go_on = taken.unwrap_or_else(|panic| {
        taker.panic = Some(panic);
        ControlFlow::Break(())
    });
    if go_on.is_break() {
        // SAFETY: the client is valid. What was not taken goes back to the head of the queue.
        unsafe { rd::rd_kafka_yield(taker.handle) };
    }
}

/// What a message says.
///
/// # Safety
/// The message is valid and not changed for `'m`.
pub(super) unsafe fn delivered<'m>(message: NonNull<rd::rd_kafka_message_t>) -> Delivered<'m> {
    // SAFETY: by the function's own condition; the text is copied.
    let (topic, code, offset, text) = unsafe {
        let message = message.as_ref();
        (message.rkt, message.err, message.offset, rd::rd_kafka_message_errstr(message))
    };
    let is_record = code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    if topic.is_null() {
        let error = KafkaError { text: owned(text), ..KafkaError::from_code(code) };
        return Delivered::Event(if is_record { EventKind::Fatal(error) } else { EventKind::Notice(error) });
    }
    // SAFETY: by the function's own condition, and it has a topic.
    let record = unsafe { FetchedRecord::new(message) };
    if is_record {
        return Delivered::Record(record);
    }
    Delivered::Event(match (TopicName::new(&record.topic()), PartitionId::new(record.partition())) {
        (Ok(topic), Some(partition)) => {
            EventKind::of_partition(TopicPartition { topic, partition }, offset, code, owned(text))
        }
        _ => EventKind::Notice(KafkaError { text: owned(text), ..KafkaError::from_code(code) }),
    })
}

/// A record in librdkafka's memory.
#[derive(Debug)]
pub struct FetchedRecord<'m> {
    message: NonNull<rd::rd_kafka_message_t>,
    borrowed: PhantomData<&'m rd::rd_kafka_message_t>,
}

impl<'m> FetchedRecord<'m> {
    /// # Safety
    /// The message is valid, of a topic, and not changed for `'m`.
    unsafe fn new(message: NonNull<rd::rd_kafka_message_t>) -> FetchedRecord<'m> {
        FetchedRecord { message, borrowed: PhantomData }
    }

    fn message(&self) -> &'m rd::rd_kafka_message_t {
        // SAFETY: the message is valid for `'m`.
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

    /// The epoch of the leader that wrote it, if the broker says it.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        // SAFETY: the message is valid.
        LeaderEpoch::new(unsafe { rd::rd_kafka_message_leader_epoch(self.message.as_ptr()) })
    }

    /// The key; null is not empty.
    pub fn key(&self) -> Option<&'m [u8]> {
        let message = self.message();
        // SAFETY: a key that is not null has `key_len` bytes that live as long as the message.
        unsafe { bytes(message.key, message.key_len) }
    }

    /// The value; null is not empty.
    pub fn value(&self) -> Option<&'m [u8]> {
        let message = self.message();
        // SAFETY: a payload that is not null has `len` bytes that live as long as the message.
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
    pub fn headers(&self) -> Result<Headers<'m>, KafkaError> {
        use rd::rd_kafka_resp_err_t as Code;
        let mut headers = null_mut();
        // SAFETY: the message is valid; the headers belong to it.
        match unsafe { rd::rd_kafka_message_headers(self.message.as_ptr(), &mut headers) } {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => {
                // SAFETY: the headers are valid as long as the message.
                let count = unsafe { rd::rd_kafka_header_cnt(headers) };
                Ok(Headers { headers, next: 0, count, borrowed: PhantomData })
            }
            Code::RD_KAFKA_RESP_ERR__NOENT => Ok(Headers { headers: null(), next: 0, count: 0, borrowed: PhantomData }),
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
    borrowed: PhantomData<&'m rd::rd_kafka_message_t>,
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
        // SAFETY: the name is a C string and the value null or `size` bytes; both live as long as the message.
        Some(unsafe { (CStr::from_ptr(name).to_bytes(), bytes(value, size)) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count - self.next, Some(self.count - self.next))
    }
}

impl ExactSizeIterator for Headers<'_> {}
