//! The threads that read: a segment each, in order.

use super::ahead::{Ahead, Answer, Place};
use super::piece::{Made, PIECE_BYTES, PIECES_AHEAD, Piece, Pool, Segment, Step, Task, Work};
use super::take::{Turn, TurnKind};
use super::{ChainStart, ReadJob, position};
use crate::archive::error::ArchiveError;
use crate::archive::survey::SegmentFacts;
use crate::archive::window::check_chain;
use crate::avro::{LargeBlock, MemoryParts, ReadError, SegmentHeader, StoredBlocks};
use crate::store::ObjectStat;
use crossbeam_channel::{Sender, bounded};
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::Offset;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex};

/// What is still to be read: who takes the next segment also tells the caller's thread that it comes next.
#[derive(Debug)]
pub(super) struct Plan<T> {
    chains: VecDeque<ChainStart>,
    /// The segments of the chain that is being read.
    segments: VecDeque<(SegmentName, ObjectStat)>,
    /// `None` when nothing comes any more: whoever waits for the next turn must not wait for ever.
    turns: Option<Sender<Turn<T>>>,
    /// The number of the next segment.
    number: u64,
}

/// A segment, and where its steps go.
struct Next<T> {
    name: SegmentName,
    stat: ObjectStat,
    number: u64,
    steps: Sender<Step<T>>,
}

/// Nobody wants what comes any more.
struct NotWanted;

impl<T> Plan<T> {
    pub(super) fn new(job: &ReadJob<'_>, turns: Sender<Turn<T>>) -> Plan<T> {
        Plan { chains: job.chains.clone().into(), segments: VecDeque::new(), turns: Some(turns), number: 0 }
    }

    fn next(&mut self, job: &ReadJob<'_>) -> Option<Next<T>> {
        while self.segments.is_empty() && self.turns.is_some() {
            match self.chains.pop_front() {
                Some(start) => self.begin(job, &start),
                None => self.turns = None,
            }
        }
        let (name, stat) = self.segments.pop_front()?;
        let (steps, coming) = bounded(PIECES_AHEAD);
        let number = self.number;
        self.number += 1;
        let kind = TurnKind::Segment { start: name.start, bytes: stat.bytes, number, steps: coming };
        self.tell(Turn { chain: name.chain.clone(), kind });
        self.turns.is_some().then_some(Next { name, stat, number, steps })
    }

    fn begin(&mut self, job: &ReadJob<'_>, start: &ChainStart) {
        let chain = start.chain.clone();
        let kind = match job.source.segments(&chain, position(start)) {
            Ok(mut objects) => {
                job.window.keep_segments(&mut objects, |(start, _): &(Offset, ObjectStat)| *start);
                let named = objects.into_iter().map(|(start, stat)| (chain.segment(start), stat));
                self.segments = named.collect();
                TurnKind::Chain(start.before)
            }
            Err(error) => {
                self.chains.clear();
                TurnKind::Failed(error.into())
            }
        };
        self.tell(Turn { chain, kind });
    }

    fn tell(&mut self, turn: Turn<T>) {
        if self.turns.as_ref().is_none_or(|turns| turns.send(turn).is_err()) {
            self.turns = None;
            self.segments.clear();
        }
    }
}

/// Reads one segment after the other until there is none, or nobody wants them.
pub(super) fn read_segments<T: Made>(
    job: &ReadJob<'_>,
    plan: &Mutex<Plan<T>>,
    tasks: &Sender<Task<T>>,
    pool: &Pool<T>,
    ahead: &Ahead,
) {
    loop {
        let next = plan.lock().expect("a panic ends the process").next(job);
        let Some(next) = next else { return };
        // Who does not want this one says so again at the next turn.
        let _ = match read_segment(job, &next, tasks, pool, ahead) {
            Ok(Ok(())) | Err(NotWanted) => Ok(()),
            Ok(Err(error)) => next.steps.send(Step::Failed(error)),
        };
    }
}

