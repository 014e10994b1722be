//! Which log this is: what a writer does where the log does not continue, and where the topic is gone.

use super::healing::SECOND_LOOK;
use super::{PartitionWriter, Pending};
use crate::open_segment::HeldRecord;
use crate::ports::{Blocked, BrokenLog, Cause, TopicAnswer};
use actix::prelude::*;
use kafka_store_statecharts::anchor::{Anchor, Evidence, FetchStart, Proof};
use kafka_store_statecharts::chart::Chart;
use kafka_store_statecharts::input::{InputEnd, InputEvent, InputStateKind};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::partition::{PartitionEvent, PartitionStateKind, SeekEpoch};
use kafka_store_statecharts::segment::{SegmentEvent, SegmentStateKind};
use slog::{debug, error, info, warn};
use std::time::Duration;

/// How long records of a revoked partition are kept while nobody answers whether its topic still exists.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How soon an unanswered question about a topic is repeated.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Which records were read before the topic's id was last confirmed. An id never comes back, so these are the topic's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TopicWatch {
    /// Records below this are.
    confirmed_to: Offset,
    /// Epoch of the leader that wrote the last of them.
    confirmed_record: Option<Anchor>,
    /// The question under way, the offset after the last record read when it was asked, and that record.
    asked: Option<(u64, Offset, Option<Anchor>)>,
}

impl TopicWatch {
    /// The topic's id was asked for when the chain was located.
    pub(super) fn located_at(&mut self, position: Offset) {
        *self = TopicWatch { confirmed_to: position, ..TopicWatch::default() };
    }

    /// The offset after the last record that is the topic's.
    pub(super) fn confirmed_to(&self) -> Offset {
        self.confirmed_to
    }

    /// Epoch of the leader that wrote the last record that is the topic's.
    pub(super) fn confirmed_epoch(&self) -> Option<LeaderEpoch> {
        self.confirmed_record.and_then(|anchor| anchor.record.leader_epoch)
    }

    /// Reports whether all records of a segment are the topic's.
    pub(super) fn confirms(&self, range: OffsetRange) -> bool {
        range.next_offset() <= self.confirmed_to
    }

    /// The topic still had its id when the question was answered. Returns the offset after the last record that is the
    /// topic's, if more are now.
    fn confirm(&mut self, question: u64) -> Option<Offset> {
        let (_, read_to, record) = self.asked.take_if(|(asked, ..)| *asked == question)?;
        let before = self.confirmed_to;
        (self.confirmed_to, self.confirmed_record) = (read_to.max(before), record);
        (self.confirmed_to > before).then_some(self.confirmed_to)
    }
}

impl PartitionWriter {
    /// The last record of the open segment.
    pub(super) fn last_held(&mut self) -> Option<Anchor> {
        let held = self.open.as_mut()?.last_record().ok().flatten()?;
        let HeldRecord { offset, record, .. } = held;
        Some(Anchor { offset, record })
    }

    /// The last record that was read: queued, in the open segment, in a sealed one, or the chain's last.
    fn last_read(&mut self) -> Option<Anchor> {
        let queued = self.queue.back().and_then(|(batch, cursor)| {
            let (last, before) = batch.marks.get(cursor.record..)?.split_last()?;
            let from = before
                .last()
                .map_or_else(|| batch.marks[..cursor.record].last().map_or(0, |mark| mark.end), |mark| mark.end);
            let record =
                LastRecord { hash: RecordHash::of(&batch.bytes[from..last.end]), leader_epoch: batch.leader_epoch };
            Some(Anchor { offset: last.offset, record })
        });
        queued.or_else(|| self.last_held()).or(self.last_sealed)
    }

