//! Records that are taken again: the store holds another writer's segment in place of theirs, and no log may have them
//! any more.
//!
//! They are read back from the spool, one block a message, and go the way of records that were fetched. The segments
//! that they fill begin where the other writer's ends.

use super::PartitionWriter;
use crate::batch::RecordBatch;
use crate::open_segment::{Cursor, OpenSegment, marks_of};
use crate::ports::{CompletedSegment, SpoolBlocks, SpoolError};
use crate::spool_account::SpoolShare;
use crate::transition::Buffered;
use actix::prelude::*;
use kafka_store_statecharts::anchor::Anchor;
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::Chart;
use kafka_store_statecharts::input::InputEvent;
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::partition::PartitionStateKind;
use kafka_store_statecharts::segment::SegmentStateKind;
use slog::{error, warn};
use std::collections::VecDeque;
use std::sync::Arc;

/// Consecutive records that wait to be queued once more.
#[derive(Debug)]
pub(super) enum Held {
    /// Those of a complete segment.
    File(HeldFile),
    /// Those of a batch, from the cursor on.
    Batch(RecordBatch, Cursor),
}

/// A complete segment that is read back.
#[derive(Debug)]
pub(super) struct HeldFile {
    segment: CompletedSegment,
    /// Space of its file in the spool, released with it.
    _spool: Arc<SpoolShare>,
    blocks: Option<Box<dyn SpoolBlocks>>,
    /// Epoch of the leader that wrote all of its records, where that is known.
    leader_epoch: Option<LeaderEpoch>,
    /// Number of records read so far.
    records_read: u64,
}

impl HeldFile {
    /// A segment whose file is read later. Epochs never decrease, so where the last record before it has the epoch of its
    /// own last one, all have that.
    fn new(segment: CompletedSegment, spool: Arc<SpoolShare>, epoch_before: Option<LeaderEpoch>) -> HeldFile {
        let leader_epoch = segment.summary.last_record.leader_epoch.filter(|epoch| Some(*epoch) == epoch_before);
        HeldFile { segment, _spool: spool, blocks: None, leader_epoch, records_read: 0 }
    }

    fn last(&self) -> Anchor {
        Anchor { offset: self.segment.content.range.final_offset(), record: self.segment.summary.last_record }
    }

    fn records_left(&self) -> u64 {
        self.segment.content.record_count - self.records_read
    }

    /// Makes batches of a block. The last record is one of its own where only its epoch is known.
    fn batches(&mut self, bytes: Vec<u8>) -> Result<Vec<RecordBatch>, SpoolError> {
        let mut marks = marks_of(&bytes)?;
        self.records_read += marks.len() as u64;
        let last = self.last();
        let mut rest = None;
        if self.leader_epoch != last.record.leader_epoch
            && let Some(mark) = marks.pop_if(|mark| mark.offset == last.offset)
        {
            let from = marks.last().map_or(0, |mark| mark.end);
            let mut batch = RecordBatch { leader_epoch: last.record.leader_epoch, ..RecordBatch::default() };
            batch.bytes.extend_from_slice(&bytes[from..mark.end]);
            batch.marks.push(crate::batch::RecordMark { end: mark.end - from, ..mark });
            rest = Some(batch);
        }
        let mut front = RecordBatch { leader_epoch: self.leader_epoch, marks, ..RecordBatch::default() };
        *front.bytes = bytes;
        Ok([front].into_iter().chain(rest).filter(|batch| !batch.marks.is_empty()).collect())
    }
}

impl PartitionWriter {
    /// True if the store holds another segment than the one that was sealed here, whose records may be in no log any more.
    pub(super) fn is_to_be_taken_again(&self, start: Offset) -> bool {
        let Some(segment) = self.segments.get(&start) else { return false };
        let (Some(stored), Some((_, sealed))) = (&segment.stored, &segment.sealed) else { return false };
        let may_be_gone = matches!(self.chart.state(), PartitionStateKind::Departing | PartitionStateKind::Leaving);
        may_be_gone && (stored.content.range != sealed.range || !self.has_same_end(start))
    }

