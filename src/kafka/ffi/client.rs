//! The consumer client.

use super::event::Event;
use super::list::{Committed, PartitionList, PartitionOffset, committed_of, partition_of, topic_string};
use super::record::{Delivered, take_all, take_one};
use super::{KafkaError, owned, rd};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::collections::BTreeMap;
use std::ffi::{CString, c_int, c_void};
use std::ops::ControlFlow;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

/// One librdkafka consumer with its queues. Its calls may be made from any thread.
#[derive(Debug)]
pub struct Client {
    handle: NonNull<rd::rd_kafka_t>,
    /// Rebalances, errors and log lines.
    main: NonNull<rd::rd_kafka_queue_t>,
    /// What comes of the partitions that are [led](Client::lead_records) here.
    records: NonNull<rd::rd_kafka_queue_t>,
    /// Answers to commits, so that they come also while records are not wanted.
    commits: NonNull<rd::rd_kafka_queue_t>,
    /// Who waits for any of them.
    waiter: Arc<Waiter>,
    /// The brokers have named a controller.
    names_controller: AtomicBool,
}

// SAFETY: librdkafka's handles and queues may be used from any thread at once (its INTRODUCTION.md, "Threads and
// callbacks"); the only callback that they make, `wake_waiter`, may be made from any, too.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

/// Tells the answers to commits apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitTicket(pub u64);

/// The answer to one commit.
#[derive(Debug)]
pub struct CommitAnswer {
    /// Which commit.
    pub ticket: CommitTicket,
    /// Whether Kafka has it.
    pub result: Result<(), KafkaError>,
}

impl Client {
    /// A client with these properties; an unknown name or a bad value is an error that says so.
    pub fn new<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Client, KafkaError> {
        super::damaged_batch::link();
        let conf = Conf::new();
        for (name, value) in properties {
            conf.set(name, value)?;
        }
        conf.set("log.queue", "true")?;
        let events =
            rd::RD_KAFKA_EVENT_REBALANCE | rd::RD_KAFKA_EVENT_ERROR | rd::RD_KAFKA_EVENT_FETCH | rd::RD_KAFKA_EVENT_LOG;
        let mut text = [0; 512];
        // SAFETY: the configuration is valid; `rd_kafka_new` takes it over if it succeeds, and only then.
        let handle = unsafe {
            rd::rd_kafka_conf_set_events(conf.0, events);
            rd::rd_kafka_new(rd::rd_kafka_type_t::RD_KAFKA_CONSUMER, conf.0, text.as_mut_ptr(), text.len())
        };
        let Some(handle) = NonNull::new(handle) else { return Err(KafkaError::local(owned(text.as_ptr()))) };
        std::mem::forget(conf);
        // SAFETY: the handle is valid; its queues live until they are destroyed, which `Drop` does first.
        let (main, records, commits) = unsafe {
            rd::rd_kafka_poll_set_consumer(handle.as_ptr());
            rd::rd_kafka_set_log_queue(handle.as_ptr(), null_mut());
            let new_queue = || rd::rd_kafka_queue_new(handle.as_ptr());
            (rd::rd_kafka_queue_get_consumer(handle.as_ptr()), new_queue(), new_queue())
        };
        let waiter = Arc::<Waiter>::default();
        let waiter_address = Arc::as_ptr(&waiter).cast_mut().cast::<c_void>();
        for queue in [main, records, commits] {
            // SAFETY: the queue is valid. The waiter lives until `Drop` has ended librdkafka's threads.
            unsafe { rd::rd_kafka_queue_cb_event_enable(queue, Some(wake_waiter), waiter_address) };
        }
        Ok(Client {
            handle,
            main: NonNull::new(main).expect("a consumer has a queue"),
            records: NonNull::new(records).expect("librdkafka allocates or aborts"),
            commits: NonNull::new(commits).expect("librdkafka allocates or aborts"),
            waiter,
            names_controller: AtomicBool::new(false),
        })
    }

