//! The walk: where does a chain go on? The store decides, not the committed offset.

use super::identity::{Found, Identity, Unfit};
use super::origin_object::{OriginError, OriginObject};
use crate::store::ArchiveStore;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicId;

/// How many segments at the end of a chain are looked at where nothing says which one is the last.
const LOOKED_AT_MAX: usize = 16;

/// One walk over one chain.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) store: &'a dyn ArchiveStore,
    pub(super) identity: &'a Identity,
    pub(super) chain: &'a ChainName,
    pub(super) topic_id: Option<TopicId>,
    /// What is said to whom the chain makes no sense.
    pub(super) group: &'a str,
    /// The start of the last segment that the index knows: where to begin to list if nothing else says so.
    pub(super) indexed: Option<Offset>,
}

/// What the group has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) next_offset: Offset,
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
    },
    /// It has an origin and no segment yet.
    Origin(Offset),
    /// There is nothing at all.
    Nothing,
}

impl Walk<'_> {
    /// The tail of the chain; `known_end` is an end of a segment of it, if one is known.
    pub(super) fn tail(&self, commit: Option<Commit>, known_end: Option<Offset>) -> Result<Tail, Unfit> {
        if let Some(end) = known_end {
            return self.after_known_end(end);
        }
        let hint = commit.and_then(|commit| commit.metadata.segment_start);
        let names = self.list(hint)?;
        if let Some(start) = hint
            && names.first() != Some(&start)
        {
            return Err(self.blocked(&format!(
                "the group {} has committed {} as the end of the segment {start}, and the archive has no such segment: \
                 is this the right store? Bring the segment back",
                self.group,
                commit.map_or(0, |commit| commit.next_offset.get()),
            )));
        }
        let tail = if names.is_empty() { self.without_segments()? } else { self.with_segments(&names, commit)? };
        self.check_commit(tail, commit)?;
        Ok(tail)
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

    fn after_known_end(&self, end: Offset) -> Result<Tail, Unfit> {
        let names = self.store.segments_from(self.chain, Some(end))?;
        match names.first() {
            None => Ok(Tail::Segments { next_offset: end, last_start: end }),
            Some(_) => self.follow(end, &names, None),
        }
    }

    fn without_segments(&self) -> Result<Tail, Unfit> {
        let settled = OriginObject::read(self.store, self.chain).map_err(unfit)?;
        let Some(object) = settled else { return Ok(Tail::Nothing) };
        self.check_origin(&object)?;
        Ok(Tail::Origin(object.origin.offset))
    }

    /// An origin that was settled for another topic of this name is not this chain's.
    pub(super) fn check_origin(&self, object: &OriginObject) -> Result<(), Unfit> {
        if object.cluster_id != self.identity.cluster_id {
            return Err(
                self.blocked("its origin was settled for another Kafka cluster: use a store of its own for each")
            );
        }
        if let (Some(theirs), Some(ours)) = (object.topic_id, self.topic_id)
            && theirs != ours
        {
            return Err(self.blocked(&format!(
                "its origin was settled when the topic had the id {theirs}, and it has {ours} now: the topic was \
                 re-created; archive it under another name or into another store"
            )));
        }
        Ok(())
    }

    fn with_segments(&self, names: &[Offset], commit: Option<Commit>) -> Result<Tail, Unfit> {
        let first = match commit {
            // The segment that should end at the committed offset, or the first.
            Some(commit) => names.partition_point(|start| *start < commit.next_offset).saturating_sub(1),
            None => names.len().saturating_sub(LOOKED_AT_MAX),
        };
        let names = &names[first..];
        let found = self.identity.look(self.store, &self.chain.segment(names[0]), self.topic_id)?;
        if names.len() == 1 {
            return Ok(Tail::Segments { next_offset: found.next_offset(), last_start: names[0] });
        }
        self.follow(found.next_offset(), &names[1..], Some(found))
    }

    /// Follows a chain from the end of one segment over the names that lie at or after it.
    fn follow(&self, end: Offset, names: &[Offset], before: Option<Found>) -> Result<Tail, Unfit> {
        let (mut next_offset, mut last_start, mut before) = (end, end, before);
        for start in names {
            if *start != next_offset {
                let what = if *start > next_offset { "a hole" } else { "an overlap" };
                return Err(self.blocked(&format!(
                    "its chain has {what}: a segment ends before {next_offset}, and the next one is named {start}; \
                     bring the missing segment back, or move what does not belong there out of the archive"
                )));
            }
            let found = self.identity.look(self.store, &self.chain.segment(*start), self.topic_id)?;
            if let (Some(Found::Ours { .. }), Found::Originals { .. }) = (before, found) {
                return Err(self.blocked(&format!(
                    "the segment {start} was written by the original kafka-store after one of this program's: stop the \
                     old process, and move that segment out of the archive"
                )));
            }
            (next_offset, last_start, before) = (found.next_offset(), *start, Some(found));
        }
        Ok(Tail::Segments { next_offset, last_start })
    }

    /// A commit may lag behind the chain; it must not be ahead of it.
    fn check_commit(&self, tail: Tail, commit: Option<Commit>) -> Result<(), Unfit> {
        let Some(commit) = commit else { return Ok(()) };
        let committed = commit.next_offset;
        match tail {
            Tail::Segments { next_offset, .. } if committed > next_offset => Err(self.blocked(&format!(
                "the group {} has committed {committed}, and the archive ends before {next_offset}: segments are missing. \
                 Bring them back",
                self.group,
            ))),
            Tail::Origin(origin) if committed == origin => Ok(()),
            Tail::Origin(_) | Tail::Nothing => Err(self.blocked(&format!(
                "the group {} has committed {committed}, and the archive holds nothing of this partition: is this the \
                 right store? Bring its segments back",
                self.group,
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
