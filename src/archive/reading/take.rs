//! The caller's thread: what was read and decoded in any order, in order.

use super::ahead::{Ahead, Place};
use super::piece::{Made, Piece, Pool, Segment, Step};
use super::readers::too_large;
use super::{Reached, ReadJob, TakeRecords};
use crate::archive::chain_reader::{SegmentContext, covered};
use crate::archive::error::ArchiveError;
use crate::archive::window::check_joint;
use crate::avro::{BlockBuffer, BlockDecoder, NoRoom, ReadError, SegmentCheck, StoredBlock};
use crossbeam_channel::Receiver;
use kafka_store_statecharts::last_record::RecordHash;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What comes next.
#[derive(Debug)]
pub(super) struct Turn<T> {
    pub(super) chain: ChainName,
    pub(super) kind: TurnKind<T>,
}

#[derive(Debug)]
pub(super) enum TurnKind<T> {
    /// Another chain; its last segment that was read before covers this.
    Chain(Option<OffsetRange>),
    /// A segment, step by step.
    Segment { start: Offset, bytes: u64, number: u64, steps: Receiver<Step<T>> },
    /// The chain cannot be listed.
    Failed(ArchiveError),
}

pub(super) struct Taker<'a, T, F, E> {
    job: &'a ReadJob<'a>,
    pool: &'a Pool<T>,
    ahead: &'a Ahead,
    taking: &'a mut F,
    /// Decoder for pieces that are not decoded when they are taken.
    decoder: BlockDecoder,
    reached: Reached,
    /// What the segment before covers.
    before: Option<OffsetRange>,
    /// Whether the last wanted offset of the chain was reached.
    is_ended: bool,
    error: PhantomData<fn() -> E>,
}

/// A segment on its way.
struct Open {
    segment: Arc<Segment>,
    check: SegmentCheck,
    last_offset: Option<Offset>,
    /// The hash of the record that its header says is the last.
    final_record: Option<RecordHash>,
    /// The place of the next piece.
    next: Place,
}

/// Whether a segment goes on.
enum Flow {
    GoesOn,
    Ended,
}

impl<'a, T: Made, F: TakeRecords<T, E>, E: From<ArchiveError>> Taker<'a, T, F, E> {
    pub(super) fn new(job: &'a ReadJob<'a>, pool: &'a Pool<T>, ahead: &'a Ahead, taking: &'a mut F) -> Self {
        Taker {
            job,
            pool,
            ahead,
            taking,
            decoder: BlockDecoder::default(),
            reached: Reached::default(),
            before: None,
            is_ended: false,
            error: PhantomData,
        }
    }

    /// Takes everything, or ends early: then the threads at the other ends of the channels end, too.
    pub(super) fn run(mut self, turns: Receiver<Turn<T>>) -> Result<Reached, E> {
        for Turn { chain, kind } in &turns {
            match kind {
                TurnKind::Chain(before) => (self.before, self.is_ended) = (before, false),
                TurnKind::Failed(error) => return Err(error.into()),
                TurnKind::Segment { start, bytes, number, steps } => {
                    if !self.is_ended {
                        self.segment(&chain.segment(start), bytes, number, &steps)?;
                    }
                    // Pieces of this segment that were not taken are not wanted: nobody waits for memory for them.
                    self.ahead.next(Place { segment: number + 1, piece: 0 });
                }
            }
            if self.reached.is_stopped {
                break;
            }
        }
        Ok(self.reached)
    }

    fn segment(&mut self, name: &SegmentName, bytes: u64, number: u64, steps: &Receiver<Step<T>>) -> Result<(), E> {
        check_joint(self.before, name)?;
        let mut open = None;
        loop {
            if self.job.stop.load(Ordering::Relaxed) {
                self.reached.is_stopped = true;
                return Ok(());
            }
            let step = steps.recv().expect("a segment is read to its end as long as somebody listens");
            match (step, &mut open) {
                (Step::Part, _) => {}
                (Step::Begins(segment), open) => {
                    *open = Some(Open {
                        segment,
                        check: SegmentCheck::default(),
                        last_offset: None,
                        final_record: None,
                        next: Place { segment: number, piece: 0 },
                    });
                }
                (Step::PassedOver(covered), _) => {
                    self.job.watch.advance(bytes);
                    self.end_segment(name, covered);
                    return Ok(());
                }
                (Step::Piece(work, is_done), Some(open)) => {
                    // A piece that no decoder has started is decoded here: all decoders may be waiting for memory.
                    let piece = work.take();
                    let piece =
                        piece.unwrap_or_else(|| is_done.recv().expect("decoders answer as long as there are tasks"));
                    if let Flow::Ended = self.piece(name, open, piece)? {
                        return Ok(());
                    }
                    open.next.piece += 1;
                    self.ahead.next(open.next);
                }
                (Step::Ends(position), Some(open)) => {
                    let wrong = |source| self.wrong(name, source);
                    let header = &open.segment.header;
                    open.check.end(header, position, || open.final_record).map_err(wrong)?;
                    let covered = covered(header, open.last_offset);
                    let covered = covered.ok_or_else(|| wrong(ReadError::without_records()))?;
                    self.end_segment(name, covered);
                    return Ok(());
                }
                (Step::Failed(error), _) => return Err(error.into()),
                (Step::Piece(..) | Step::Ends(_), None) => unreachable!("a segment begins first"),
            }
        }
    }