    pub(super) fn handle(&self) -> *mut rd::rd_kafka_t {
        self.handle.as_ptr()
    }

    pub(super) fn main_queue(&self) -> *mut rd::rd_kafka_queue_t {
        self.main.as_ptr()
    }

    pub(super) fn has_named_controller(&self) -> bool {
        self.names_controller.load(Ordering::Relaxed)
    }

    pub(super) fn remember_controller(&self) {
        self.names_controller.store(true, Ordering::Relaxed);
    }

    /// Joins the group for these topics, or changes them; at least one.
    pub fn subscribe(&self, topics: &[TopicName]) -> Result<(), KafkaError> {
        let mut list = PartitionList::new();
        for topic in topics {
            list.add_topic(topic);
        }
        // SAFETY: the list is valid and copied.
        KafkaError::check(unsafe { rd::rd_kafka_subscribe(self.handle(), list.as_ptr()) })
    }

    /// Subscribes to nothing any more, and leaves the group.
    pub fn unsubscribe(&self) -> Result<(), KafkaError> {
        // SAFETY: the handle is valid.
        KafkaError::check(unsafe { rd::rd_kafka_unsubscribe(self.handle()) })
    }

    /// The error after which this client does nothing more, if there was one. The event that reports it has another code.
    pub fn fatal_error(&self) -> Option<KafkaError> {
        let mut text = [0; 512];
        // SAFETY: the handle is valid; the message is written to our buffer.
        let code = unsafe { rd::rd_kafka_fatal_error(self.handle(), text.as_mut_ptr(), text.len()) };
        KafkaError::check(code).err().map(|error| KafkaError { text: owned(text.as_ptr()), ..error })
    }

    /// How the group's rebalances are to be answered.
    pub fn rebalances_eagerly(&self) -> bool {
        // SAFETY: the answer is a static string, null only if the call is not for a consumer.
        owned(unsafe { rd::rd_kafka_rebalance_protocol(self.handle()) }) == "EAGER"
    }

    /// Waits until librdkafka's main thread has done what it was told before.
    pub fn await_main_thread(&self) {
        // Any question to it will do: it works in order.
        let _ = self.rebalances_eagerly();
    }

    /// The next event that is not of a partition, if one comes within the time.
    pub fn next_event(&self, timeout: Duration) -> Option<Event> {
        // SAFETY: the queue is valid; the event becomes ours.
        Event::from_owned(unsafe { rd::rd_kafka_queue_poll(self.main.as_ptr(), milliseconds(timeout)) })
    }

