//! How a writer carries out what its charts ask for, and feeds the answers back.

use super::{Input, PartitionWriter, Pending};
use crate::messages::{Report, StoreSegment, WriteIndexRow};
use crate::ports::{IndexAnswer, IndexRow, MirrorAnswer, OffsetCommit, StoreAnswer, StoredSegment};
use crate::transition::Buffered;
use actix::prelude::*;
use kafka_store_statecharts::anchor::Proof;
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::Chart;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::{PartitionEffect, PartitionEvent, PartitionStateKind};
use kafka_store_statecharts::segment::{SegmentContent, SegmentEffect, SegmentEvent, SegmentStateKind};
use slog::{debug, error, info, warn};
use std::sync::Arc;

impl PartitionWriter {
    pub(super) fn carry_out(&mut self, effect: PartitionEffect, ctx: &mut Context<Self>) {
        match effect {
            PartitionEffect::StartFetching { position, seek_epoch } => {
                self.queue.clear();
                let start = self.start_at(position);
                if start.proof == Proof::Nothing && self.target.is_some_and(|target| position >= target) {
                    self.input = Input::finished();
                } else {
                    // Even where nothing is wanted: the chain is whole only if the log still is the one it was made from.
                    self.input = Input::flowing();
                    self.context.ports.source.start_fetching(&self.partition, self.epoch, seek_epoch, start);
                }
            }
            PartitionEffect::FetchOn { seek_epoch } => self.fetch_on(seek_epoch, ctx),
            PartitionEffect::StopFetching => self.context.ports.source.stop_fetching(&self.partition, self.epoch),
            PartitionEffect::Examine => self.examine(ctx),
            PartitionEffect::LookLater => self.look_later(ctx),
            PartitionEffect::AskTopic => self.ask_topic(ctx),
            PartitionEffect::AwaitSpool => self.await_spool(ctx),
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
            PartitionEffect::TakeAgain { from } => self.take_again(from, ctx),
            PartitionEffect::DiscardAll => self.discard(|_| true, ctx),
            PartitionEffect::Locate { from } if self.evidence.take().is_some() => {
                // Brokers may contradict each other for a moment: not in a tight loop.
                ctx.run_later(self.delay(4), move |writer, ctx| writer.locate(Some(from), ctx));
            }
            PartitionEffect::Locate { from } => self.locate(Some(from), ctx),
            PartitionEffect::LocateAnew => self.locate(None, ctx),
            PartitionEffect::ReportFrozen { reason } => self.report_frozen(reason, ctx),
            PartitionEffect::ReportGone => {
                self.figures.leave();
                self.report(Report::Gone, ctx);
                if self.is_revoked {
                    ctx.stop();
                }
            }
        }
    }

    fn discard(&mut self, which: impl Fn(SegmentStateKind) -> bool, ctx: &mut Context<Self>) {
        self.queue.clear();
        self.held.clear();
        self.granted = None;
        self.discard_segments(which, ctx);
    }

    pub(super) fn discard_segments(&mut self, which: impl Fn(SegmentStateKind) -> bool, ctx: &mut Context<Self>) {
        let starts: Vec<Offset> =
            self.segments.iter().filter(|(_, segment)| which(segment.chart.state())).map(|(start, _)| *start).collect();
        if let Some(first) = starts.first() {
            self.figures.falls_back_to(*first);
        }
        for start in starts {
            self.step_segment(start, SegmentEvent::Discarded, ctx);
        }
    }

    pub(super) fn carry_out_for(&mut self, start: Offset, effect: SegmentEffect, ctx: &mut Context<Self>) {
        match effect {
            SegmentEffect::OpenSpool { start } => self.open_spool(start, ctx),
            SegmentEffect::CompleteSpool { range, reason } => self.complete(range, reason),
            SegmentEffect::StoreObject => self.store(start, ctx),
            SegmentEffect::CopyToMirrors { stored } => self.copy_to_mirrors(start, stored, ctx),
            SegmentEffect::RetryLater { failures } => {
                let number = self.number_of(start);
                let delay = self.tell_retry(start, failures);
                ctx.run_later(delay, move |writer, ctx| {
                    if writer.number_of(start) == number {
                        writer.segment_event(start, SegmentEvent::RetryDue, ctx);
                    }
                });
            }
            SegmentEffect::WriteIndexRow { .. } => self.write_index_row(start, ctx),
            SegmentEffect::CommitOffset { stored } => self.commit(start, stored, ctx),
            SegmentEffect::DropSpool => {
                if self.open.as_ref().is_some_and(|open| open.start == start) {
                    self.open = None;
                    self.figures.open(Buffered::default());
                }
                if self.is_to_be_taken_again(start) {
                    return;
                }
                if let Some(segment) = self.segments.get_mut(&start) {
                    segment.completed = None;
                }
            }
        }
    }

