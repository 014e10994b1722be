//! An archive against Kafka: which logs it was made from, their records and their ends, and what the group has committed.

mod archived;
mod ends;
mod judge;
mod merge;
mod records;
mod work;

pub(in crate::archive) use archived::{ArchivedRecord, Digest, Unvisited, Visit, visit_segment};
pub use ends::KafkaTail;
pub use merge::{OtherEpoch, RecordComparison};

use super::content::LogIdentity;
use super::problem::{Problem, ProblemKind};
use super::{ChainReport, VerifyReport, Watch};
use crate::archive::error::ArchiveError;
use crate::archive::history::{Finding, Histories, HistoryError};
use crate::archive::lineage;
use crate::archive::survey::read_facts;
use crate::kafka::LogReaders;
use crate::kafka::ffi::{Client, Committed, KafkaError};
use crate::store::{ArchiveStore, Scope, StoreError};
use ends::{ANSWER_TIME, ChainCommit, EndsCheck, LogEnds};
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{TopicId, TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use work::{RecordsJob, Subject};

/// An archive, and the Kafka that it is compared with.
#[derive(Debug)]
pub struct AgainstKafka<'a> {
    /// A client that asks; it joins nothing.
    pub client: &'a Client,
    /// Makes the readers for records.
    pub readers: &'a LogReaders,
    /// The group that archives.
    pub group: &'a str,
    /// The archive.
    pub store: &'a dyn ArchiveStore,
    /// The part of it that was verified.
    pub scope: &'a Scope,
    /// Compares every record, not only each partition's last.
    pub is_deep: bool,
    /// Partitions whose records are compared concurrently, at most.
    pub threads: usize,
    /// Set to interrupt the comparison.
    pub stop: &'a AtomicBool,
}

/// Why an archive cannot be compared with Kafka.
#[derive(Debug, thiserror::Error)]
pub enum AgainstKafkaError {
    /// Kafka does not answer.
    #[error("the archive cannot be compared with Kafka; check the brokers, the network and this user's rights")]
    Kafka(#[from] KafkaError),
    /// The archive does not answer.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What was found and decided about its chains cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl From<StoreError> for AgainstKafkaError {
    fn from(error: StoreError) -> AgainstKafkaError {
        AgainstKafkaError::Archive(error.into())
    }
}

/// A partition that the archive, Kafka or the group knows.
#[derive(Debug)]
struct Partition {
    /// The chain that is archived to, or would be.
    chain: ChainName,
    /// Index of its report, where the archive has the chain.
    report: Option<usize>,
    commit: Option<ChainCommit>,
    is_in_kafka: bool,
    /// An operator decided that the log is of the chain's history, although it differs below an end of the chain.
    accepted: Option<Finding>,
}

impl Partition {
    /// The end of the chain below which differences are accepted.
    fn accepted_to(&self) -> Offset {
        self.accepted.as_ref().map_or(Offset::default(), |finding| finding.end)
    }
}

/// Topics as the brokers know them.
#[derive(Debug, Default)]
struct Topics {
    partitions: BTreeSet<TopicPartition>,
    ids: BTreeMap<TopicName, TopicId>,
}

impl AgainstKafka<'_> {
    /// Compares what was verified, and adds what is wrong to the report, which says if it was interrupted.
    ///
    /// # Errors
    /// If a broker, or the archive, does not answer.
    pub fn compare(&self, report: &mut VerifyReport, watch: &dyn Watch) -> Result<Vec<KafkaTail>, AgainstKafkaError> {
        let ask = || self.client.group_offsets(self.group, ANSWER_TIME);
        let mut commits = KafkaError::ask_coordinator(ANSWER_TIME, ask)?;
        commits.retain(|partition, _| self.is_in_scope(partition));
        let newest = self.newest_chains(report)?;
        self.complete_ends(&newest, report)?;
        let topics = self.topics(&newest, &commits, report)?;
        let mut partitions = partitions(&newest, &topics, &commits, report);
        let (histories, began) = (Histories::default(), Instant::now());
        for partition in &mut partitions {
            let history = histories.of(self.store, &partition.chain, began)?;
            partition.accepted = history.last_joined().cloned();
        }
        let compared = self.of_the_same_log(&partitions, &topics, report);
        let ends = LogEnds::ask(self.client, compared.iter().map(|partition| &partition.chain.topic_partition))?;
        let mut problems = Vec::new();
        let mut tails = Vec::new();
        for partition in &partitions {
            problems.extend(self.ends(partition, report).commit_problem()?);
        }
        for partition in &compared {
            let check = self.ends(partition, report);
            let tail = check.tail(&ends);
            problems.append(&mut check.problems(&tail)?);
            tails.push(tail);
        }
        let unknown = compared.iter().filter(|partition| self.ends(partition, report).is_unknown());
        let unknown: Vec<String> = unknown
            .map(|Partition { chain, .. }| {
                format!("where {chain} goes on is not known: its end is not compared with Kafka's")
            })
            .collect();
        report.notes.extend(unknown);
        report.problems.append(&mut problems);
        self.compare_records(&compared, &mut tails, report, watch)?;
        for (partition, tail) in compared.iter().zip(&tails) {
            let accepted = tail.records.as_ref().map_or(0, |records| records.accepted);
            if let Some(finding) = partition.accepted.as_ref().filter(|_| accepted > 0) {
                report.notes.push(format!(
                    "{}: {accepted} records before offset {} differ from Kafka's, or are in one of the two alone: accepted by \
                     kafka-store resolve --same-history ({})",
                    partition.chain,
                    finding.end,
                    finding.name()
                ));
            }
        }
        Ok(tails)
    }

