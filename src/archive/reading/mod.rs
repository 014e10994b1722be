//! The records of an archive, read ahead and decoded on several threads, given in order.
//!
//! ```text
//! readers (2 to 4): a segment each, in order ──stored blocks──▶ decoders (N): decompress, decode, the caller's `each`
//!        │                                                            │
//!        └── the order: segments, and in each its pieces ──▶ the caller's thread: checks, the caller's `take` ◀──┘
//! ```
//!
//! A piece is a few blocks. Memory is bounded, whatever the archive holds: pieces that are read and decoded ahead have
//! an eighth of [`ReadJob::memory_limit`] together ([`ahead`]); threads that need more wait. The piece that is taken
//! next never waits: the caller's thread decodes what is left of it, block by block and record by record, with the rest
//! of the limit. What is wrong travels in the same order as the records: nothing that comes after it is taken,
//! everything before it is.

mod ahead;
mod decoders;
mod piece;
mod readers;
mod take;

use super::chain_reader::SegmentContext;
use super::error::ArchiveError;
use super::verify::Watch;
use super::window::Window;
use crate::avro::{MemoryParts, Record};
use crate::store::SegmentSource;
use ahead::Ahead;
use crossbeam_channel::{bounded, unbounded};
use decoders::decode;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
pub use piece::Made;
use piece::Pool;
use readers::Plan;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use take::{Taker, Turn};

/// What is read, and how.
#[derive(Debug)]
pub struct ReadJob<'a> {
    /// Where the segments are.
    pub source: &'a dyn SegmentSource,
    /// The chains, in the order in which they are read.
    pub chains: Vec<ChainStart>,
    /// Which of their records are wanted.
    pub window: Window,
    /// How many threads decode.
    pub threads: usize,
    /// Memory in bytes that decoding may take.
    pub memory_limit: u64,
    /// Set by somebody who wants no more.
    pub stop: &'a AtomicBool,
    /// Is told the bytes of the files that are done.
    pub watch: &'a dyn Watch,
}

/// A chain, from its first segment or from where an earlier reading has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStart {
    /// Its name.
    pub chain: ChainName,
    /// What the last segment that was read covers.
    pub before: Option<OffsetRange>,
}

/// How far a reading came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The last segment of each chain that was read to its end.
    pub segments: BTreeMap<ChainName, OffsetRange>,
    /// Chains in which the last wanted offset was reached.
    pub ended: Vec<ChainName>,
    /// Whether it was stopped.
    pub is_stopped: bool,
}

/// How many segments are read at a time at most.
const READERS_MAX: usize = 4;

/// Takes what is read, in the order of chains and offsets.
pub trait TakeRecords<T, E> {
    /// Takes what was made of the records of a piece, and leaves behind what the next piece begins with.
    ///
    /// # Errors
    /// What ends the reading.
    fn take(&mut self, made: &mut T) -> Result<(), E>;

    /// Takes one record as it is: it is too large to be decoded ahead, or there was no memory left for that.
    ///
    /// # Errors
    /// What ends the reading.
    fn take_record(&mut self, context: SegmentContext<'_>, record: &Record<'_>) -> Result<(), E>;
}

/// Handles single records as the threads do, one at a time.
struct EachAlone<'a, T, M, F> {
    each: &'a M,
    take: F,
    made: T,
}

impl<T, E, M, F> TakeRecords<T, E> for EachAlone<'_, T, M, F>
where
    M: Fn(SegmentContext<'_>, &Record<'_>, &mut T),
    F: FnMut(&mut T) -> Result<(), E>,
{
    fn take(&mut self, made: &mut T) -> Result<(), E> {
        (self.take)(made)
    }

    fn take_record(&mut self, context: SegmentContext<'_>, record: &Record<'_>) -> Result<(), E> {
        (self.each)(context, record, &mut self.made);
        (self.take)(&mut self.made)
    }
}

impl ReadJob<'_> {
    /// Gives every wanted record to `each`, on several threads and in any order, and what that made of the records of a
    /// piece to `take`, on this thread and in the order of chains and offsets. `take` leaves behind what the next
    /// piece begins with.
    ///
    /// # Errors
    /// What `take` returns, or what is wrong with a chain, as the same type, after the records before it.
    pub fn run<T: Made, E: From<ArchiveError>>(
        &self,
        each: impl Fn(SegmentContext<'_>, &Record<'_>, &mut T) + Sync,
        take: impl FnMut(&mut T) -> Result<(), E>,
    ) -> Result<Reached, E> {
        self.run_with(&each, &mut EachAlone { each: &each, take, made: T::default() })
    }

    /// As [`ReadJob::run`]. Single records that are large are given to `taking` as they are, so that what is made of
    /// them need not be in memory at once.
    ///
    /// # Errors
    /// As [`ReadJob::run`].
    pub fn run_with<T: Made, E: From<ArchiveError>>(
        &self,
        each: &(impl Fn(SegmentContext<'_>, &Record<'_>, &mut T) + Sync),
        taking: &mut impl TakeRecords<T, E>,
    ) -> Result<Reached, E> {
        let readers = self.threads.clamp(2, READERS_MAX);
        let (turns, next_turn) = bounded::<Turn<T>>(readers);
        // The number of pieces in flight is bounded already. A reader that waited here could keep back the next piece.
        let (tasks, next_task) = unbounded();
        let plan = Mutex::new(Plan::new(self, turns));
        let ahead = Ahead::new(MemoryParts::of(self.memory_limit));
        let pool = Pool::new(Arc::clone(&ahead));
        std::thread::scope(|scope| {
            for _ in 0..readers {
                let (tasks, plan, pool, ahead) = (tasks.clone(), &plan, &pool, &ahead);
                scope.spawn(move || readers::read_segments(self, plan, &tasks, pool, ahead));
            }
            for _ in 0..self.threads {
                let tasks = next_task.clone();
                scope.spawn(move || decode(&tasks, self.window, each));
            }
            // The threads end when nobody is left at the other ends of their channels.
            drop((tasks, next_task));
            let reached = Taker::new(self, &pool, &ahead, taking).run(next_turn);
            // Threads that wait for memory end, too.
            ahead.close();
            reached
        })
    }
}

/// The offset that a chain is looked at from.
fn position(start: &ChainStart) -> Option<Offset> {
    start.before.map(OffsetRange::next_offset)
}
