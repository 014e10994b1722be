//! The open segment of a writer: its spool file, the boundary rule at work on it, the block being filled.
//!
//! Blocks end at the same records however they came in, so a block is filled over many batches: a thousand
//! partitions fill a thousand blocks. Their memory has a budget of its own. Where it is used up, the records of a
//! block are set aside in the spool file until the block is full; so this budget can never be what all wait for.

use crate::batch::{RecordBatch, RecordMark};
use crate::budget::{Budget, BudgetShare, PartitionUse};
use crate::ports::{CompletedSegment, OpenFile, SegmentSummary, SpoolError, Timestamps};
use crate::spool_account::{Growth, SpoolShare};
use crate::transition::Buffered;
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::boundary::{BoundaryRule, BoundarySettings, SealReason, Verdict};
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::gap::Gap;
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::record::{BLOCK_BYTES, Decoder};
use std::ops::ControlFlow;
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
    /// Length of the segment's last record.
    last_record_bytes: usize,
    /// Its hash, once it was asked for or would become dear.
    last_hash: Option<RecordHash>,
    memory: Arc<Budget>,
    share: BudgetShare,
}

impl OpenBlock {
    fn new(memory: Arc<Budget>) -> OpenBlock {
        let share = memory.share(&PartitionUse::default());
        OpenBlock {
            records: 0,
            bytes: Vec::new(),
            set_aside_bytes: 0,
            last_record_bytes: 0,
            last_hash: None,
            memory,
            share,
        }
    }

    /// The bytes in it.
    fn len(&self) -> usize {
        self.set_aside_bytes + self.bytes.len()
    }

    /// Counts the next record, which is so long and now the last one.
    fn take(&mut self, record_bytes: usize) {
        self.records += 1;
        self.last_record_bytes = record_bytes;
        self.last_hash = None;
    }

    /// Adds records that do not fill it.
    fn extend(&mut self, run: &[u8], file: &mut dyn OpenFile) -> Result<(), SpoolError> {
        self.bytes.extend_from_slice(run);
        self.account(file)?;
        if self.memory.is_used_up() && !self.bytes.is_empty() {
            self.last_hash(file)?;
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
            self.hash_if_large(run);
            file.append_block(run, records)?;
            return self.account(file);
        }
        self.take_back(run.len(), file)?;
        self.bytes.extend_from_slice(run);
        self.hash_if_large(run);
        file.append_block(&self.bytes, records)?;
        self.bytes.clear();
        if self.bytes.capacity() > 2 * BLOCK_BYTES || self.memory.is_used_up() {
            self.bytes = Vec::new();
        }
        self.account(file)
    }

    /// Has all its bytes in memory, with room for more.
    fn take_back(&mut self, room: usize, file: &mut dyn OpenFile) -> Result<(), SpoolError> {
        if self.set_aside_bytes > 0 {
            let mut whole = Vec::with_capacity(self.len() + room);
            file.take_back(&mut whole)?;
            whole.append(&mut self.bytes);
            self.bytes = whole;
            self.set_aside_bytes = 0;
        }
        Ok(())
    }

    /// Returns the hash of the segment's last record. Nothing is hashed while records are appended: it is one record in
    /// a segment that counts.
    fn last_hash(&mut self, file: &dyn OpenFile) -> Result<RecordHash, SpoolError> {
        let hash = match self.last_hash {
            Some(hash) => hash,
            None if self.bytes.is_empty() => end_hash(&file.read_last_block()?, self.last_record_bytes),
            None => end_hash(&self.bytes, self.last_record_bytes),
        };
        self.last_hash = Some(hash);
        Ok(hash)
    }

    /// Hashes the segment's last record, which ends a run that is about to leave the memory, if reading it back would
    /// take much memory.
    fn hash_if_large(&mut self, run: &[u8]) {
        if self.last_hash.is_none() && self.last_record_bytes > READ_BACK_BYTES_MAX {
            self.last_hash = Some(end_hash(run, self.last_record_bytes));
        }
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

/// The longest record whose block is read back from the spool file for its hash.
const READ_BACK_BYTES_MAX: usize = 4 << 20;

/// Hashes the record of this length that ends `bytes`.
fn end_hash(bytes: &[u8], length: usize) -> RecordHash {
    RecordHash::of(&bytes[bytes.len() - length..])
}

/// Finds the records in the canonical bytes of a block that was read back.
pub(crate) fn marks_of(block: &[u8]) -> Result<Vec<RecordMark>, SpoolError> {
    let unreadable = |error: &dyn std::fmt::Display| SpoolError::damaged(format!("a block of the spool file: {error}"));
    let (mut decoder, mut marks) = (Decoder::new(block), Vec::new());
    while !decoder.rest().is_empty() {
        let (fields, _) = decoder.record().map_err(|error| unreadable(&error))?;
        let (offset, timestamp) = (fields.offset, fields.timestamp);
        marks.push(RecordMark { offset, timestamp, end: block.len() - decoder.rest().len() });
    }
    Ok(marks)
}

/// Last record that an open segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, verbatim.
    pub timestamp: TimestampMs,
    /// Its hash, and the epoch of the leader that wrote it.
    pub record: LastRecord,
}

/// What the summary says of the records.
#[derive(Clone, Copy, Debug)]
struct RecordsSeen {
    count: u64,
    last_offset: Offset,
    last_timestamp: TimestampMs,
    last_leader_epoch: Option<LeaderEpoch>,
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

impl Cursor {
    /// Passes over the records below `offset`.
    pub(crate) fn skip_to(&mut self, batch: &RecordBatch, offset: Offset) {
        self.record = batch.marks.partition_point(|mark| mark.offset < offset).max(self.record);
        self.byte = self.record.checked_sub(1).map_or(0, |last| batch.marks[last].end);
    }
}

impl OpenSegment {
    /// A segment without records yet, in a file of its own, which takes from the spool; its open block takes its bytes
    /// from `blocks`.
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
            self.see(mark.offset, mark.timestamp, batch.leader_epoch);
            self.block.take(mark.end - cursor.byte);
            cursor.record += 1;
            cursor.byte = mark.end;
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

