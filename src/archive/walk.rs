//! The walk: where does a chain go on? The store decides, not the committed offset.

use super::history::{Archived, ChainHistory};
use super::identity::{Found, Identity, Unfit, foreign, other_topic};
use super::origin_object::{OriginError, OriginObject};
use crate::store::ArchiveStore;
use kafka_store_actors::ports::StoredSegment;
use kafka_store_statecharts::anchor::Anchor;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::last_record::LastRecord;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::topic::TopicId;

/// How many segments at the end of a chain are looked at where nothing says which one is the last.
const LOOKED_AT_MAX: usize = 16;

/// One walk over one chain.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) store: &'a dyn ArchiveStore,
    pub(super) identity: &'a Identity,
    pub(super) chain: &'a ChainName,
    /// The topic's id now, where the brokers have one.
    pub(super) topic_id: Option<TopicId>,
    /// What was found and decided about the chain.
    pub(super) history: &'a ChainHistory,
    /// What is said to whom the chain makes no sense.
    pub(super) group: &'a str,
    /// The start of the last segment that the index knows: where to begin to list if nothing else says so.
    pub(super) indexed: Option<Offset>,
}

/// What the group has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) next_offset: Offset,
    /// Epoch of the leader that wrote the record before it, where the commit says it.
    pub(super) leader_epoch: Option<LeaderEpoch>,
    pub(super) metadata: CommitMetadata,
}

/// Where a chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// It has segments.
    Segments {
        /// The offset after the last one.
        next_offset: Offset,
        /// The start of the last one.
        last_start: Offset,
        /// The last record, where the last one's header says it.
        last_record: Option<LastRecord>,
        /// The topic that the last one is of, where its header says it.
        topic_id: Option<TopicId>,
    },
    /// It has an origin and no segment yet.
    Origin {
        /// The origin.
        offset: Offset,
        /// Epoch of the leader whose log had it, where the origin says it.
        leader_epoch: Option<LeaderEpoch>,
        /// The topic that it was settled for.
        topic_id: Option<TopicId>,
    },
    /// There is nothing at all.
    Nothing,
}

impl Tail {
    fn of(found: Found, last_start: Offset) -> Tail {
        let Found { next_offset, last_record, topic_id, .. } = found;
        Tail::Segments { next_offset, last_start, last_record, topic_id }
    }

    fn of_origin(object: &OriginObject) -> Tail {
        let OriginObject { origin, leader_epoch, topic_id, .. } = object;
        Tail::Origin { offset: origin.offset, leader_epoch: *leader_epoch, topic_id: *topic_id }
    }

    /// Where the chain continues.
    pub(super) fn end(self) -> Option<Offset> {
        match self {
            Tail::Segments { next_offset: end, .. } | Tail::Origin { offset: end, .. } => Some(end),
            Tail::Nothing => None,
        }
    }

    /// What the archive says of the log that the chain was made from.
    pub(super) fn archived(self) -> Archived {
        match self {
            Tail::Segments { next_offset, last_record, topic_id, .. } => {
                let anchor = |record| Some(Anchor { offset: next_offset.previous()?, record });
                Archived { topic_id, last_record: last_record.and_then(anchor) }
            }
            Tail::Origin { topic_id, .. } => Archived { topic_id, last_record: None },
            Tail::Nothing => Archived::default(),
        }
    }
}

