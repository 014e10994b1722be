//! The open segment of a writer: its spool file, the boundary rule at work on it, the block being filled.
//!
//! Blocks end at the same records however they came in, so a block is filled over many batches: a thousand
//! partitions fill a thousand blocks. Their memory has a budget of its own. Where it is used up, the records of a
//! block are set aside in the spool file until the block is full; so this budget can never be what all wait for.

use crate::batch::RecordBatch;
use crate::budget::{Budget, BudgetShare, PartitionUse};
use crate::ports::{CompletedSegment, OpenFile, SegmentSummary, SpoolError, Timestamps};
use crate::spool_account::{Growth, SpoolShare};
use crate::transition::Buffered;
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::boundary::{BoundaryRule, BoundarySettings, SealReason, Verdict};
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::gap::Gap;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::record::BLOCK_BYTES;
use std::sync::Arc;

/// A segment that records are appended to.
#[derive(Debug)]
pub struct OpenSegment {
    pub(crate) start: Offset,
    pub(crate) opened_at: Now,
    pub(crate) last_arrival: Now,
    file: Box<dyn OpenFile>,
    /// What the file takes of the spool. After it, so that the file goes first.
    spool: Arc<SpoolShare>,
    /// Its bytes, as the account knows them.
    accounted_bytes: u64,
    rule: BoundaryRule,
    block: OpenBlock,
    records: Option<RecordsSeen>,
    leader_epoch: Option<LeaderEpoch>,
    /// Offsets that are missing at its front, and not because the log does not show them.
    gap: Option<Gap>,
}

/// The open block's records that came with earlier batches.
#[derive(Debug)]
struct OpenBlock {
    /// How many records it has, those at the cursor's batch included.
    records: u64,
    /// Their bytes, after those that are set aside.
    bytes: Vec<u8>,
    set_aside_bytes: usize,
    memory: Arc<Budget>,
    share: BudgetShare,
}

impl OpenBlock {
    fn new(memory: Arc<Budget>) -> OpenBlock {
        let share = memory.share(&PartitionUse::default());
        OpenBlock { records: 0, bytes: Vec::new(), set_aside_bytes: 0, memory, share }
    }

    /// The bytes in it.
    fn len(&self) -> usize {
        self.set_aside_bytes + self.bytes.len()
    }

    /// Adds records that do not fill it.
    fn extend(&mut self, run: &[u8], file: &mut dyn OpenFile) -> Result<(), SpoolError> {
        self.bytes.extend_from_slice(run);
        self.account(file)?;
        if self.memory.is_used_up() && !self.bytes.is_empty() {
            file.set_aside(&self.bytes)?;
            self.set_aside_bytes += self.bytes.len();
            self.bytes = Vec::new();
            self.account(file)?;
        }
        Ok(())
    }

    /// Writes it, with these records at its end.
    fn write(&mut self, run: &[u8], file: &mut dyn OpenFile) -> Result<(), SpoolError> {
        let records = std::mem::take(&mut self.records);
        if self.len() == 0 {
            // The usual case of a backlog: a whole block lies in the batch and need not be copied.
            file.append_block(run, records)?;
            return self.account(file);
        }
        if self.set_aside_bytes > 0 {
            let mut whole = Vec::with_capacity(self.len() + run.len());
            file.take_back(&mut whole)?;
            whole.append(&mut self.bytes);
            self.bytes = whole;
            self.set_aside_bytes = 0;
        }
        self.bytes.extend_from_slice(run);
        file.append_block(&self.bytes, records)?;
        self.bytes.clear();
        if self.bytes.capacity() > 2 * BLOCK_BYTES || self.memory.is_used_up() {
            self.bytes = Vec::new();
        }
        self.account(file)
    }

    /// Tells the budget what the block and the file hold; where it is used up, the file holds nothing.
    fn account(&mut self, file: &mut dyn OpenFile) -> Result<(), SpoolError> {
        let held_bytes = file.held_bytes();
        self.share.set(self.bytes.capacity() as u64 + held_bytes);
        if held_bytes > 0 && self.memory.is_used_up() {
            file.write_held()?;
            self.share.set(self.bytes.capacity() as u64);
        }
        Ok(())
    }
}

/// What the summary says of the records.
#[derive(Clone, Copy, Debug)]
struct RecordsSeen {
    count: u64,
    last_offset: Offset,
    last_timestamp: TimestampMs,
    timestamps: Timestamps,
}

/// Why [`OpenSegment::append`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The batch is used up.
    All,
    /// A block was written; there may be more records.
    Block,
    /// The segment ends here, with or without the record at the cursor.
    Boundary(SealReason),
}

/// How far a batch has been taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    pub(crate) record: usize,
    byte: usize,
}