    fn piece(&mut self, name: &SegmentName, open: &mut Open, mut piece: Piece<T>) -> Result<Flow, E> {
        if let (Some(first), Some(last)) = (piece.first_offset, open.last_offset)
            && first <= last
        {
            return Err(self.out_of_order(name, &piece.blocks, first, last));
        }
        self.taking.take(&mut piece.made)?;
        if let Some(error) = piece.error.take() {
            return Err(self.wrong(name, error).into());
        }
        for (place, buffer) in &piece.blocks()[..piece.decoded] {
            open.check.block(buffer.bytes(), place.record_count);
        }
        while piece.decoded < piece.used && !piece.is_end {
            self.rest_of_block(name, open, &mut piece)?;
        }
        if piece.is_end {
            self.is_ended = true;
            self.reached.ended.push(name.chain.clone());
            return Ok(Flow::Ended);
        }
        open.last_offset = piece.last_offset.or(open.last_offset);
        open.final_record = piece.final_record.or(open.final_record);
        self.job.watch.advance(piece.stored_bytes());
        self.pool.give_back(piece);
        Ok(Flow::GoesOn)
    }

    /// Decodes the first block of a piece that is not decoded to its end, and hands over its records one at a time.
    fn rest_of_block(&mut self, name: &SegmentName, open: &mut Open, piece: &mut Piece<T>) -> Result<(), E> {
        let header = &open.segment.header;
        let index = piece.decoded;
        let (place, buffer) = &mut piece.blocks[index];
        let place = *place;
        if !piece.is_decompressed {
            let stored_bytes = buffer.stored.len() as u64;
            let alone = self.ahead.alone_bytes().saturating_sub(stored_bytes);
            let decompressed = self.decoder.decompress(header, place, buffer, &mut |wanted| wanted.min(alone));
            if let Err(NoRoom { decompressed_bytes }) = decompressed.map_err(|error| self.wrong(name, error))? {
                let limit = self.job.memory_limit;
                return Err(self
                    .wrong(name, too_large(limit, place.position, stored_bytes, decompressed_bytes))
                    .into());
            }
        }
        let blocks = &piece.blocks;
        let buffer = &blocks[index].1;
        let (context, window) = (SegmentContext { name, header }, self.job.window);
        let final_offset = open.segment.final_offset();
        let mut records = buffer.block(header, place, &mut piece.last_offset).records();
        let (mut number, mut start) = (0, 0);
        while let Some(record) = records.next_record().map_err(|error| self.wrong(name, error))? {
            let offset = record.fields.offset;
            if window.ends_before(offset) {
                piece.is_end = true;
                return Ok(());
            }
            if piece.first_offset.is_none() {
                piece.first_offset = Some(offset);
                if let Some(last) = open.last_offset.filter(|last| offset <= *last) {
                    return Err(self.out_of_order(name, blocks, offset, last));
                }
            }
            let end = start + record.encoded_bytes;
            if number >= piece.taken_records && window.has(offset, record.fields.timestamp) {
                self.taking.take_record(context, &record)?;
            }
            if final_offset == Some(offset) {
                piece.final_record = Some(RecordHash::of(&buffer.bytes()[start..end]));
            }
            (number, start) = (number + 1, end);
        }
        open.check.block(buffer.bytes(), place.record_count);
        let buffer = &mut piece.blocks[index].1;
        if !buffer.is_small() {
            *buffer = BlockBuffer::default();
        }
        piece.decoded += 1;
        (piece.is_decompressed, piece.taken_records) = (false, 0);
        Ok(())
    }

    fn end_segment(&mut self, name: &SegmentName, covered: OffsetRange) {
        self.before = Some(covered);
        self.reached.segments.insert(name.chain.clone(), covered);
        if self.job.window.offsets.to == Some(covered.final_offset()) {
            self.is_ended = true;
            self.reached.ended.push(name.chain.clone());
        }
    }

    fn out_of_order(
        &self,
        name: &SegmentName,
        blocks: &[(StoredBlock, BlockBuffer)],
        first: Offset,
        last: Offset,
    ) -> E {
        let position = blocks.first().map_or(0, |(place, _)| place.position);
        self.wrong(name, ReadError::out_of_order(position, first, last)).into()
    }

    fn wrong(&self, name: &SegmentName, source: ReadError) -> ArchiveError {
        ArchiveError::Segment { location: self.job.source.location(name), source }
    }
}
