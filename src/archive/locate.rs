//! Where a partition's chain goes on, settled before anything is fetched.

use super::first_start::FirstStart;
use super::history::{ChainHistory, Histories, HistoryError};
use super::identity::{Identity, Unfit};
use super::index_tail::index_up_to;
use super::lineage;
use super::log_entry::{Entry, LogProof};
use super::origin_object::OriginObject;
use super::partition_facts::PartitionFacts;
use super::plan::without_place_to_begin;
use super::second_look::{Doubt, Doubtful};
use super::topic_facts::TopicFacts;
use super::walk::{Commit, Tail, Walk, unfit};
use crate::config::{OffsetReset, OnDataLoss};
use crate::index::{LastRow, MysqlIndex};
use crate::kafka::ffi::{Client, KafkaError, LogEnd, LogPosition};
use crate::store::{ArchiveStore, StoreError};
use kafka_store_actors::ports::{Blocked, Coverage, Located};
use kafka_store_statecharts::anchor::Proof;
use kafka_store_statecharts::backoff;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::origin::{Origin, OriginReason};
use kafka_store_statecharts::topic::{TopicId, TopicPartition};
use slog::{Logger, info, warn};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How old an answer about a topic may be that was given for another partition. The id is asked for again before
/// anything is stored.
const FACTS_AGE: Duration = Duration::from_secs(1);
/// How often a command that changes nothing asks again what a broker or a store did not answer, waiting longer each time.
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
    /// What was found about the histories of its chains.
    pub histories: Histories,
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

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It may have one later.
    ForNow(Failure),
    /// Something must not be skipped.
    Blocked(Blocked),
    /// The log is of another history than the chain, by one look.
    Doubted(Box<Doubt>),
}

impl Unanswered {
    /// It may have an answer later.
    pub(super) fn for_now(class: Class, reason: String) -> Unanswered {
        Unanswered::ForNow(Failure::new(Port::Kafka, class, reason))
    }

    pub(super) fn blocked(reason: String) -> Unanswered {
        Unanswered::Blocked(Blocked { reason })
    }

    pub(super) fn reason(self) -> String {
        match self {
            Unanswered::ForNow(failure) => failure.reason,
            Unanswered::Blocked(Blocked { reason }) => reason,
            Unanswered::Doubted(doubt) => doubt.reason(),
        }
    }
}

