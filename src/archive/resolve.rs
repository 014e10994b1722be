//! The ways out for a partition that cannot go on: the group's commit follows the archive, the chain is begun anew, or it is
//! decided that two histories of a log are one.

use super::history::{Archived, ChainHistory, Choice, Difference, Finding, HistoryError, LogFound, choose, history_of};
use super::locate::{LocatorParams, Unanswered};
use super::origin_object::OriginObject;
use super::parting::{AtEnd, Parting, find_parting};
use super::walk::Tail;
use crate::kafka::LogReaders;
use crate::kafka::ffi::{CommitTicket, LogEnd, LogPosition, PartitionOffset};
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::origin::{Origin, OriginReason};
use kafka_store_statecharts::topic::{TopicId, TopicPartition};
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
    /// What the archive says of the log that it was made from.
    pub archived: Archived,
    /// The topic's id now.
    pub topic_id: Option<TopicId>,
    /// What was found and decided before about the chain's history.
    pub history: ChainHistory,
    /// The comparison of its records with Kafka's, if they were compared and the chain has some.
    pub parting: Option<Parting>,
    /// Kafka's log: its start, and its high watermark.
    pub log: (LogPosition, LogPosition),
}

/// Which chains are compared with their logs, record by record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Those that end beyond their log.
    IfLogEndsEarly,
    /// All.
    Always,
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
    /// Epoch of the leader there, where it is known.
    pub leader_epoch: Option<LeaderEpoch>,
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
            (Err(_), _) if self.difference().is_some() => Err(format!(
                "{partition}: the committed offset is not what stands in the way, but another history of the log"
            )),
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
        let (first, end) = (self.log.0.offset, self.log.1.offset);
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
        let known = [self.log.0, self.log.1].into_iter().find(|position| position.offset == origin);
        let leader_epoch = known.and_then(|position| position.leader_epoch);
        Ok(NewLineage { chain: self.chain.next_lineage(), origin, leader_epoch, resolves })
    }

    /// How Kafka's log differs from the one that the chain was made from, if that is known and not decided.
    pub fn difference(&self) -> Option<Difference> {
        let (end, _) = self.archive_end?;
        let joined = self.history.joined_at(end);
        let expected = joined.and_then(|finding| finding.log.topic_id).or(self.archived.topic_id);
        if let (Some(expected), Some(now)) = (expected, self.topic_id)
            && expected != now
        {
            return Some(Difference::OtherTopic);
        }
        if joined.is_some() {
            return None;
        }
        let known = self.history.unresolved_at(end).map(|finding| finding.log.difference);
        match self.parting?.at_end {
            AtEnd::Other(found) => Some(Difference::OtherRecord(found)),
            AtEnd::EndsBefore(offset) => Some(Difference::EndsAt(offset)),
            AtEnd::Same | AtEnd::Removed => known,
        }
        .or(known)
    }

    /// The finding about which it can be decided that the histories are one. It is not written down yet if nobody has found it.
    ///
    /// # Errors
    /// If that is no way out.
    pub fn same_history(&self) -> Result<Finding, String> {
        let partition = &self.chain.topic_partition;
        let Some((end, _)) = self.archive_end else {
            return Err(format!("{partition}: the archive says nowhere to go on, so that no history can be continued"));
        };
        let (log_start, log_end) = self.log;
        if log_end.offset < end {
            return Err(format!(
                "{partition}: the archive ends before {end}, and Kafka's log before {}: there is nothing that the archive \
                 could be continued with. What is produced up to {end} would never be archived",
                log_end.offset
            ));
        }
        let known = self.history.unresolved_at(end);
        if let Some(known) = known.filter(|known| known.log.topic_id == self.topic_id) {
            return Ok(known.clone());
        }
        let difference = self.difference().or(known.map(|_| Difference::OtherTopic)).ok_or_else(|| {
            format!("{partition}: its log is not known to be of another history than the archive, so there is nothing to decide")
        })?;
        Ok(Finding {
            chain: self.chain.clone(),
            end,
            number: self.history.next_number(end),
            cluster_id: None,
            archived: self.archived,
            log: LogFound {
                topic_id: self.topic_id,
                difference,
                start: log_start.offset,
                end: log_end.offset,
                leader_epoch: log_end.leader_epoch,
            },
            choice: None,
        })
    }

    /// A partition that could go on by its offsets cannot if its log is of another history.
    fn with_difference(self) -> Stuck {
        match (&self.found, self.difference()) {
            (Ok(_), Some(_)) => {
                let reason = match self.same_history() {
                    Ok(finding) => finding.summary(),
                    Err(reason) => reason,
                };
                Stuck { found: Err(reason), ..self }
            }
            _ => self,
        }
    }
}

