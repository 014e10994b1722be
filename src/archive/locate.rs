//! Where a partition's chain goes on, settled before anything is fetched.

use super::first_start::FirstStart;
use super::identity::{Identity, Unfit};
use super::index_tail::{index_up_to, rows_ahead};
use super::lineage;
use super::origin_object::OriginObject;
use super::partition_facts::PartitionFacts;
use super::topic_facts::TopicFacts;
use super::walk::{Commit, Tail, Walk, unfit};
use crate::blocking::BlockingPool;
use crate::config::{OffsetReset, OnDataLoss};
use crate::index::{LastRow, MysqlIndex};
use crate::kafka::ffi::{Client, KafkaError, LogEnd};
use crate::store::{ArchiveStore, StoreError};
use kafka_store_actors::ports::{Blocked, ChainLocator, Located, PortFuture};
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::gap::{Gap, GapReason};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::origin::{Origin, OriginReason};
use kafka_store_statecharts::topic::{TopicId, TopicPartition};
use slog::{Logger, info, warn};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How old an answer about a topic may be that was given for another partition. The id is asked for again before
/// anything is stored.
const FACTS_AGE: Duration = Duration::from_secs(1);
/// How often a question is asked again that a broker or a store did not answer, waiting longer each time.
const TRIES: u32 = 6;

/// What the locator works with.
#[derive(Debug)]
pub struct LocatorParams {
    /// Kafka.
    pub client: Arc<Client>,
    /// What that says of topics.
    pub facts: Arc<TopicFacts>,
    /// What it says of partitions.
    pub partition_facts: PartitionFacts,
    /// The arbiter.
    pub store: Arc<dyn ArchiveStore>,
    /// Whose records are archived.
    pub identity: Identity,
    /// `--group`.
    pub group: String,
    /// `--offset-reset`.
    pub offset_reset: OffsetReset,
    /// What that speaks of.
    pub first_start: FirstStart,
    /// `--on-data-loss`.
    pub on_data_loss: OnDataLoss,
    /// The index, where there is one.
    pub index: Option<MysqlIndex>,
    /// The log.
    pub log: Logger,
}

/// Finds where chains go on.
#[derive(Clone, Debug)]
pub struct Locator {
    params: Arc<LocatorParams>,
    pool: BlockingPool,
}

/// Where a partition would start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first offset to archive.
    pub position: Offset,
    /// Why there.
    pub why: String,
    /// The last stable offset: what lies before it can be archived now.
    pub end: Offset,
}

/// Where a log is entered.
struct Entry {
    fetch_from: Offset,
    /// What may have been lost before that.
    gap: Option<Gap>,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It may have one later.
    ForNow(String),
    /// Something must not be skipped.
    Blocked(Blocked),
}

impl From<KafkaError> for Unanswered {
    fn from(error: KafkaError) -> Unanswered {
        Unanswered::ForNow(error.to_string())
    }
}

impl From<Unfit> for Unanswered {
    fn from(unfit: Unfit) -> Unanswered {
        match unfit {
            Unfit::Store(error) => error.into(),
            Unfit::Blocked(blocked) => Unanswered::Blocked(blocked),
        }
    }
}

impl From<StoreError> for Unanswered {
    fn from(error: StoreError) -> Unanswered {
        if error.is_transient() {
            Unanswered::ForNow(error.to_string())
        } else {
            Unanswered::Blocked(Blocked { reason: error.to_string() })
        }
    }
}

impl Locator {
    /// A locator whose questions are asked on the pool's threads.
    pub fn new(params: LocatorParams, pool: BlockingPool) -> Locator {
        Locator { params: Arc::new(params), pool }
    }
}

impl ChainLocator for Locator {
    fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> PortFuture<Result<Located, Blocked>> {
        let (params, partition) = (Arc::clone(&self.params), partition.clone());
        self.pool.run(move || params.patiently(&partition, || params.locate(&partition, from)))
    }

