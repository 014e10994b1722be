//! An archive's ends against Kafka's log and what the group has committed.

use super::problem::{Problem, ProblemKind};
use super::{ChainReport, VerifyReport};
use crate::kafka::ffi::{Client, KafkaError, LogEnd};
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a broker may take to answer one question.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Whom to ask.
#[derive(Debug)]
pub struct AgainstKafka<'a> {
    /// Kafka, as a member of the group that archives would see it.
    pub client: &'a Client,
    /// The group that archives.
    pub group: &'a str,
}

/// Where a partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTail {
    /// The partition.
    pub partition: TopicPartition,
    /// Where the archive goes on, if that is known.
    pub next_offset: Option<Offset>,
    /// The first offset that Kafka has.
    pub log_start: Offset,
    /// The end of what can be archived now.
    pub last_stable: Offset,
    /// The end of the log.
    pub high_watermark: Offset,
    /// What the group has committed.
    pub committed: Option<Offset>,
    /// How many offsets there are to archive now.
    pub lag: Option<u64>,
}

impl AgainstKafka<'_> {
    /// Compares the ends of what was verified, and adds what is wrong to the report.
    ///
    /// # Errors
    /// If a broker does not answer.
    pub fn compare(&self, report: &mut VerifyReport) -> Result<Vec<KafkaTail>, KafkaError> {
        // A partition's newest lineage is the one that goes on.
        let newest: BTreeMap<TopicPartition, ChainReport> =
            report.chains.iter().map(|chain| (chain.chain.topic_partition.clone(), chain.clone())).collect();
        let topics: BTreeSet<_> = newest.keys().map(|partition| partition.topic.clone()).collect();
        let mut tails = Vec::new();
        for topic in topics {
            let existing: BTreeSet<TopicPartition> = match self.client.partitions(&topic, ANSWER_TIME) {
                Ok(partitions) => {
                    partitions.into_iter().map(|partition| TopicPartition { topic: topic.clone(), partition }).collect()
                }
                Err(error) if error.name.starts_with("UNKNOWN_TOPIC") => BTreeSet::new(),
                Err(error) => return Err(error),
            };
            if existing.is_empty() {
                report.notes.push(format!("Kafka has no topic {topic} any more"));
                continue;
            }
            let id = self.client.topic_id(&topic, ANSWER_TIME)?.map(|id| id.to_string());
            for partition in existing {
                let archived = newest.get(&partition);
                let chain = archived.map(|archived| archived.chain.clone());
                let chain = chain.unwrap_or_else(|| ChainName::first_lineage(partition.clone()));
                if let (Some(now), Some(archived)) = (&id, archived.and_then(|archived| archived.topic_id.as_ref()))
                    && now != archived
                {
                    let message = format!("the topic has the id {now} now, and had {archived}: it was re-created");
                    report.problems.push(problem(ProblemKind::LogChanged, &chain, message));
                    continue;
                }
                let tail = self.tail(&partition, chain.lineage, archived.and_then(|archived| archived.next_offset))?;
                let (tail, seen_to) = tail;
                judge(&tail, seen_to, archived.is_some(), &chain, self.group, report);
                tails.push(tail);
            }
        }
        Ok(tails)
    }

    fn tail(
        &self,
        partition: &TopicPartition,
        lineage: u32,
        next_offset: Option<Offset>,
    ) -> Result<(KafkaTail, Option<Offset>), KafkaError> {
        let one = std::slice::from_ref(partition);
        let end = |end: LogEnd| {
            let ends = self.client.log_ends(one, end, ANSWER_TIME)?;
            Ok::<_, KafkaError>(ends.get(partition).copied().unwrap_or_default())
        };
        let committed = self.client.committed(one, ANSWER_TIME)?.into_values().flatten().next();
        let metadata =
            committed.as_ref().map(|committed| CommitMetadata::parse(&committed.metadata)).unwrap_or_default();
        // A commit of an earlier chain says nothing of this one.
        let committed = committed.filter(|_| metadata.lineage >= lineage);
        let seen_to = metadata.seen_to.filter(|_| metadata.lineage == lineage);
        let last_stable = end(LogEnd::LastStable)?;
        let tail = KafkaTail {
            partition: partition.clone(),
            next_offset,
            log_start: end(LogEnd::Start)?,
            last_stable,
            high_watermark: end(LogEnd::HighWatermark)?,
            committed: committed.map(|committed| committed.next_offset),
            lag: next_offset.map(|next| next.max(seen_to.unwrap_or(next)).distance_to(last_stable)),
        };
        Ok((tail, seen_to))
    }
}

fn judge(
    tail: &KafkaTail,
    seen_to: Option<Offset>,
    is_archived: bool,
    chain: &ChainName,
    group: &str,
    report: &mut VerifyReport,
) {
    let mut add = |kind, message| report.problems.push(problem(kind, chain, message));
    let Some(next) = tail.next_offset else {
        match tail.committed {
            Some(committed) if !is_archived => add(
                ProblemKind::CommitBeyondTail,
                format!("the group {group} has committed {committed}, and the archive holds nothing of this partition"),
            ),
            _ => report.notes.push(format!("where {chain} goes on is not known: it is not compared with Kafka's log")),
        }
        return;
    };
    if let Some(committed) = tail.committed.filter(|committed| *committed > next) {
        add(
            ProblemKind::CommitBeyondTail,
            format!(
                "the group {group} has committed {committed}, and the archive ends before {next}: segments are missing"
            ),
        );
    }
    if next > tail.high_watermark {
        let message = format!(
            "the archive ends before {next}, and Kafka's log already at {}: the log was truncated, or the topic re-created",
            tail.high_watermark
        );
        add(ProblemKind::LogChanged, message);
    }
    // Up to there nothing more was visible when the partition was caught up.
    let seen_to = seen_to.filter(|_| tail.committed == Some(next)).map_or(next, |seen_to| seen_to.max(next));
    if seen_to < tail.log_start {
        let message = format!(
            "the archive ends before {seen_to}, and Kafka's log begins at {}: {} offsets were deleted before they were \
             archived",
            tail.log_start,
            seen_to.distance_to(tail.log_start)
        );
        add(ProblemKind::Lost, message);
    }
}

fn problem(kind: ProblemKind, chain: &ChainName, message: String) -> Problem {
    Problem { kind, chain: chain.clone(), location: chain.to_string(), message }
}
