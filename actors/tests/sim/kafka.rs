//! The group and the fetching of records: what the poll thread and the brokers do.

use super::Sim;
use super::log::{Log, LogRecord};
use super::world::World;
use kafka_store_actors::batch::{RecordBatch, RecordMark};
use kafka_store_actors::budget::{Budget, PartitionUse};
use kafka_store_actors::consumer::LogSink;
use kafka_store_actors::messages::{EndReached, LogEvent};
use kafka_store_actors::ports::{OffsetCommit, PortFuture, RecordSource};
use kafka_store_statecharts::anchor::{Evidence, FetchStart, Proof};
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long after a revocation its writer may still give orders, not having heard of it.
const HEARD_OF_MS: u64 = 3_000;

/// The group, as this process's client knows it. A new process has a new one.
#[derive(Default)]
pub(crate) struct Group {
    epoch: u64,
    ours: BTreeMap<TopicPartition, Assigned>,
    /// What other members have, and until when.
    theirs: BTreeMap<TopicPartition, u64>,
    revoked: BTreeMap<(TopicPartition, AssignmentEpoch), u64>,
    orders: VecDeque<Order>,
    commits: Vec<CommitUnderWay>,
    /// What was fetched and not handed over yet.
    pipe: VecDeque<LogEvent>,
    stalled_until_ms: u64,
    leaving: Option<oneshot::Sender<()>>,
}

struct Assigned {
    epoch: AssignmentEpoch,
    fetch: Option<Fetch>,
    in_use: PartitionUse,
}

struct Fetch {
    seek_epoch: SeekEpoch,
    next: Offset,
    /// What must hold before a record is taken, and the log that it was last seen to hold for.
    proof: Proof,
    proved: Option<u64>,
    end_told: Option<Offset>,
}

enum Order {
    Start { partition: TopicPartition, epoch: AssignmentEpoch, seek_epoch: SeekEpoch, start: FetchStart },
    Stop { partition: TopicPartition, epoch: AssignmentEpoch },
    Commit { commit: OffsetCommit, answer: oneshot::Sender<Result<(), Failure>> },
    Leave { answer: oneshot::Sender<()> },
}

struct CommitUnderWay {
    due_ms: u64,
    commit: OffsetCommit,
    reaches_kafka: bool,
    answered: bool,
    answer: oneshot::Sender<Result<(), Failure>>,
}

impl Group {
    /// A group in which others have everything, for a moment.
    pub(crate) fn join(partitions: &[TopicPartition], now_ms: u64) -> Group {
        let theirs =
            partitions.iter().enumerate().map(|(index, tp)| (tp.clone(), now_ms + 20 * index as u64)).collect();
        Group { theirs, ..Group::default() }
    }
}

impl RecordSource for Sim {
    fn start_fetching(
        &self,
        partition: &TopicPartition,
        epoch: AssignmentEpoch,
        seek_epoch: SeekEpoch,
        start: FetchStart,
    ) {
        self.order(Order::Start { partition: partition.clone(), epoch, seek_epoch, start });
    }

    fn stop_fetching(&self, partition: &TopicPartition, epoch: AssignmentEpoch) {
        self.order(Order::Stop { partition: partition.clone(), epoch });
    }

    fn commit(&self, commit: OffsetCommit) -> PortFuture<Result<(), Failure>> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Commit { commit, answer });
        Box::pin(async move { answered.await.unwrap_or_else(|_| refused("the group is left")) })
    }

    fn leave_group(&self) -> PortFuture<()> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Leave { answer });
        Box::pin(async move {
            let _ = answered.await;
        })
    }
}

impl Sim {
    fn order(&self, order: Order) {
        self.lock().group.orders.push_back(order);
    }
}

fn refused(reason: &str) -> Result<(), Failure> {
    Err(Failure::new(Port::Commit, Class::Other, reason))
}

/// The poll thread, and the world's own course, until the group is left.
pub(crate) async fn poll(sim: Sim, sink: LogSink, budget: Arc<Budget>) {
    loop {
        let wait_ms = sim.lock().rng.between(2, 40);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let now_ms = sim.now_ms();
        let (events, left) = {
            let mut world = sim.lock();
            world.arrive_late(now_ms);
            world.produce(now_ms);
            world.others_write();
            world.carry_out_orders(now_ms);
            world.answer_commits(now_ms);
            world.begin_outages(now_ms);
            world.rebalance(now_ms);
            world.break_logs(now_ms);
            world.fetch(&budget, now_ms);
            (world.hand_over(now_ms), world.leave())
        };
        offer(&sim, &sink, events);
        if let Some(answer) = left {
            let _ = answer.send(());
            return;
        }
    }
}