    pub(super) fn block(&mut self, reason: String) {
        self.pending.push_back(Pending::Partition(PartitionEvent::Blocked { reason }));
    }

    fn complete(&mut self, range: OffsetRange, reason: SealReason) {
        let open = self.open.take().expect("only an open segment is sealed");
        self.figures.open(Buffered::default());
        let spool = Arc::clone(open.spool());
        match open.complete(range, reason) {
            Ok(completed) => {
                spool.seal(completed.content.file_bytes);
                debug!(self.log, "segment sealed"; "range" => %range, "reason" => reason.as_str());
                let content = completed.content;
                self.spool_failures = 0;
                self.recovered(Port::Spool);
                if let Some(segment) = self.segments.get_mut(&range.start()) {
                    segment.sealed = Some((completed.summary.last_record, content));
                    segment.completed = Some((completed, spool));
                }
                self.pending.push_back(Pending::Segment(range.start(), SegmentEvent::SpoolCompleted { content }));
            }
            Err(error) => self.give_up_held(error.into()),
        }
    }

    fn store(&mut self, start: Offset, ctx: &mut Context<Self>) {
        let Some((mut completed, spool)) = self.segments.get(&start).and_then(|segment| segment.completed.clone())
        else {
            return;
        };
        completed.is_confirmed = self.topic_watch.confirms(completed.content.range);
        let sealed = completed.content;
        let answer = self.context.uploaders.send(StoreSegment(completed, spool)).into_actor(self);
        let number = self.number_of(start);
        ctx.spawn(answer.map(move |answer, writer, ctx| {
            if writer.number_of(start) != number {
                return;
            }
            // The pool is gone: the process ends, while a store has not answered yet. What it holds is found at the next start.
            let Ok(answer) = answer else { return };
            let event = match answer {
                Ok(StoreAnswer::Stored(stored)) => {
                    writer.store_answered();
                    let content = stored.content;
                    writer.tell_stored(start, &content);
                    writer.keep_stored(start, stored);
                    match writer.segments.get(&start) {
                        Some(segment) if segment.is_cut => SegmentEvent::ObjectAlreadyExists { stored: content },
                        _ => SegmentEvent::ObjectStored { stored: content },
                    }
                }
                Ok(StoreAnswer::AlreadyExists(stored)) => {
                    writer.store_answered();
                    let content = stored.content;
                    let same = content.range == sealed.range && content.content_hash == sealed.content_hash;
                    warn!(writer.log, "the object is there already"; "segment" => %start, "stored" => %content.range,
                        "same" => same);
                    writer.keep_stored(start, stored);
                    SegmentEvent::ObjectAlreadyExists { stored: content }
                }
                Ok(StoreAnswer::Conflicts { .. }) if writer.cut_sealed(start) => SegmentEvent::StoreFailed,
                Ok(StoreAnswer::Conflicts { reason }) => {
                    writer.give_up(start, SegmentEvent::ObjectConflicts, reason, ctx);
                    return;
                }
                Err(failure) if failure.class == Class::Lost => {
                    writer.give_up_held(failure);
                    writer.run_pending(ctx);
                    return;
                }
                Err(failure) if writer.is_tried_again(&failure) => {
                    writer.failed(start, failure);
                    SegmentEvent::StoreFailed
                }
                Err(failure) => {
                    writer.give_up(start, SegmentEvent::ObjectConflicts, writer.permanent(&failure), ctx);
                    return;
                }
            };
            writer.segment_event(start, event, ctx);
        }));
    }

    /// True for what passes, and for all that fails while Kafka no longer has the records: these are never given up.
    fn is_tried_again(&self, failure: &Failure) -> bool {
        failure.passes() || !self.may_be_fetched_again()
    }

