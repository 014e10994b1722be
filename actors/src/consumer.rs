//! The Consumer: it keeps the group's assignment, and fans records out to the writers.

use crate::messages::{Drain, LogEvent, LogEvents, LookAgain, Report, WriterMail, WriterReport};
use crate::partition_writer::{PartitionWriter, WriterContext};
use crate::ports::{Blocked, Coverage};
use crate::transition::{Detail, TransitionRecord};
use crate::until_end::UntilEnd;
use actix::dev::SendError;
use actix::prelude::*;
use kafka_store_statecharts::assignment::{
    Assignment, AssignmentEffect, AssignmentEvent, AssignmentState, AssignmentStateKind,
};
use kafka_store_statecharts::chart::{self, Chart, Kind, Refusal};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::AssignmentEpoch;
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use slog::{Logger, debug, info, warn};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a full writer's batches wait before they are offered again.
const OFFER_AGAIN: Duration = Duration::from_millis(5);
/// How often other members' progress towards the targets is looked at.
const COVERAGE_INTERVAL: Duration = Duration::from_secs(2);

/// How often the brokers are asked whether topics still are the same: a deletion is noticed within a minute.
const TOPIC_INTERVAL: Duration = Duration::from_secs(20);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Kafka's client failed for good, for this reason.
    pub client_failed: Option<String>,
    /// The partitions that cannot go on, with the reasons.
    pub frozen: BTreeMap<TopicPartition, String>,
    /// The partitions whose `--until-end` targets were not reached. Empty without `--until-end`.
    pub unreached: Vec<TopicPartition>,
    /// Those of them that other members have, and whose chains and commits stand still.
    pub stalled: Vec<TopicPartition>,
}

/// What the Consumer is given.
#[derive(Debug)]
pub struct ConsumerParams {
    /// What each writer works with.
    pub writers: WriterContext,
    /// The arbiters that writers run on, by turns.
    pub arbiters: Vec<ArbiterHandle>,
    /// `--until-end`: the offset below which everything is to be archived, for each partition.
    pub targets: Option<BTreeMap<TopicPartition, Offset>>,
    /// How long such a target that another member has may stand still before it is not waited for.
    pub stall_timeout: Duration,
    /// How long sealed segments may take to finish when the process stops.
    pub drain_time: Duration,
    /// How many partitions' files may be open at a time.
    pub open_files_max: usize,
    /// Where the end is told.
    pub finished: oneshot::Sender<Finished>,
    /// The log.
    pub log: Logger,
}

/// The Consumer.
#[derive(Debug)]
pub struct Consumer {
    params: WriterContext,
    arbiters: Vec<ArbiterHandle>,
    next_arbiter: usize,
    chart: Assignment,
    writers: BTreeMap<TopicPartition, Writer>,
    until_end: Option<UntilEnd>,
    frozen: BTreeMap<TopicPartition, String>,
    client_failed: Option<String>,
    finished: Option<oneshot::Sender<Finished>>,
    /// Writers that were told of their revocation and have not heard it yet.
    revoking: usize,
    /// The group is left.
    left: bool,
    offering: bool,
    drain_time: Duration,
    open_files_max: usize,
    /// Number of the last question about topics.
    topic_question: u64,
    /// It is not answered yet.
    asks_topics: bool,
    log: Logger,
}

#[derive(Debug)]
struct Writer {
    addr: Addr<PartitionWriter>,
    epoch: AssignmentEpoch,
    /// Mail that its mailbox had no room for, in order. Its bytes are in the budget.
    backlog: VecDeque<WriterMail>,
}

impl Writer {
    /// Sends what its mailbox has room for; true if something is left.
    fn offer(&mut self) -> bool {
        while let Some(mail) = self.backlog.pop_front() {
            match self.addr.try_send(mail) {
                Ok(()) => {}
                Err(SendError::Full(mail)) => {
                    self.backlog.push_front(mail);
                    return true;
                }
                // It was revoked, and has stopped: there is nobody to tell.
                Err(SendError::Closed(_)) => self.backlog.clear(),
            }
        }
        false
    }
}

/// Hands what the poll thread saw to the Consumer, without making the adapter know actors.
#[derive(Clone, Debug)]
pub struct LogSink(Recipient<LogEvents>);

impl LogSink {
    /// A sink into the Consumer.
    pub fn new(consumer: &Addr<Consumer>) -> LogSink {
        LogSink(consumer.clone().recipient())
    }

    /// Hands events over. What there is no room for comes back; so do all events when nobody listens any more.
    pub fn offer(&self, events: Vec<LogEvent>) -> Result<(), Vec<LogEvent>> {
        self.0.try_send(LogEvents(events)).map_err(|error| error.into_inner().0)
    }

