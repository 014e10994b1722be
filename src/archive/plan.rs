//! Where partitions would start: asks, and changes nothing.

use super::index_tail::rows_ahead;
use super::locate::{LocatorParams, Unanswered};
use super::origin_object::OriginObject;
use super::parallel_map;
use super::walk::{Tail, unfit};
use crate::kafka::ffi::{KafkaError, LogEnd};
use kafka_store_actors::ports::Blocked;
use kafka_store_statecharts::failure::Port;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;
use std::time::Duration;

/// How long the group's coordinator may take to answer at the start.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// How many partitions the archive is asked about at a time at the start.
const ASKED_AT_A_TIME: usize = 16;

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

/// Why it is not known which partitions have an origin.
#[derive(Debug)]
pub struct OriginsUnknown {
    /// The reason, and what to do.
    pub reason: String,
    /// True if it may be known later.
    pub passes: bool,
}

impl From<Unanswered> for OriginsUnknown {
    fn from(unanswered: Unanswered) -> OriginsUnknown {
        OriginsUnknown { passes: matches!(unanswered, Unanswered::ForNow(_)), reason: unanswered.reason() }
    }
}

impl LocatorParams {
    /// Where a partition would start, and why. Asks, and changes nothing.
    ///
    /// # Errors
    /// What stands in the way, and what to do about it.
    pub fn plan(&self, partition: &TopicPartition) -> Result<Plan, String> {
        self.patiently(partition, || self.look_ahead(partition)).map_err(|blocked| blocked.reason)
    }

    fn look_ahead(&self, partition: &TopicPartition) -> Result<Plan, Unanswered> {
        let chain = self.chain(partition)?;
        let topic_id = self.topic_id(partition)?;
        let history = self.history(&chain)?;
        let commit = self.committed(&chain)?;
        let last_row = self.last_row(&chain)?;
        let walk = self.walk(&chain, topic_id, &history);
        let tail = walk.tail(commit, None)?;
        self.check_history(&walk, tail, commit)?;
        let (position, why) = match tail {
            Tail::Segments { next_offset, last_start, .. } => {
                let rows = self.index.as_ref().map_or_else(String::new, |_| rows_ahead(last_row, next_offset));
                (next_offset, format!("the archive goes on after {last_start}{rows}"))
            }
            Tail::Origin { offset, .. } => (offset, "its origin is settled".to_owned()),
            Tail::Nothing => {
                let (origin, _) = self.new_origin(partition)?;
                (origin.offset, format!("new: {}", origin.reason))
            }
        };
        let log_start = self.log_position(partition, LogEnd::Start)?.offset;
        let gap = self.enter_log(partition, position, log_start, commit)?.gap;
        let why = gap.map_or(why.clone(), |gap| format!("{why}; offsets {} are lost", gap.offsets));
        let why = if chain.lineage > 1 { format!("lineage {}: {why}", chain.lineage) } else { why };
        Ok(Plan { position, why, end: self.log_position(partition, LogEnd::LastStable)?.offset })
    }

    /// The partitions for which `--offset-reset` would have to speak and does not: those with neither a commit nor anything
    /// in the archive. The group is asked once for all of them, and the archive, several at a time, only for those
    /// without a commit; nothing more is listed than it takes to see that there is something.
    pub fn without_origin(&self, partitions: &[TopicPartition]) -> Result<Vec<TopicPartition>, OriginsUnknown> {
        let existed: Vec<TopicPartition> =
            partitions.iter().filter(|partition| self.first_start.had(partition)).cloned().collect();
        if existed.is_empty() {
            return Ok(existed);
        }
        let committed = KafkaError::ask_coordinator(ANSWER_TIME, || self.client.committed(&existed, ANSWER_TIME));
        let committed = committed.map_err(|error| OriginsUnknown {
            reason: format!("the group's offsets are not known: {error}"),
            passes: error.failure(Port::Kafka).passes(),
        })?;
        let uncommitted: Vec<TopicPartition> =
            existed.into_iter().filter(|partition| committed.get(partition).is_none_or(Option::is_none)).collect();
        let has_nothing = parallel_map(&uncommitted, ASKED_AT_A_TIME, |partition| self.has_nothing(partition));
        let mut missing = Vec::new();
        for (partition, has_nothing) in uncommitted.into_iter().zip(has_nothing) {
            if has_nothing? {
                missing.push(partition);
            }
        }
        Ok(missing)
    }

    /// Reports whether the archive has nothing of a partition.
    fn has_nothing(&self, partition: &TopicPartition) -> Result<bool, Unanswered> {
        let chain = ChainName::first_lineage(partition.clone());
        if OriginObject::read(self.store.as_ref(), &chain).map_err(unfit)?.is_some()
            || self.store.has_segments(&chain)?
        {
            return Ok(false);
        }
        // A later lineage exists only if it was begun.
        Ok(self.chain(partition)? == chain)
    }
}

/// What is said where `--offset-reset error` leaves no place to begin.
pub(crate) fn no_committed_offset(group: &str, partition: &TopicPartition) -> String {
    format!(
        "the group {group} has no committed offset for {partition}, and the archive nothing: say where to begin with \
         --offset-reset earliest (everything Kafka still has) or --offset-reset latest (only what comes from now on)"
    )
}

/// Why nothing can be archived at all.
pub(super) fn without_place_to_begin(group: &str, partition: &TopicPartition) -> Unanswered {
    Unanswered::Blocked(Blocked { reason: no_committed_offset(group, partition) })
}
