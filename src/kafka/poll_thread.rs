//! The thread that polls librdkafka.
//!
//! It answers the group at once, encodes each record straight from librdkafka's memory into a batch of its
//! partition, and hands whole batches over. It never waits for an upload, for SQL or for a disk. While the
//! budget is used up it takes no records; while the Consumer has no room, nothing.

use super::blocked;
use super::fetching::{Fetching, Partitions, Turn};
use super::ffi::{Client, Delivered, EventKind, KafkaError, PartitionOffset, PartitionProblem};
use super::heartbeat::Heartbeat;
use super::member::{ClientMaker, Member, OwnMember};
use super::source::{KafkaSource, Order};
use crate::config::MemoryPlan;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use kafka_store_actors::budget::Budget;
use kafka_store_actors::consumer::LogSink;
use kafka_store_actors::messages::{EndReached, LogEvent};
use kafka_store_statecharts::anchor::Evidence;
use kafka_store_statecharts::failure::Port;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::AssignmentEpoch;
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use slog::{Logger, debug, info, warn};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod commits;
mod identity;
mod leaving;
mod records;
mod renewal;
mod shortage;
mod turns;

use commits::Commits;
use leaving::Leaving;
use records::Held;
use renewal::Renewals;
use shortage::LOOK_INTERVAL;
use turns::Turns;

/// How long it waits when nothing is expected: whatever comes wakes it.
const IDLE_WAIT: Duration = Duration::from_millis(500);
/// How long it waits for what does not wake it.
const SHORT_WAIT: Duration = Duration::from_millis(10);
/// How long librdkafka may take to stop what was fetched before an assignment as a whole.
const ASSIGN_SETTLES_WITHIN: Duration = Duration::from_millis(200);
/// How many records, and how many events, are taken in a row before anything else is looked at.
const TAKEN_IN_A_ROW: usize = 2_000;