    /// Takes what is held beyond a stored segment, which ends before `from`, once more: it becomes the next segment.
    pub(super) fn take_again(&mut self, from: Offset, ctx: &mut Context<Self>) {
        let winner = self.segments.values().rev().find_map(|segment| segment.stored.clone());
        // The store has compared topic ids: an object of another topic is never adopted.
        let winner = winner.and_then(|stored| {
            Some(Anchor { offset: stored.content.range.final_offset(), record: stored.last_record? })
        });
        let mut epoch_before = winner.and_then(|winner| winner.record.leader_epoch);
        let mut held = VecDeque::new();
        let mut hold = |segment: CompletedSegment, spool| {
            let last_epoch = segment.summary.last_record.leader_epoch;
            held.push_back(Held::File(HeldFile::new(segment, spool, epoch_before)));
            epoch_before = last_epoch;
        };
        for (segment, spool) in self.segments.values_mut().filter_map(|segment| segment.completed.take()) {
            hold(segment, spool);
        }
        let mut lost = None;
        if let Some(open) = self.open.take() {
            match complete(open) {
                Ok(Some((segment, spool))) => hold(segment, spool),
                Ok(None) => {}
                Err(error) => lost = Some(error),
            }
            self.figures.open(Buffered::default());
        }
        held.extend(self.queue.drain(..).map(|(batch, cursor)| Held::Batch(batch, cursor)));
        held.append(&mut self.held);
        (self.held, self.winner) = (held, winner);
        self.discard_segments(|state| state < SegmentStateKind::AwaitingPredecessor, ctx);
        self.figures.falls_back_to(from);
        warn!(self.log, "another writer's segment ends elsewhere; records held beyond it are sealed again";
            "from" => from.get(), "records" => self.records_held());
        if let Some(error) = lost {
            self.drop_held(&error.reason);
        }
        if self.chart.state() == PartitionStateKind::Departing {
            self.input_event(InputEvent::TakenAgain, ctx);
        }
        self.continue_later(ctx);
    }

    /// Queues the next records that are to be taken again, at most a block. Returns false if there are none.
    pub(super) fn queue_held(&mut self) -> bool {
        let Some(position) = self.chart.kept_position() else { return false };
        let (winner, cutoff) = (self.winner, self.topic_watch.confirmed_to());
        match self.held.front_mut() {
            None => return false,
            Some(Held::Batch(..)) => {
                if let Some(Held::Batch(batch, cursor)) = self.held.pop_front() {
                    self.queue_again(batch, cursor, position);
                }
            }
            Some(Held::File(file)) if file.last().offset < position || file.segment.content.range.start() >= cutoff => {
                let last = file.last();
                let differs = winner.is_some_and(|winner| winner.offset == last.offset && !winner.is(&last.record));
                if last.offset >= position {
                    error!(self.log, "records dropped that may be another topic's"; "records" => file.records_left(),
                        "from" => file.segment.content.range.start().get());
                }
                if differs {
                    self.drop_held(OTHER_HISTORY);
                } else {
                    self.held.pop_front();
                }
            }
            Some(Held::File(file)) => match next_batches(file, self.context.ports.spool.as_ref()) {
                Ok(Some(batches)) => {
                    for batch in batches {
                        let batch = RecordBatch { epoch: self.epoch, seek_epoch: self.chart.seek_epoch, ..batch };
                        self.queue_again(batch, Cursor::default(), position);
                    }
                }
                Ok(None) => {
                    self.held.pop_front();
                }
                Err(error) => self.drop_held(&error.reason),
            },
        }
        true
    }

    /// Queues records from `position` on, if the stored segment before them is of the same history.
    fn queue_again(&mut self, mut batch: RecordBatch, mut cursor: Cursor, position: Offset) {
        if let Some(winner) = self.winner {
            let at = batch.marks.partition_point(|mark| mark.offset < winner.offset);
            if let Some(mark) = batch.marks.get(at) {
                self.winner = None;
                let from = at.checked_sub(1).map_or(0, |before| batch.marks[before].end);
                let hash = RecordHash::of(&batch.bytes[from..mark.end]);
                let ours = LastRecord { hash, leader_epoch: batch.leader_epoch };
                // Where only one of the two was shown a record, nothing is proved.
                if mark.offset == winner.offset && !winner.is(&ours) {
                    self.queue.push_back((batch, cursor));
                    return self.drop_held(OTHER_HISTORY);
                }
            }
        }
        cursor.skip_to(&batch, position);
        let cutoff = self.topic_watch.confirmed_to();
        let kept = batch.marks.partition_point(|mark| mark.offset < cutoff).max(cursor.record);
        if kept < batch.marks.len() {
            error!(self.log, "records dropped that may be another topic's"; "records" => batch.marks.len() - kept,
                "from" => batch.marks[kept].offset.get());
            batch.marks.truncate(kept);
        }
        if cursor.record < batch.marks.len() {
            self.queue.push_back((batch, cursor));
        }
    }

