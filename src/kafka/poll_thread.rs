//! The thread that polls librdkafka.
//!
//! It answers the group at once, encodes each record straight from librdkafka's memory into a batch of its
//! partition, and hands whole batches over. It never waits for an upload, for SQL or for a disk. While the
//! budget is used up, or the Consumer has no room, it does not pop.

use super::blocked;
use super::fetching::{Partitions, Taken};
use super::ffi::{Client, CommitTicket, Event, EventKind, KafkaError, PartitionOffset};
use super::source::{KafkaSource, ORDERS_MAX, Order};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use kafka_store_actors::budget::Budget;
use kafka_store_actors::consumer::LogSink;
use kafka_store_actors::messages::{EndReached, LogEvent};
use kafka_store_actors::ports::{CommitError, OffsetCommit};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::AssignmentEpoch;
use kafka_store_statecharts::topic::TopicPartition;
use slog::{Logger, debug, info, warn};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long one poll waits when nothing is expected: an order wakes it.
const IDLE_WAIT: Duration = Duration::from_millis(500);
/// How long one poll waits when answers are due from another queue.
const ANSWER_WAIT: Duration = Duration::from_millis(10);
/// How many events are taken in a row before orders are looked at.
const EVENTS_IN_A_ROW: usize = 2_000;
/// How long the budget may be used up before partitions are paused, so that the group's events are polled for
/// well within `max.poll.interval.ms`.
const STALL_BEFORE_PAUSE: Duration = Duration::from_secs(30);

/// Starts the poll thread. It ends when the group is left, or when the client has failed for good.
pub fn start(client: Arc<Client>, budget: Arc<Budget>, log: Logger) -> PollThreadStart {
    let (orders, received) = crossbeam_channel::bounded(ORDERS_MAX);
    let source = KafkaSource::new(orders, Arc::clone(&client));
    let thread = PollThread {
        client,
        orders: received,
        sink: None,
        budget,
        log,
        epoch: AssignmentEpoch::default(),
        partitions: Partitions::default(),
        out: Vec::new(),
        tickets: BTreeMap::new(),
        next_ticket: 0,
        leaving: None,
        stalled_since: None,
        assign_is_due: false,
    };
    PollThreadStart { source, thread }
}

/// A poll thread whose orders can be given already, and which does not know yet who takes its records.
#[derive(Debug)]
pub struct PollThreadStart {
    source: KafkaSource,
    thread: PollThread,
}

impl PollThreadStart {
    /// Where orders are given.
    pub fn source(&self) -> KafkaSource {
        self.source.clone()
    }

    /// Starts the thread.
    pub fn run(self, sink: LogSink) -> std::thread::JoinHandle<()> {
        let mut thread = self.thread;
        thread.sink = Some(sink);
        std::thread::Builder::new()
            .name("kafka-poll".to_owned())
            .spawn(move || thread.run())
            .expect("the system starts one more thread")
    }
}

#[derive(Debug)]
struct PollThread {
    client: Arc<Client>,
    orders: Receiver<Order>,
    sink: Option<LogSink>,
    budget: Arc<Budget>,
    log: Logger,
    epoch: AssignmentEpoch,
    partitions: Partitions,
    /// What the Consumer is to be told, in order.
    out: Vec<LogEvent>,
    tickets: BTreeMap<CommitTicket, oneshot::Sender<Result<(), CommitError>>>,
    next_ticket: u64,
    leaving: Option<oneshot::Sender<()>>,
    stalled_since: Option<Instant>,
    /// In an eager group: what is fetched has changed.
    assign_is_due: bool,
}

/// What to do next.
enum Step {
    GoOn,
    End,
}

impl PollThread {
    fn run(mut self) {
        while let Step::GoOn = self.step() {}
        for (_, answer) in std::mem::take(&mut self.tickets) {
            // The one who asked may be gone.
            let _ = answer.send(Err(CommitError { reason: "the group is left".to_owned() }));
        }
        if let Some(answer) = self.leaving.take() {
            let _ = answer.send(());
        }
    }

    fn step(&mut self) -> Step {
        while let Ok(order) = self.orders.try_recv() {
            self.carry_out(order);
        }
        self.assign_anew();
        self.answer_commits();
        if self.leaving.is_some() && self.client.is_closed() {
            return Step::End;
        }
        if !self.hand_over() {
            // The Consumer has no room. It has within a moment, or an order says otherwise.
            return match self.orders.recv_timeout(Duration::from_millis(1)) {
                Ok(order) => {
                    self.carry_out(order);
                    Step::GoOn
                }
                Err(RecvTimeoutError::Timeout) => Step::GoOn,
                Err(RecvTimeoutError::Disconnected) => Step::End,
            };
        }
        self.pause_and_resume();
        if self.budget.is_used_up() && self.leaving.is_none() && !self.stalled_long() {
            self.budget.wait(ANSWER_WAIT);
            return Step::GoOn;
        }
        self.poll()
    }

