//! The caller's thread: what was read and decoded in any order, in order.

use super::piece::{Piece, Pool, Segment, Step};
use super::{Reached, ReadJob};
use crate::archive::chain_reader::covered;
use crate::archive::error::ArchiveError;
use crate::archive::window::check_joint;
use crate::avro::{ReadError, SegmentCheck};
use crossbeam_channel::Receiver;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
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
    Segment { start: Offset, bytes: u64, steps: Receiver<Step<T>> },
    /// The chain cannot be listed.
    Failed(ArchiveError),
}

pub(super) struct Taker<'a, T, F> {
    job: &'a ReadJob<'a>,
    pool: &'a Pool<T>,
    take: F,
    reached: Reached,
    /// What the segment before covers.
    before: Option<OffsetRange>,
    /// Whether the last wanted offset of the chain was reached.
    is_ended: bool,
}

/// A segment on its way.
struct Open<T> {
    segment: Arc<Segment>,
    check: SegmentCheck,
    last_offset: Option<Offset>,
    /// The piece taken last: at the end of the segment it holds its last record.
    last_piece: Option<Piece<T>>,
}

/// Whether a segment goes on.
enum Flow {
    GoesOn,
    Ended,
}

impl<'a, T: Default, F> Taker<'a, T, F> {
    pub(super) fn new(job: &'a ReadJob<'a>, pool: &'a Pool<T>, take: F) -> Taker<'a, T, F> {
        Taker { job, pool, take, reached: Reached::default(), before: None, is_ended: false }
    }

    /// Takes everything, or ends early: then the threads at the other ends of the channels end, too.
    pub(super) fn run<E: From<ArchiveError>>(mut self, turns: Receiver<Turn<T>>) -> Result<Reached, E>
    where
        F: FnMut(&mut T) -> Result<(), E>,
    {
        for Turn { chain, kind } in &turns {
            match kind {
                TurnKind::Chain(before) => (self.before, self.is_ended) = (before, false),
                TurnKind::Failed(error) => return Err(error.into()),
                TurnKind::Segment { .. } if self.is_ended => {}
                TurnKind::Segment { start, bytes, steps } => self.segment(&chain.segment(start), bytes, &steps)?,
            }
            if self.reached.is_stopped {
                break;
            }
        }
        Ok(self.reached)
    }

    fn segment<E: From<ArchiveError>>(
        &mut self,
        name: &SegmentName,
        bytes: u64,
        steps: &Receiver<Step<T>>,
    ) -> Result<(), E>
    where
        F: FnMut(&mut T) -> Result<(), E>,
    {
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
                    *open = Some(Open { segment, check: SegmentCheck::default(), last_offset: None, last_piece: None });
                }
                (Step::PassedOver(covered), _) => {
                    self.job.watch.advance(bytes);
                    self.end_segment(name, covered);
                    return Ok(());
                }
                (Step::Piece(piece), Some(open)) => {
                    let piece = piece.recv().expect("decoders answer as long as there are tasks");
                    if let Flow::Ended = self.piece(name, open, piece)? {
                        return Ok(());
                    }
                }
                (Step::Ends(position), Some(open)) => {
                    let wrong = |source| self.wrong(name, source);
                    let last_block = open.last_piece.as_ref().and_then(Piece::last_block).unwrap_or_default();
                    open.check.end(&open.segment.header, position, last_block).map_err(wrong)?;
                    let covered = covered(&open.segment.header, open.last_offset);
                    let covered = covered.ok_or_else(|| wrong(ReadError::without_records()))?;
                    open.last_piece.take().into_iter().for_each(|piece| self.pool.give_back(piece));
                    self.end_segment(name, covered);
                    return Ok(());
                }
                (Step::Failed(error), _) => return Err(error.into()),
                (Step::Piece(_) | Step::Ends(_), None) => unreachable!("a segment begins first"),
            }
        }
    }

    fn piece<E: From<ArchiveError>>(
        &mut self,
        name: &SegmentName,
        open: &mut Open<T>,
        mut piece: Piece<T>,
    ) -> Result<Flow, E>
    where
        F: FnMut(&mut T) -> Result<(), E>,
    {
        if let (Some(first), Some(last)) = (piece.first_offset, open.last_offset)
            && first <= last
        {
            let position = piece.blocks().first().map_or(0, |(place, _)| place.position);
            return Err(self.wrong(name, ReadError::out_of_order(position, first, last)).into());
        }
        (self.take)(&mut piece.made)?;
        if let Some(error) = piece.error.take() {
            return Err(self.wrong(name, error).into());
        }
        if piece.is_end {
            self.is_ended = true;
            self.reached.ended.push(name.chain.clone());
            return Ok(Flow::Ended);
        }
        for (place, buffer) in piece.blocks() {
            open.check.block(buffer.bytes(), place.record_count);
        }
        open.last_offset = piece.last_offset.or(open.last_offset);
        self.job.watch.advance(piece.stored_bytes());
        open.last_piece.replace(piece).into_iter().for_each(|before| self.pool.give_back(before));
        Ok(Flow::GoesOn)
    }

    fn end_segment(&mut self, name: &SegmentName, covered: OffsetRange) {
        self.before = Some(covered);
        self.reached.segments.insert(name.chain.clone(), covered);
        if self.job.window.offsets.to == Some(covered.final_offset()) {
            self.is_ended = true;
            self.reached.ended.push(name.chain.clone());
        }
    }

    fn wrong(&self, name: &SegmentName, source: ReadError) -> ArchiveError {
        ArchiveError::Segment { location: self.job.source.location(name), source }
    }
}