/// Hands events over, at times each by itself; what there is no room for stays in front.
fn offer(sim: &Sim, sink: &LogSink, mut events: Vec<LogEvent>) {
    let at_once = sim.lock().rng.per_mille(500);
    while !events.is_empty() {
        let rest = events.split_off(if at_once { events.len() } else { 1 });
        if let Err(refused) = sink.offer(events) {
            let mut world = sim.lock();
            world.saw("the Consumer was full");
            refused.into_iter().chain(rest).rev().for_each(|event| world.group.pipe.push_front(event));
            return;
        }
        events = rest;
    }
}

fn batch(records: &[LogRecord], epoch: AssignmentEpoch, seek_epoch: SeekEpoch) -> RecordBatch {
    let leader_epoch = records.first().map(|record| record.epoch);
    let mut batch = RecordBatch { epoch, seek_epoch, leader_epoch, ..RecordBatch::default() };
    for record in records {
        batch.bytes.extend_from_slice(&record.bytes);
        let (offset, timestamp) = (record.offset, record.timestamp);
        batch.marks.push(RecordMark { offset, timestamp, end: batch.bytes.len() });
    }
    batch
}

/// The first records that one leader wrote.
fn one_epoch(records: &[LogRecord]) -> &[LogRecord] {
    let first = records.first().map(|record| record.epoch);
    let count = records.iter().take_while(|record| Some(record.epoch) == first).count();
    &records[..count]
}

impl Fetch {
    /// What the poll thread does at each start, and when another leader has written or a connection was lost.
    fn prove(&mut self, log: &Log) -> Result<(), Evidence> {
        if self.proved != Some(log.generation)
            && let Some(evidence) = log.broken(self.next, self.proof)
        {
            return Err(evidence);
        }
        self.proved = Some(log.generation);
        if self.next < log.start { Err(Evidence::OutOfRange) } else { Ok(()) }
    }
}

impl World {
    fn produce(&mut self, now_ms: u64) {
        if self.plan.grows && self.fault(150) {
            let partition = self.rng.one(&self.plan.partitions).clone();
            let count = self.rng.between(1, 12);
            let log = &mut self.partitions.get_mut(&partition).expect("known").log;
            if log.records.len() < 400 {
                log.append(&mut self.rng, count, World::wall_ms(now_ms));
            }
        }
    }

    /// Records at the end of every log.
    pub(crate) fn grow(&mut self, count: u64, now_ms: u64) {
        for world in self.partitions.values_mut() {
            world.log.append(&mut self.rng, count, World::wall_ms(now_ms));
        }
    }

    fn others_write(&mut self) {
        if let Some(partition) = self.plan.blocked.clone()
            && self.fault(15)
        {
            self.block(&partition);
        }
        for partition in self.plan.partitions.clone() {
            let chance = self.plan.other_writers;
            let theirs = self.group.theirs.contains_key(&partition);
            if self.fault(if theirs { 8 * chance } else { chance }) {
                self.another_writer(&partition);
            }
        }
    }

    fn carry_out_orders(&mut self, now_ms: u64) {
        while let Some(order) = self.group.orders.pop_front() {
            match order {
                Order::Start { partition, epoch, seek_epoch, start } => {
                    let FetchStart { position: next, proof } = start;
                    if let Some(assigned) = self.find(&partition, epoch, now_ms) {
                        assigned.fetch = Some(Fetch { seek_epoch, next, proof, proved: None, end_told: None });
                    }
                }
                Order::Stop { partition, epoch } => {
                    if let Some(assigned) = self.group.ours.get_mut(&partition).filter(|a| a.epoch == epoch) {
                        assigned.fetch = None;
                    }
                }
                Order::Commit { commit, answer } => {
                    if self.find(&commit.partition, commit.epoch, now_ms).is_none() {
                        let _ = answer.send(refused("the partition is no longer ours"));
                        continue;
                    }
                    // Without faults the coordinator answers in order.
                    let due_ms = now_ms + if self.faults { self.latency_ms() } else { 30 };
                    let away = self.outage(Port::Commit, &commit.partition);
                    let reaches_kafka = away.is_none() && !self.fails();
                    let answered = reaches_kafka && !self.fails();
                    if away.is_none() && !answered {
                        self.one_failure(Port::Commit, &commit.partition);
                    }
                    self.group.commits.push(CommitUnderWay { due_ms, commit, reaches_kafka, answered, answer });
                }
                Order::Leave { answer } => self.group.leaving = Some(answer),
            }
        }
    }