    /// Takes what has come of the partitions until `take` breaks off, in one or two calls all of it; says how much that
    /// was.
    ///
    /// The last `most_at_once` are taken at once: with one look at the clock and one lock instead of several for each
    /// record. librdkafka no longer counts these as fetched ahead, and fetches others. They have a queue of their own
    /// because the call aborts the process if it finds a rebalance among them. `rd_kafka_consume_batch_queue` of librdkafka
    /// 2.12, which could do without, takes the end of a partition for a record, and after the next rebalance goes on one
    /// offset behind it; the record that is produced there is lost.
    pub fn take_records(&self, most_at_once: usize, mut take: impl FnMut(Delivered<'_>) -> ControlFlow<()>) -> usize {
        // SAFETY: the queue is valid.
        let waiting = unsafe { rd::rd_kafka_queue_length(self.records.as_ptr()) };
        if waiting <= most_at_once {
            // SAFETY: both are valid, and only the queues of partitions are led there.
            return unsafe { take_all(self.handle(), self.records.as_ptr(), &mut take) };
        }
        let one_by_one = waiting - most_at_once;
        // SAFETY: as above.
        (0..one_by_one).take_while(|_| unsafe { take_one(self.records.as_ptr(), &mut take) }.is_continue()).count()
    }

    /// Leads what comes of a partition to [`Client::take_records`], what had come already, too.
    ///
    /// librdkafka undoes it when it stops fetching a partition, in a thread of its own: it must be said again once it has
    /// stopped, and what came in the meantime waits.
    pub fn lead_records(&self, partition: &TopicPartition) {
        let topic = topic_string(&partition.topic);
        // SAFETY: the topic is a C string; the partition's queue is used for one call and given back.
        unsafe {
            let queue = rd::rd_kafka_queue_get_partition(self.handle(), topic.as_ptr(), partition.partition.get());
            if !queue.is_null() {
                rd::rd_kafka_queue_forward(queue, self.records.as_ptr());
                rd::rd_kafka_queue_destroy(queue);
            }
        }
    }

    /// Waits until something comes where nothing was: an event, a record, an answer to a commit; or [`Client::wake`] is called,
    /// or the time is over. It may return before. To be called by one thread alone, which has found nothing before.
    pub fn wait(&self, timeout: Duration) {
        self.waiter.wait(timeout);
    }

    /// Ends a [`Client::wait`], or the next one.
    pub fn wake(&self) {
        self.waiter.wake();
    }

    /// The next answer to a commit, if there is one.
    pub fn poll_commits(&self) -> Option<CommitAnswer> {
        // SAFETY: the queue is valid; the event becomes ours.
        let event = Event::from_owned(unsafe { rd::rd_kafka_queue_poll(self.commits.as_ptr(), 0) })?;
        // SAFETY: the event is the answer to a commit: its opaque value is the ticket's number, never followed.
        let (code, opaque, list) = unsafe {
            (
                rd::rd_kafka_event_error(event.as_ptr()),
                rd::rd_kafka_event_opaque(event.as_ptr()),
                rd::rd_kafka_event_topic_partition_list(event.as_ptr()),
            )
        };
        let mut result = KafkaError::check(code);
        if result.is_ok() && !list.is_null() {
            // SAFETY: the list lives as long as the event.
            for element in unsafe { super::list::elements_of(list) } {
                result = result.and(KafkaError::check(element.err));
            }
        }
        Some(CommitAnswer { ticket: CommitTicket(opaque.addr() as u64), result })
    }

    /// Commits an offset; the answer comes by [`Client::poll_commits`].
    pub fn commit(
        &self,
        to: &PartitionOffset,
        leader_epoch: Option<LeaderEpoch>,
        metadata: &str,
        ticket: CommitTicket,
    ) -> Result<(), KafkaError> {
        let mut list = PartitionList::new();
        list.add_commit(&to.partition, to.offset, leader_epoch, metadata);
        let opaque = std::ptr::without_provenance_mut::<c_void>(usize::try_from(ticket.0).expect("64-bit machines"));
        // SAFETY: the list is copied; the opaque value is handed back and never followed; no callback is given.
        KafkaError::check(unsafe {
            rd::rd_kafka_commit_queue(self.handle(), list.as_ptr(), self.commits.as_ptr(), None, opaque)
        })
    }

    /// Replaces what is fetched; the answer to an eager rebalance, too.
    pub fn assign(&self, partitions: &[PartitionOffset]) -> Result<(), KafkaError> {
        let list = PartitionList::from_offsets(partitions);
        // SAFETY: the list is valid and copied.
        KafkaError::check(unsafe { rd::rd_kafka_assign(self.handle(), list.as_ptr()) })
    }

    /// Fetches nothing any more; the answer to an eager revocation.
    pub fn unassign(&self) -> Result<(), KafkaError> {
        // SAFETY: null is for no partitions.
        KafkaError::check(unsafe { rd::rd_kafka_assign(self.handle(), std::ptr::null()) })
    }

    /// Adds partitions to what is fetched; none of them is an answer to a rebalance, too.
    pub fn incremental_assign(&self, partitions: &[PartitionOffset]) -> Result<(), KafkaError> {
        let list = PartitionList::from_offsets(partitions);
        // SAFETY: the list is valid and copied.
        KafkaError::take(unsafe { rd::rd_kafka_incremental_assign(self.handle(), list.as_ptr()) })
    }

    /// Takes partitions out of what is fetched; they must be in it.
    pub fn incremental_unassign(&self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let list = PartitionList::of(partitions);
        // SAFETY: the list is valid and copied.
        KafkaError::take(unsafe { rd::rd_kafka_incremental_unassign(self.handle(), list.as_ptr()) })
    }

    /// Stops fetching partitions; what was fetched ahead is thrown away.
    pub fn pause(&self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let list = PartitionList::of(partitions);
        // SAFETY: the list is valid and copied.
        KafkaError::check(unsafe { rd::rd_kafka_pause_partitions(self.handle(), list.as_ptr()) })
    }

    /// Fetches paused partitions on.
    pub fn resume(&self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let list = PartitionList::of(partitions);
        // SAFETY: the list is valid and copied.
        KafkaError::check(unsafe { rd::rd_kafka_resume_partitions(self.handle(), list.as_ptr()) })
    }

    /// The high watermark as of the last fetch; `None` if nothing was fetched yet.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        let topic = topic_string(&partition.topic);
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the topic is a C string and both numbers are written to our variables.
        let code = unsafe {
            rd::rd_kafka_get_watermark_offsets(
                self.handle(),
                topic.as_ptr(),
                partition.partition.get(),
                &mut low,
                &mut high,
            )
        };
        KafkaError::check(code).ok().and_then(|()| Offset::new(high))
    }