    /// Whether somebody listens.
    pub fn is_open(&self) -> bool {
        self.0.connected()
    }
}

impl Consumer {
    /// A Consumer that has joined no group yet.
    pub fn new(params: ConsumerParams) -> Consumer {
        Consumer {
            params: params.writers,
            arbiters: params.arbiters,
            next_arbiter: 0,
            chart: Assignment::default(),
            writers: BTreeMap::new(),
            until_end: params.targets.map(|targets| UntilEnd::new(targets, params.stall_timeout)),
            frozen: BTreeMap::new(),
            client_failed: None,
            finished: Some(params.finished),
            revoking: 0,
            left: false,
            offering: false,
            drain_time: params.drain_time,
            open_files_max: params.open_files_max,
            topic_question: 0,
            asks_topics: false,
            log: params.log,
        }
    }

    fn assignment_event(&mut self, event: AssignmentEvent, ctx: &mut Context<Self>) {
        let now = self.params.ports.clock.now();
        match chart::on(&self.chart, now, event) {
            Ok(transition) => {
                if transition.from != transition.to {
                    self.params.ports.transitions.record(&TransitionRecord {
                        now,
                        subject: None,
                        chart: Assignment::NAME,
                        from: transition.from.as_str(),
                        event: transition.event.as_str(),
                        to: transition.to.as_str(),
                        detail: Detail::of_assignment(&transition),
                    });
                }
                self.chart = transition.chart;
                for effect in transition.effects {
                    self.carry_out(effect, ctx);
                }
            }
            Err(refused) => match refused.refusal {
                Refusal::Stale => debug!(self.log, "stale event"; "what" => %refused),
                Refusal::Impossible => panic!("assignment: {refused}"),
            },
        }
    }

    fn carry_out(&mut self, effect: AssignmentEffect, ctx: &mut Context<Self>) {
        match effect {
            AssignmentEffect::StartWriter { partition, epoch } => self.start_writer(partition, epoch, ctx),
            AssignmentEffect::RevokeWriter { partition } => {
                if !matches!(self.chart.state(), AssignmentStateKind::Draining | AssignmentStateKind::Left) {
                    // Whoever has it now says whether it can go on.
                    self.frozen.remove(&partition);
                }
                if let Some(mut writer) = self.writers.remove(&partition) {
                    // What it has not been given is void; the revocation itself must reach it.
                    writer.backlog.clear();
                    let addr = writer.addr;
                    self.revoking += 1;
                    ctx.spawn(addr.send(WriterMail::Revoke).into_actor(self).map(|_, consumer, _| {
                        consumer.revoking -= 1;
                        consumer.finish_if_left();
                    }));
                }
            }
            AssignmentEffect::DrainWriter { partition } => self.tell(&partition, WriterMail::Drain, ctx),
            AssignmentEffect::LeaveGroup => {
                self.writers.clear();
                let left = self.params.ports.source.leave_group().into_actor(self);
                ctx.spawn(left.map(|(), consumer, _| {
                    consumer.left = true;
                    consumer.finish_if_left();
                }));
            }
        }
    }

    fn start_writer(&mut self, partition: TopicPartition, epoch: AssignmentEpoch, ctx: &mut Context<Self>) {
        let target = self.until_end.as_ref().and_then(|until_end| until_end.target(&partition));
        let writer = PartitionWriter::new(
            partition.clone(),
            epoch,
            target,
            self.params.clone(),
            ctx.address().recipient(),
            &self.log,
        );
        let arbiter = &self.arbiters[self.next_arbiter % self.arbiters.len()];
        self.next_arbiter += 1;
        let addr = PartitionWriter::start_in_arbiter(arbiter, |_| writer);
        self.writers.insert(partition, Writer { addr, epoch, backlog: VecDeque::new() });
    }

    /// Reports whether a partition still has the writer of this assignment. What comes for an earlier one is void.
    fn has_writer(&self, partition: &TopicPartition, epoch: AssignmentEpoch) -> bool {
        self.writers.get(partition).is_some_and(|writer| writer.epoch == epoch)
    }

    fn tell(&mut self, partition: &TopicPartition, mail: WriterMail, ctx: &mut Context<Self>) {
        let Some(writer) = self.writers.get_mut(partition) else { return };
        writer.backlog.push_back(mail);
        if writer.offer() && !std::mem::replace(&mut self.offering, true) {
            ctx.run_later(OFFER_AGAIN, Self::offer_again);
        }
    }