impl OpenSegment {
    /// A segment without records yet, in a file of its own, which takes from the spool; its open block takes its bytes from `blocks`.
    pub fn new(
        start: Offset,
        (file, spool): (Box<dyn OpenFile>, SpoolShare),
        settings: BoundarySettings,
        blocks: Arc<Budget>,
        now: Now,
    ) -> OpenSegment {
        OpenSegment {
            start,
            opened_at: now,
            last_arrival: now,
            file,
            spool: Arc::new(spool),
            accounted_bytes: 0,
            rule: BoundaryRule::new(settings),
            block: OpenBlock::new(blocks),
            records: None,
            leader_epoch: None,
            gap: None,
        }
    }

    /// Says that offsets are missing at the front.
    #[must_use]
    pub(crate) fn with_gap(self, gap: Option<Gap>) -> OpenSegment {
        OpenSegment { gap, ..self }
    }

    /// What its file takes of the spool.
    pub(crate) fn spool(&self) -> &Arc<SpoolShare> {
        &self.spool
    }

    /// Tells the account what the segment has become.
    pub(crate) fn account(&mut self) -> Growth {
        // What is in memory will be in the file soon.
        let bytes = self.file.disk_bytes() + self.block.bytes.len() as u64;
        if std::mem::replace(&mut self.accounted_bytes, bytes) == bytes { Growth::Kept } else { self.spool.grow(bytes) }
    }

    /// The epoch of the leader that wrote the last record.
    pub(crate) fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// Takes records from the cursor on, up to the end of a block, a boundary, or `target`.
    ///
    /// At most one block is compressed, so that one call keeps its thread for about a millisecond.
    pub fn append(
        &mut self,
        batch: &RecordBatch,
        cursor: &mut Cursor,
        target: Option<Offset>,
        now: Now,
    ) -> Result<Appended, SpoolError> {
        self.last_arrival = now;
        self.leader_epoch = batch.leader_epoch.or(self.leader_epoch);
        let from = cursor.byte;
        let mut reached = Appended::All;
        while let Some(mark) = batch.marks.get(cursor.record) {
            if target.is_some_and(|target| mark.offset >= target) {
                reached = Appended::Boundary(SealReason::UntilEnd);
                break;
            }
            let verdict = self.rule.observe((mark.end - cursor.byte) as u64, mark.timestamp);
            if let Verdict::SealBefore(reason) = verdict {
                reached = Appended::Boundary(reason);
                break;
            }
            self.see(mark.offset, mark.timestamp);
            cursor.record += 1;
            cursor.byte = mark.end;
            self.block.records += 1;
            if let Verdict::SealAfter(reason) = verdict {
                reached = Appended::Boundary(reason);
                break;
            }
            if self.block.len() + (cursor.byte - from) >= BLOCK_BYTES {
                reached = Appended::Block;
                break;
            }
        }
        let run = &batch.bytes[from..cursor.byte];
        if self.block.len() + run.len() >= BLOCK_BYTES {
            self.block.write(run, self.file.as_mut())?;
        } else {
            self.block.extend(run, self.file.as_mut())?;
        }
        Ok(reached)
    }

    fn see(&mut self, offset: Offset, timestamp: TimestampMs) {
        match &mut self.records {
            None => {
                self.records = Some(RecordsSeen {
                    count: 1,
                    last_offset: offset,
                    last_timestamp: timestamp,
                    timestamps: Timestamps { first: timestamp, least: timestamp, greatest: timestamp },
                });
            }
            Some(seen) => {
                seen.count += 1;
                seen.last_offset = offset;
                seen.last_timestamp = timestamp;
                seen.timestamps.least = seen.timestamps.least.min(timestamp);
                seen.timestamps.greatest = seen.timestamps.greatest.max(timestamp);
            }
        }
    }

    /// The offset and the timestamp of the last record; `None` as long as there is none.
    pub fn last_record(&self) -> Option<(Offset, TimestampMs)> {
        self.records.map(|seen| (seen.last_offset, seen.last_timestamp))
    }

    /// What it has taken so far.
    pub fn buffered(&self) -> Buffered {
        Buffered { record_count: self.rule.record_count(), record_bytes: self.rule.record_bytes() }
    }

    /// Writes the rest and the header.
    pub fn complete(mut self, range: OffsetRange, seal_reason: SealReason) -> Result<CompletedSegment, SpoolError> {
        if self.block.records > 0 {
            self.block.write(&[], self.file.as_mut())?;
        }
        let seen = self.records.expect("a segment is sealed only when it has a record");
        let summary = SegmentSummary {
            range,
            record_count: seen.count,
            timestamps: seen.timestamps,
            invisible_count: range.offset_count() - seen.count - self.gap.map_or(0, |gap| gap.offsets.offset_count()),
            gaps: self.gap.into_iter().collect(),
            seal_reason,
        };
        self.file.complete(&summary)
    }
}
