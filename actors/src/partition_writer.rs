//! The writer of one partition.
//!
//! It runs the partition chart and a segment chart for each segment on its way, and carries out their
//! effects. Records are taken from a queue, at most one block a message, so that the writers that share
//! an arbiter take turns.

use crate::batch::RecordBatch;
use crate::budget::Budget;
use crate::figures::{Figures, Share};
use crate::indexer::Indexer;
use crate::messages::{Report, WriterMail, WriterReport};
use crate::open_segment::{Cursor, OpenSegment};
use crate::ports::{CompletedSegment, Located, Ports, StoredSegment};
use crate::spool_account::{SpoolAccount, SpoolShare};
use crate::transition::{Detail, Subject, TransitionRecord};
use crate::uploader::UploaderPool;
use actix::prelude::*;
use kafka_store_statecharts::anchor::{Anchor, Evidence, Proof};
use kafka_store_statecharts::boundary::{BoundarySettings, SealReason};
use kafka_store_statecharts::chart::{self, Chart, Kind, Now, Refusal, Transition};
use kafka_store_statecharts::failure::Failure;
use kafka_store_statecharts::input::{Input, InputEnd, InputEvent, SeenEnd};
use kafka_store_statecharts::last_record::LastRecord;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{AssignmentEpoch, Partition, PartitionEvent, SeekEpoch};
use kafka_store_statecharts::segment::{
    Segment, SegmentContent, SegmentEvent, SegmentEventKind, SegmentState, SegmentStateKind,
};
use kafka_store_statecharts::topic::{TopicId, TopicPartition};
use kafka_store_statecharts::wall_clock::WallClockSettings;
use slog::{Logger, debug, o};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

mod buffering;
mod effects;
mod healing;
mod held;
mod history;
mod input;
mod seen_to;
mod spool;

use held::Held;
use history::TopicWatch;
use seen_to::SeenTo;

/// What all writers share.
#[derive(Debug)]
pub struct WriterSettings {
    /// Where segments end by their records.
    pub boundary: BoundarySettings,
    /// When the clock ends them.
    pub wall_clock: WallClockSettings,
    /// How many sealed segments of a partition may be on their way.
    pub sealed_max: usize,
    /// How often a frozen partition is looked at, at the least.
    pub reexamine_after: Duration,
}

/// What a writer works with.
#[derive(Clone, Debug)]
pub struct WriterContext {
    /// What all writers share.
    pub settings: Arc<WriterSettings>,
    /// The memory of all open blocks.
    pub blocks: Arc<Budget>,
    /// The disk of all open and sealed segments.
    pub spool: Arc<SpoolAccount>,
    /// The world.
    pub ports: Ports,
    /// The pool.
    pub uploaders: Addr<UploaderPool>,
    /// The Indexer, where there is an index.
    pub indexer: Option<Addr<Indexer>>,
    /// What is shown of all of them.
    pub figures: Arc<Figures>,
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
    /// Where the walk found the chain to go on, and from where to fetch it.
    located: Option<Located>,
    /// The start of the last segment that was committed.
    last_start: Option<Offset>,
    /// The commit that says up to where nothing more was visible.
    seen_to: SeenTo,
    committed_seen_to: Option<Offset>,
    figures: Share,
    wall_clock: WallClockSettings,
    /// `--until-end`: archive what lies below, then report.
    target: Option<Offset>,
    input: Input,
    /// What was fetched and not archived yet.
    queue: VecDeque<(RecordBatch, Cursor)>,
    /// What is to be queued after that: records that were sealed or queued before, and are taken again.
    held: VecDeque<Held>,
    /// Last record of the stored segment before those, as long as it was not met among them.
    winner: Option<Anchor>,
    /// A message that takes the queue on is under way.
    continues: bool,
    /// The last record of the last sealed segment, or the one that the chain was found to end with.
    last_sealed: Option<Anchor>,
    /// How the log was found not to continue.
    evidence: Option<Evidence>,
    /// How the log is to prove itself when fetching goes on after the records held.
    resume_proof: Proof,
    /// When the chain's last record was first missed in the log, in monotonic milliseconds.
    doubted_at_ms: Option<u64>,
    /// Counts questions about the log: late answers to earlier ones are void.
    examination: u64,
    topic_watch: TopicWatch,
    /// Counts walks of the chain: late answers of earlier ones are void.
    walks: u64,
    /// Counts looks that were planned: an earlier one is void.
    looks: u64,
    /// How often it was looked at since it froze.
    frozen_looks: u32,
    /// Why it froze last.
    frozen_for: Option<String>,
    /// The Consumer takes it for frozen.
    is_reported_frozen: bool,
    /// How often what was held was given up for a failure that passes, since a segment was stored last. That the brokers
    /// give records again says nothing about the disk.
    disturbances: u32,
    /// How often in a row no broker gave records.
    fetch_failures: u32,
    /// How often in a row the spool refused to be written.
    spool_failures: u32,
    /// The group has taken the partition away.
    is_revoked: bool,
    open: Option<OpenSegment>,
    /// Room in the spool for the next segment.
    granted: Option<SpoolShare>,
    segments: BTreeMap<Offset, OnItsWay>,
    /// Segments opened so far.
    segment_count: u64,
    /// Events that effects gave rise to, not yet given to their charts.
    pending: VecDeque<Pending>,
    seal_timer: Option<SpawnHandle>,
}