    fn is_in_scope(&self, partition: &TopicPartition) -> bool {
        match self.scope {
            Scope::Archive => true,
            Scope::Topic(topic) => partition.topic == *topic,
            Scope::Chain(chain) => chain.topic_partition == *partition,
        }
    }

    /// The reports of the chains that are archived to: of each partition the latest.
    fn newest_chains(&self, report: &mut VerifyReport) -> Result<BTreeMap<TopicPartition, usize>, AgainstKafkaError> {
        let chains = report.chains.iter().enumerate();
        let mut newest: BTreeMap<_, _> =
            chains.map(|(index, chain)| (chain.chain.topic_partition.clone(), index)).collect();
        if let Scope::Chain(chain) = self.scope {
            let latest = lineage::latest(self.store, &chain.topic_partition).map_err(ArchiveError::from)?;
            if latest.lineage > chain.lineage {
                report.notes.push(format!("{latest} continues {chain}, which is not compared with Kafka's log"));
                newest.clear();
            }
        }
        Ok(newest)
    }

    /// Reads last segments that do not say where they end, the original tool's, where that was not done before.
    fn complete_ends(
        &self,
        newest: &BTreeMap<TopicPartition, usize>,
        report: &mut VerifyReport,
    ) -> Result<(), AgainstKafkaError> {
        for index in newest.values() {
            let ChainReport { chain, content, next_offset, .. } = &mut report.chains[*index];
            let Some(last) = content.spans.last_mut() else { continue };
            if !last.is_readable || last.final_offset.is_some() {
                continue;
            }
            match read_facts(self.store, &chain.segment(last.start)) {
                Ok(facts) => {
                    (last.final_offset, last.record_count) = (facts.final_offset, facts.record_count);
                    *next_offset = facts.next_offset();
                }
                Err(ArchiveError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    last.is_readable = false;
                    let problem = Problem::unreadable(self.store, &chain.segment(last.start), &error);
                    report.problems.push(problem);
                }
            }
        }
        Ok(())
    }

    /// Asks for the topics that are archived, and for those of which the group has committed a segment.
    fn topics(
        &self,
        newest: &BTreeMap<TopicPartition, usize>,
        commits: &BTreeMap<TopicPartition, Committed>,
        report: &mut VerifyReport,
    ) -> Result<Topics, KafkaError> {
        let committed =
            commits.iter().filter(|(_, committed)| names_segment(committed)).map(|(partition, _)| partition);
        let names: BTreeSet<&TopicName> = newest.keys().chain(committed).map(|partition| &partition.topic).collect();
        let mut topics = Topics::default();
        for topic in names {
            let existing = match self.client.partitions(topic, ANSWER_TIME) {
                Ok(partitions) => partitions,
                Err(error) if error.name.starts_with("UNKNOWN_TOPIC") => Vec::new(),
                Err(error) => return Err(error),
            };
            if existing.is_empty() {
                report.notes.push(format!("Kafka has no topic {topic} any more"));
                continue;
            }
            topics.ids.extend(self.client.topic_id(topic, ANSWER_TIME)?.map(|id| (topic.clone(), id)));
            let existing = existing.into_iter().map(|partition| TopicPartition { topic: topic.clone(), partition });
            topics.partitions.extend(existing.filter(|partition| self.is_in_scope(partition)));
            let archived = newest.keys().filter(|partition| partition.topic == *topic);
            let missing = archived.filter(|partition| !topics.partitions.contains(partition));
            report.notes.extend(missing.map(|partition| format!("Kafka has no partition {partition} any more")));
        }
        Ok(topics)
    }