impl LocatorParams {
    /// What stands in a partition's way. Asks, and changes nothing. With readers, the chain is compared with the log; without,
    /// only if the log ends before the archive.
    ///
    /// # Errors
    /// If store or brokers do not say.
    pub fn look_at(&self, partition: &TopicPartition, readers: &LogReaders, compare: Compare) -> Result<Stuck, String> {
        let text = |unanswered: Unanswered| unanswered.reason();
        let chain = self.chain(partition).map_err(text)?;
        let found = self.plan(partition).map(|plan| plan.position);
        let committed = self.client.committed(std::slice::from_ref(partition), COMMIT_TIME);
        let committed = committed.map_err(|error| error.to_string())?;
        let end = |end| self.log_position(partition, end).map_err(text);
        let history = history_of(self.store.as_ref(), &chain).map_err(|error| error.to_string())?;
        let tail = self.walk(&chain, None, &history).tail(None, None).ok();
        let mut stuck = Stuck {
            archive_end: tail.and_then(|tail| archive_end(&chain, tail)),
            archived: tail.map(Tail::archived).unwrap_or_default(),
            committed: committed.into_values().flatten().next().map(|committed| committed.next_offset),
            topic_id: self.topic_id(partition).map_err(text)?,
            history,
            parting: None,
            chain,
            found,
            log: (end(LogEnd::Start)?, end(LogEnd::HighWatermark)?),
        };
        let ends_early = stuck.archive_end.is_some_and(|(end, _)| stuck.log.1.offset < end);
        if stuck.archive_end.is_some() && (compare == Compare::Always || ends_early) {
            let mut reader = readers.open(self.identity.isolation).map_err(|error| error.to_string())?;
            let parting = find_parting(self.store.as_ref(), &stuck.chain, &mut reader);
            stuck.parting = parting.map_err(|error| format!("{partition} cannot be compared with its log: {error}"))?;
        }
        Ok(stuck.with_difference())
    }

    /// Decides that the histories are one: from then on the chain is continued at its end.
    ///
    /// # Errors
    /// If the store does not take it.
    pub fn declare_same(&self, finding: &Finding) -> Result<(), String> {
        let text = |error: HistoryError| error.to_string();
        let finding = Finding { cluster_id: self.identity.cluster_id.clone(), ..finding.clone() };
        let stored = self.histories.record(self.store.as_ref(), finding).map_err(text)?;
        choose(self.store.as_ref(), &stored, Choice::SameHistory).map_err(text)
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
        let topic_id = self.topic_id(&new.chain.topic_partition).map_err(Unanswered::reason)?;
        let origin = Origin { offset: new.origin, reason: OriginReason::NewLineage };
        let object = OriginObject {
            leader_epoch: new.leader_epoch,
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

/// Where an archive goes on, whatever is committed, and what a commit of that says.
fn archive_end(chain: &ChainName, tail: Tail) -> Option<(Offset, CommitMetadata)> {
    let segment_start = match tail {
        Tail::Segments { last_start, .. } => Some(last_start),
        Tail::Origin { .. } | Tail::Nothing => None,
    };
    Some((tail.end()?, CommitMetadata { lineage: chain.lineage, segment_start, seen_to: None }))
}