/// `Err`: nobody wants it. `Ok(Err)`: something is wrong with it, which comes after what was sent before.
fn read_segment<T: Made>(
    job: &ReadJob<'_>,
    next: &Next<T>,
    tasks: &Sender<Task<T>>,
    pool: &Pool<T>,
    ahead: &Ahead,
) -> Result<Result<(), ArchiveError>, NotWanted> {
    let Next { name, stat, number, steps } = next;
    let location = || job.source.location(name);
    let wrong = |source| ArchiveError::Segment { location: location(), source };
    let send = |step| steps.send(step).map_err(|_| NotWanted);
    // What the store keeps beside it may be enough to pass over it.
    if let Ok(Some(header)) = SegmentHeader::from_attributes(&stat.attributes)
        && header.name == *name
        && let Some(covered) = job.window.passes_over(&SegmentFacts::of_ours(header))
    {
        return send(Step::PassedOver(covered)).map(Ok);
    }
    let opened = job.source.open(name).map_err(ArchiveError::from);
    let opened = opened.and_then(|file| file.ok_or_else(|| ArchiveError::Gone { location: location() }));
    let mut blocks = match opened.and_then(|file| StoredBlocks::new(file, name.start).map_err(wrong)) {
        Ok(blocks) => blocks,
        Err(error) => return Ok(Err(error)),
    };
    let facts = SegmentFacts::of_file(blocks.header());
    if job.source.keeps_chains_apart()
        && let Err(error) = check_chain(location, name, &facts)
    {
        return Ok(Err(error));
    }
    if let Some(covered) = job.window.passes_over(&facts) {
        return send(Step::PassedOver(covered)).map(Ok);
    }
    let segment = Arc::new(Segment { name: name.clone(), header: blocks.header().clone() });
    send(Step::Begins(Arc::clone(&segment)))?;
    for piece in 0.. {
        let mut piece = pool.take(Place { segment: *number, piece });
        let filled = fill(&mut piece, &mut blocks, ahead, job.memory_limit);
        if !piece.is_empty() {
            hand_over(piece, &segment, steps, tasks)?;
        }
        match filled {
            Ok(Filled::More) => {}
            Ok(Filled::ToTheEnd) => return send(Step::Ends(blocks.position())).map(Ok),
            Err(Unfilled::NotWanted) => return Err(NotWanted),
            Err(Unfilled::Wrong(error)) => return Ok(Err(wrong(error))),
        }
    }
    unreachable!("no segment has so many pieces")
}

/// Whether something follows a piece.
enum Filled {
    More,
    ToTheEnd,
}

/// Why a piece has no more blocks.
enum Unfilled {
    NotWanted,
    Wrong(ReadError),
}

impl From<ReadError> for Unfilled {
    fn from(error: ReadError) -> Unfilled {
        Unfilled::Wrong(error)
    }
}

/// Reads blocks into an empty piece until it is full, or there is no more memory, or no more blocks.
fn fill<T: Made, R: Read>(
    piece: &mut Piece<T>,
    blocks: &mut StoredBlocks<R>,
    ahead: &Ahead,
    memory_limit: u64,
) -> Result<Filled, Unfilled> {
    while !piece.is_full() {
        let Some(size) = blocks.next_size()? else { return Ok(Filled::ToTheEnd) };
        let wanted = piece.memory_bytes().saturating_add(size);
        let most = if piece.charge.try_set(piece.place, wanted) {
            size
        } else if !piece.is_empty() {
            // What is there is handed over before anything is waited for.
            return Ok(Filled::More);
        } else {
            match piece.charge.set(piece.place, wanted) {
                Answer::Granted => size,
                Answer::IsNext => ahead.alone_bytes(),
                Answer::NotWanted => return Err(Unfilled::NotWanted),
            }
        };
        let (block, buffer) = piece.next_buffer();
        match blocks.next_block_within(&mut buffer.stored, most)? {
            None => return Ok(Filled::ToTheEnd),
            Some(Ok(place)) => *block = place,
            Some(Err(LargeBlock { position, stored_bytes })) => {
                return Err(Unfilled::Wrong(too_large(memory_limit, position, stored_bytes, None)));
            }
        }
        piece.used += 1;
    }
    Ok(Filled::More)
}

/// A block does not even fit where it has the most memory that any can have.
pub(super) fn too_large(
    limit_bytes: u64,
    position: u64,
    stored_bytes: u64,
    decompressed_bytes: Option<u64>,
) -> ReadError {
    let room_bytes = MemoryParts::of(limit_bytes).alone;
    ReadError::TooLarge { position, stored_bytes, decompressed_bytes, room_bytes, limit_bytes }
}

fn hand_over<T>(
    piece: Piece<T>,
    segment: &Arc<Segment>,
    steps: &Sender<Step<T>>,
    tasks: &Sender<Task<T>>,
) -> Result<(), NotWanted> {
    // What a huge record takes is taken from what else may be on its way.
    let parts = usize::try_from(piece.stored_bytes() / PIECE_BYTES).unwrap_or(usize::MAX).min(PIECES_AHEAD);
    for _ in 1..parts {
        steps.send(Step::Part).map_err(|_| NotWanted)?;
    }
    let (done, is_done) = bounded(1);
    let work = Work::new(piece);
    steps.send(Step::Piece(work.clone(), is_done)).map_err(|_| NotWanted)?;
    tasks.send(Task { work, segment: Arc::clone(segment), done }).map_err(|_| NotWanted)
}
