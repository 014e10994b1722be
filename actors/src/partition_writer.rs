//! The writer of one partition.
//!
//! It runs the partition chart and a segment chart for each segment on its way, and carries out their
//! effects. Records are taken from a queue, at most one block a message, so that the writers that share
//! an arbiter take turns.

use crate::batch::RecordBatch;
use crate::indexer::Indexer;
use crate::messages::{EndReached, Report, StoreSegment, WriteIndexRow, WriterMail, WriterReport};
use crate::open_segment::{Appended, Cursor, OpenSegment};
use crate::ports::{CompletedSegment, IndexRow, OffsetCommit, Ports, StoreAnswer, TransitionRecord};
use crate::retry;
use crate::uploader::UploaderPool;
use actix::prelude::*;
use kafka_store_statecharts::boundary::{BoundarySettings, SealReason};
use kafka_store_statecharts::chart::{self, Chart, Kind, Now, Refusal, Transition};
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::{
    AssignmentEpoch, Partition, PartitionEffect, PartitionEvent, PartitionState, PartitionStateKind,
};
use kafka_store_statecharts::segment::{
    Segment, SegmentContent, SegmentEffect, SegmentEvent, SegmentState, SegmentStateKind,
};
use kafka_store_statecharts::topic::{TopicId, TopicPartition};
use kafka_store_statecharts::wall_clock::{Due, OpenSince, WallClockSettings};
use slog::{Logger, debug, error, info, o, warn};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What all writers share.
#[derive(Debug)]
pub struct WriterSettings {
    /// Where segments end by their records.
    pub boundary: BoundarySettings,
    /// When the clock ends them.
    pub wall_clock: WallClockSettings,
    /// How many sealed segments of a partition may be on their way.
    pub sealed_max: usize,
}

/// What a writer works with.
#[derive(Clone, Debug)]
pub struct WriterContext {
    /// What all writers share.
    pub settings: Arc<WriterSettings>,
    /// The world.
    pub ports: Ports,
    /// The pool.
    pub uploaders: Addr<UploaderPool>,
    /// The Indexer, where there is an index.
    pub indexer: Option<Addr<Indexer>>,
}

/// The writer of one partition in one assignment.
#[derive(Debug)]
pub struct PartitionWriter {
    partition: TopicPartition,
    epoch: AssignmentEpoch,
    context: WriterContext,
    reports: Recipient<WriterReport>,
    log: Logger,
    chart: Partition,
    /// Set by the walk.
    chain: ChainName,
    topic_id: Option<TopicId>,
    wall_clock: WallClockSettings,
    /// `--until-end`: archive what lies below, then report.
    target: Option<Offset>,
    input: Input,
    open: Option<OpenSegment>,
    segments: BTreeMap<Offset, OnItsWay>,
    /// Events that effects gave rise to, not yet given to their charts.
    pending: VecDeque<Pending>,
    seal_timer: Option<SpawnHandle>,
}

/// What was fetched and not archived yet.
#[derive(Debug, Default)]
struct Input {
    queue: VecDeque<(RecordBatch, Cursor)>,
    /// The end of the log, if it was reached after the last of the queue.
    end: Option<EndReached>,
    /// Whether the end was reached before, in this start of fetching.
    end_seen_before: bool,
    /// The target is reached: what is fetched from now on is not wanted.
    finished: bool,
    target_reported: bool,
    /// A message that takes the queue on is under way.
    continues: bool,
}

/// A segment from its first record until its offset is committed.
#[derive(Debug)]
struct OnItsWay {
    chart: Segment,
    completed: Option<CompletedSegment>,
    reason: Option<SealReason>,
}

#[derive(Debug)]
enum Pending {
    Partition(PartitionEvent),
    Segment(Offset, SegmentEvent),
}

/// PartitionWriter → itself: take the queue on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Continue;

