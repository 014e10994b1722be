//! The records of an archive, read ahead and decoded on several threads, given in order.
//!
//! ```text
//! readers (2 to 4): a segment each, in order ──stored blocks──▶ decoders (N): decompress, decode, the caller's `each`
//!        │                                                            │
//!        └── the order: segments, and in each its pieces ──▶ the caller's thread: checks, the caller's `take` ◀──┘
//! ```
//!
//! A piece is a few blocks. Each segment that is read ahead has a bounded number of pieces on their way, and there is a
//! bounded number of such segments, so memory is bounded, whatever the archive holds. What is wrong travels in the
//! same order as the records: nothing that comes after it is taken, everything before it is.

mod decoders;
mod piece;
mod readers;
mod take;

use super::chain_reader::SegmentContext;
use super::error::ArchiveError;
use super::verify::Watch;
use super::window::Window;
use crate::avro::Record;
use crate::store::SegmentSource;
use crossbeam_channel::bounded;
use decoders::decode;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use piece::Pool;
use readers::Plan;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
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

impl ReadJob<'_> {
    /// Gives every wanted record to `each`, on several threads and in any order, and what that made of the records of a
    /// piece to `take`, on this thread and in the order of chains and offsets. `take` leaves behind what the next
    /// piece begins with.
    ///
    /// # Errors
    /// What `take` returns, or what is wrong with a chain, as the same type, after the records before it.
    pub fn run<T: Default + Send, E: From<ArchiveError>>(
        &self,
        each: impl Fn(SegmentContext<'_>, &Record<'_>, &mut T) + Sync,
        take: impl FnMut(&mut T) -> Result<(), E>,
    ) -> Result<Reached, E> {
        let readers = self.threads.clamp(2, READERS_MAX);
        let (turns, next_turn) = bounded::<Turn<T>>(readers);
        let (tasks, next_task) = bounded(4 * self.threads);
        let plan = Mutex::new(Plan::new(self, turns));
        let pool = Pool::default();
        std::thread::scope(|scope| {
            for _ in 0..readers {
                let (tasks, plan, pool) = (tasks.clone(), &plan, &pool);
                scope.spawn(move || readers::read_segments(self, plan, &tasks, pool));
            }
            for _ in 0..self.threads {
                let (tasks, each) = (next_task.clone(), &each);
                scope.spawn(move || decode(&tasks, self.window, each));
            }
            // The threads end when nobody is left at the other ends of their channels.
            drop((tasks, next_task));
            Taker::new(self, &pool, take).run(next_turn)
        })
    }
}

/// The offset that a chain is looked at from.
fn position(start: &ChainStart) -> Option<Offset> {
    start.before.map(OffsetRange::next_offset)
}