    /// What the group has committed for partitions. Asks the broker; blocks.
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, Option<Committed>>, KafkaError> {
        let list = PartitionList::of(partitions);
        // SAFETY: the list is ours and filled in by the call.
        KafkaError::check(unsafe { rd::rd_kafka_committed(self.handle(), list.as_ptr(), milliseconds(timeout)) })?;
        list.elements()
            .iter()
            .filter_map(|element| Some((partition_of(element)?, committed_of(element))))
            .map(|(partition, committed)| Ok((partition, committed?)))
            .collect()
    }

    /// The cluster's id. Asks a broker if need be; blocks.
    pub fn cluster_id(&self, timeout: Duration) -> Option<String> {
        // SAFETY: the answer is a string that is ours to free, or null.
        unsafe {
            let id = rd::rd_kafka_clusterid(self.handle(), milliseconds(timeout));
            if id.is_null() {
                return None;
            }
            let copy = owned(id);
            rd::rd_kafka_mem_free(self.handle(), id.cast());
            Some(copy)
        }
    }

    /// All topics with their partitions, in order. Asks a broker; blocks.
    pub fn topics(&self, timeout: Duration) -> Result<BTreeMap<TopicName, Vec<PartitionId>>, KafkaError> {
        let mut metadata = std::ptr::null();
        // SAFETY: the handle is valid; the answer is read within its life, and given back.
        unsafe {
            let code = rd::rd_kafka_metadata(self.handle(), 1, null_mut(), &mut metadata, milliseconds(timeout));
            KafkaError::check(code)?;
            let count = usize::try_from((*metadata).topic_cnt).unwrap_or(0);
            let described = (0..count).map(|index| &*(*metadata).topics.add(index));
            let topics = described
                .filter_map(|described| Some((TopicName::new(&owned(described.topic)).ok()?, partitions_of(described))))
                .collect();
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(topics)
        }
    }

    /// The partitions of a topic. Asks a broker; blocks. An error if there is no such topic.
    pub fn partitions(&self, topic: &TopicName, timeout: Duration) -> Result<Vec<PartitionId>, KafkaError> {
        let name = topic_string(topic);
        // SAFETY: the topic's handle is used for this one question and given back; the answer is read within its
        // life, and given back.
        unsafe {
            let handle = rd::rd_kafka_topic_new(self.handle(), name.as_ptr(), null_mut());
            if handle.is_null() {
                return Err(KafkaError::from_code(rd::rd_kafka_last_error()));
            }
            let mut metadata = std::ptr::null();
            let code = rd::rd_kafka_metadata(self.handle(), 0, handle, &mut metadata, milliseconds(timeout));
            rd::rd_kafka_topic_destroy(handle);
            KafkaError::check(code)?;
            let answer = if (*metadata).topic_cnt < 1 {
                Err(KafkaError::local(format!("the broker says nothing of topic {topic}")))
            } else {
                let described = &*(*metadata).topics;
                KafkaError::check(described.err).map(|()| partitions_of(described))
            };
            rd::rd_kafka_metadata_destroy(metadata);
            answer
        }
    }