    fn see(&mut self, offset: Offset, timestamp: TimestampMs, leader_epoch: Option<LeaderEpoch>) {
        match &mut self.records {
            None => {
                self.records = Some(RecordsSeen {
                    count: 1,
                    last_offset: offset,
                    last_timestamp: timestamp,
                    last_leader_epoch: leader_epoch,
                    timestamps: Timestamps { first: timestamp, least: timestamp, greatest: timestamp },
                });
            }
            Some(seen) => {
                seen.count += 1;
                seen.last_offset = offset;
                seen.last_timestamp = timestamp;
                seen.last_leader_epoch = leader_epoch;
                seen.timestamps.least = seen.timestamps.least.min(timestamp);
                seen.timestamps.greatest = seen.timestamps.greatest.max(timestamp);
            }
        }
    }

    /// Keeps the records below `cutoff`, in a new file, whose last one was written under `leader_epoch`. `None` if
    /// there are none.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub(crate) fn cut(
        mut self,
        cutoff: Offset,
        leader_epoch: Option<LeaderEpoch>,
        (settings, blocks): (BoundarySettings, Arc<Budget>),
        new_file: impl FnOnce() -> Result<Box<dyn OpenFile>, SpoolError>,
    ) -> Result<Option<OpenSegment>, SpoolError> {
        let mut kept = OpenSegment {
            start: self.start,
            opened_at: self.opened_at,
            last_arrival: self.last_arrival,
            file: new_file()?,
            spool: Arc::clone(&self.spool),
            accounted_bytes: 0,
            rule: BoundaryRule::new(settings),
            block: OpenBlock::new(blocks),
            records: None,
            gap: self.gap,
        };
        let now = self.last_arrival;
        let mut copied = Ok(());
        self.file.read_back(&mut |block, _| match kept.copy(block, cutoff, leader_epoch, now) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                copied = Err(error);
                ControlFlow::Break(())
            }
        })?;
        copied?;
        if self.block.len() > 0 {
            let mut rest = Vec::with_capacity(self.block.len());
            if self.block.set_aside_bytes > 0 {
                self.file.take_back(&mut rest)?;
            }
            rest.append(&mut self.block.bytes);
            kept.copy(&rest, cutoff, leader_epoch, now)?;
        }
        Ok(kept.records.is_some().then_some(kept))
    }

    /// Takes the records of a block that lie below `cutoff`; false if there were others.
    pub(crate) fn copy(
        &mut self,
        block: &[u8],
        cutoff: Offset,
        leader_epoch: Option<LeaderEpoch>,
        now: Now,
    ) -> Result<bool, SpoolError> {
        let mut batch = RecordBatch { leader_epoch, marks: marks_of(block)?, ..RecordBatch::default() };
        batch.bytes.extend_from_slice(block);
        let mut cursor = Cursor::default();
        loop {
            match self.append(&batch, &mut cursor, Some(cutoff), now)? {
                Appended::All => return Ok(true),
                Appended::Block => {}
                Appended::Boundary(_) => return Ok(false),
            }
        }
    }

    /// Offset and timestamp of the last record held; `None` before the first.
    pub fn last_position(&self) -> Option<(Offset, TimestampMs)> {
        self.records.map(|seen| (seen.last_offset, seen.last_timestamp))
    }

    /// The last record held, hashed when first asked for; `None` before the first.
    ///
    /// # Errors
    /// If its bytes are in the spool file and cannot be read back.
    pub fn last_record(&mut self) -> Result<Option<HeldRecord>, SpoolError> {
        let Some(seen) = self.records else { return Ok(None) };
        let hash = self.block.last_hash(self.file.as_ref())?;
        Ok(Some(HeldRecord {
            offset: seen.last_offset,
            timestamp: seen.last_timestamp,
            record: LastRecord { hash, leader_epoch: seen.last_leader_epoch },
        }))
    }

    /// What it has taken so far.
    pub fn buffered(&self) -> Buffered {
        Buffered { record_count: self.rule.record_count(), record_bytes: self.rule.record_bytes() }
    }

    /// Takes back what was set aside: after this, completing needs nothing of what the file holds.
    pub(crate) fn take_back(&mut self) -> Result<(), SpoolError> {
        self.block.take_back(0, self.file.as_mut())
    }

    /// Writes the rest and the header.
    pub fn complete(mut self, range: OffsetRange, seal_reason: SealReason) -> Result<CompletedSegment, SpoolError> {
        let last = self.last_record()?.expect("a segment is sealed only when it has a record");
        if self.block.records > 0 {
            self.block.write(&[], self.file.as_mut())?;
        }
        let seen = self.records.expect("it has a last one");
        let summary = SegmentSummary {
            range,
            record_count: seen.count,
            timestamps: seen.timestamps,
            invisible_count: range.offset_count() - seen.count - self.gap.map_or(0, |gap| gap.offsets.offset_count()),
            gaps: self.gap.into_iter().collect(),
            last_record: last.record,
            seal_reason,
        };
        self.file.complete(&summary)
    }
}
