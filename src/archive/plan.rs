//! Where partitions would start: asks, and changes nothing.

use super::index_tail::rows_ahead;
use super::locate::{LocatorParams, Unanswered};
use super::origin_object::OriginObject;
use super::walk::Tail;
use crate::kafka::ffi::LogEnd;
use kafka_store_actors::ports::Blocked;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;

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

    /// The partitions for which `--offset-reset` would have to speak and does not.
    pub fn without_origin(&self, partitions: &[TopicPartition]) -> Result<Vec<TopicPartition>, String> {
        let text = |unanswered: Unanswered| unanswered.reason();
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
