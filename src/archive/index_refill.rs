//! Rows that the index has lost while daemons run: a replica that had not got all of them took over from its primary.
//!
//! The archive has what every row says. Where a new row would leave a hole, and from time to time where nothing new comes,
//! the rows that are missing are written again.

use super::identity::{Unfit, describe};
use super::index_tail::MissingRows;
use crate::index::{IndexWriter, MysqlIndex, RowOutcome, RowValues};
use crate::store::ArchiveStore;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use kafka_store_actors::ports::{
    Blocked, BrokenLog, Cause, ChainLocator, Coverage, IndexAnswer, IndexRow, Located, PortFuture, SegmentIndex,
    TopicAnswer,
};
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use slog::{Logger, error, warn};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the last row of each chain is looked at. Of many chains each less often: one question a chain must not
/// become a load.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(10);
const QUESTIONS_A_SECOND: u32 = 20;

/// The index of a daemon: rows are written, and those that it has lost are written again.
#[derive(Clone, Debug)]
pub struct RefilledIndex {
    writer: Arc<IndexWriter>,
    refiller: Arc<Refiller>,
    wanted: Sender<ChainName>,
}

#[derive(Debug)]
struct Refiller {
    index: MysqlIndex,
    store: Arc<dyn ArchiveStore>,
    /// Up to where each chain has had rows.
    ends: Mutex<BTreeMap<ChainName, Offset>>,
    log: Logger,
}

impl RefilledIndex {
    /// Starts the threads that write rows, and those that were lost.
    pub fn start(index: MysqlIndex, store: Arc<dyn ArchiveStore>, log: &Logger) -> RefilledIndex {
        let writer = Arc::new(IndexWriter::start(index.clone()));
        let refiller = Arc::new(Refiller { index, store, ends: Mutex::default(), log: log.clone() });
        let (wanted, chains) = crossbeam_channel::unbounded();
        let refill = {
            let refiller = Arc::clone(&refiller);
            move || refiller.refill_what_is_wanted(&chains)
        };
        std::thread::Builder::new()
            .name("index-refill".to_owned())
            .spawn(refill)
            .expect("the system starts one more thread");
        RefilledIndex { writer, refiller, wanted }
    }

    /// Remembers that a chain has rows up to an offset.
    fn expect_rows(&self, chain: &ChainName, end: Offset) {
        self.writer.expect_rows(chain);
        self.refiller.reached(chain, end);
    }
}

impl SegmentIndex for RefilledIndex {
    fn write_row(&self, row: IndexRow) -> PortFuture<Result<IndexAnswer, Failure>> {
        let (name, end) = (row.name.clone(), row.stored.content.range.next_offset());
        let (written, refiller, wanted) = (self.writer.write(row), Arc::clone(&self.refiller), self.wanted.clone());
        Box::pin(async move {
            match written.await? {
                RowOutcome::Written | RowOutcome::WasThere => {
                    refiller.reached(&name.chain, end);
                    Ok(IndexAnswer::Written)
                }
                RowOutcome::Conflicts(reason) => Ok(IndexAnswer::Conflicts { reason }),
                RowOutcome::Behind(reason) => {
                    refiller.reached(&name.chain, name.start);
                    wanted.send(name.chain).expect("the thread lives as long as this");
                    let reason = format!("{reason}. The missing rows are being written again");
                    Err(Failure::new(Port::Index, Class::Busy, reason))
                }
            }
        })
    }
}

impl Refiller {
    fn reached(&self, chain: &ChainName, end: Offset) {
        let mut ends = self.lock();
        match ends.get_mut(chain) {
            Some(known) => *known = end.max(*known),
            None => drop(ends.insert(chain.clone(), end)),
        }
    }

    fn refill_what_is_wanted(&self, chains: &Receiver<ChainName>) {
        loop {
            let known = u32::try_from(self.lock().len()).unwrap_or(u32::MAX);
            let wait = LOOKED_AT_EVERY.max(Duration::from_secs(u64::from(known / QUESTIONS_A_SECOND)));
            match chains.recv_timeout(wait) {
                Ok(chain) => self.refill(&chain),
                Err(RecvTimeoutError::Timeout) => {
                    let known: Vec<ChainName> = self.lock().keys().cloned().collect();
                    known.iter().for_each(|chain| self.refill(chain));
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes the rows of a chain that are missing at its end. What fails is tried again the next time.
    fn refill(&self, chain: &ChainName) {
        let Some(end) = self.lock().get(chain).copied() else { return };
        let last_row = match self.index.last_row(chain) {
            Ok(last_row) if last_row.is_some_and(|row| row.final_offset.next() >= end) => return,
            Ok(last_row) => last_row,
            Err(error) => return warn!(self.log, "the index cannot be compared"; "reason" => %error),
        };
        let ends_before = last_row.map_or(-1, |row| row.final_offset.get());
        warn!(self.log, "the index has lost rows, which are written again"; "chain" => %chain,
            "had_rows_below" => end.get(), "has_rows_to" => ends_before);
        let missing = MissingRows { index: &self.index, store: self.store.as_ref(), chain, last_row, next_offset: end };
        let described = |start| {
            let name = chain.segment(start);
            let (_, stored) = describe(self.store.as_ref(), &name)?;
            Ok::<_, Unfit>(RowValues::of(&IndexRow { name, stored }))
        };
        let reason = match missing.write(described, &self.log) {
            Ok(Ok(_)) => return,
            Ok(Err(reason)) => reason,
            Err(Unfit::Store(error)) => error.to_string(),
            Err(Unfit::Blocked(Blocked { reason })) => reason,
        };
        error!(self.log, "lost rows not written again"; "chain" => %chain, "reason" => reason,
            "what_to_do" => "kafka-store index rebuild");
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChainName, Offset>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds where chains continue, and remembers that the index has their rows.
#[derive(Debug)]
pub struct IndexedLocator {
    locator: Arc<dyn ChainLocator>,
    index: RefilledIndex,
}

impl IndexedLocator {
    /// Over a locator that writes the rows that are missing.
    pub fn new(locator: Arc<dyn ChainLocator>, index: RefilledIndex) -> IndexedLocator {
        IndexedLocator { locator, index }
    }
}

impl ChainLocator for IndexedLocator {
    fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> PortFuture<Result<Located, Blocked>> {
        let (located, index) = (self.locator.locate(partition, from), self.index.clone());
        Box::pin(async move {
            let located = located.await?;
            if located.last_start.is_some() {
                index.expect_rows(&located.chain, located.position);
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