    /// The partitions in Kafka whose log is, by its ids, the one that their chain was made from.
    fn of_the_same_log<'p>(
        &self,
        partitions: &'p [Partition],
        topics: &Topics,
        report: &mut VerifyReport,
    ) -> Vec<&'p Partition> {
        let cluster_id = self.client.cluster_id(ANSWER_TIME);
        let mut same = Vec::new();
        for partition in partitions.iter().filter(|partition| partition.is_in_kafka) {
            let topic_id = topics.ids.get(&partition.chain.topic_partition.topic);
            let log = partition.report.map(|index| &report.chains[index].content.log);
            let is_accepted = |finding: &&Finding| {
                let next_offset = partition.report.and_then(|index| report.chains[index].next_offset);
                next_offset == Some(finding.end) && finding.log.topic_id == topic_id.copied()
            };
            // Nothing was archived since the decision: the chain is of the topic before.
            let accepted = partition.accepted.as_ref().filter(is_accepted);
            let of_topic = log.map(|log| match accepted {
                Some(Finding { archived, log: now, .. }) if archived.topic_id == log.topic_id => {
                    LogIdentity { topic_id: now.topic_id, ..log.clone() }
                }
                _ => log.clone(),
            });
            match of_topic.and_then(|log| difference(&log, cluster_id.as_deref(), topic_id.copied())) {
                None => same.push(partition),
                Some(message) => {
                    report.problems.push(Problem::of_chain(ProblemKind::LogChanged, &partition.chain, message));
                }
            }
        }
        same
    }

    fn ends<'a>(&'a self, partition: &'a Partition, report: &VerifyReport) -> EndsCheck<'a> {
        let archived = partition.report.map(|index| &report.chains[index]);
        EndsCheck {
            against: self,
            chain: &partition.chain,
            next_offset: archived.and_then(|archived| archived.next_offset),
            has_segments: archived.is_some_and(|archived| archived.segments > 0),
            accepted_to: partition.accepted_to(),
            commit: partition.commit,
        }
    }

    fn compare_records(
        &self,
        compared: &[&Partition],
        tails: &mut [KafkaTail],
        report: &mut VerifyReport,
        watch: &dyn Watch,
    ) -> Result<(), AgainstKafkaError> {
        let mut subjects = Vec::new();
        for (partition, tail) in compared.iter().zip(tails) {
            let Some(ChainReport { content, .. }) = partition.report.map(|index| &report.chains[index]) else {
                continue;
            };
            if !content.spans.is_empty() {
                let accepted_to = partition.accepted_to();
                subjects.push(Subject { chain: &partition.chain, content, accepted_to, tail });
            }
        }
        let mut problems = Vec::new();
        report.is_stopped = !RecordsJob { against: self, watch }.run(&mut subjects, &mut problems)?;
        drop(subjects);
        report.add_new(problems);
        Ok(())
    }
}

/// Every partition that the archive or Kafka knows, or of which the group has committed a segment.
fn partitions(
    newest: &BTreeMap<TopicPartition, usize>,
    topics: &Topics,
    commits: &BTreeMap<TopicPartition, Committed>,
    report: &VerifyReport,
) -> Vec<Partition> {
    let committed = commits.iter().filter(|(_, committed)| names_segment(committed)).map(|(partition, _)| partition);
    let all: BTreeSet<&TopicPartition> = newest.keys().chain(&topics.partitions).chain(committed).collect();
    let partition = |partition: &TopicPartition| {
        let index = newest.get(partition).copied();
        let committed = commits.get(partition);
        let chain = match index {
            Some(index) => report.chains[index].chain.clone(),
            None => ChainName {
                topic_partition: partition.clone(),
                lineage: committed.map_or(1, |committed| CommitMetadata::parse(&committed.metadata).lineage),
            },
        };
        let commit = ChainCommit::of(&chain, committed);
        Partition { chain, report: index, commit, is_in_kafka: topics.partitions.contains(partition), accepted: None }
    };
    all.into_iter().map(partition).collect()
}

fn names_segment(committed: &Committed) -> bool {
    CommitMetadata::parse(&committed.metadata).segment_start.is_some()
}

/// Describes how a log's ids differ from those of the log that a chain was made from. Only ids that both have count.
fn difference(log: &LogIdentity, cluster_id: Option<&str>, topic_id: Option<TopicId>) -> Option<String> {
    if let (Some(archived), Some(now)) = (log.cluster_id.as_deref(), cluster_id)
        && archived != now
    {
        return Some(format!(
            "it is of the Kafka cluster {archived}, and these brokers are of {now}: check --broker-list"
        ));
    }
    if let (Some(archived), Some(now)) = (log.topic_id, topic_id)
        && archived != now
    {
        return Some(format!("the topic has the id {now} now, and had {archived}: it was re-created"));
    }
    None
}
