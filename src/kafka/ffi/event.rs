//! What librdkafka's queues deliver beside records.

use super::list::{elements_of, partition_of};
use super::{KafkaError, owned, rd};
use kafka_store_statecharts::topic::TopicPartition;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::{NonNull, null};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

/// What happened to a client that is no record.
#[derive(Debug)]
pub enum Event {
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
    /// An error of a code, about a partition and an offset if it is about one.
    pub(super) fn of_error(code: rd::rd_kafka_resp_err_t, text: String, about: Option<(TopicPartition, i64)>) -> Event {
        use rd::rd_kafka_resp_err_t as Code;
        let error = KafkaError { text, ..KafkaError::from_code(code) };
        match (code, about) {
            (Code::RD_KAFKA_RESP_ERR__FATAL, _) => Event::Fatal(error),
            (Code::RD_KAFKA_RESP_ERR__PARTITION_EOF, Some((partition, offset))) => {
                Event::PartitionEnd(partition, offset)
            }
            (_, Some((partition, offset))) => Event::PartitionFailed(PartitionProblem { partition, offset, error }),
            (_, None) => Event::Notice(error),
        }
    }
}

/// An answer that came by a queue, and all that it holds.
#[derive(Debug)]
pub(super) struct Answer(NonNull<rd::rd_kafka_event_t>);

impl Answer {
    /// Takes what a queue gave to us over; `None` for null.
    pub(super) fn from_owned(event: *mut rd::rd_kafka_event_t) -> Option<Answer> {
        NonNull::new(event).map(Answer)
    }

    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_event_t {
        self.0.as_ptr()
    }

    /// What it says, if it is a line of the log.
    pub(super) fn log_line(&self) -> Option<Event> {
        let (mut facility, mut text, mut level) = (null(), null(), 0);
        // SAFETY: the event is valid; if it is a log line the strings belong to it and are copied, else the call says so.
        let is_log = unsafe { rd::rd_kafka_event_log(self.as_ptr(), &mut facility, &mut text, &mut level) } == 0;
        is_log.then(|| Event::Log { level, text: format!("{}: {}", owned(facility), owned(text)) })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is ours and nothing borrows from it any more.
        unsafe { rd::rd_kafka_event_destroy(self.as_ptr()) };
    }
}

/// What librdkafka said by callbacks, while records were taken off its queue.
#[derive(Debug, Default)]
pub(super) struct Heard {
    events: Mutex<Vec<Event>>,
    /// The queue that records are taken off. Null as long as it is not known.
    queue: AtomicPtr<rd::rd_kafka_queue_t>,
    /// Nobody will answer a rebalance any more.
    is_ending: AtomicBool,
}

impl Heard {
    /// Makes a client say it here.
    ///
    /// # Safety
    /// `conf` is valid, and `self` lives longer than the client that is made of it.
    pub(super) unsafe fn listen(&self, conf: *mut rd::rd_kafka_conf_t) {
        // SAFETY: the configuration is valid. The callbacks take the opaque value for what it is here.
        unsafe {
            rd::rd_kafka_conf_set_opaque(conf, std::ptr::from_ref(self).cast_mut().cast());
            rd::rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance));
            rd::rd_kafka_conf_set_error_cb(conf, Some(on_error));
        }
    }

    /// The queue that records are taken off.
    pub(super) fn set_queue(&self, queue: NonNull<rd::rd_kafka_queue_t>) {
        self.queue.store(queue.as_ptr(), Ordering::Release);
    }

    /// From now on each revocation is answered as it comes.
    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
    }

    /// What was heard since it was asked last, in order.
    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps an event, and has the one who waits for records look at it.
    fn keep(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        let queue = self.queue.load(Ordering::Acquire);
        if !queue.is_null() {
            // SAFETY: the queue is valid: callbacks come only while somebody takes records off it.
            unsafe { rd::rd_kafka_queue_yield(queue) };
        }
    }
}

/// # Safety
/// librdkafka calls it, with the opaque value of [`Heard::listen`].
unsafe extern "C" fn on_rebalance(
    handle: *mut rd::rd_kafka_t,
    code: rd::rd_kafka_resp_err_t,
    list: *mut rd::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: it is what `Heard::listen` has set, which outlives the client.
    let heard = unsafe { &*opaque.cast::<Heard>() };
    if heard.is_ending.load(Ordering::Acquire) {
        // SAFETY: the handle is the client's own; null is for no partitions.
        unsafe { rd::rd_kafka_assign(handle, null()) };
        return;
    }
    // SAFETY: the list, where there is one, is valid during the call.
    let elements = if list.is_null() { &[] } else { unsafe { elements_of(list) } };
    let partitions = elements.iter().filter_map(partition_of).collect();
    heard.keep(match code {
        rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Event::Assign(partitions),
        _ => Event::Revoke(partitions),
    });
}

/// # Safety
/// As for [`on_rebalance`].
unsafe extern "C" fn on_error(_: *mut rd::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: it is what `Heard::listen` has set, which outlives the client.
    let heard = unsafe { &*opaque.cast::<Heard>() };
    match rd::rd_kafka_resp_err_t::try_from(code) {
        Ok(code) => heard.keep(Event::of_error(code, owned(reason), None)),
        Err(_) => heard.keep(Event::Notice(KafkaError::local(owned(reason)))),
    }
}