impl PartitionWriter {
    /// A writer for a partition that was just assigned. It starts by walking the chain.
    pub fn new(
        partition: TopicPartition,
        epoch: AssignmentEpoch,
        target: Option<Offset>,
        context: WriterContext,
        reports: Recipient<WriterReport>,
        log: &Logger,
    ) -> PartitionWriter {
        let log = log.new(o!("topic" => partition.topic.to_string(), "partition" => partition.partition.get()));
        PartitionWriter {
            chart: Partition::new(context.settings.sealed_max),
            chain: ChainName::first_lineage(partition.clone()),
            partition,
            epoch,
            wall_clock: context.settings.wall_clock,
            context,
            reports,
            log,
            topic_id: None,
            target,
            input: Input::default(),
            open: None,
            segments: BTreeMap::new(),
            pending: VecDeque::new(),
            seal_timer: None,
        }
    }

    fn now(&self) -> Now {
        self.context.ports.clock.now()
    }

    fn report(&self, report: Report, ctx: &mut Context<Self>) {
        let report = WriterReport { partition: self.partition.clone(), epoch: self.epoch, report };
        ctx.spawn(self.reports.send(report).into_actor(self).map(|_, _, _| ()));
    }

    /// Gives an event to the partition chart, and carries out everything that follows.
    fn partition_event(&mut self, event: PartitionEvent, ctx: &mut Context<Self>) {
        self.pending.push_back(Pending::Partition(event));
        self.run_pending(ctx);
    }

    /// Gives an event to a segment's chart, and carries out everything that follows.
    fn segment_event(&mut self, start: Offset, event: SegmentEvent, ctx: &mut Context<Self>) {
        self.pending.push_back(Pending::Segment(start, event));
        self.run_pending(ctx);
    }

    fn run_pending(&mut self, ctx: &mut Context<Self>) {
        while let Some(pending) = self.pending.pop_front() {
            match pending {
                Pending::Partition(event) => self.step_partition(event, ctx),
                Pending::Segment(start, event) => self.step_segment(start, event, ctx),
            }
        }
        self.report_target(ctx);
    }

    fn step_partition(&mut self, event: PartitionEvent, ctx: &mut Context<Self>) {
        let now = self.now();
        match chart::on(&self.chart, now, event) {
            Ok(transition) => {
                self.keep(&transition, now, None, None, |state| state.as_str());
                self.chart = transition.chart;
                for effect in transition.effects {
                    self.carry_out(effect, ctx);
                }
            }
            Err(refused) => match refused.refusal {
                Refusal::Stale => debug!(self.log, "stale event"; "what" => %refused),
                Refusal::Impossible => panic!("{}: {refused}", self.partition),
            },
        }
    }

    fn step_segment(&mut self, start: Offset, event: SegmentEvent, ctx: &mut Context<Self>) {
        let now = self.now();
        // What was discarded is forgotten; answers to what it had asked may still arrive.
        let Some(segment) = self.segments.get(&start) else { return };
        match chart::on(&segment.chart, now, event) {
            Ok(transition) => {
                let reason = (transition.to == SegmentStateKind::Sealing).then_some(segment.reason).flatten();
                self.keep(&transition, now, Some(start), reason, SegmentStateKind::path);
                if let Some(segment) = self.segments.get_mut(&start) {
                    segment.chart = transition.chart;
                }
                for effect in transition.effects {
                    self.carry_out_for(start, effect, ctx);
                }
                self.tell_partition(start, transition.from, transition.to);
            }
            Err(refused) => match refused.refusal {
                Refusal::Stale => debug!(self.log, "stale event"; "segment" => %start, "what" => %refused),
                Refusal::Impossible => panic!("{} segment {start}: {refused}", self.partition),
            },
        }
    }

    /// Keeps a transition in the log if a state's name changed.
    fn keep<C: Chart>(
        &self,
        transition: &Transition<C>,
        now: Now,
        segment_start: Option<Offset>,
        seal_reason: Option<SealReason>,
        name: fn(C::StateKind) -> &'static str,
    ) {
        if transition.from != transition.to {
            self.context.ports.transitions.record(&TransitionRecord {
                now,
                partition: Some(&self.partition),
                segment_start,
                chart: C::NAME,
                from: name(transition.from),
                event: transition.event.as_str(),
                to: name(transition.to),
                seal_reason,
            });
        }
    }