    /// Cuts a sealed segment that the store refuses because its last records may be another topic's: those before are this
    /// one's, and no log has them any more. Returns false if there is nothing to cut.
    pub(super) fn cut_sealed(&mut self, start: Offset) -> bool {
        let cutoff = self.topic_watch.confirmed_to();
        let completed = self.segments.get(&start).and_then(|segment| segment.completed.clone());
        let Some((completed, _)) = completed.filter(|_| self.chart.state() == PartitionStateKind::Departing) else {
            return false;
        };
        let range = completed.content.range;
        if cutoff <= range.start() || cutoff >= range.next_offset() {
            return false;
        }
        match self.without_unconfirmed(&completed, cutoff) {
            Ok(Some((cut, spool))) => {
                error!(self.log, "records dropped that may be another topic's"; "from" => cutoff.get(),
                    "records" => completed.content.record_count - cut.content.record_count);
                if let Some(segment) = self.segments.get_mut(&start) {
                    segment.sealed = Some((cut.summary.last_record, cut.content));
                    segment.completed = Some((cut, spool));
                    segment.is_cut = true;
                }
                true
            }
            Ok(None) => false,
            Err(error) => {
                error!(self.log, "records of a topic that is gone are lost"; "reason" => &error.reason,
                    "records" => completed.content.record_count);
                false
            }
        }
    }

    fn without_unconfirmed(
        &self,
        segment: &CompletedSegment,
        cutoff: Offset,
    ) -> Result<Option<(CompletedSegment, Arc<SpoolShare>)>, SpoolError> {
        let (spool, start) = (&self.context.ports.spool, segment.name.start);
        let mut blocks = spool.read_back(segment)?;
        let file = spool.open(&self.chain, self.topic_id, start)?;
        let (boundary, memory) = (self.context.settings.boundary, self.context.blocks.clone());
        let share = self.context.spool.open_beyond();
        let open = OpenSegment::new(start, (file, share), boundary, memory, self.now());
        let mut open = open.with_gap(segment.summary.gaps.first().copied());
        let epoch = self.topic_watch.confirmed_epoch();
        while let Some(block) = blocks.next_block()? {
            if !open.copy(&block, cutoff, epoch, self.now())? {
                break;
            }
        }
        complete(open)
    }

    /// Number of records that are to be taken again, those below the stored segment's end included.
    fn records_held(&self) -> u64 {
        let left = |batch: &RecordBatch, cursor: &Cursor| (batch.marks.len() - cursor.record) as u64;
        let queued = self.queue.iter().map(|(batch, cursor)| left(batch, cursor)).sum::<u64>();
        let held = self.held.iter().map(|held| match held {
            Held::File(file) => file.records_left(),
            Held::Batch(batch, cursor) => left(batch, cursor),
        });
        queued + held.sum::<u64>()
    }

    /// Drops what is to be taken again: what lies behind a loss cannot follow what is stored.
    fn drop_held(&mut self, why: &str) {
        error!(self.log, "records of a topic that is gone are lost"; "reason" => why, "records" => self.records_held());
        self.queue.clear();
        self.held.clear();
        self.winner = None;
    }
}

const OTHER_HISTORY: &str =
    "the store holds a segment of another history, whose last record differs from the one read here";

/// Reads the next block of a segment.
fn next_batches(
    file: &mut HeldFile,
    spool: &dyn crate::ports::SegmentSpool,
) -> Result<Option<Vec<RecordBatch>>, SpoolError> {
    let blocks = match &mut file.blocks {
        Some(blocks) => blocks,
        none => none.insert(spool.read_back(&file.segment)?),
    };
    blocks.next_block()?.map(|bytes| file.batches(bytes)).transpose()
}

/// Completes the file of the open segment, to be read back as those of sealed ones. `None` if it has no record.
fn complete(open: OpenSegment) -> Result<Option<(CompletedSegment, Arc<SpoolShare>)>, SpoolError> {
    let spool = Arc::clone(open.spool());
    let Some((last, _)) = open.last_position() else { return Ok(None) };
    let Some(range) = OffsetRange::new(open.start, last) else { return Ok(None) };
    let completed = open.complete(range, SealReason::TopicGone)?;
    spool.seal(completed.content.file_bytes);
    Ok(Some((completed, spool)))
}