/// A segment from its first record until its offset is committed.
#[derive(Debug)]
struct OnItsWay {
    /// Tells it from an earlier one with the same start, which was discarded.
    number: u64,
    chart: Segment,
    /// With what its file takes of the spool.
    completed: Option<(CompletedSegment, Arc<SpoolShare>)>,
    /// What the store holds, from when it has answered.
    stored: Option<StoredSegment>,
    reason: Option<SealReason>,
    /// It was cut after it was sealed: its chart knows it as it was.
    is_cut: bool,
    /// Why the last call for it failed.
    failure: Option<Failure>,
    /// Its last record and its records' hash, from when it was sealed.
    sealed: Option<(LastRecord, SegmentContent)>,
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
            figures: Share::new(Arc::clone(&context.figures), partition.clone(), epoch, target),
            partition,
            epoch,
            wall_clock: context.settings.wall_clock,
            context,
            reports,
            log,
            topic_id: None,
            located: None,
            last_start: None,
            seen_to: SeenTo::default(),
            committed_seen_to: None,
            target,
            input: Input::flowing(),
            queue: VecDeque::new(),
            held: VecDeque::new(),
            winner: None,
            continues: false,
            last_sealed: None,
            evidence: None,
            resume_proof: Proof::Nothing,
            doubted_at_ms: None,
            examination: 0,
            topic_watch: TopicWatch::default(),
            walks: 0,
            looks: 0,
            frozen_looks: 0,
            frozen_for: None,
            is_reported_frozen: false,
            disturbances: 0,
            fetch_failures: 0,
            spool_failures: 0,
            is_revoked: false,
            open: None,
            granted: None,
            segments: BTreeMap::new(),
            segment_count: 0,
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
        self.freeze_if_failed(ctx);
        self.commit_seen_to(ctx);
        self.report_target(ctx);
    }

    fn step_partition(&mut self, event: PartitionEvent, ctx: &mut Context<Self>) {
        let now = self.now();
        match chart::on(&self.chart, now, event) {
            Ok(transition) => {
                self.keep(&transition, now, None, Detail::of_partition(&transition), |state| state.as_str());
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
                let buffered = self.open.as_ref().map(OpenSegment::buffered).unwrap_or_default();
                let detail = Detail::of_segment(&segment.chart, &transition, buffered);
                self.keep(&transition, now, Some(start), detail, SegmentStateKind::path);
                if let Some(segment) = self.segments.get_mut(&start) {
                    segment.chart = transition.chart;
                }
                for effect in transition.effects {
                    self.carry_out_for(start, effect, ctx);
                }
                self.tell_partition(start, transition.event);
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
        detail: Detail<'_>,
        name: fn(C::StateKind) -> &'static str,
    ) {
        if transition.from != transition.to {
            self.context.ports.transitions.record(&TransitionRecord {
                now,
                subject: Some(Subject { chain: &self.chain, epoch: Some(self.epoch), segment_start, upload: None }),
                chart: C::NAME,
                from: name(transition.from),
                event: transition.event.as_str(),
                to: name(transition.to),
                detail,
            });
        }
    }

    /// A segment's progress is the partition's business: it owns the order. What is done with is forgotten.
    fn tell_partition(&mut self, start: Offset, event: SegmentEventKind) {
        let Some(segment) = self.segments.get(&start) else { return };
        let event = match segment.chart.state {
            SegmentState::AwaitingTurn { .. } => PartitionEvent::SpoolCompleted { start },
            SegmentState::AwaitingPredecessor { stored } => {
                let stored_next = stored.range.next_offset();
                self.figures.archived_to(self.seen_beyond(stored_next).unwrap_or(stored_next));
                PartitionEvent::SegmentResolved { start, stored_next, same_end: self.has_same_end(start) }
            }
            SegmentState::Idle => {
                self.segments.remove(&start);
                if !matches!(event, SegmentEventKind::OffsetCommitted | SegmentEventKind::CommitVoid) {
                    return;
                }
                self.last_start = Some(start);
                PartitionEvent::SegmentCommitted { start }
            }
            _ => return,
        };
        self.pending.push_back(Pending::Partition(event));
    }
}

impl PartitionWriter {
    /// Whether what was fetched under these epochs is wanted. What is not is dropped at once, for it holds
    /// bytes of the budget that the other partitions need.
    fn wants(&self, epoch: AssignmentEpoch, seek_epoch: SeekEpoch) -> bool {
        (epoch, seek_epoch) == (self.epoch, self.chart.seek_epoch)
            && self.chart.position().is_some()
            && self.input.is_open()
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
                if self.wants(batch.epoch, batch.seek_epoch) {
                    self.hears_of_kafka();
                    self.input_event(InputEvent::RecordsArrived, ctx);
                    self.queue.push_back((batch, Cursor::default()));
                    self.continue_later(ctx);
                }
            }
            WriterMail::EndReached(end) => {
                if self.wants(end.epoch, end.seek_epoch) {
                    self.hears_of_kafka();
                    let end = SeenEnd { position: end.position, high_watermark: end.high_watermark };
                    self.input_event(InputEvent::EndReached { end }, ctx);
                    self.look_at_the_clock(ctx);
                }
            }
            WriterMail::Broken { seek_epoch, evidence } => {
                if self.wants(self.epoch, seek_epoch) {
                    self.evidence = Some(evidence);
                    self.partition_event(PartitionEvent::LogBroken, ctx);
                }
            }
            WriterMail::Interrupted { failure } if self.chart.position().is_some() => self.interrupted(&failure),
            WriterMail::Interrupted { .. } => {}
            WriterMail::TopicAsked { question } => self.topic_asked(question),
            WriterMail::Topic { question, answer } => self.topic_answered(question, answer, ctx),
            WriterMail::Failed { reason } if self.chart.kept_position().is_some() => {
                self.input_event(InputEvent::Closed { end: InputEnd::Failed { reason } }, ctx);
                self.look_at_the_clock(ctx);
            }
            WriterMail::Failed { reason } => self.partition_event(PartitionEvent::Blocked { reason }, ctx),
            WriterMail::Revoke => self.revoke(ctx),
            WriterMail::Drain => self.partition_event(PartitionEvent::DrainRequested, ctx),
            WriterMail::LookAgain => self.look_again(ctx),
        }
    }
}

impl Handler<Continue> for PartitionWriter {
    type Result = ();

    fn handle(&mut self, _: Continue, ctx: &mut Self::Context) {
        self.continues = false;
        self.buffer(ctx);
    }
}