    /// The offset after the last record read.
    fn read_to(&mut self) -> Option<Offset> {
        // Sealed segments are confirmed too while nothing is fetched.
        let position = self.chart.held_position()?;
        let queued = self.queue.back().and_then(|(batch, _)| batch.marks.last()).map(|mark| mark.offset.next());
        let held = self.open.as_ref().and_then(|open| open.last_position()).map(|(offset, _)| offset.next());
        let located = self.located.as_ref().filter(|located| located.position == position);
        let begun = located.map_or(position, |located| located.fetch_from);
        Some(queued.or(held).unwrap_or(begun).max(position))
    }

    /// True if the stored object ends with the record that was sealed last here. An object of another writer, or of an
    /// upload that was given up when its records were lost, may end at the same offset and hold another history.
    pub(super) fn has_same_end(&self, start: Offset) -> bool {
        let Some(segment) = self.segments.get(&start) else { return true };
        let (Some(stored), Some((last_record, content))) = (&segment.stored, &segment.sealed) else { return true };
        match stored.last_record {
            Some(stored) => stored == *last_record,
            None => stored.content.content_hash == content.content_hash,
        }
    }

    /// Where fetching begins, for records from `position` on. At the chain's end the walk decides: an operator may have
    /// said that another record before it is the same history.
    pub(super) fn start_at(&self, position: Offset) -> FetchStart {
        match self.located.as_ref().filter(|located| located.position == position) {
            Some(located) => FetchStart { position: located.fetch_from, proof: located.proof },
            None => {
                let own = self.last_sealed.filter(|anchor| anchor.offset < position);
                FetchStart { position, proof: own.map_or(Proof::Nothing, Proof::Record) }
            }
        }
    }

    /// True if a record is held that the store does not hold.
    fn holds_unstored(&self) -> bool {
        let unstored = |state: SegmentStateKind| state < SegmentStateKind::AwaitingPredecessor;
        !self.queue.is_empty()
            || !self.held.is_empty()
            || self.segments.values().any(|segment| unstored(segment.chart.state()))
    }

    /// Asks why the log does not continue.
    pub(super) fn examine(&mut self, ctx: &mut Context<Self>) {
        let Some(position) = self.read_to() else { return };
        let holds_records = self.holds_unstored();
        let waited = self.doubted_at_ms.map(|since| self.now().monotonic_ms.saturating_sub(since));
        let broken = BrokenLog {
            position,
            topic_id: self.topic_id,
            anchor: self.last_read(),
            evidence: self.evidence.unwrap_or(Evidence::OutOfRange),
            holds_records,
            was_doubted: waited.is_some_and(|waited| u128::from(waited) >= SECOND_LOOK.as_millis()),
        };
        self.examination += 1;
        let examination = self.examination;
        warn!(self.log, "log does not continue where it was read"; "position" => position.get(),
            "evidence" => ?broken.evidence);
        let answer = self.context.ports.locator.examine(&self.partition, broken).into_actor(self);
        ctx.spawn(answer.map(move |answer, writer, ctx| {
            if writer.examination == examination && writer.chart.state() == PartitionStateKind::Examining {
                writer.examined(answer, ctx);
            }
        }));
    }

    fn examined(&mut self, answer: Result<Cause, Blocked>, ctx: &mut Context<Self>) {
        match answer {
            Ok(Cause::Unchanged { proof }) => {
                self.resume_proof = proof;
                self.evidence = None;
                self.partition_event(PartitionEvent::LogUnchanged, ctx);
            }
            Ok(Cause::Retention) => {
                self.input_event(InputEvent::Closed { end: InputEnd::Retention }, ctx);
                self.partition_event(PartitionEvent::RetentionPassed, ctx);
                self.look_at_the_clock(ctx);
            }
            Ok(Cause::Doubted) if self.segments.is_empty() => {
                let now = self.now().monotonic_ms;
                self.doubted_at_ms.get_or_insert(now);
                warn!(self.log, "the chain's last record is not in the log; looking again";
                    "seconds" => SECOND_LOOK.as_secs());
                self.partition_event(PartitionEvent::HistoryDoubted, ctx);
            }
            Ok(Cause::Cut | Cause::Doubted) => {
                warn!(self.log, "records that were read are in the log no more: they are dropped, and read again");
                self.partition_event(PartitionEvent::LogCut, ctx);
            }
            Ok(Cause::TopicGone { reason }) => self.topic_gone(reason, ctx),
            Err(blocked) => self.partition_event(PartitionEvent::Blocked { reason: blocked.reason }, ctx),
        }
    }