impl Walk<'_> {
    /// The tail of the chain. If the group's commit is of this chain, it does not lie before `known_end`; else that is the end of a
    /// segment of an earlier lineage.
    pub(super) fn tail(&self, commit: Option<Commit>, known_end: Option<Offset>) -> Result<Tail, Unfit> {
        super::doubt::read_in_doubt(self.store, self.chain)?;
        let hint = commit.and_then(|commit| commit.metadata.segment_start);
        let names = self.list(hint)?;
        if let Some(start) = hint
            && names.first() != Some(&start)
        {
            return Err(self.blocked(&format!(
                "the group {} has committed {} as the end of the segment {start}, and the archive has no such segment: \
                 is this the right store? If so, {}",
                self.group,
                commit.map_or(0, |commit| commit.next_offset.get()),
                self.store.way_back(),
            )));
        }
        let tail = if names.is_empty() { self.without_segments()? } else { self.with_segments(&names, commit)? };
        self.check_commit(tail, commit)?;
        match (known_end.filter(|_| commit.is_some()), tail.end()) {
            (Some(known), Some(end)) if end < known => Err(self.blocked(&format!(
                "the archive ended before {known} a moment ago, and ends before {end} now: segments are missing. Bring them \
                 back"
            ))),
            _ => Ok(tail),
        }
    }

    /// The topic's id that differs from the one that the chain is to be continued with.
    pub(super) fn other_topic(&self, tail: Tail) -> Option<TopicId> {
        let joined = tail.end().and_then(|end| self.history.joined_at(end));
        let expected = joined.and_then(|finding| finding.log.topic_id).or(tail.archived().topic_id);
        self.topic_id.filter(|now| expected.is_some_and(|expected| expected != *now))
    }

    /// The segments from the hint on. The index saves the listing of a long chain, but what it says of the store counts
    /// only if the store says so too.
    fn list(&self, hint: Option<Offset>) -> Result<Vec<Offset>, Unfit> {
        if let (None, Some(indexed)) = (hint, self.indexed) {
            let names = self.store.segments_from(self.chain, Some(indexed))?;
            if names.first() == Some(&indexed) {
                return Ok(names);
            }
        }
        Ok(self.store.segments_from(self.chain, hint)?)
    }

    fn without_segments(&self) -> Result<Tail, Unfit> {
        let settled = OriginObject::read(self.store, self.chain).map_err(unfit)?;
        settled.map_or(Ok(Tail::Nothing), |object| self.at_origin(&object))
    }

    /// The tail of a chain that has only this origin.
    pub(super) fn at_origin(&self, object: &OriginObject) -> Result<Tail, Unfit> {
        if let (Some(theirs), Some(ours)) = (&object.cluster_id, &self.identity.cluster_id)
            && theirs != ours
        {
            return Err(self.blocked(&format!(
                "its origin was settled for the Kafka cluster {theirs}, and this one is {ours}: use a store of its own for \
                 each"
            )));
        }
        Ok(Tail::of_origin(object))
    }

    fn with_segments(&self, names: &[Offset], commit: Option<Commit>) -> Result<Tail, Unfit> {
        let first = match commit {
            // The segment that should end at the committed offset, or the first.
            Some(commit) => names.partition_point(|start| *start < commit.next_offset).saturating_sub(1),
            None => names.len().saturating_sub(LOOKED_AT_MAX),
        };
        let mut segments: Vec<(Offset, Found)> = Vec::new();
        for start in &names[first..] {
            let before = segments.last().map(|(_, found)| *found);
            if let Some(before) = before {
                self.check_joint(before, *start)?;
            }
            let found = self.identity.look(self.store, &self.chain.segment(*start))?;
            if before.is_some_and(|before| before.is_ours) && !found.is_ours {
                return Err(self.blocked(&format!(
                    "the segment {start} was written by the original kafka-store after one of this program's: stop the \
                     old process, and move that segment out of the archive"
                )));
            }
            segments.push((*start, found));
        }
        let Some((last_start, last)) = segments.last() else { return self.without_segments() };
        for (start, found) in &segments {
            self.check_topic(*start, *found, last.topic_id)?;
        }
        Ok(Tail::of(*last, *last_start))
    }

    fn check_joint(&self, before: Found, start: Offset) -> Result<(), Unfit> {
        let end = before.next_offset;
        if start == end {
            return Ok(());
        }
        let what = if start > end { "a hole" } else { "an overlap" };
        Err(self.blocked(&format!(
            "its chain has {what}: a segment ends before {end}, and the next one is named {start}; {}, or move what does not \
             belong there out of the archive",
            self.store.way_back()
        )))
    }

    /// All segments of a chain are of one topic, unless it was decided that the histories of two are one.
    fn check_topic(&self, start: Offset, found: Found, topic_id: Option<TopicId>) -> Result<(), Unfit> {
        match other_topic(found.topic_id, topic_id) {
            Some(why) if !found.topic_id.is_some_and(|id| self.history.joins(found.next_offset, id)) => {
                Err(foreign(&self.store.location(&self.chain.segment(start)), &why))
            }
            _ => Ok(()),
        }
    }

    /// What the row of one of the chain's segments says.
    pub(super) fn describe(&self, start: Offset) -> Result<StoredSegment, Unfit> {
        let stored = self.identity.describe(self.store, &self.chain.segment(start))?;
        let next_offset = stored.content.range.next_offset();
        let found = Found { is_ours: true, next_offset, last_record: stored.last_record, topic_id: stored.topic_id };
        self.check_topic(start, found, self.topic_id)?;
        Ok(stored)
    }

    /// A commit may lag behind the chain; it must not be ahead of it.
    fn check_commit(&self, tail: Tail, commit: Option<Commit>) -> Result<(), Unfit> {
        let Some(commit) = commit else { return Ok(()) };
        let committed = commit.next_offset;
        match tail {
            Tail::Segments { next_offset, .. } if committed > next_offset => Err(self.blocked(&format!(
                "the group {} has committed {committed}, and the archive ends before {next_offset}: segments are missing; \
                 {}",
                self.group,
                self.store.way_back(),
            ))),
            Tail::Origin { offset, .. } if committed == offset => Ok(()),
            Tail::Origin { .. } | Tail::Nothing => Err(self.blocked(&format!(
                "the group {} has committed {committed}, and the archive holds nothing of this partition: is this the \
                 right store? If so, its segments and ~kafka-store/ were removed: {}",
                self.group,
                self.store.way_back(),
            ))),
            Tail::Segments { .. } => Ok(()),
        }
    }

    fn blocked(&self, what: &str) -> Unfit {
        Unfit::blocked(format!("{}: {what}", self.chain.topic_partition))
    }
}

pub(super) fn unfit(error: OriginError) -> Unfit {
    match error {
        OriginError::Store(error) => Unfit::Store(error),
        error => Unfit::blocked(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