/// Starts the poll thread. It ends when the group is left, or when another process has taken this one's identity.
///
/// `maker` makes the successors of a client that has failed. `brokers` is how many of them lead the partitions. `budget` is for the batches; `memory` says how many records are
/// taken at once, and which ones are told in the log because they are large.
pub fn start(
    client: Client,
    maker: ClientMaker,
    brokers: usize,
    budget: Arc<Budget>,
    memory: MemoryPlan,
    log: Logger,
) -> PollThreadStart {
    let (orders, received) = crossbeam_channel::unbounded();
    let client = OwnMember::new(client);
    let source = KafkaSource::new(orders, client.shared());
    let thread = PollThread {
        client,
        maker,
        renewals: Renewals::new(),
        topics: Vec::new(),
        is_subscribed: false,
        fatal: None,
        orders: received,
        heartbeat: Arc::new(Heartbeat::new()),
        sink: None,
        budget,
        memory,
        log,
        epoch: AssignmentEpoch::default(),
        partitions: Partitions::default(),
        out: Vec::new(),
        commits: Commits::default(),
        leaving: None,
        held: None,
        parked: Vec::new(),
        looked_at: Instant::now(),
        paused_bytes: 0,
        is_eager: false,
        assign_is_due: false,
        assigned_anew_at: None,
        turns: Turns::for_brokers(brokers),
        unproven: Vec::new(),
        record_bytes: 1024,
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

    /// The member of the group, whichever client that is.
    pub fn member(&self) -> Member {
        self.thread.client.shared()
    }

    /// When the thread makes its steps.
    pub fn heartbeat(&self) -> Arc<Heartbeat> {
        Arc::clone(&self.thread.heartbeat)
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
    client: OwnMember,
    maker: ClientMaker,
    renewals: Renewals,
    /// What it is to be subscribed to.
    topics: Vec<TopicName>,
    /// It is subscribed to something.
    is_subscribed: bool,
    /// Why the client can do nothing more.
    fatal: Option<KafkaError>,
    orders: Receiver<Order>,
    heartbeat: Arc<Heartbeat>,
    sink: Option<LogSink>,
    budget: Arc<Budget>,
    memory: MemoryPlan,
    log: Logger,
    epoch: AssignmentEpoch,
    partitions: Partitions,
    /// What the Consumer is to be told, in order.
    out: Vec<LogEvent>,
    commits: Commits,
    leaving: Option<Leaving>,
    /// Nothing is taken while there is one.
    held: Option<Held>,
    /// Records of paused partitions for which there was no room, at most one of each.
    parked: Vec<Held>,
    /// When it was looked at last how the partitions stand with the budget.
    looked_at: Instant,
    /// What paused partitions held then.
    paused_bytes: u64,
    /// How the group rebalances, since its last assignment or revocation: librdkafka's other thread is asked for it.
    is_eager: bool,
    /// In an eager group: what is fetched has changed.
    assign_is_due: bool,
    /// When that was done last. librdkafka may take a moment for it.
    assigned_anew_at: Option<Instant>,
    turns: Turns,
    /// Partitions whose leaders are still to be asked whether their logs reach the position.
    unproven: Vec<TopicPartition>,
    /// How large records are lately: as the largest, and a little less with each smaller one since.
    record_bytes: usize,
}

/// What to do next.
enum Step {
    GoOn,
    End,
}

impl PollThread {
    fn run(mut self) {
        while let Step::GoOn = self.step_or_renew() {}
        self.commits.refuse_all("the group is left");
        if let Some(leaving) = self.leaving.take() {
            leaving.done();
        }
    }

    fn step_or_renew(&mut self) -> Step {
        match (self.step(), self.fatal.take()) {
            (Step::End, Some(error)) => self.end_client(error),
            (step, _) => step,
        }
    }

    fn step(&mut self) -> Step {
        self.heartbeat.beat();
        while let Ok(order) = self.orders.try_recv() {
            self.carry_out(order);
        }
        self.give_turns();
        self.assign_anew();
        self.ask_leaders();
        self.answer_commits();
        if self.has_left() {
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
        if let Step::End = self.take_events() {
            return Step::End;
        }
        self.take_held();
        self.see_to_partitions();
        if self.is_short() {
            // What the writers do not have they cannot write.
            self.flush_all();
            // It is not the partitions that bring nothing.
            self.turns.quiet_since = None;
            if self.hand_over() {
                self.budget.wait_for(self.needed_bytes(), SHORT_WAIT);
            }
            return Step::GoOn;
        }
        self.take_records()
    }

    /// Takes events until there are none, or enough for one round. They wait for no record: the group is answered also
    /// while memory is short.
    fn take_events(&mut self) -> Step {
        for _ in 0..TAKEN_IN_A_ROW {
            let Some(event) = self.client.next_event(Duration::ZERO) else { return Step::GoOn };
            if let Step::End = self.take(event.kind()) {
                return Step::End;
            }
        }
        // There may be more, of which nobody tells.
        self.client.wake();
        Step::GoOn
    }

    /// Takes records until there are none, or enough for one round; waits for them if there is nothing at all.
    fn take_records(&mut self) -> Step {
        let (mut taken, mut step) = (0, Step::GoOn);
        let client = self.client.client();
        loop {
            let mut goes_on = true;
            let count = client.take_records(self.most_at_once(), |delivered| {
                match delivered {
                    Delivered::Record(record) => self.take_record(&record),
                    Delivered::Event(kind) => step = self.take(kind),
                }
                taken += 1;
                goes_on = taken < TAKEN_IN_A_ROW && !self.is_short() && matches!(step, Step::GoOn);
                if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if !goes_on {
                break;
            }
            if count == 0 {
                self.flush_all();
                break;
            }
        }
        if taken > 0 {
            self.turns.quiet_since = None;
        } else if self.out.is_empty() {
            self.turns.quiet_since.get_or_insert_with(Instant::now);
            self.wait();
        }
        step
    }

    /// Waits until something comes, or until it must be looked.
    fn wait(&mut self) {
        let settles = self.assigned_anew_at.is_some_and(|at| at.elapsed() < ASSIGN_SETTLES_WITHIN);
        self.client.wait(if self.leaving.is_some() {
            SHORT_WAIT
        } else if settles {
            LOOK_INTERVAL
        } else if !self.unproven.is_empty() {
            SHORT_WAIT
        } else if self.turns.are_awaited() {
            self.turns.patience.min(IDLE_WAIT)
        } else {
            IDLE_WAIT
        });
    }

    fn take(&mut self, kind: EventKind) -> Step {
        match kind {
            EventKind::Assign(partitions) => self.assigned(&partitions),
            EventKind::Revoke(partitions) => self.revoked(partitions),
            EventKind::PartitionEnd(partition, offset) => self.end_reached(&partition, offset),
            EventKind::PartitionFailed(problem) if blocked::is_out_of_range(&problem) => {
                self.broken(&problem.partition, Evidence::OutOfRange);
            }
            EventKind::PartitionFailed(problem) if blocked::passes(&problem) => self.interrupted(&problem),
            EventKind::PartitionFailed(problem) => {
                self.fail(&problem.partition.clone(), &blocked::partition_failed(&problem));
            }
            EventKind::Fatal(error) => {
                self.fatal = Some(error);
                return Step::End;
            }
            EventKind::Notice(error) => {
                if blocked::loses_connection(&error) {
                    self.partitions.iter_mut().for_each(Fetching::doubt);
                }
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
        self.is_eager = self.client.rebalances_eagerly();
        let answered = if self.is_eager { self.client.assign(&[]) } else { self.client.incremental_assign(&[]) };
        self.tell_errors("answer an assignment", answered);
        self.epoch = AssignmentEpoch(self.epoch.0 + 1);
        self.end_pauses(partitions);
        self.partitions.assign(partitions, self.epoch);
        self.out.push(LogEvent::Assigned { epoch: self.epoch, partitions: partitions.to_vec() });
    }

    /// Answers the group at once, and names only what was added before.
    fn revoked(&mut self, partitions: Vec<TopicPartition>) {
        self.end_pauses(&partitions);
        let added = self.partitions.remove(&partitions);
        self.commits.revoke(&partitions, Instant::now());
        self.is_eager = self.client.rebalances_eagerly();
        let answered = if self.is_eager { self.client.unassign() } else { self.client.incremental_unassign(&added) };
        self.tell_errors("answer a revocation", answered);
        self.out.push(LogEvent::Revoked { partitions });
    }

    fn end_reached(&mut self, partition: &TopicPartition, offset: i64) {
        if !self.passes_end(partition, offset) {
            return;
        }
        let Some(fetching) = self.partitions.find(partition) else { return };
        fetching.is_heard = true;
        let batch = fetching.take_batch();
        let (epoch, started) = (fetching.epoch, fetching.started);
        if let Some(batch) = batch {
            self.out.push(LogEvent::Records(partition.clone(), batch));
        }
        if let (Some((seek_epoch, _)), Some(position)) = (started, Offset::new(offset)) {
            fetching.next = fetching.next.max(position);
            if fetching.is_behind() {
                fetching.turn = Turn::AtEnd;
            }
            let high_watermark = self.client.high_watermark(partition);
            let end = EndReached { epoch, seek_epoch, position, high_watermark };
            self.out.push(LogEvent::EndReached(partition.clone(), end));
        }
    }

    /// A partition must not go on: librdkafka would skip what it cannot read. What was fetched before is still good.
    fn fail(&mut self, partition: &TopicPartition, reason: &str) {
        match self.end_fetching(partition) {
            Some(epoch) => {
                let (partition, reason) = (partition.clone(), reason.to_owned());
                self.out.push(LogEvent::Failed { partition, epoch, reason });
            }
            None => warn!(self.log, "kafka"; "partition" => %partition, "what" => reason),
        }
    }

    /// A broker gave no records, for a reason that passes: librdkafka asks again by itself, at the same offset. What it
    /// finds then may be another log.
    fn interrupted(&mut self, problem: &PartitionProblem) {
        let failure = problem.error.failure(Port::Kafka);
        let Some(fetching) = self.partitions.find(&problem.partition) else { return };
        fetching.doubt();
        let (partition, epoch) = (problem.partition.clone(), fetching.epoch);
        self.out.push(LogEvent::Interrupted { partition, epoch, failure });
    }

    /// Hands over what was fetched and stops; `None` if the partition is not ours.
    fn end_fetching(&mut self, partition: &TopicPartition) -> Option<AssignmentEpoch> {
        let fetching = self.partitions.find(partition)?;
        let (batch, epoch) = (fetching.take_batch(), fetching.epoch);
        self.out.extend(batch.map(|batch| LogEvent::Records(partition.clone(), batch)));
        self.stop(partition, epoch);
        Some(epoch)
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
            Order::Start { partition, epoch, seek_epoch, start } => {
                self.stop(&partition, epoch);
                let Some(fetching) = self.partitions.find_in(&partition, epoch) else { return };
                fetching.start(seek_epoch, start);
                self.turns.await_one(fetching);
            }
            Order::Stop { partition, epoch } => self.stop(&partition, epoch),
            Order::Commit { commit, answer } => self.commit(&commit, answer),
            Order::Subscribe { topics } => {
                self.topics = topics;
                self.subscribe();
            }
            Order::Leave { answer } => self.leave(answer),
        }
    }

    fn stop(&mut self, partition: &TopicPartition, epoch: AssignmentEpoch) {
        let Some(fetching) = self.partitions.find_in(partition, epoch) else { return };
        let was_fetched = fetching.is_fetched();
        fetching.stop();
        if was_fetched {
            self.fetch_no_more(std::slice::from_ref(partition));
        }
    }

    /// In an eager group nothing can be added or taken away by itself: all that is fetched is assigned anew, each
    /// partition where it stands. It costs what was fetched ahead, once for all orders that came together.
    fn assign_anew(&mut self) {
        if !std::mem::take(&mut self.assign_is_due) {
            return;
        }
        self.flush_all();
        let fetched: Vec<TopicPartition> = self
            .partitions
            .iter_mut()
            .filter(|fetching| fetching.is_fetched())
            .map(|fetching| fetching.partition.clone())
            .collect();
        let all: Vec<PartitionOffset> = fetched.iter().filter_map(|partition| self.begin_checked(partition)).collect();
        // What the assignment before has ended must have stopped: librdkafka stops a partition twice otherwise, and aborts.
        self.client.await_main_thread();
        // Before, so that no record goes astray; and after, which what was fetched before may undo when it is stopped: it is
        // looked at soon.
        let lead = || all.iter().for_each(|from| self.client.lead_records(&from.partition));
        lead();
        self.tell_errors("fetch", self.client.assign(&all));
        lead();
        self.assigned_anew_at = Some(Instant::now());
    }

    /// Has the client subscribe to what is wanted now.
    fn subscribe(&mut self) {
        let subscribed = match self.topics.as_slice() {
            [] if self.is_subscribed => self.client.unsubscribe(),
            [] => Ok(()),
            topics => self.client.subscribe(topics),
        };
        self.is_subscribed = !self.topics.is_empty();
        self.tell_errors("subscribe", subscribed);
    }

    fn tell_errors(&self, what: &str, result: Result<(), KafkaError>) {
        if let Err(error) = result {
            warn!(self.log, "librdkafka refused"; "what" => what, "reason" => %error);
        }
    }
}