    /// Fetches again after the records held, which stay.
    pub(super) fn fetch_on(&mut self, seek_epoch: SeekEpoch, ctx: &mut Context<Self>) {
        let Some(position) = self.read_to() else { return };
        for (batch, _) in &mut self.queue {
            batch.seek_epoch = seek_epoch;
        }
        let start = FetchStart { position, proof: self.resume_proof };
        self.context.ports.source.start_fetching(&self.partition, self.epoch, seek_epoch, start);
        self.continue_later(ctx);
    }
}

/// Whether the topic is still the same.
impl PartitionWriter {
    /// The brokers are asked about the topic from now on.
    pub(super) fn topic_asked(&mut self, question: u64) {
        let (Some(read_to), record) = (self.read_to(), self.last_read()) else { return };
        self.topic_watch.asked = Some((question, read_to, record));
    }

    pub(super) fn topic_answered(&mut self, question: u64, answer: TopicAnswer, ctx: &mut Context<Self>) {
        match self.gone(answer) {
            None => {
                if let Some(confirmed_to) = self.topic_watch.confirm(question) {
                    debug!(self.log, "topic still has its id"; "confirmed_to" => confirmed_to.get());
                }
            }
            Some(reason) => self.topic_gone(reason, ctx),
        }
    }

    /// Why the topic is not the one that the chain was located for, if it is not.
    fn gone(&self, answer: TopicAnswer) -> Option<String> {
        match (answer, self.topic_id) {
            (TopicAnswer::Absent, _) => Some(format!(
                "{}: the topic was deleted; what was read before is archived. If it is created again, it is another \
                 topic: see kafka-store resolve",
                self.partition
            )),
            (TopicAnswer::Exists(Some(now)), Some(ours)) if now != ours => Some(format!(
                "{}: the topic was deleted and created again: it had the id {ours}, and has {now} now; what was read \
                 before is archived. kafka-store resolve shows the ways out",
                self.partition
            )),
            (TopicAnswer::Exists(_), _) => None,
        }
    }

    /// The topic is gone: records read before its id was last confirmed are archived, later ones may be another topic's.
    pub(super) fn topic_gone(&mut self, reason: String, ctx: &mut Context<Self>) {
        let is_kept = self.chart.kept_position().is_some() || self.chart.state() == PartitionStateKind::WaitingForSpool;
        if !is_kept || self.chart.state() == PartitionStateKind::Departing {
            return;
        }
        error!(self.log, "topic is gone"; "reason" => &reason, "confirmed_to" => self.topic_watch.confirmed_to.get());
        self.drop_unconfirmed(ctx);
        self.partition_event(PartitionEvent::TopicGone { reason }, ctx);
        if self.input.is_open() || self.input.state() == InputStateKind::Ending {
            self.input_event(InputEvent::Closed { end: InputEnd::TopicGone }, ctx);
            self.buffer(ctx);
        } else if !self.held.is_empty() {
            self.input_event(InputEvent::TakenAgain, ctx);
            self.buffer(ctx);
        } else if self.chart.state() == PartitionStateKind::Departing {
            self.partition_event(PartitionEvent::InputEnded, ctx);
        }
    }