    /// Something else is where the segment, or its row, belongs.
    fn give_up(&mut self, start: Offset, event: SegmentEvent, reason: String, ctx: &mut Context<Self>) {
        // Both at once: between them, nothing is on its way and nothing seems to be wrong.
        self.pending.push_back(Pending::Segment(start, event));
        self.block(reason);
        self.run_pending(ctx);
    }

    fn copy_to_mirrors(&mut self, start: Offset, stored: SegmentContent, ctx: &mut Context<Self>) {
        let Some((completed, spool)) = self.segments.get(&start).and_then(|segment| segment.completed.clone()) else {
            return;
        };
        let mirrors = self.context.ports.mirrors.as_ref().expect("only where there are mirrors is anything copied");
        let copy = mirrors.copy(&completed, &stored).into_actor(self);
        let number = self.number_of(start);
        ctx.spawn(copy.map(move |answer, writer, ctx| {
            // Until now the file had to stay.
            drop((completed, spool));
            if writer.number_of(start) != number {
                return;
            }
            let event = match answer {
                Ok(MirrorAnswer::Stored) => {
                    writer.recovered(Port::Mirrors);
                    SegmentEvent::MirrorsStored
                }
                Ok(MirrorAnswer::Conflicts { reason }) => {
                    writer.give_up(start, SegmentEvent::MirrorsConflict, reason, ctx);
                    return;
                }
                Err(failure) if writer.is_tried_again(&failure) => {
                    writer.failed(start, failure);
                    SegmentEvent::MirrorsFailed
                }
                Err(failure) => {
                    writer.give_up(start, SegmentEvent::MirrorsConflict, writer.permanent(&failure), ctx);
                    return;
                }
            };
            writer.segment_event(start, event, ctx);
        }));
    }

    /// Number of the segment that starts here. An answer to what an earlier one had asked is void.
    fn number_of(&self, start: Offset) -> Option<u64> {
        self.segments.get(&start).map(|segment| segment.number)
    }

    /// What the row will say.
    fn keep_stored(&mut self, start: Offset, stored: StoredSegment) {
        if let Some(segment) = self.segments.get_mut(&start) {
            segment.stored = Some(stored);
        }
    }

    fn tell_stored(&self, start: Offset, stored: &SegmentContent) {
        let reason = self.segments.get(&start).and_then(|segment| segment.reason).map_or("", SealReason::as_str);
        info!(self.log, "segment stored"; "final" => stored.range.final_offset().get(), "start" => start.get(),
            "records" => stored.record_count, "bytes" => stored.file_bytes, "reason" => reason);
    }

    fn write_index_row(&mut self, start: Offset, ctx: &mut Context<Self>) {
        let indexer = self.context.indexer.as_ref().expect("rows are written only where there is an index");
        let Some(stored) = self.segments.get(&start).and_then(|segment| segment.stored.clone()) else { return };
        let row = IndexRow { name: self.chain.segment(start), stored };
        let number = self.number_of(start);
        ctx.spawn(indexer.send(WriteIndexRow(row)).into_actor(self).map(move |answer, writer, ctx| {
            if writer.number_of(start) != number {
                return;
            }
            // The Indexer is gone: the process ends.
            let Ok(answer) = answer else { return };
            let event = match answer {
                Ok(IndexAnswer::Written) => {
                    writer.recovered(Port::Index);
                    SegmentEvent::IndexRowWritten
                }
                Ok(IndexAnswer::Conflicts { reason }) => {
                    writer.give_up(start, SegmentEvent::IndexConflicts, reason, ctx);
                    return;
                }
                Err(failure) if writer.is_tried_again(&failure) => {
                    writer.failed(start, failure);
                    SegmentEvent::IndexFailed
                }
                Err(failure) => {
                    writer.give_up(start, SegmentEvent::IndexConflicts, writer.permanent(&failure), ctx);
                    return;
                }
            };
            writer.segment_event(start, event, ctx);
        }));
    }