    /// Takes events until there are none, or enough for one round.
    fn poll(&mut self) -> Step {
        let answers_due = !self.tickets.is_empty() || self.leaving.is_some();
        let mut wait = if answers_due { ANSWER_WAIT } else { IDLE_WAIT };
        for _ in 0..EVENTS_IN_A_ROW {
            let Some(event) = self.client.poll(wait) else {
                self.flush_all();
                return Step::GoOn;
            };
            wait = Duration::ZERO;
            if let Step::End = self.take(event) {
                return Step::End;
            }
            if self.budget.is_used_up() {
                break;
            }
        }
        Step::GoOn
    }

    fn take(&mut self, mut event: Event) -> Step {
        match event.kind() {
            EventKind::Fetch => {
                while let Some(record) = event.record() {
                    match self.partitions.take(&record) {
                        Taken::Waiting => {}
                        Taken::BatchFull(index) => self.flush(index),
                        Taken::Failed(index, error) => {
                            let partition = self.partitions.get(index).partition.clone();
                            self.fail(&partition, &blocked::unreadable(&partition, record.offset(), &error));
                        }
                    }
                }
            }
            EventKind::Assign(partitions) => self.assigned(&partitions),
            EventKind::Revoke(partitions) => self.revoked(partitions),
            EventKind::PartitionEnd(partition, offset) => self.end_reached(&partition, offset),
            EventKind::PartitionFailed(problem) => {
                self.fail(&problem.partition.clone(), &blocked::partition_failed(&problem));
            }
            EventKind::Fatal(error) => {
                self.out.push(LogEvent::ClientFailed { reason: error.to_string() });
                // Nothing more can be done for the group; what was read is in the store or still in Kafka.
                while !self.hand_over() && self.sink.as_ref().is_some_and(LogSink::is_open) {
                    std::thread::yield_now();
                }
                return Step::End;
            }
            EventKind::Notice(error) => {
                warn!(self.log, "kafka"; "what" => %error, "hint" => blocked::hint(&error));
            }
            EventKind::Log { level, text } => match level {
                0..=4 => warn!(self.log, "librdkafka"; "line" => text),
                5..=6 => info!(self.log, "librdkafka"; "line" => text),
                _ => debug!(self.log, "librdkafka"; "line" => text),
            },
            EventKind::Other => {}
        }
        Step::GoOn
    }

    /// Answers the group at once: no partition is fetched before its chain has been walked.
    fn assigned(&mut self, partitions: &[TopicPartition]) {
        let answered = if self.client.rebalances_eagerly() {
            self.client.assign(&[])
        } else {
            self.client.incremental_assign(&[])
        };
        self.tell_errors("answer an assignment", answered);
        self.epoch = AssignmentEpoch(self.epoch.0 + 1);
        self.partitions.assign(partitions, self.epoch);
        self.out.push(LogEvent::Assigned { epoch: self.epoch, partitions: partitions.to_vec() });
    }

    /// Answers the group at once, and names only what was added before.
    fn revoked(&mut self, partitions: Vec<TopicPartition>) {
        let added = self.partitions.remove(&partitions);
        let answered = if self.client.rebalances_eagerly() {
            self.client.unassign()
        } else {
            self.client.incremental_unassign(&added)
        };
        self.tell_errors("answer a revocation", answered);
        self.out.push(LogEvent::Revoked { partitions });
    }

    fn end_reached(&mut self, partition: &TopicPartition, offset: i64) {
        let Some(fetching) = self.partitions.find(partition) else { return };
        let batch = fetching.take_batch(&self.budget);
        let (epoch, started) = (fetching.epoch, fetching.started);
        if let Some(batch) = batch {
            self.out.push(LogEvent::Records(partition.clone(), batch));
        }
        if let (Some((seek_epoch, _)), Some(position)) = (started, Offset::new(offset)) {
            fetching.next = fetching.next.max(position);
            let high_watermark = self.client.high_watermark(partition);
            let end = EndReached { epoch, seek_epoch, position, high_watermark };
            self.out.push(LogEvent::EndReached(partition.clone(), end));
        }
    }

    /// A partition must not go on: librdkafka would skip what it cannot read.
    fn fail(&mut self, partition: &TopicPartition, reason: &str) {
        let Some(fetching) = self.partitions.find(partition) else {
            warn!(self.log, "kafka"; "partition" => %partition, "what" => reason);
            return;
        };
        let epoch = fetching.epoch;
        self.stop(partition, epoch);
        self.out.push(LogEvent::Failed { partition: partition.clone(), epoch, reason: reason.to_owned() });
    }

    fn flush(&mut self, index: usize) {
        let fetching = self.partitions.get(index);
        if let Some(batch) = fetching.take_batch(&self.budget) {
            self.out.push(LogEvent::Records(fetching.partition.clone(), batch));
        }
    }

    fn flush_all(&mut self) {
        for fetching in self.partitions.iter_mut() {
            if let Some(batch) = fetching.take_batch(&self.budget) {
                self.out.push(LogEvent::Records(fetching.partition.clone(), batch));
            }
        }
    }