    fn is_covered(&self, partition: &TopicPartition, target: Offset) -> PortFuture<Result<bool, Blocked>> {
        let (params, partition) = (Arc::clone(&self.params), partition.clone());
        self.pool.run(move || match params.is_covered(&partition, target) {
            Ok(covered) => Ok(covered),
            Err(Unanswered::Blocked(blocked)) => Err(blocked),
            Err(Unanswered::ForNow(reason)) => Err(Blocked { reason }),
        })
    }
}

impl LocatorParams {
    /// Asks again, later and later, what has no answer for now.
    fn patiently<T>(&self, partition: &TopicPartition, ask: impl Fn() -> Result<T, Unanswered>) -> Result<T, Blocked> {
        let mut failures = 0;
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Blocked(blocked)) => return Err(blocked),
                Err(Unanswered::ForNow(reason)) => {
                    failures += 1;
                    warn!(self.log, "chain not located yet"; "partition" => %partition, "reason" => &reason);
                    if failures >= TRIES {
                        let reason = format!("{partition}: where its chain goes on could not be found out: {reason}");
                        return Err(Blocked { reason });
                    }
                    std::thread::sleep(kafka_store_actors::retry::delay(failures));
                }
            }
        }
    }

    fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> Result<Located, Unanswered> {
        let chain = self.chain(partition)?;
        let topic_id = self.topic_id(partition);
        let commit = self.committed(&chain)?;
        let last_row = self.last_row(&chain)?;
        let walk = Walk { indexed: last_row.map(|row| row.start), ..self.walk(&chain, topic_id) };
        let tail = walk.tail(commit, from)?;
        if let Some(index) = &self.index {
            index_up_to(index, &walk, last_row, tail, &self.log)?;
        }
        let (position, last_start) = match tail {
            Tail::Segments { next_offset, last_start } => (next_offset, Some(last_start)),
            Tail::Origin(offset) => (offset, None),
            Tail::Nothing => (self.settle(self.new_origin(partition)?, &walk)?, None),
        };
        let Entry { fetch_from, gap } = self.enter_log(partition, position, commit)?;
        let is_behind = commit.is_none_or(|commit| commit.next_offset != position);
        let last_start = last_start.filter(|start| *start < position);
        let lineage = chain.lineage;
        let commit = last_start.filter(|_| is_behind).map(|start| CommitMetadata {
            lineage,
            segment_start: Some(start),
            seen_to: None,
        });
        let retention_ms = self.retention_ms(partition);
        Ok(Located { chain, topic_id, position, fetch_from, gap, last_start, commit, retention_ms })
    }

    pub(super) fn walk<'a>(&'a self, chain: &'a ChainName, topic_id: Option<TopicId>) -> Walk<'a> {
        let (store, identity) = (self.store.as_ref(), &self.identity);
        Walk { store, identity, chain, topic_id, group: &self.group, indexed: None }
    }

    /// Waits until the index answers.
    fn last_row(&self, chain: &ChainName) -> Result<Option<LastRow>, Unanswered> {
        let row = self.index.as_ref().map(|index| index.last_row(chain)).transpose();
        row.map(Option::flatten).map_err(|error| Unanswered::Blocked(Blocked { reason: error.to_string() }))
    }

    pub(super) fn topic_id(&self, partition: &TopicPartition) -> Option<TopicId> {
        match self.facts.id(&self.client, &partition.topic, not_long_ago()) {
            Ok(id) => id,
            Err(error) => {
                warn!(self.log, "topic id not known"; "topic" => %partition.topic, "reason" => %error);
                None
            }
        }
    }

    /// How long the topic keeps records, where it removes them by time.
    fn retention_ms(&self, partition: &TopicPartition) -> Option<u64> {
        let topic = &partition.topic;
        match self.facts.retention_ms(&self.client, topic, not_long_ago()) {
            Ok(retention_ms) => retention_ms,
            Err(error) => {
                info!(self.log, "retention not known, so it seals no segment"; "reason" => %error, "topic" => %topic);
                None
            }
        }
    }

    /// The chain that the partition's records go to.
    fn chain(&self, partition: &TopicPartition) -> Result<ChainName, Unanswered> {
        lineage::latest(self.store.as_ref(), partition).map_err(|error| unfit(error).into())
    }

    /// What the group has committed of this chain. A commit of an earlier one, also one that comes late, says nothing
    /// of it.
    fn committed(&self, chain: &ChainName) -> Result<Option<Commit>, Unanswered> {
        let committed = self.partition_facts.committed(&self.client, &chain.topic_partition)?;
        let commit = committed.map(|committed| Commit {
            next_offset: committed.next_offset,
            metadata: CommitMetadata::parse(&committed.metadata),
        });
        match commit {
            Some(commit) if commit.metadata.lineage > chain.lineage => Err(Unanswered::Blocked(Blocked {
                reason: format!(
                    "{}: the group {} has committed {} in lineage {}, and the archive has none after {}: is this the \
                     right store?",
                    chain.topic_partition, self.group, commit.next_offset, commit.metadata.lineage, chain.lineage
                ),
            })),
            Some(commit) if commit.metadata.lineage < chain.lineage => Ok(None),
            commit => Ok(commit),
        }
    }

    pub(super) fn log_end(&self, partition: &TopicPartition, end: LogEnd) -> Result<Offset, Unanswered> {
        self.partition_facts
            .log_end(&self.client, partition, end)?
            .ok_or_else(|| Unanswered::ForNow(format!("the brokers do not say where the log of {partition} lies")))
    }

    /// Where a chain is to begin that has neither an object nor a commit.
    fn new_origin(&self, partition: &TopicPartition) -> Result<Origin, Unanswered> {
        let (end, reason) = match self.offset_reset {
            _ if !self.first_start.had(partition) => (LogEnd::Start, OriginReason::NewPartition),
            OffsetReset::Earliest => (LogEnd::Start, OriginReason::Earliest),
            OffsetReset::Latest => (LogEnd::LastStable, OriginReason::Latest),
            OffsetReset::Error => {
                let reason = no_committed_offset(&self.group, partition);
                return Err(Unanswered::Blocked(Blocked { reason }));
            }
        };
        Ok(Origin { offset: self.log_end(partition, end)?, reason })
    }

    /// Settles an origin. If somebody was quicker, theirs counts.
    fn settle(&self, origin: Origin, walk: &Walk<'_>) -> Result<Offset, Unanswered> {
        let object = OriginObject::new(origin, &self.identity, walk.topic_id)
            .settle(self.store.as_ref(), walk.chain)
            .map_err(unfit)?;
        walk.check_origin(&object)?;
        Ok(object.origin.offset)
    }

    /// Where the log is entered: at the next offset, unless the log begins later.
    fn enter_log(
        &self,
        partition: &TopicPartition,
        position: Offset,
        commit: Option<Commit>,
    ) -> Result<Entry, Unanswered> {
        let log_start = self.log_end(partition, LogEnd::Start)?;
        if position < log_start {
            return self.enter_later(partition, position, log_start, commit);
        }
        let high_watermark = self.log_end(partition, LogEnd::HighWatermark)?;
        if position > high_watermark {
            return Err(Unanswered::Blocked(Blocked {
                reason: format!(
                    "{partition}: the archive ends before {position}, and Kafka's log already at {high_watermark}: the \
                     log was truncated, or the topic re-created"
                ),
            }));
        }
        Ok(Entry { fetch_from: position, gap: None })
    }

    /// Kafka's log begins beyond the next offset: nothing was lost if nothing was visible there, which a commit may say.
    fn enter_later(
        &self,
        partition: &TopicPartition,
        position: Offset,
        log_start: Offset,
        commit: Option<Commit>,
    ) -> Result<Entry, Unanswered> {
        let seen_to = commit.filter(|commit| commit.next_offset == position).and_then(|commit| commit.metadata.seen_to);
        let lost_from = seen_to.map_or(position, |seen_to| seen_to.max(position));
        let lost = log_start.previous().and_then(|last| OffsetRange::new(lost_from, last));
        match (lost, self.on_data_loss) {
            (None, _) => Ok(Entry { fetch_from: log_start, gap: None }),
            (Some(offsets), OnDataLoss::Record) => {
                Ok(Entry { fetch_from: log_start, gap: Some(Gap { offsets, reason: GapReason::Deleted }) })
            }
            (Some(offsets), OnDataLoss::Freeze) => Err(Unanswered::Blocked(Blocked {
                reason: format!(
                    "{partition}: the archive ends before {position}, and Kafka's log begins at {log_start}: the records \
                     between were deleted before they were archived ({} offsets). To go on without them, and to write \
                     down in the archive that they are missing, start with --on-data-loss=record",
                    offsets.offset_count()
                ),
            })),
        }
    }

    fn is_covered(&self, partition: &TopicPartition, target: Offset) -> Result<bool, Unanswered> {
        let chain = self.chain(partition)?;
        let commit = self.committed(&chain)?;
        if commit.and_then(|commit| commit.metadata.seen_to).is_some_and(|seen_to| seen_to >= target) {
            return Ok(true);
        }
        Ok(match self.walk(&chain, None).tail(commit, None)? {
            Tail::Segments { next_offset, .. } => next_offset >= target,
            Tail::Origin(offset) => offset >= target,
            Tail::Nothing => false,
        })
    }

    /// Where a partition would start, and why. Asks, and changes nothing.
    ///
    /// # Errors
    /// What stands in the way, and what to do about it.
    pub fn plan(&self, partition: &TopicPartition) -> Result<Plan, String> {
        self.patiently(partition, || self.look_ahead(partition)).map_err(|blocked| blocked.reason)
    }

    fn look_ahead(&self, partition: &TopicPartition) -> Result<Plan, Unanswered> {
        let chain = self.chain(partition)?;
        let commit = self.committed(&chain)?;
        let last_row = self.last_row(&chain)?;
        let tail = self.walk(&chain, self.topic_id(partition)).tail(commit, None)?;
        let (position, why) = match tail {
            Tail::Segments { next_offset, last_start } => {
                let rows = self.index.as_ref().map_or_else(String::new, |_| rows_ahead(last_row, next_offset));
                (next_offset, format!("the archive goes on after {last_start}{rows}"))
            }
            Tail::Origin(offset) => (offset, "its origin is settled".to_owned()),
            Tail::Nothing => {
                let origin = self.new_origin(partition)?;
                (origin.offset, format!("new: {}", origin.reason))
            }
        };
        let gap = self.enter_log(partition, position, commit)?.gap;
        let why = gap.map_or(why.clone(), |gap| format!("{why}; offsets {} are lost", gap.offsets));
        let why = if chain.lineage > 1 { format!("lineage {}: {why}", chain.lineage) } else { why };
        Ok(Plan { position, why, end: self.log_end(partition, LogEnd::LastStable)? })
    }

    /// The partitions for which `--offset-reset` would have to speak and does not.
    pub fn without_origin(&self, partitions: &[TopicPartition]) -> Result<Vec<TopicPartition>, String> {
        let text = |unanswered: Unanswered| match unanswered {
            Unanswered::ForNow(reason) | Unanswered::Blocked(Blocked { reason }) => reason,
        };
        let mut missing = Vec::new();
        let existed = partitions.iter().filter(|partition| self.first_start.had(partition));
        for partition in existed {
            let chain = self.chain(partition).map_err(text)?;
            let has_commit = self.committed(&chain).map_err(text)?.is_some();
            let has_segment = !self.store.segments_from(&chain, None).map_err(|error| error.to_string())?.is_empty();
            let origin = OriginObject::read(self.store.as_ref(), &chain).map_err(|error| error.to_string())?;
            if !has_commit && !has_segment && origin.is_none() {
                missing.push(partition.clone());
            }
        }
        Ok(missing)
    }
}

fn not_long_ago() -> Instant {
    let now = Instant::now();
    now.checked_sub(FACTS_AGE).unwrap_or(now)
}

/// What is said where `--offset-reset error` leaves no place to begin.
pub(crate) fn no_committed_offset(group: &str, partition: &TopicPartition) -> String {
    format!(
        "the group {group} has no committed offset for {partition}, and the archive nothing: say where to begin with \
         --offset-reset earliest (everything Kafka still has) or --offset-reset latest (only what comes from now on)"
    )
}