    /// A segment's progress is the partition's business: it owns the order.
    fn tell_partition(&mut self, start: Offset, from: SegmentStateKind, to: SegmentStateKind) {
        let Some(segment) = self.segments.get(&start) else { return };
        let event = match (&segment.chart.state, from) {
            (SegmentState::AwaitingTurn { .. }, _) => PartitionEvent::SpoolCompleted { start },
            (SegmentState::AwaitingPredecessor { stored }, _) => {
                PartitionEvent::SegmentResolved { start, stored_next: stored.range.next_offset() }
            }
            (SegmentState::Idle, SegmentStateKind::AwaitingOffsetCommit) => PartitionEvent::SegmentCommitted { start },
            _ => return,
        };
        if to == SegmentStateKind::Idle {
            self.segments.remove(&start);
        }
        self.pending.push_back(Pending::Partition(event));
    }

    fn carry_out(&mut self, effect: PartitionEffect, ctx: &mut Context<Self>) {
        match effect {
            PartitionEffect::StartFetching { position, seek_epoch } => {
                self.input = Input::default();
                if self.target.is_some_and(|target| position >= target) {
                    self.input.finished = true;
                } else {
                    self.context.ports.source.start_fetching(&self.partition, self.epoch, seek_epoch, position);
                }
            }
            PartitionEffect::StopFetching => self.context.ports.source.stop_fetching(&self.partition, self.epoch),
            PartitionEffect::ResumeBuffering => self.continue_later(ctx),
            PartitionEffect::GrantUpload { start } => {
                self.pending.push_back(Pending::Segment(start, SegmentEvent::UploadGranted));
            }
            PartitionEffect::GrantCommit { start } => {
                self.pending.push_back(Pending::Segment(start, SegmentEvent::CommitGranted));
            }
            PartitionEffect::DiscardOpen => self.discard(|state| state == SegmentStateKind::Buffering, ctx),
            PartitionEffect::DiscardUnresolved => {
                self.discard(|state| state < SegmentStateKind::AwaitingPredecessor, ctx)
            }
            PartitionEffect::DiscardAll => self.discard(|_| true, ctx),
            PartitionEffect::Locate { from } => self.locate(from, ctx),
            PartitionEffect::ReportFrozen { reason } => {
                error!(self.log, "partition frozen"; "reason" => &reason);
                self.report(Report::Frozen { reason }, ctx);
            }
            PartitionEffect::ReportGone => {
                self.report(Report::Gone, ctx);
            }
        }
    }

    fn discard(&mut self, which: impl Fn(SegmentStateKind) -> bool, ctx: &mut Context<Self>) {
        self.input.queue.clear();
        let starts: Vec<Offset> =
            self.segments.iter().filter(|(_, segment)| which(segment.chart.state())).map(|(start, _)| *start).collect();
        for start in starts {
            self.step_segment(start, SegmentEvent::Discarded, ctx);
            self.segments.remove(&start);
        }
    }

    fn carry_out_for(&mut self, start: Offset, effect: SegmentEffect, ctx: &mut Context<Self>) {
        match effect {
            SegmentEffect::OpenSpool { start } => {
                let now = self.now();
                match self.context.ports.spool.open(&self.chain, self.topic_id, start) {
                    Ok(file) => self.open = Some(OpenSegment::new(start, file, self.context.settings.boundary, now)),
                    Err(error) => self.block(error.reason),
                }
            }
            SegmentEffect::CompleteSpool { range, reason } => self.complete(range, reason),
            SegmentEffect::StoreObject => self.store(start, ctx),
            SegmentEffect::RetryLater { failures } => {
                ctx.run_later(retry::delay(failures), move |writer, ctx| {
                    writer.segment_event(start, SegmentEvent::RetryDue, ctx);
                });
            }
            SegmentEffect::WriteIndexRow { stored } => self.write_index_row(start, stored, ctx),
            SegmentEffect::CommitOffset { stored } => self.commit(start, stored, ctx),
            SegmentEffect::DropSpool => {
                if self.open.as_ref().is_some_and(|open| open.start == start) {
                    self.open = None;
                }
                if let Some(segment) = self.segments.get_mut(&start) {
                    segment.completed = None;
                }
            }
        }
    }