    fn offer_again(&mut self, ctx: &mut Context<Self>) {
        self.offering = false;
        let mut left_over = false;
        for writer in self.writers.values_mut() {
            left_over |= writer.offer();
        }
        if left_over {
            self.offering = true;
            ctx.run_later(OFFER_AGAIN, Self::offer_again);
        }
    }

    fn log_event(&mut self, event: LogEvent, ctx: &mut Context<Self>) {
        match event {
            LogEvent::Assigned { epoch, partitions } => {
                info!(self.log, "partitions assigned"; "count" => partitions.len(), "partitions" => list(&partitions));
                self.assignment_event(AssignmentEvent::PartitionsAssigned { epoch, partitions }, ctx);
                if self.writers.len() > self.open_files_max {
                    warn!(self.log, "more partitions than files may be open: raise `ulimit -n`, or start more daemons";
                        "partitions" => self.writers.len(), "files" => self.open_files_max);
                }
            }
            LogEvent::Revoked { partitions } => {
                info!(self.log, "partitions revoked"; "count" => partitions.len(), "partitions" => list(&partitions));
                self.assignment_event(AssignmentEvent::PartitionsRevoked { partitions }, ctx);
            }
            LogEvent::Records(partition, batch) => self.tell(&partition, WriterMail::Records(batch), ctx),
            LogEvent::EndReached(partition, end) => self.tell(&partition, WriterMail::EndReached(end), ctx),
            LogEvent::Failed { partition, epoch, reason } => {
                if self.has_writer(&partition, epoch) {
                    self.tell(&partition, WriterMail::Failed { reason }, ctx);
                }
            }
            LogEvent::Interrupted { partition, epoch, failure } => {
                if self.has_writer(&partition, epoch) {
                    self.tell(&partition, WriterMail::Interrupted { failure }, ctx);
                }
            }
            LogEvent::Broken { partition, epoch, seek_epoch, evidence } => {
                if self.has_writer(&partition, epoch) {
                    self.tell(&partition, WriterMail::Broken { seek_epoch, evidence }, ctx);
                }
            }
            LogEvent::ClientFailed { reason } => {
                self.client_failed = Some(reason);
                self.finish();
            }
        }
    }

    /// Stops when every target is reached or can't be.
    fn finish_if_all_reached(&mut self, ctx: &mut Context<Self>) {
        let Some(until_end) = &self.until_end else { return };
        let all = until_end
            .open()
            .iter()
            .all(|partition| self.frozen.contains_key(partition) || until_end.is_stalled(partition));
        if all && !matches!(self.chart.state(), AssignmentStateKind::Draining | AssignmentStateKind::Left) {
            self.drain(ctx);
        }
    }

    fn drain(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(self.drain_time, |consumer, ctx| {
            if consumer.chart.state == AssignmentState::Draining {
                warn!(consumer.log, "segments did not finish in time; the next start archives their records");
                consumer.assignment_event(AssignmentEvent::DrainExpired, ctx);
            }
        });
        self.assignment_event(AssignmentEvent::DrainRequested, ctx);
    }

    /// Asks the brokers whether the topics of all partitions still are the same. Writers are told of the question first: an
    /// answer speaks of what was read before it was asked.
    fn look_at_topics(&mut self, ctx: &mut Context<Self>) {
        if self.writers.is_empty() || std::mem::replace(&mut self.asks_topics, true) {
            return;
        }
        self.topic_question += 1;
        let question = self.topic_question;
        let partitions: Vec<TopicPartition> = self.writers.keys().cloned().collect();
        let mut topics: Vec<TopicName> = partitions.iter().map(|partition| partition.topic.clone()).collect();
        topics.dedup();
        for partition in partitions {
            self.tell(&partition, WriterMail::TopicAsked { question }, ctx);
        }
        let answers = self.params.ports.locator.topics(topics).into_actor(self);
        ctx.spawn(answers.map(move |answers, consumer, ctx| {
            consumer.asks_topics = false;
            let partitions: Vec<TopicPartition> = consumer.writers.keys().cloned().collect();
            for partition in partitions {
                if let Some(answer) = answers.get(&partition.topic).copied() {
                    consumer.tell(&partition, WriterMail::Topic { question, answer }, ctx);
                }
            }
        }));
    }

