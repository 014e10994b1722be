//! The other stores: they are given the bytes that the arbiter has, under the same names.
//!
//! A mirror decides nothing. What it lacks of a chain is filled from the arbiter before a newer segment is added, so
//! that what it has is a chain without holes.

mod compared;
mod fill;

use crate::blocking::BlockingPool;
use crate::store::{ArchiveStore, LocalStore};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use fill::{MirrorError, Pair};
use kafka_store_actors::ports::{
    Blocked, BrokenLog, Cause, ChainLocator, CompletedSegment, Coverage, Located, MirrorAnswer, MirrorStores,
    PortFuture, TopicAnswer,
};
use kafka_store_statecharts::backoff;
use kafka_store_statecharts::failure::Failure;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use slog::{Logger, error, warn};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many files a commit waits for. More are filled at leisure, and the commit comes with a later segment.
const FEW_FILES: usize = 16;
/// How long a mirror that holds something else is left alone: somebody has to act.
const CONFLICT_WAIT: Duration = Duration::from_secs(600);

/// A directory that mirrors the arbiter.
#[derive(Clone, Debug)]
pub struct Mirrors {
    pair: Arc<Pair>,
    pool: BlockingPool,
    filler: Sender<Filling>,
}

/// A chain that is to be filled before a position.
#[derive(Debug)]
struct Filling {
    chain: ChainName,
    before: Offset,
    failures: u32,
    due: Instant,
}

impl Mirrors {
    /// A mirror of an arbiter; its copies are made on the pool's threads.
    pub fn new(arbiter: Arc<dyn ArchiveStore>, mirror: Arc<LocalStore>, pool: BlockingPool, log: &Logger) -> Mirrors {
        let pair = Arc::new(Pair::new(arbiter, mirror, log.clone()));
        // One thread fills at leisure: what is added waits for its own chain alone.
        let (filler, fillings) = crossbeam_channel::unbounded();
        let fill = {
            let pair = Arc::clone(&pair);
            move || fill_all(&pair, &fillings)
        };
        std::thread::Builder::new()
            .name("mirror-fill".to_owned())
            .spawn(fill)
            .expect("the system starts one more thread");
        Mirrors { pair, pool, filler }
    }

    /// Gives the mirror what it lacks of a chain before this position, in the background, until it has it.
    fn begin_to_fill(&self, chain: ChainName, before: Offset) {
        self.pair.add_chain(&chain);
        let filling = Filling { chain, before, failures: 0, due: Instant::now() };
        self.filler.send(filling).expect("the thread lives as long as this");
    }

    /// Gives the mirror what it lacks of a chain before this position, if it is little. True if it lacks nothing then.
    fn fill_a_few(&self, chain: ChainName, before: Offset) -> PortFuture<bool> {
        let pair = Arc::clone(&self.pair);
        self.pool.run(move || {
            pair.mark_unfilled(&chain);
            pair.fill(&chain, Some(before), FEW_FILES).unwrap_or_else(|error| {
                warn!(pair.log, "the mirror lacks segments, whose commit waits"; "chain" => %chain, "reason" => %error);
                false
            })
        })
    }

    /// Waits until the mirror lacks nothing of the chains that were located.
    ///
    /// # Errors
    /// The first thing that keeps a mirror from being whole.
    pub fn finish(&self) -> Result<(), String> {
        for chain in self.pair.chains() {
            self.pair.fill(&chain, None, usize::MAX).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Fills chain after chain. Those that failed are tried again, later and later, and keep no other waiting.
fn fill_all(pair: &Pair, fillings: &Receiver<Filling>) {
    let mut waiting: Vec<Filling> = Vec::new();
    loop {
        let due = waiting.iter().map(|filling| filling.due).min();
        let next = match due {
            None => fillings.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => fillings.recv_deadline(due),
        };
        match next {
            Ok(filling) => {
                pair.mark_unfilled(&filling.chain);
                waiting.retain(|other| other.chain != filling.chain);
                waiting.push(filling);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        if let Some(index) = waiting.iter().position(|filling| filling.due <= now)
            && let Some(again) = fill_one(pair, waiting.swap_remove(index))
        {
            waiting.push(again);
        }
    }
}

/// Fills a chain; the answer is when to try again, if that is needed.
fn fill_one(pair: &Pair, filling: Filling) -> Option<Filling> {
    let error = pair.fill(&filling.chain, Some(filling.before), usize::MAX).err()?;
    let failures = filling.failures + 1;
    let wait = match &error {
        MirrorError::Failed(_) => backoff::delay(failures, backoff::salt(filling.chain.to_string().bytes())),
        MirrorError::Conflict(_) => CONFLICT_WAIT,
    };
    let (chain, seconds) = (filling.chain.to_string(), wait.as_secs_f64());
    match &error {
        MirrorError::Failed(failure) => {
            warn!(pair.log, "the mirror lacks segments, trying again"; "chain" => chain, "reason" => failure.advice(),
                "attempt" => failures, "in_seconds" => seconds);
        }
        MirrorError::Conflict(reason) => {
            error!(pair.log, "the mirror holds something else"; "chain" => chain, "reason" => reason,
                "looked_at_again_in_seconds" => seconds);
        }
    }
    Some(Filling { failures, due: Instant::now() + wait, ..filling })
}

impl MirrorStores for Mirrors {
    fn copy(&self, segment: &CompletedSegment, stored: &SegmentContent) -> PortFuture<Result<MirrorAnswer, Failure>> {
        let (pair, segment, stored) = (Arc::clone(&self.pair), segment.clone(), *stored);
        self.pool.run(move || match pair.copy(&segment, &stored) {
            Ok(()) => Ok(MirrorAnswer::Stored),
            Err(MirrorError::Conflict(reason)) => Ok(MirrorAnswer::Conflicts { reason }),
            Err(MirrorError::Failed(failure)) => Err(failure),
        })
    }
}

/// Finds where chains go on, and has the mirror filled with what lies before: also where nothing is added any more.
#[derive(Debug)]
pub struct MirroredLocator<L> {
    locator: L,
    mirrors: Mirrors,
}

impl<L: ChainLocator> MirroredLocator<L> {
    /// Over a locator of the arbiter's chains.
    pub fn new(locator: L, mirrors: Mirrors) -> MirroredLocator<L> {
        MirroredLocator { locator, mirrors }
    }
}

impl<L: ChainLocator> ChainLocator for MirroredLocator<L> {
    fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> PortFuture<Result<Located, Blocked>> {
        let (located, mirrors) = (self.locator.locate(partition, from), self.mirrors.clone());
        Box::pin(async move {
            let mut located = located.await?;
            let (chain, position) = (located.chain.clone(), located.position);
            // A segment counts once all stores have it: what a commit would cover is in the mirror first.
            if located.commit.is_none() || !mirrors.fill_a_few(chain.clone(), position).await {
                located.commit = None;
                mirrors.begin_to_fill(chain, position);
            }
            Ok(located)
        })
    }

    fn examine(&self, partition: &TopicPartition, broken: BrokenLog) -> PortFuture<Result<Cause, Blocked>> {
        self.locator.examine(partition, broken)
    }

    fn topics(&self, topics: Vec<TopicName>) -> PortFuture<BTreeMap<TopicName, TopicAnswer>> {
        self.locator.topics(topics)
    }

    fn coverage(&self, partition: &TopicPartition, target: Offset) -> PortFuture<Result<Coverage, Blocked>> {
        self.locator.coverage(partition, target)
    }
}