    /// Drops records that were read after the topic's id was last confirmed, and cuts the open segment there.
    fn drop_unconfirmed(&mut self, ctx: &mut Context<Self>) {
        let cutoff = self.topic_watch.confirmed_to;
        let mut dropped = 0;
        for (batch, cursor) in &mut self.queue {
            let kept = batch.marks.partition_point(|mark| mark.offset < cutoff).max(cursor.record);
            dropped += batch.marks.len() - kept;
            batch.marks.truncate(kept);
        }
        self.queue.retain(|(batch, cursor)| cursor.record < batch.marks.len());
        if let Some((last, _)) = self.open.as_ref().and_then(|open| open.last_position())
            && last >= cutoff
        {
            dropped += self.cut_open(cutoff, ctx);
        }
        if dropped > 0 {
            error!(self.log, "records dropped that may be another topic's"; "records" => dropped,
                "from" => cutoff.get());
        }
    }

    /// Keeps the open segment's records below an offset, in a new file. Returns the number of those dropped.
    fn cut_open(&mut self, cutoff: Offset, ctx: &mut Context<Self>) -> usize {
        let Some(open) = self.open.take() else { return 0 };
        let (start, before) = (open.start, open.buffered().record_count);
        let settings = (self.context.settings.boundary, self.context.blocks.clone());
        let epoch = self.topic_watch.confirmed_epoch();
        let new_file = || self.context.ports.spool.open(&self.chain, self.topic_id, start);
        match open.cut(cutoff, epoch, settings, new_file) {
            Ok(Some(cut)) => {
                let kept = cut.buffered().record_count;
                self.open = Some(cut);
                usize::try_from(before - kept).unwrap_or(usize::MAX)
            }
            Ok(None) => {
                self.step_segment(start, SegmentEvent::Discarded, ctx);
                usize::try_from(before).unwrap_or(usize::MAX)
            }
            Err(error) => {
                error!(self.log, "records of a topic that is gone are lost: the spool cannot be read";
                    "reason" => &error.reason);
                self.step_segment(start, SegmentEvent::Discarded, ctx);
                usize::try_from(before).unwrap_or(usize::MAX)
            }
        }
    }

    /// The group took the partition away. Records that are held may be in no log any more: a deletion arrives so.
    pub(super) fn revoke(&mut self, ctx: &mut Context<Self>) {
        self.is_revoked = true;
        let event = if self.holds_unstored() { PartitionEvent::RevokedHolding } else { PartitionEvent::Revoked };
        self.partition_event(event, ctx);
        if self.chart.state() == PartitionStateKind::Gone {
            ctx.stop();
        }
    }

    /// Asks whether the topic still exists, for at most ten seconds.
    pub(super) fn ask_topic(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(ANSWER_TIME, |writer, ctx| writer.topic_is_there(ctx));
        self.ask_topic_once(ctx);
    }

    fn ask_topic_once(&mut self, ctx: &mut Context<Self>) {
        if self.chart.state() != PartitionStateKind::Leaving {
            return;
        }
        let topic = self.partition.topic.clone();
        let answers = self.context.ports.locator.topics(vec![topic.clone()]).into_actor(self);
        ctx.spawn(answers.map(move |answers, writer, ctx| {
            if writer.chart.state() != PartitionStateKind::Leaving {
                return;
            }
            match answers.get(&topic).map(|answer| writer.gone(*answer)) {
                Some(Some(reason)) => writer.topic_gone(reason, ctx),
                Some(None) => writer.topic_is_there(ctx),
                None => {
                    ctx.run_later(ASK_AGAIN, |writer, ctx| writer.ask_topic_once(ctx));
                }
            }
        }));
    }

    /// Kafka has the records of the open segment.
    fn topic_is_there(&mut self, ctx: &mut Context<Self>) {
        if self.chart.state() == PartitionStateKind::Leaving {
            info!(self.log, "open segment dropped, another member reads its records";
                "start" => self.open.as_ref().map(|open| open.start.get()));
            self.pending.push_back(Pending::Partition(PartitionEvent::TopicConfirmed));
            self.run_pending(ctx);
        }
    }
}