    fn block(&mut self, reason: String) {
        self.pending.push_back(Pending::Partition(PartitionEvent::Blocked { reason }));
    }

    fn complete(&mut self, range: OffsetRange, reason: SealReason) {
        let open = self.open.take().expect("only an open segment is sealed");
        match open.complete(range) {
            Ok(completed) => {
                debug!(self.log, "segment sealed"; "range" => %range, "reason" => reason.as_str());
                let content = completed.content;
                if let Some(segment) = self.segments.get_mut(&range.start()) {
                    segment.completed = Some(completed);
                }
                self.pending.push_back(Pending::Segment(range.start(), SegmentEvent::SpoolCompleted { content }));
            }
            Err(error) => self.block(error.reason),
        }
    }

    fn store(&mut self, start: Offset, ctx: &mut Context<Self>) {
        let Some(completed) = self.segments.get(&start).and_then(|segment| segment.completed.clone()) else { return };
        let sealed = completed.content;
        let answer = self.context.uploaders.send(StoreSegment(completed)).into_actor(self);
        ctx.spawn(answer.map(move |answer, writer, ctx| {
            let event = match answer.expect("the pool lives as long as the process") {
                Ok(StoreAnswer::Stored(stored)) => {
                    writer.tell_stored(start, &stored);
                    SegmentEvent::ObjectStored { stored }
                }
                Ok(StoreAnswer::AlreadyExists(stored)) => {
                    let same = stored.range == sealed.range && stored.content_hash == sealed.content_hash;
                    warn!(writer.log, "the object is there already"; "segment" => %start, "stored" => %stored.range,
                        "same" => same);
                    SegmentEvent::ObjectAlreadyExists { stored }
                }
                Ok(StoreAnswer::Conflicts { reason }) => {
                    writer.block(reason);
                    SegmentEvent::ObjectConflicts
                }
                Err(failure) => {
                    warn!(writer.log, "segment not stored, trying again"; "segment" => %start, "reason" => &failure.reason);
                    SegmentEvent::StoreFailed
                }
            };
            writer.segment_event(start, event, ctx);
        }));
    }

    fn tell_stored(&self, start: Offset, stored: &SegmentContent) {
        let reason = self.segments.get(&start).and_then(|segment| segment.reason).map_or("", SealReason::as_str);
        info!(self.log, "segment stored"; "final" => stored.range.final_offset().get(), "start" => start.get(),
            "records" => stored.record_count, "bytes" => stored.file_bytes, "reason" => reason);
    }

    fn write_index_row(&mut self, start: Offset, stored: SegmentContent, ctx: &mut Context<Self>) {
        let indexer = self.context.indexer.as_ref().expect("rows are written only where there is an index");
        let row = IndexRow { name: self.chain.segment(start), stored };
        ctx.spawn(indexer.send(WriteIndexRow(row)).into_actor(self).map(move |answer, writer, ctx| {
            let event = match answer.expect("the Indexer lives as long as the process") {
                Ok(()) => SegmentEvent::IndexRowWritten,
                Err(failure) => {
                    warn!(writer.log, "row not written, trying again"; "segment" => %start, "reason" => &failure.reason);
                    SegmentEvent::IndexFailed
                }
            };
            writer.segment_event(start, event, ctx);
        }));
    }