impl From<KafkaError> for Unanswered {
    fn from(error: KafkaError) -> Unanswered {
        error.failure(Port::Kafka).into()
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Unanswered {
        if failure.passes() { Unanswered::ForNow(failure) } else { Unanswered::blocked(failure.advice()) }
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
        error.failure(Port::Store).into()
    }
}

impl From<HistoryError> for Unanswered {
    fn from(error: HistoryError) -> Unanswered {
        match error {
            HistoryError::Store(error) => error.into(),
            error @ HistoryError::Unreadable { .. } => Unanswered::blocked(error.to_string()),
        }
    }
}

impl LocatorParams {
    /// Asks again, later and later, what has no answer for now; a few times, for somebody waits.
    pub(super) fn patiently<T>(
        &self,
        partition: &TopicPartition,
        ask: impl Fn() -> Result<T, Unanswered>,
    ) -> Result<T, Blocked> {
        let mut failures = 0;
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::ForNow(failure)) => {
                    failures += 1;
                    let reason = failure.advice();
                    warn!(self.log, "chain not located yet"; "partition" => %partition, "reason" => &reason);
                    if failures >= TRIES {
                        let reason = format!("{partition}: where its chain goes on could not be found out: {reason}");
                        return Err(Blocked { reason });
                    }
                    std::thread::sleep(backoff::delay(failures, 0));
                }
                Err(unanswered) => return Err(Blocked { reason: unanswered.reason() }),
            }
        }
    }

    pub(super) fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> Result<Located, Unanswered> {
        let chain = self.chain(partition)?;
        let topic_id = self.topic_id(partition)?;
        let history = self.history(&chain)?;
        let commit = self.committed(&chain)?;
        let last_row = self.last_row(&chain)?;
        let walk = Walk { indexed: last_row.map(|row| row.start), ..self.walk(&chain, topic_id, &history) };
        let mut tail = walk.tail(commit, from)?;
        self.check_history(&walk, tail, commit)?;
        if let Some(index) = &self.index {
            index_up_to(index, &walk, last_row, tail, &self.log)?;
        }
        if tail == Tail::Nothing {
            tail = self.settle(partition, &walk)?;
        }
        let position = tail.end().expect("an origin is settled at the latest now");
        let last_start = match tail {
            Tail::Segments { last_start, .. } => Some(last_start),
            Tail::Origin { .. } | Tail::Nothing => None,
        };
        let log_start = self.log_position(partition, LogEnd::Start)?.offset;
        let Entry { fetch_from, gap } = self.enter_log(partition, position, log_start, commit)?;
        let LogProof { last_record, proof } = match history.joined_at(position) {
            // That the records before are others was put up with.
            Some(_) => LogProof::default(),
            None => LogProof::of(tail, log_start, commit),
        };
        let is_behind = commit.is_none_or(|commit| commit.next_offset != position);
        let lineage = chain.lineage;
        let commit = last_start.filter(|_| is_behind).map(|start| CommitMetadata {
            lineage,
            segment_start: Some(start),
            seen_to: None,
        });
        let retention_ms = self.retention_ms(partition);
        Ok(Located { chain, topic_id, position, fetch_from, last_record, proof, gap, last_start, commit, retention_ms })
    }

    /// Stops where the chain was found to be of another history, and where that is doubted before anything is fetched.
    pub(super) fn check_history(&self, walk: &Walk<'_>, tail: Tail, commit: Option<Commit>) -> Result<(), Unanswered> {
        let Some(end) = tail.end() else { return Ok(()) };
        if let Some(finding) = walk.history.unresolved_at(end) {
            return Err(Unanswered::blocked(finding.reason()));
        }
        let about = match walk.other_topic(tail) {
            Some(now) => Some(Doubtful::OtherTopic(now)),
            None => self.ends_early(walk, tail, commit)?,
        };
        let (chain, number) = (walk.chain.clone(), walk.history.next_number(end));
        let doubt = about.map(|about| Box::new(Doubt { chain, end, archived: tail.archived(), number, about }));
        doubt.map_or(Ok(()), |doubt| Err(Unanswered::Doubted(doubt)))
    }

    /// What speaks against a log that cannot be asked for the chain's last record, because the archive does not say it.
    fn ends_early(&self, walk: &Walk<'_>, tail: Tail, commit: Option<Commit>) -> Result<Option<Doubtful>, Unanswered> {
        let Tail::Segments { next_offset, last_record: None, .. } = tail else { return Ok(None) };
        if walk.history.joined_at(next_offset).is_some() {
            return Ok(None);
        }
        let LogPosition { offset, .. } = self.log_position(&walk.chain.topic_partition, LogEnd::HighWatermark)?;
        let known_epoch =
            commit.filter(|commit| commit.next_offset == next_offset).and_then(|commit| commit.leader_epoch);
        Ok((offset < next_offset).then_some(Doubtful::EndsAt { offset, known_epoch }))
    }

    pub(super) fn walk<'a>(
        &'a self,
        chain: &'a ChainName,
        topic_id: Option<TopicId>,
        history: &'a ChainHistory,
    ) -> Walk<'a> {
        let (store, identity) = (self.store.as_ref(), &self.identity);
        Walk { store, identity, chain, topic_id, history, group: &self.group, indexed: None }
    }

    /// What was found and decided about a chain.
    pub(super) fn history(&self, chain: &ChainName) -> Result<ChainHistory, Unanswered> {
        Ok(self.histories.of(self.store.as_ref(), chain, not_long_ago())?)
    }

    /// Waits until the index answers.
    pub(super) fn last_row(&self, chain: &ChainName) -> Result<Option<LastRow>, Unanswered> {
        let row = self.index.as_ref().map(|index| index.last_row(chain)).transpose();
        row.map(Option::flatten).map_err(|error| error.failure().into())
    }

    /// The topic's id, where the brokers have ids. They are asked until they answer: no answer is not no id.
    pub(super) fn topic_id(&self, partition: &TopicPartition) -> Result<Option<TopicId>, Unanswered> {
        let id = self.facts.id(&self.client, &partition.topic, not_long_ago());
        let id = id.map_err(|error| match error.name.as_str() {
            "UNKNOWN_TOPIC_OR_PART" => {
                Unanswered::for_now(Class::Absent, format!("there is no topic {} now", partition.topic))
            }
            _ => {
                let reason = format!("the id of topic {} is not known: {error}", partition.topic);
                Failure::new(Port::Kafka, error.class(Port::Kafka), reason).into()
            }
        })?;
        // The answer has refreshed what the client knows of the cluster.
        self.check_cluster(partition, self.client.cluster_id(Duration::ZERO).as_deref())?;
        Ok(id)
    }

    /// Stops where the brokers are another cluster's now.
    pub(super) fn check_cluster(&self, partition: &TopicPartition, now: Option<&str>) -> Result<(), Unanswered> {
        match (self.identity.cluster_id.as_deref(), now) {
            (Some(ours), Some(now)) if ours != now => Err(Unanswered::blocked(format!(
                "{partition}: the brokers are of the Kafka cluster {now} now, and this process archives the cluster {ours}: \
                 check --broker-list and the names in it, and restart. Nothing was written"
            ))),
            _ => Ok(()),
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
    pub(super) fn chain(&self, partition: &TopicPartition) -> Result<ChainName, Unanswered> {
        lineage::latest(self.store.as_ref(), partition).map_err(|error| unfit(error).into())
    }

    /// What the group has committed of this chain. A commit of an earlier one, also one that comes late, says nothing
    /// of it.
    pub(super) fn committed(&self, chain: &ChainName) -> Result<Option<Commit>, Unanswered> {
        let committed = self.partition_facts.committed(&self.client, &chain.topic_partition);
        let committed = committed.map_err(|error| Unanswered::from(error.failure(Port::Commit)))?;
        let commit = committed.map(|committed| Commit {
            next_offset: committed.next_offset,
            leader_epoch: committed.leader_epoch,
            metadata: CommitMetadata::parse(&committed.metadata),
        });
        match commit {
            Some(commit) if commit.metadata.lineage > chain.lineage => Err(Unanswered::blocked(format!(
                "{}: the group {} has committed {} in lineage {}, and the archive has none after {}: is this the right store?",
                chain.topic_partition, self.group, commit.next_offset, commit.metadata.lineage, chain.lineage
            ))),
            Some(commit) if commit.metadata.lineage < chain.lineage => Ok(None),
            commit => Ok(commit),
        }
    }

    /// Where a log starts or ends.
    pub(super) fn log_position(&self, partition: &TopicPartition, end: LogEnd) -> Result<LogPosition, Unanswered> {
        self.partition_facts.log_end(&self.client, partition, end)?.ok_or_else(|| {
            let reason = format!("the brokers do not say where the log of {partition} lies");
            Unanswered::for_now(Class::Unavailable, reason)
        })
    }

    /// Where a chain is to begin that has neither an object nor a commit, and the epoch of the leader there.
    pub(super) fn new_origin(&self, partition: &TopicPartition) -> Result<(Origin, Option<LeaderEpoch>), Unanswered> {
        let (end, reason) = match self.offset_reset {
            _ if !self.first_start.had(partition) => (LogEnd::Start, OriginReason::NewPartition),
            OffsetReset::Earliest => (LogEnd::Start, OriginReason::Earliest),
            OffsetReset::Latest => (LogEnd::LastStable, OriginReason::Latest),
            OffsetReset::Error => return Err(without_place_to_begin(&self.group, partition)),
        };
        let LogPosition { offset, leader_epoch } = self.log_position(partition, end)?;
        Ok((Origin { offset, reason }, leader_epoch))
    }

    /// Settles an origin. If somebody was quicker, theirs counts.
    fn settle(&self, partition: &TopicPartition, walk: &Walk<'_>) -> Result<Tail, Unanswered> {
        let (origin, leader_epoch) = self.new_origin(partition)?;
        let ours = OriginObject { leader_epoch, ..OriginObject::new(origin, &self.identity, walk.topic_id) };
        let settled = ours.clone().settle(self.store.as_ref(), walk.chain).map_err(unfit)?;
        let tail = walk.at_origin(&settled)?;
        self.check_history(walk, tail, None)?;
        Ok(match tail {
            // Just now the log was so.
            Tail::Origin { offset, topic_id, .. } if settled == ours => {
                Tail::Origin { offset, leader_epoch: None, topic_id }
            }
            tail => tail,
        })
    }

    pub(super) fn coverage(&self, partition: &TopicPartition, target: Offset) -> Result<Coverage, Unanswered> {
        let chain = self.chain(partition)?;
        let commit = self.committed(&chain)?;
        let committed = commit.map(|commit| commit.metadata.seen_to.unwrap_or(commit.next_offset));
        if commit.and_then(|commit| commit.metadata.seen_to).is_some_and(|seen_to| seen_to >= target) {
            return Ok(Coverage { is_covered: true, archived_to: None, committed });
        }
        let archived_to = self.walk(&chain, None, &self.history(&chain)?).tail(commit, None)?.end();
        Ok(Coverage { is_covered: archived_to.is_some_and(|end| end >= target), archived_to, committed })
    }
}

fn not_long_ago() -> Instant {
    let now = Instant::now();
    now.checked_sub(FACTS_AGE).unwrap_or(now)
}

/// True if fetching does not begin at the chain's last record, so that no record proves the log.
pub(super) fn begins_without_record(proof: Proof) -> bool {
    !matches!(proof, Proof::Record(_))
}
