//! The ends of chains against the ends of logs and the group's commits.

use super::AgainstKafka;
use super::merge::RecordComparison;
use crate::archive::error::ArchiveError;
use crate::archive::survey::{SegmentFacts, header_of};
use crate::archive::verify::problem::{Problem, ProblemKind};
use crate::kafka::ffi::{Client, Committed, KafkaError, LogEnd};
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeMap;
use std::time::Duration;

/// Limit for a broker's answer to one question.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Ends of a partition in the archive and in Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTail {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to archive, if that is known.
    pub next_offset: Option<Offset>,
    /// The first offset that Kafka has.
    pub log_start: Offset,
    /// The end of what can be archived now.
    pub last_stable: Offset,
    /// The end of the log.
    pub high_watermark: Offset,
    /// The group's committed offset.
    pub committed: Option<Offset>,
    /// Offsets that can be archived now.
    pub lag: Option<u64>,
    /// Outcome of comparing records.
    pub records: Option<RecordComparison>,
}

/// Starts and ends of logs.
pub(super) struct LogEnds {
    start: BTreeMap<TopicPartition, Offset>,
    last_stable: BTreeMap<TopicPartition, Offset>,
    high_watermark: BTreeMap<TopicPartition, Offset>,
}

impl LogEnds {
    pub(super) fn ask<'p>(
        client: &Client,
        partitions: impl Iterator<Item = &'p TopicPartition>,
    ) -> Result<LogEnds, KafkaError> {
        let partitions: Vec<TopicPartition> = partitions.cloned().collect();
        let ask = |end| match &partitions[..] {
            [] => Ok(BTreeMap::new()),
            partitions => client.log_ends(partitions, end, ANSWER_TIME),
        };
        Ok(LogEnds {
            last_stable: ask(LogEnd::LastStable)?,
            start: ask(LogEnd::Start)?,
            high_watermark: ask(LogEnd::HighWatermark)?,
        })
    }
}

/// A commit that is about a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChainCommit {
    pub(super) next_offset: Offset,
    metadata: CommitMetadata,
}

impl ChainCommit {
    /// `None` if the commit is of another chain of the partition.
    pub(super) fn of(chain: &ChainName, committed: Option<&Committed>) -> Option<ChainCommit> {
        let committed = committed?;
        let metadata = CommitMetadata::parse(&committed.metadata);
        (metadata.lineage == chain.lineage).then_some(ChainCommit { next_offset: committed.next_offset, metadata })
    }
}

/// A chain's end and its partition's.
pub(super) struct EndsCheck<'a> {
    pub(super) against: &'a AgainstKafka<'a>,
    pub(super) chain: &'a ChainName,
    pub(super) next_offset: Option<Offset>,
    pub(super) has_segments: bool,
    /// The end of the chain below which differences are accepted.
    pub(super) accepted_to: Offset,
    pub(super) commit: Option<ChainCommit>,
}

impl EndsCheck<'_> {
    pub(super) fn tail(&self, ends: &LogEnds) -> KafkaTail {
        let partition = &self.chain.topic_partition;
        let end = |ends: &BTreeMap<TopicPartition, Offset>| ends.get(partition).copied().unwrap_or_default();
        let last_stable = end(&ends.last_stable);
        let seen_to = self.commit.and_then(|commit| commit.metadata.seen_to);
        KafkaTail {
            partition: partition.clone(),
            next_offset: self.next_offset,
            log_start: end(&ends.start),
            last_stable,
            high_watermark: end(&ends.high_watermark),
            committed: self.commit.map(|commit| commit.next_offset),
            lag: self.next_offset.map(|next| next.max(seen_to.unwrap_or(next)).distance_to(last_stable)),
            records: None,
        }
    }

    /// True if the chain's end cannot be compared.
    pub(super) fn is_unknown(&self) -> bool {
        self.next_offset.is_none() && self.has_segments
    }

    /// The problem that a commit shows.
    pub(super) fn commit_problem(&self) -> Result<Option<Problem>, ArchiveError> {
        let Some(ChainCommit { next_offset: committed, metadata }) = self.commit else { return Ok(None) };
        let group = self.against.group;
        let of_segment = metadata.segment_start.map(|start| format!(" as the end of {}", self.chain.segment(start)));
        let of_segment = of_segment.unwrap_or_default();
        let message = match self.next_offset {
            Some(next) if committed > next && committed > self.next_offset_now(next)? => format!(
                "the group {group} has committed {committed}{of_segment}, and the archive ends before {next}: segments \
                 are missing; bring them back from a copy of the archive"
            ),
            None if !self.has_segments => format!(
                "the group {group} has committed {committed}{of_segment}, and the archive holds nothing of this \
                 partition: bring its segments back from a copy of the archive"
            ),
            _ => return Ok(None),
        };
        Ok(Some(Problem::of_chain(ProblemKind::CommitBeyondTail, self.chain, message)))
    }

    /// The problems that the ends show.
    pub(super) fn problems(&self, tail: &KafkaTail) -> Result<Vec<Problem>, ArchiveError> {
        let mut problems = Vec::new();
        let Some(next) = self.next_offset else { return Ok(problems) };
        let mut add = |kind, message| problems.push(Problem::of_chain(kind, self.chain, message));
        if next > tail.high_watermark && next > self.accepted_to {
            let message = format!(
                "the archive ends before {next}, and Kafka's log already at {}: the log was cut, or the topic re-created",
                tail.high_watermark
            );
            add(ProblemKind::LogChanged, message);
        }
        // Up to there nothing more was visible when the partition was caught up.
        let seen_to =
            self.commit.filter(|commit| commit.next_offset == next).and_then(|commit| commit.metadata.seen_to);
        let seen_to = seen_to.map_or(next, |seen_to| seen_to.max(next));
        if seen_to < tail.log_start && self.next_offset_now(next)?.max(seen_to) < tail.log_start {
            let message = format!(
                "the archive ends before {seen_to}, and Kafka's log begins at {}: {} offsets were deleted before they \
                 were archived",
                tail.log_start,
                seen_to.distance_to(tail.log_start)
            );
            add(ProblemKind::Lost, message);
        }
        Ok(problems)
    }

    /// The chain's end now: a daemon may have stored more since the chain was listed.
    fn next_offset_now(&self, next: Offset) -> Result<Offset, ArchiveError> {
        let store = self.against.store;
        let Some(last) = store.segments_from(self.chain, Some(next))?.pop() else { return Ok(next) };
        let header = header_of(store, &self.chain.segment(last)).ok();
        let end = header.and_then(|header| SegmentFacts::of_file(&header).next_offset());
        Ok(end.unwrap_or(last))
    }
}