    fn commit(&mut self, start: Offset, stored: SegmentContent, ctx: &mut Context<Self>) {
        let metadata = CommitMetadata { segment_start: Some(start), seen_to: None };
        let commit = self.offset_commit(stored.range.next_offset(), metadata);
        ctx.spawn(self.context.ports.source.commit(commit).into_actor(self).map(move |answer, writer, ctx| {
            let event = match answer {
                Ok(()) => SegmentEvent::OffsetCommitted,
                Err(error) => {
                    warn!(writer.log, "offset not committed, trying again"; "segment" => %start, "reason" => &error.reason);
                    SegmentEvent::CommitFailed
                }
            };
            writer.segment_event(start, event, ctx);
        }));
    }

    fn offset_commit(&self, next_offset: Offset, metadata: CommitMetadata) -> OffsetCommit {
        OffsetCommit { partition: self.partition.clone(), epoch: self.epoch, next_offset, metadata }
    }

    fn locate(&mut self, from: Option<Offset>, ctx: &mut Context<Self>) {
        let walk = self.context.ports.locator.locate(&self.partition, from).into_actor(self);
        ctx.spawn(walk.map(|located, writer, ctx| match located {
            Ok(located) => {
                info!(writer.log, "chain located"; "position" => located.position.get());
                writer.chain = located.chain;
                writer.topic_id = located.topic_id;
                writer.wall_clock = writer.context.settings.wall_clock.within_retention(located.retention_ms);
                if let Some(metadata) = located.commit {
                    // Late or lost, this commit harms nothing: the next start walks the chain again.
                    let commit = writer.offset_commit(located.position, metadata);
                    ctx.spawn(writer.context.ports.source.commit(commit).into_actor(writer).map(
                        |answer, writer, _| {
                            if let Err(error) = answer {
                                warn!(writer.log, "offset not committed"; "reason" => &error.reason);
                            }
                        },
                    ));
                }
                writer.partition_event(PartitionEvent::Located { position: located.position }, ctx);
            }
            Err(blocked) => writer.partition_event(PartitionEvent::Blocked { reason: blocked.reason }, ctx),
        }));
    }