    /// The partition in this assignment. Invariant 16: whoever heard of a revocation gives no more orders.
    fn find(&mut self, partition: &TopicPartition, epoch: AssignmentEpoch, now_ms: u64) -> Option<&mut Assigned> {
        let revoked_ms = self.group.revoked.get(&(partition.clone(), epoch));
        if revoked_ms.is_some_and(|revoked_ms| now_ms > revoked_ms + HEARD_OF_MS) {
            self.violations.push(format!("{partition}: an order long after the revocation of {epoch:?}"));
        }
        self.group.ours.get_mut(partition).filter(|assigned| assigned.epoch == epoch)
    }

    fn answer_commits(&mut self, now_ms: u64) {
        let leaving = self.group.leaving.is_some();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.group.commits).into_iter().partition(|c| leaving || c.due_ms <= now_ms);
        self.group.commits = later;
        for under_way in due {
            if under_way.reaches_kafka {
                self.commit(&under_way.commit.partition, under_way.commit.next_offset);
            }
            let answer = if under_way.answered { Ok(()) } else { refused("no answer") };
            self.saw(if under_way.answered { "committed" } else { "commit failed" });
            let _ = under_way.answer.send(answer);
        }
    }

    fn rebalance(&mut self, now_ms: u64) {
        if self.group.leaving.is_some() {
            return;
        }
        let ours: Vec<TopicPartition> = self.group.ours.keys().cloned().collect();
        if self.fault(self.plan.rebalances) {
            let some = self.rng.some(&ours);
            match self.rng.between(0, 3) {
                0 => self.assign(some), // Lost and given again, without a word in between.
                1 => {
                    self.revoke(&some, now_ms, now_ms);
                    self.saw("revoked and assigned at once");
                }
                _ => {
                    let until_ms = now_ms + self.rng.between(5, 4_000);
                    self.revoke(&some, now_ms, until_ms);
                }
            }
        }
        if self.fault(self.plan.rebalances / 4) && !ours.is_empty() {
            let partition = self.rng.one(&ours).clone();
            self.fail(&partition);
        }
        let faults = self.faults;
        let back: Vec<TopicPartition> =
            self.group.theirs.iter().filter(|(_, ms)| **ms <= now_ms || !faults).map(|(tp, _)| tp.clone()).collect();
        if !back.is_empty() {
            self.assign(back);
        }
    }

    fn assign(&mut self, partitions: Vec<TopicPartition>) {
        self.group.epoch += 1;
        let epoch = AssignmentEpoch(self.group.epoch);
        for partition in &partitions {
            self.group.theirs.remove(partition);
            let assigned = Assigned { epoch, fetch: None, in_use: PartitionUse::default() };
            self.group.ours.insert(partition.clone(), assigned);
        }
        self.group.pipe.push_back(LogEvent::Assigned { epoch, partitions });
    }

    fn revoke(&mut self, partitions: &[TopicPartition], now_ms: u64, until_ms: u64) {
        for partition in partitions {
            if let Some(assigned) = self.group.ours.remove(partition) {
                self.group.revoked.insert((partition.clone(), assigned.epoch), now_ms);
                self.group.theirs.insert(partition.clone(), until_ms);
            }
        }
        self.group.pipe.push_back(LogEvent::Revoked { partitions: partitions.to_vec() });
        self.saw("revoked");
    }

    fn fail(&mut self, partition: &TopicPartition) {
        let is_out_of_range = self.rng.per_mille(500);
        if !self.plan.read_errors {
            return;
        }
        if let Some(assigned) = self.group.ours.get_mut(partition)
            && let Some(fetch) = assigned.fetch.take()
        {
            let (partition, epoch, seek_epoch) = (partition.clone(), assigned.epoch, fetch.seek_epoch);
            self.group.pipe.push_back(if is_out_of_range {
                LogEvent::Broken { partition, epoch, seek_epoch, evidence: Evidence::OutOfRange }
            } else {
                LogEvent::Failed { partition, epoch, reason: "a bad CRC".to_owned() }
            });
        }
    }

    /// What is fetched while the brokers are away: nothing, and they say why.
    fn refuse_to_be_fetched(&mut self) {
        let fetched: Vec<(TopicPartition, AssignmentEpoch)> = self
            .group
            .ours
            .iter()
            .filter(|(_, assigned)| assigned.fetch.is_some())
            .map(|(partition, assigned)| (partition.clone(), assigned.epoch))
            .collect();
        for (partition, epoch) in fetched {
            if !self.rng.per_mille(100) {
                continue;
            }
            let Some(failure) = self.outage(Port::Kafka, &partition) else { continue };
            self.group.pipe.push_back(if failure.passes() {
                LogEvent::Interrupted { partition, epoch, failure }
            } else {
                if let Some(assigned) = self.group.ours.get_mut(&partition) {
                    assigned.fetch = None;
                }
                LogEvent::Failed { partition, epoch, reason: failure.advice() }
            });
        }
    }

    fn fetch(&mut self, budget: &Arc<Budget>, now_ms: u64) {
        if now_ms < self.absent_until_ms {
            return;
        }
        let (records_max, batches_max) = self.plan.batches;
        let mut broken = 0;
        self.refuse_to_be_fetched();
        if self.is_away(Port::Kafka) {
            return;
        }
        for (partition, assigned) in &mut self.group.ours {
            let log = &self.partitions[partition].log;
            if let Some(fetch) = &mut assigned.fetch
                && let Err(evidence) = fetch.prove(log)
            {
                let (epoch, seek_epoch) = (assigned.epoch, fetch.seek_epoch);
                assigned.fetch = None;
                broken += 1;
                let partition = partition.clone();
                self.group.pipe.push_back(LogEvent::Broken { partition, epoch, seek_epoch, evidence });
            }
            for _ in 0..self.rng.between(0, batches_max) {
                let full = assigned.in_use.bytes() > budget.limit_bytes() / 2;
                let Some(fetch) = assigned.fetch.as_mut().filter(|_| !full && !budget.is_used_up()) else { break };
                let next = log.index_at(fetch.next);
                let until = log.records.len().min(next + self.rng.between(1, records_max) as usize);
                let records = one_epoch(&log.records[next..until]);
                let Some(last) = records.last() else { break };
                let mut batch = batch(records, assigned.epoch, fetch.seek_epoch);
                batch.share = budget.take(batch.bytes.len() as u64, &assigned.in_use);
                (fetch.next, fetch.proof) = (last.offset.next(), Proof::Record(last.anchor()));
                self.group.pipe.push_back(LogEvent::Records(partition.clone(), batch));
            }
            let Some(fetch) = &mut assigned.fetch else { continue };
            if log.index_at(fetch.next) == log.records.len() && fetch.end_told != Some(log.end) {
                fetch.end_told = Some(log.end);
                let (epoch, seek_epoch, position) = (assigned.epoch, fetch.seek_epoch, log.end);
                let end = EndReached { epoch, seek_epoch, position, high_watermark: Some(position) };
                self.group.pipe.push_back(LogEvent::EndReached(partition.clone(), end));
            }
        }
        for _ in 0..broken {
            self.saw("a log did not continue");
        }
    }

    /// Logs are cut, topics re-created, retention passes, leaders change.
    fn break_logs(&mut self, now_ms: u64) {
        let breaks = self.plan.breaks;
        for partition in self.plan.partitions.clone() {
            if self.rare(breaks.elections) {
                self.partition_mut(&partition).log.elect();
            }
            if self.rare(breaks.cuts) {
                self.cut(&partition, now_ms);
            }
            if self.rare(breaks.retention) {
                let world = &self.partitions[&partition];
                let (first, last) = (world.log.index_at(world.log.start), world.log.records.len());
                if first < last {
                    let at = self.rng.between(first as u64, last as u64 - 1) as usize;
                    let log = &mut self.partition_mut(&partition).log;
                    log.start = log.records[at].offset;
                    let line = format!("{now_ms:>7} {partition} log: begins at {}", log.start);
                    self.lines.push(line);
                    self.saw("retention");
                }
            }
        }
        for partition in self.plan.partitions.clone() {
            let world = &self.partitions[&partition];
            let is_other = world.is_of_topic && !world.is_of_log && world.tail() <= world.log.end;
            if is_other && world.tail() > world.origin && self.rare(breaks.joins) {
                self.partition_mut(&partition).join();
                let tail = self.partitions[&partition].tail();
                self.lines.push(format!("{now_ms:>7} {partition} chain: joined at {tail}"));
                self.saw("another history was accepted");
            }
        }
        // Not again before it was noticed: what lies between two deletions nobody can tell from what was there before.
        let is_settled = self.absent_until_ms == 0 || now_ms > self.absent_until_ms + 60_000;
        if self.rare(breaks.recreations) && is_settled {
            self.recreate(now_ms);
        }
    }

    fn cut(&mut self, partition: &TopicPartition, now_ms: u64) {
        let log = &self.partitions[partition].log;
        let (first, count) = (log.index_at(log.start), log.records.len());
        if first + 1 >= count {
            return;
        }
        let most = self.rng.between(1, 40).min((count - first - 1) as u64);
        let offset = log.records[count - most as usize].offset;
        let is_beyond = self.partitions[partition].tail() <= offset;
        let more = self.rng.between(0, 2 * most);
        self.partition_mut(partition).cut(offset);
        let (rng, partitions) = (&mut self.rng, &mut self.partitions);
        let log = &mut partitions.get_mut(partition).expect("known").log;
        log.append(rng, more, World::wall_ms(now_ms));
        let end = self.partitions[partition].log.end;
        self.lines.push(format!("{now_ms:>7} {partition} log: cut to {offset}, ends before {end}"));
        self.saw(if is_beyond { "a log cut beyond the chain" } else { "a log cut below the chain's end" });
    }

    pub(crate) fn recreate(&mut self, now_ms: u64) {
        self.topic_id += 1;
        self.absent_until_ms = now_ms + self.rng.between(0, 3_000);
        for partition in self.plan.partitions.clone() {
            self.partition_mut(&partition).recreate();
            let count = self.rng.between(0, 100);
            let log = &mut self.partitions.get_mut(&partition).expect("known").log;
            log.append(&mut self.rng, count, World::wall_ms(now_ms));
        }
        if self.rng.per_mille(500) {
            let ours: Vec<TopicPartition> = self.group.ours.keys().cloned().collect();
            let until_ms = self.absent_until_ms;
            self.revoke(&ours, now_ms, until_ms);
        }
        self.lines.push(format!("{now_ms:>7} - topic: re-created, absent until {}", self.absent_until_ms));
        self.saw("a topic re-created");
    }

    /// True in so many of ten thousand cases, while faults last.
    fn rare(&mut self, of_ten_thousand: u64) -> bool {
        self.faults && self.rng.between(0, 9_999) < of_ten_thousand
    }

    /// What is handed to the Consumer at this moment: usually a little, nothing while stalled, then all.
    fn hand_over(&mut self, now_ms: u64) -> Vec<LogEvent> {
        if now_ms < self.group.stalled_until_ms {
            return Vec::new();
        }
        if self.fault(5) {
            self.group.stalled_until_ms = now_ms + self.rng.between(50, 800);
            return Vec::new();
        }
        let most = if self.rng.per_mille(100) { usize::MAX } else { self.rng.between(1, 12) as usize };
        let count = self.group.pipe.len().min(most);
        let events: Vec<LogEvent> = self.group.pipe.drain(..count).collect();
        let is_of = |event: &LogEvent, partition| matches!(event, LogEvent::Records(of, _) if of == partition);
        let counts = |partition| events.iter().filter(|event| is_of(event, partition)).count();
        if self.plan.partitions.iter().any(|partition| counts(partition) > 80) {
            self.saw("more mail at once than a writer's box holds");
        }
        events
    }

    /// The last that is heard of the group.
    fn leave(&mut self) -> Option<oneshot::Sender<()>> {
        if self.group.leaving.is_some() {
            self.group.ours.clear();
            self.group.pipe.clear();
        }
        self.group.leaving.take()
    }
}