    fn commit(&mut self, start: Offset, stored: SegmentContent, ctx: &mut Context<Self>) {
        if self.is_revoked {
            // Whoever has the partition now commits what the store holds, if the topic still exists.
            self.pending.push_back(Pending::Segment(start, SegmentEvent::CommitVoid));
            return;
        }
        let next_offset = stored.range.next_offset();
        let lineage = self.chain.lineage;
        let seen_to = self.seen_beyond(next_offset);
        let metadata = CommitMetadata { lineage, segment_start: Some(start), seen_to };
        // The stored object's, which may be another writer's: the commit speaks of what is archived.
        let last_record = self.segments.get(&start).and_then(|segment| segment.stored.as_ref()?.last_record);
        let leader_epoch = last_record.and_then(|record| record.leader_epoch);
        let commit = OffsetCommit { leader_epoch, ..self.offset_commit(next_offset, metadata) };
        let number = self.number_of(start);
        ctx.spawn(self.context.ports.source.commit(commit).into_actor(self).map(move |answer, writer, ctx| {
            if writer.number_of(start) != number {
                return;
            }
            let event = match answer {
                Ok(()) => {
                    writer.recovered(Port::Commit);
                    writer.committed_seen_to = seen_to.or(writer.committed_seen_to);
                    SegmentEvent::OffsetCommitted
                }
                Err(error) if writer.chart.state() == PartitionStateKind::Departing => {
                    info!(writer.log, "offset not committed, and not needed"; "segment" => %start,
                        "reason" => &error.reason);
                    SegmentEvent::CommitVoid
                }
                // Whether it may be committed or not, the records are stored: a commit that is refused freezes nothing.
                Err(failure) => {
                    writer.failed(start, failure);
                    SegmentEvent::CommitFailed
                }
            };
            writer.segment_event(start, event, ctx);
        }));
    }

    pub(super) fn offset_commit(&self, next_offset: Offset, metadata: CommitMetadata) -> OffsetCommit {
        OffsetCommit { partition: self.partition.clone(), epoch: self.epoch, next_offset, leader_epoch: None, metadata }
    }

    pub(super) fn locate(&mut self, from: Option<Offset>, ctx: &mut Context<Self>) {
        let walk = self.context.ports.locator.locate(&self.partition, from).into_actor(self);
        self.walks += 1;
        let number = self.walks;
        ctx.spawn(walk.map(move |located, writer, ctx| match located {
            // Another one was begun since.
            _ if writer.walks != number => {}
            // What it has on its way belongs to the chain that it knows.
            Ok(located) if located.chain != writer.chain && !writer.segments.is_empty() => {
                let reason = format!("{} was begun meanwhile", located.chain);
                writer.partition_event(PartitionEvent::Blocked { reason }, ctx);
            }
            Ok(located) => {
                if std::mem::take(&mut writer.is_reported_frozen) {
                    info!(writer.log, "partition goes on"; "after_looks" => writer.frozen_looks);
                    writer.report(Report::GoesOn, ctx);
                }
                info!(writer.log, "chain located"; "position" => located.position.get());
                if let Some(gap) = located.gap {
                    error!(writer.log, "records were deleted before they were archived"; "offsets" => %gap.offsets);
                }
                writer.chain = located.chain.clone();
                writer.topic_id = located.topic_id;
                writer.figures.taken_to(located.position);
                writer.figures.archived_to(located.position);
                writer.last_start = located.last_start;
                // Also where it is none: then what was known before counts no more.
                writer.last_sealed = located.last_record;
                writer.topic_watch.located_at(located.position);
                writer.located = Some(located.clone());
                writer.wall_clock = writer.context.settings.wall_clock.within_retention(located.retention_ms);
                let is_awaited = writer.chart.state() == PartitionStateKind::Locating;
                if let Some(metadata) = located.commit.filter(|_| is_awaited) {
                    // Late or lost, this commit harms nothing: the next start walks the chain again.
                    let commit = writer.offset_commit(located.position, metadata);
                    ctx.spawn(writer.context.ports.source.commit(commit).into_actor(writer).map(
                        |answer, writer, _| {
                            if let Err(failure) = answer {
                                warn!(writer.log, "offset not committed"; "reason" => &failure.reason);
                                writer.context.figures.failed(&failure);
                            }
                        },
                    ));
                }
                writer.partition_event(PartitionEvent::Located { position: located.position }, ctx);
            }
            Err(blocked) => writer.partition_event(PartitionEvent::Blocked { reason: blocked.reason }, ctx),
        }));
    }
}