    fn continue_later(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.input.continues, true) {
            ctx.notify(Continue);
        }
    }

    /// Takes records from the queue until one block is written, a segment ends, or the queue is empty.
    fn buffer(&mut self, ctx: &mut Context<Self>) {
        while let PartitionState::Active { position } = self.chart.state {
            let Some((batch, cursor)) = self.input.queue.front_mut() else { break };
            let Some(mark) = batch.marks.get(cursor.record).filter(|_| batch.seek_epoch == self.chart.seek_epoch)
            else {
                self.input.queue.pop_front();
                continue;
            };
            assert!(mark.offset >= position, "{}: record {} lies before {position}", self.partition, mark.offset);
            if self.target.is_some_and(|target| mark.offset >= target) {
                self.finish_input(ctx);
                break;
            }
            if self.open.is_none() {
                let indexed = self.context.indexer.is_some();
                self.segments
                    .insert(position, OnItsWay { chart: Segment::new(indexed), completed: None, reason: None });
                self.segment_event(position, SegmentEvent::FirstRecord { start: position }, ctx);
                continue; // The spool may have refused.
            }
            let now = self.context.ports.clock.now();
            let open = self.open.as_mut().expect("opened just now or before");
            match open.append(batch, cursor, self.target, now) {
                Ok(Appended::All) => {
                    self.input.queue.pop_front();
                }
                Ok(Appended::Block) => {
                    self.continue_later(ctx);
                    break;
                }
                Ok(Appended::Boundary(SealReason::UntilEnd)) => {
                    self.finish_input(ctx);
                    break;
                }
                Ok(Appended::Boundary(reason)) => {
                    self.seal(reason, ctx);
                    self.continue_later(ctx);
                    break;
                }
                Err(error) => {
                    self.partition_event(PartitionEvent::Blocked { reason: error.reason }, ctx);
                    break;
                }
            }
        }
        self.look_at_the_clock(ctx);
    }

    /// Seals the open segment where it stands.
    fn seal(&mut self, reason: SealReason, ctx: &mut Context<Self>) {
        let Some((start, final_offset)) = self.open.as_ref().and_then(|open| Some((open.start, open.last_record()?.0)))
        else {
            return;
        };
        let range = OffsetRange::new(start, final_offset).expect("records lie at or after the segment's start");
        if let Some(segment) = self.segments.get_mut(&start) {
            segment.reason = Some(reason);
        }
        self.pending.push_back(Pending::Partition(PartitionEvent::SegmentSealed { range }));
        self.segment_event(start, SegmentEvent::BoundaryReached { final_offset, reason }, ctx);
    }

    /// The target of `--until-end` is reached: what is open is sealed, what comes is not wanted.
    fn finish_input(&mut self, ctx: &mut Context<Self>) {
        self.input.finished = true;
        self.input.queue.clear();
        self.context.ports.source.stop_fetching(&self.partition, self.epoch);
        self.seal(SealReason::UntilEnd, ctx);
        self.report_target(ctx);
    }

    fn report_target(&mut self, ctx: &mut Context<Self>) {
        let done = self.input.finished && self.segments.is_empty() && self.chart.state() == PartitionStateKind::Active;
        if done && !std::mem::replace(&mut self.input.target_reported, true) {
            self.report(Report::TargetReached, ctx);
        }
    }

    /// Seals the open segment if the clock says so, or looks again when it may.
    fn look_at_the_clock(&mut self, ctx: &mut Context<Self>) {
        if !matches!(self.chart.state, PartitionState::Active { .. }) || !self.input.queue.is_empty() {
            return;
        }
        if let (Some(end), Some(target)) = (self.input.end, self.target)
            && end.position >= target
            && !self.input.finished
        {
            self.finish_input(ctx);
            return;
        }
        let Some(open) = &self.open else { return };
        let Some((last_offset, last_timestamp)) = open.last_record() else { return };
        let caught_up = self.input.end.is_some_and(|end| {
            end.position > last_offset && end.high_watermark.is_none_or(|watermark| watermark <= end.position)
        });
        let since = OpenSince {
            opened_at: open.opened_at,
            last_arrival: open.last_arrival,
            last_timestamp,
            caught_up,
            first_catch_up: !self.input.end_seen_before,
        };
        match self.wall_clock.due(&since, self.now()) {
            Due::Now(reason) => self.seal(reason, ctx),
            Due::InMs(wait_ms) => {
                if let Some(timer) = self.seal_timer.take() {
                    ctx.cancel_future(timer);
                }
                self.seal_timer = Some(ctx.run_later(Duration::from_millis(wait_ms), |writer, ctx| {
                    writer.seal_timer = None;
                    writer.look_at_the_clock(ctx);
                }));
            }
        }
    }
}

impl Actor for PartitionWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(64);
        self.locate(None, ctx);
    }
}

impl Handler<WriterMail> for PartitionWriter {
    type Result = ();

    fn handle(&mut self, mail: WriterMail, ctx: &mut Self::Context) {
        match mail {
            WriterMail::Records(batch) => {
                let current = batch.epoch == self.epoch && batch.seek_epoch == self.chart.seek_epoch;
                if current && !self.input.finished {
                    if self.input.end.take().is_some() {
                        self.input.end_seen_before = true;
                    }
                    self.input.queue.push_back((batch, Cursor::default()));
                    self.continue_later(ctx);
                }
            }
            WriterMail::EndReached(end) => {
                if end.epoch == self.epoch && end.seek_epoch == self.chart.seek_epoch {
                    self.input.end = Some(end);
                    self.look_at_the_clock(ctx);
                }
            }
            WriterMail::Failed { reason } => self.partition_event(PartitionEvent::Blocked { reason }, ctx),
            WriterMail::Revoke => {
                self.partition_event(PartitionEvent::Revoked, ctx);
                ctx.stop();
            }
            WriterMail::Drain => self.partition_event(PartitionEvent::DrainRequested, ctx),
        }
    }
}

impl Handler<Continue> for PartitionWriter {
    type Result = ();

    fn handle(&mut self, _: Continue, ctx: &mut Self::Context) {
        self.input.continues = false;
        self.buffer(ctx);
    }
}