    /// Tells the Consumer; false if it has no room.
    fn hand_over(&mut self) -> bool {
        if self.out.is_empty() {
            return true;
        }
        let Some(sink) = &self.sink else { return false };
        match sink.offer(std::mem::take(&mut self.out)) {
            Ok(()) => true,
            Err(events) => {
                self.out = events;
                // Once nobody listens the process is ending, and what was read is still in Kafka.
                !sink.is_open()
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Start { partition, epoch, seek_epoch, position } => {
                self.stop(&partition, epoch);
                let Some(fetching) = self.partitions.find_in(&partition, epoch) else { return };
                fetching.start(seek_epoch, position);
                if self.client.rebalances_eagerly() {
                    self.assign_is_due = true;
                    return;
                }
                let from = PartitionOffset { partition, offset: position };
                if let Err(error) = self.client.incremental_assign(std::slice::from_ref(&from)) {
                    self.fail(&from.partition, &format!("librdkafka does not fetch it: {error}"));
                }
            }
            Order::Stop { partition, epoch } => self.stop(&partition, epoch),
            Order::Commit { commit, answer } => self.commit(&commit, answer),
            Order::Leave { answer } => {
                self.leaving = Some(answer);
                self.tell_errors("leave the group", self.client.close());
            }
        }
    }

    fn stop(&mut self, partition: &TopicPartition, epoch: AssignmentEpoch) {
        let Some(fetching) = self.partitions.find_in(partition, epoch) else { return };
        if fetching.started.is_some() {
            fetching.stop();
            if self.client.rebalances_eagerly() {
                self.assign_is_due = true;
                return;
            }
            let unassigned = self.client.incremental_unassign(std::slice::from_ref(partition));
            self.tell_errors("stop fetching", unassigned);
        }
    }

    /// In an eager group nothing can be added or taken away by itself: all that is fetched is assigned anew, each
    /// partition where it stands. It costs what was fetched ahead, once for all orders that came together.
    fn assign_anew(&mut self) {
        if !std::mem::take(&mut self.assign_is_due) {
            return;
        }
        let fetched = self.partitions.iter_mut().filter(|fetching| fetching.started.is_some());
        let all: Vec<PartitionOffset> = fetched
            .map(|fetching| {
                fetching.paused = false;
                PartitionOffset { partition: fetching.partition.clone(), offset: fetching.next }
            })
            .collect();
        self.tell_errors("fetch", self.client.assign(&all));
    }

    fn commit(&mut self, commit: &OffsetCommit, answer: oneshot::Sender<Result<(), CommitError>>) {
        let refused = if self.partitions.find_in(&commit.partition, commit.epoch).is_none() {
            Some("the partition is no longer ours".to_owned())
        } else {
            let ticket = CommitTicket(self.next_ticket);
            let to = PartitionOffset { partition: commit.partition.clone(), offset: commit.next_offset };
            match self.client.commit(&to, &commit.metadata.encode(), ticket) {
                Ok(()) => {
                    self.next_ticket += 1;
                    self.tickets.insert(ticket, answer);
                    return;
                }
                Err(error) => Some(error.to_string()),
            }
        };
        if let Some(reason) = refused {
            // The one who asked may be gone.
            let _ = answer.send(Err(CommitError { reason }));
        }
    }

    fn answer_commits(&mut self) {
        while let Some(answer) = self.client.poll_commits() {
            if let Some(asked) = self.tickets.remove(&answer.ticket) {
                // The one who asked may be gone.
                let _ = asked.send(answer.result.map_err(|error| CommitError { reason: error.to_string() }));
            }
        }
    }

    fn stalled_long(&mut self) -> bool {
        self.stalled_since.get_or_insert_with(Instant::now).elapsed() >= STALL_BEFORE_PAUSE
    }

    /// Pauses a partition that is full while others are not, and resumes it when it has drained.
    ///
    /// Pausing throws away what was fetched ahead, so the two bounds lie far apart.
    fn pause_and_resume(&mut self) {
        let used_up = self.budget.is_used_up();
        if !used_up {
            self.stalled_since = None;
        }
        let stalled = used_up && self.stalled_long();
        let limit = self.budget.limit_bytes();
        let others = self.partitions.iter_mut().filter(|fetching| fetching.started.is_some()).count() > 1;
        let (mut full, mut drained) = (Vec::new(), Vec::new());
        for fetching in self.partitions.iter_mut().filter(|fetching| fetching.started.is_some()) {
            let in_use = fetching.in_use.bytes();
            if !fetching.paused && ((others && in_use > limit / 2) || (stalled && in_use > 0)) {
                fetching.paused = true;
                full.push(fetching.partition.clone());
            } else if fetching.paused && in_use < limit / 8 {
                fetching.paused = false;
                drained.push(fetching.partition.clone());
            }
        }
        if !full.is_empty() {
            debug!(self.log, "partitions paused"; "count" => full.len());
            self.tell_errors("pause", self.client.pause(&full));
        }
        if !drained.is_empty() {
            debug!(self.log, "partitions resumed"; "count" => drained.len());
            self.tell_errors("resume", self.client.resume(&drained));
        }
    }

    fn tell_errors(&self, what: &str, result: Result<(), KafkaError>) {
        if let Err(error) = result {
            warn!(self.log, "librdkafka refused"; "what" => what, "reason" => %error);
        }
    }
}