    /// Asks the store whether partitions that other members have are archived up to their targets.
    fn look_at_coverage(&mut self, ctx: &mut Context<Self>) {
        let now = self.params.ports.clock.now();
        let Some(until_end) = &mut self.until_end else { return };
        let writers = &self.writers;
        let due = until_end.looks_due(now, |partition| writers.contains_key(partition));
        let stalled = until_end.newly_stalled(now);
        for (partition, target) in due {
            let coverage = self.params.ports.locator.coverage(&partition, target).into_actor(self);
            ctx.spawn(coverage.map(move |coverage, consumer, ctx| consumer.coverage_seen(&partition, coverage, ctx)));
        }
        for partition in stalled {
            warn!(self.log, "target stands still: neither the chain nor its commit has moved; it is not waited for";
                "partition" => %partition);
        }
        self.finish_if_all_reached(ctx);
    }

    fn coverage_seen(
        &mut self,
        partition: &TopicPartition,
        coverage: Result<Coverage, Blocked>,
        ctx: &mut Context<Self>,
    ) {
        let now = self.params.ports.clock.now();
        let Some(until_end) = &mut self.until_end else { return };
        until_end.answered(partition, coverage.as_ref().ok().copied(), now);
        match coverage {
            Ok(coverage) if coverage.is_covered => self.target_reached(partition, ctx),
            Ok(_) => {}
            Err(Blocked { reason }) if until_end.is_to_warn(now) => {
                warn!(self.log, "other members' progress is not known; asking again"; "partition" => %partition,
                    "reason" => reason);
            }
            Err(Blocked { reason }) => {
                debug!(self.log, "coverage not known"; "partition" => %partition, "reason" => reason);
            }
        }
        self.look_at_coverage(ctx);
    }

    fn target_reached(&mut self, partition: &TopicPartition, ctx: &mut Context<Self>) {
        if let Some(until_end) = &mut self.until_end {
            until_end.reached(partition);
        }
        self.finish_if_all_reached(ctx);
    }

    /// A writer that is still to hear of its revocation would give up its segments after the end was told.
    fn finish_if_left(&mut self) {
        if self.left && self.revoking == 0 {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let Some(finished) = self.finished.take() else { return };
        let until_end = self.until_end.as_ref();
        let unreached: Option<Vec<_>> = until_end.map(|until_end| until_end.open().iter().cloned().collect());
        let is_stalled =
            |partition: &&TopicPartition| until_end.is_some_and(|until_end| until_end.is_stalled(partition));
        let stalled = unreached.iter().flatten().filter(is_stalled).cloned().collect();
        let end = Finished {
            client_failed: self.client_failed.take(),
            frozen: std::mem::take(&mut self.frozen),
            unreached: unreached.unwrap_or_default(),
            stalled,
        };
        // Nobody waits any more if the process is already ending.
        let _ = finished.send(end);
    }
}

/// A few names, for the log.
fn list(partitions: &[TopicPartition]) -> String {
    const SHOWN: usize = 8;
    let mut text: Vec<String> = partitions.iter().take(SHOWN).map(ToString::to_string).collect();
    if partitions.len() > SHOWN {
        text.push("…".to_owned());
    }
    text.join(" ")
}

impl Actor for Consumer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(256);
        ctx.run_interval(TOPIC_INTERVAL, |consumer, ctx| consumer.look_at_topics(ctx));
        if self.until_end.is_some() {
            ctx.run_interval(COVERAGE_INTERVAL, |consumer, ctx| consumer.look_at_coverage(ctx));
            self.finish_if_all_reached(ctx);
        }
    }
}

impl Handler<LogEvents> for Consumer {
    type Result = ();

    fn handle(&mut self, LogEvents(events): LogEvents, ctx: &mut Self::Context) {
        for event in events {
            self.log_event(event, ctx);
        }
    }
}

impl Handler<WriterReport> for Consumer {
    type Result = ();

    fn handle(&mut self, report: WriterReport, ctx: &mut Self::Context) {
        let WriterReport { partition, epoch, report } = report;
        match report {
            Report::TargetReached => self.target_reached(&partition, ctx),
            Report::Frozen { reason } => {
                if self.has_writer(&partition, epoch) {
                    self.frozen.insert(partition, reason);
                    self.finish_if_all_reached(ctx);
                }
            }
            Report::GoesOn => {
                if self.has_writer(&partition, epoch) {
                    self.frozen.remove(&partition);
                }
            }
            Report::Gone => self.assignment_event(AssignmentEvent::WriterGone { partition, epoch }, ctx),
        }
    }
}

impl Handler<LookAgain> for Consumer {
    type Result = ();

    fn handle(&mut self, _: LookAgain, ctx: &mut Self::Context) {
        let partitions: Vec<TopicPartition> = self.writers.keys().cloned().collect();
        for partition in partitions {
            self.tell(&partition, WriterMail::LookAgain, ctx);
        }
    }
}

impl Handler<Drain> for Consumer {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.drain(ctx);
    }
}