    /// Begins to leave the group; go on polling until [`Client::is_closed`].
    pub fn close(&self) -> Result<(), KafkaError> {
        // SAFETY: both are valid; the queue is the one that is polled on.
        KafkaError::take(unsafe { rd::rd_kafka_consumer_close_queue(self.handle(), self.main.as_ptr()) })
    }

    /// Whether the group is left.
    pub fn is_closed(&self) -> bool {
        // SAFETY: the handle is valid.
        unsafe { rd::rd_kafka_consumer_closed(self.handle()) != 0 }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: nothing else uses the handles: `self` is the only owner. Queues first, as librdkafka wants it.
        unsafe {
            for queue in [self.commits, self.records, self.main] {
                rd::rd_kafka_queue_destroy(queue.as_ptr());
            }
            rd::rd_kafka_destroy(self.handle());
        }
    }
}

/// The partitions of a topic that a broker has described.
///
/// # Safety
/// `described` is part of an answer that has not been given back.
unsafe fn partitions_of(described: &rd::rd_kafka_metadata_topic) -> Vec<PartitionId> {
    let count = usize::try_from(described.partition_cnt).unwrap_or(0);
    // SAFETY: by the function's own condition; there are so many.
    let number = |index| unsafe { (*described.partitions.add(index)).id };
    let mut numbers: Vec<PartitionId> = (0..count).filter_map(|index| PartitionId::new(number(index))).collect();
    numbers.sort_unstable();
    numbers
}

/// Called by whoever puts something into an empty queue, and holds its lock.
unsafe extern "C" fn wake_waiter(_: *mut rd::rd_kafka_t, waiter: *mut c_void) {
    // SAFETY: it is the waiter of a client that lives longer than librdkafka's threads.
    unsafe { &*waiter.cast::<Waiter>() }.wake();
}

/// The thread that waits for what comes.
#[derive(Debug, Default)]
struct Waiter {
    thread: OnceLock<Thread>,
    /// It was woken since it last waited. (The mark that parking itself keeps, any lock in between may take.)
    is_woken: AtomicBool,
}

impl Waiter {
    fn wait(&self, timeout: Duration) {
        // What came before the thread was known has woken nobody, but it has left its mark.
        self.thread.get_or_init(std::thread::current);
        if !self.is_woken.swap(false, Ordering::SeqCst) {
            std::thread::park_timeout(timeout);
            self.is_woken.store(false, Ordering::SeqCst);
        }
    }

    fn wake(&self) {
        self.is_woken.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// A configuration that no client has taken over yet.
struct Conf(*mut rd::rd_kafka_conf_t);

impl Conf {
    fn new() -> Conf {
        // SAFETY: allocates.
        Conf(unsafe { rd::rd_kafka_conf_new() })
    }

    fn set(&self, name: &str, value: &str) -> Result<(), KafkaError> {
        let c_string = |text: &str| {
            CString::new(text).map_err(|_| KafkaError::local(format!("the value of {name} holds a zero byte")))
        };
        let (c_name, c_value) = (c_string(name)?, c_string(value)?);
        let mut text = [0; 512];
        // SAFETY: the configuration and the C strings are valid; the message is written to our buffer.
        let result =
            unsafe { rd::rd_kafka_conf_set(self.0, c_name.as_ptr(), c_value.as_ptr(), text.as_mut_ptr(), text.len()) };
        match result {
            rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            _ => Err(KafkaError::local(owned(text.as_ptr()))),
        }
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: no client has taken the configuration over, or it would have been forgotten.
        unsafe { rd::rd_kafka_conf_destroy(self.0) };
    }
}

pub(super) fn milliseconds(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX)
}
