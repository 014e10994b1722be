//! The ways out for a partition that cannot go on: the group's commit follows the archive, or the chain is begun anew.

use super::lineage;
use super::locate::{LocatorParams, Unanswered};
use super::origin_object::OriginObject;
use super::walk::Tail;
use crate::kafka::ffi::{CommitTicket, LogEnd, PartitionOffset};
use kafka_store_actors::ports::Blocked;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::origin::{Origin, OriginReason};
use kafka_store_statecharts::topic::TopicPartition;
use std::time::{Duration, Instant};

/// How long a commit may take.
const COMMIT_TIME: Duration = Duration::from_secs(20);

/// What stands in a partition's way, and what is known of it.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// The chain that is archived to.
    pub chain: ChainName,
    /// Why it cannot go on; or where it can.
    pub found: Result<Offset, String>,
    /// The offset that the group has committed, whatever it is of.
    pub committed: Option<Offset>,
    /// Where the archive goes on by itself, and what a commit of that says; `None` if its chain is broken or empty.
    pub archive_end: Option<(Offset, CommitMetadata)>,
    /// Kafka's log: its first offset, and its high watermark.
    pub log: (Offset, Offset),
}

/// Where a chain is begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the first offset that Kafka still has.
    Earliest,
    /// Here.
    At(Offset),
}

/// A chain that is to be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLineage {
    /// Its name.
    pub chain: ChainName,
    /// The start of its first segment.
    pub origin: Offset,
    /// What it is the way out of.
    pub resolves: String,
}

impl Stuck {
    /// What to commit so that the group goes on where the archive ends.
    ///
    /// # Errors
    /// If that is no way out.
    pub fn commit_to_set(&self) -> Result<(Offset, CommitMetadata), String> {
        let partition = &self.chain.topic_partition;
        match (&self.found, self.archive_end) {
            (Ok(position), _) => Err(format!("{partition} can go on at {position}: its commit needs no reset")),
            (Err(_), Some(end)) if self.committed.is_some_and(|committed| committed != end.0) => Ok(end),
            (Err(_), Some(_)) => Err(format!("{partition}: the committed offset is not what stands in the way")),
            (Err(_), None) => {
                Err(format!("{partition}: the archive says nowhere to go on, so there is no offset to commit"))
            }
        }
    }

    /// The chain to begin.
    ///
    /// # Errors
    /// If it cannot begin there, or need not.
    pub fn new_lineage(&self, begin: Begin) -> Result<NewLineage, String> {
        let partition = &self.chain.topic_partition;
        let (first, end) = self.log;
        let origin = match (begin, &self.found) {
            (Begin::Earliest, Ok(position)) => {
                return Err(format!(
                    "{partition} can go on at {position}, and needs no new chain. If it was frozen by a record that \
                     cannot be read, say with --at where to go on behind it"
                ));
            }
            (Begin::Earliest, Err(_)) => first,
            (Begin::At(offset), _) => offset,
        };
        if origin < first || end < origin {
            return Err(format!("--at {origin}: Kafka's log of {partition} begins at {first} and ends before {end}"));
        }
        let resolves = match &self.found {
            Ok(position) => format!("begun anew by hand, though the archive could go on at {position}"),
            Err(reason) => reason.clone(),
        };
        Ok(NewLineage { chain: self.chain.next_lineage(), origin, resolves })
    }
}

impl LocatorParams {
    /// What stands in a partition's way. Asks, and changes nothing.
    ///
    /// # Errors
    /// If store or brokers do not say.
    pub fn look_at(&self, partition: &TopicPartition) -> Result<Stuck, String> {
        let chain = lineage::latest(self.store.as_ref(), partition).map_err(|error| error.to_string())?;
        let found = self.plan(partition).map(|plan| plan.position);
        let committed = self.client.committed(std::slice::from_ref(partition), COMMIT_TIME);
        let committed = committed.map_err(|error| error.to_string())?;
        let log = (self.end(partition, LogEnd::Start)?, self.end(partition, LogEnd::HighWatermark)?);
        Ok(Stuck {
            archive_end: self.archive_end(&chain),
            committed: committed.into_values().flatten().next().map(|committed| committed.next_offset),
            chain,
            found,
            log,
        })
    }

    /// Whatever is committed. A broken chain has no end.
    fn archive_end(&self, chain: &ChainName) -> Option<(Offset, CommitMetadata)> {
        let topic_id = self.topic_id(&chain.topic_partition);
        let metadata = CommitMetadata { lineage: chain.lineage, ..CommitMetadata::default() };
        match self.walk(chain, topic_id).tail(None, None).ok()? {
            Tail::Segments { next_offset, last_start } => {
                Some((next_offset, CommitMetadata { segment_start: Some(last_start), ..metadata }))
            }
            Tail::Origin(offset) => Some((offset, metadata)),
            Tail::Nothing => None,
        }
    }

    fn end(&self, partition: &TopicPartition, end: LogEnd) -> Result<Offset, String> {
        self.log_end(partition, end).map_err(|unanswered| match unanswered {
            Unanswered::ForNow(reason) | Unanswered::Blocked(Blocked { reason }) => reason,
        })
    }

    /// Commits an offset for the group, of which nobody may be a member now.
    ///
    /// # Errors
    /// If Kafka does not take it.
    pub fn set_commit(
        &self,
        partition: &TopicPartition,
        offset: Offset,
        metadata: CommitMetadata,
    ) -> Result<(), String> {
        let ticket = CommitTicket(1);
        let to = PartitionOffset { partition: partition.clone(), offset };
        let failed = |error: crate::kafka::ffi::KafkaError| {
            format!(
                "the group {} does not take the commit: {error}; stop its daemons first, and give a broker that runs",
                self.group
            )
        };
        self.client.commit(&to, None, &metadata.encode(), ticket).map_err(failed)?;
        let deadline = Instant::now() + COMMIT_TIME;
        while Instant::now() < deadline {
            if let Some(answer) = self.client.poll_commits().filter(|answer| answer.ticket == ticket) {
                return answer.result.map_err(failed);
            }
            drop(self.client.next_event(Duration::from_millis(50)));
        }
        Err(format!("no broker took the commit within {} s", COMMIT_TIME.as_secs()))
    }

    /// Begins a chain. From then on the partition is archived to it, whichever group asks.
    ///
    /// # Errors
    /// If the store does not take it, or somebody else has just begun it.
    pub fn begin(&self, new: &NewLineage) -> Result<(), String> {
        let topic_id = self.topic_id(&new.chain.topic_partition);
        let origin = Origin { offset: new.origin, reason: OriginReason::NewLineage };
        let object = OriginObject {
            resolves: Some(new.resolves.clone()),
            ..OriginObject::new(origin, &self.identity, topic_id)
        };
        let settled = object.clone().settle(self.store.as_ref(), &new.chain).map_err(|error| error.to_string())?;
        if settled == object {
            return Ok(());
        }
        Err(format!("{} has been begun at {} just now by somebody else", new.chain, settled.origin.offset))
    }
}
