//! Where a chain and Kafka's log part: the first offset at which they have different records.
//!
//! Headers say the last record of each segment, so that a bisection finds the segment in which the two part, and only that one
//! is read.

use super::error::ArchiveError;
use super::survey::header_of;
use super::verify::{ArchivedRecord, Digest, Unvisited, Visit, visit_segment};
use crate::kafka::{LogError, LogFront, LogReader, LoggedRecord};
use crate::store::ArchiveStore;
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

/// Comparison of a chain with the log that Kafka has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parting {
    /// What the log has where the chain ends.
    pub at_end: AtEnd,
    /// The first offset at which the two differ, if they do where the chain ends.
    pub from: Option<Offset>,
}

/// What the log has in place of a chain's last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// The same record.
    Same,
    /// Another record, or the same of another leader epoch.
    Other(LastRecord),
    /// Nothing: it ends before this offset.
    EndsBefore(Offset),
    /// Nothing any more: retention or compaction has removed the record, so that the two cannot be compared there.
    Removed,
}

/// Why the two cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum PartingError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<Unvisited<LogError>> for PartingError {
    fn from(unvisited: Unvisited<LogError>) -> PartingError {
        match unvisited {
            Unvisited::Archive(error) => error.into(),
            Unvisited::Visitor(error) => error.into(),
        }
    }
}

/// The last record of a segment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    offset: Offset,
    digest: Digest,
    leader_epoch: Option<LeaderEpoch>,
}

/// Takes the records of a segment until it breaks off.
type Visitor<'a> = Visit<'a, LogError>;

/// The segments of a chain, in order.
trait Segments {
    fn count(&self) -> usize;
    fn start(&self, index: usize) -> Offset;
    /// `None` if it has no record.
    fn last(&self, index: usize) -> Result<Option<Sample>, PartingError>;
    fn visit(&self, index: usize, visit: Visitor<'_>) -> Result<(), PartingError>;

    fn ends_before(&self, index: usize, offset: Offset) -> Result<bool, PartingError> {
        Ok(self.last(index)?.is_none_or(|last| last.offset < offset))
    }
}

/// A log that can be read from any offset on. [`LogReader`] explains the calls.
trait Log {
    fn start(&mut self, from: Offset, until: Offset) -> Result<(), LogError>;
    fn front(&mut self) -> Result<LogFront<'_>, LogError>;
    fn pop(&mut self);
    fn log_start(&self) -> Offset;
}

struct StoredSegments<'a> {
    store: &'a dyn ArchiveStore,
    chain: &'a ChainName,
    starts: Vec<Offset>,
}

struct KafkaLog<'a> {
    reader: &'a mut LogReader,
    partition: &'a TopicPartition,
}

/// Nothing interrupts a comparison but the end of the process.
static NEVER: AtomicBool = AtomicBool::new(false);

/// Compares a chain with its partition's log.
///
/// # Errors
/// If one of the two cannot be read.
pub(super) fn find_parting(
    store: &dyn ArchiveStore,
    chain: &ChainName,
    reader: &mut LogReader,
) -> Result<Option<Parting>, PartingError> {
    let starts = store.segments_from(chain, None).map_err(ArchiveError::from)?;
    let segments = StoredSegments { store, chain, starts };
    Comparison { segments, log: KafkaLog { reader, partition: &chain.topic_partition } }.run()
}

impl Segments for StoredSegments<'_> {
    fn count(&self) -> usize {
        self.starts.len()
    }

    fn start(&self, index: usize) -> Offset {
        self.starts[index]
    }

    fn last(&self, index: usize) -> Result<Option<Sample>, PartingError> {
        let header = header_of(self.store, &self.chain.segment(self.starts[index]))?;
        if let Some(ours) = header.ours()
            && let Some(LastRecord { hash, leader_epoch }) = ours.summary.last_record
        {
            let offset = ours.summary.final_offset;
            return Ok(Some(Sample { offset, digest: Digest::Whole(hash), leader_epoch }));
        }
        let mut last = None;
        self.visit(index, &mut |offset, record| {
            last = Some(Sample { offset, digest: record.digest(), leader_epoch: None });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(last)
    }

    fn visit(&self, index: usize, visit: Visitor<'_>) -> Result<(), PartingError> {
        Ok(visit_segment(self.store, &self.chain.segment(self.starts[index]), &|_| {}, visit)?)
    }
}

impl Log for KafkaLog<'_> {
    fn start(&mut self, from: Offset, until: Offset) -> Result<(), LogError> {
        self.reader.start(self.partition, from, until)
    }

    fn front(&mut self) -> Result<LogFront<'_>, LogError> {
        self.reader.front(&NEVER)
    }

    fn pop(&mut self) {
        self.reader.pop();
    }

    fn log_start(&self) -> Offset {
        self.reader.log_start()
    }
}

struct Comparison<S, L> {
    segments: S,
    log: L,
}

impl<S: Segments, L: Log> Comparison<S, L> {
    /// `None` if the chain has no record.
    fn run(mut self) -> Result<Option<Parting>, PartingError> {
        let Some(last) = self.segments.count().checked_sub(1) else { return Ok(None) };
        let Some(at_end) = self.look(last)? else { return Ok(None) };
        let from = match at_end {
            AtEnd::Other(_) | AtEnd::EndsBefore(_) => Some(self.first_difference(last)?),
            AtEnd::Same | AtEnd::Removed => None,
        };
        Ok(Some(Parting { at_end, from }))
    }

    /// What the log has in place of a segment's last record; `None` if it has none.
    fn look(&mut self, index: usize) -> Result<Option<AtEnd>, PartingError> {
        let Some(Sample { offset, digest, leader_epoch }) = self.segments.last(index)? else { return Ok(None) };
        self.log.start(offset, offset.next())?;
        Ok(Some(match self.log.front()? {
            LogFront::Record(LoggedRecord { offset: found, bytes, leader_epoch: epoch }) if found == offset => {
                let same_epoch = leader_epoch.is_none() || epoch.is_none() || leader_epoch == epoch;
                if digest.is_of(bytes) && same_epoch {
                    AtEnd::Same
                } else {
                    AtEnd::Other(LastRecord { hash: RecordHash::of(bytes), leader_epoch: epoch })
                }
            }
            LogFront::End(end) if end <= offset => AtEnd::EndsBefore(end),
            LogFront::Record(_) | LogFront::End(_) => AtEnd::Removed,
        }))
    }

    /// The first offset at which the two differ, given that they do at the end of the segment `last`.
    fn first_difference(&mut self, last: usize) -> Result<Offset, PartingError> {
        // The log has the last record of the segment before `same`, and not that of `differs`.
        let (mut same, mut differs) = (0, last);
        let mut unknown = BTreeSet::new();
        while same < differs {
            let middle = same + (differs - same) / 2;
            let nearest = (same..=middle).rev().chain(middle + 1..differs);
            let mut known = None;
            for index in nearest.filter(|index| !unknown.contains(index)).collect::<Vec<_>>() {
                match self.look(index)? {
                    // Before the log's start nothing differs that can be seen.
                    Some(AtEnd::Removed) if self.segments.ends_before(index, self.log.log_start())? => {
                        known = Some((index, false));
                    }
                    Some(AtEnd::Removed) | None => {
                        unknown.insert(index);
                    }
                    Some(found) => known = Some((index, found != AtEnd::Same)),
                }
                if known.is_some() {
                    break;
                }
            }
            match known {
                Some((index, true)) => differs = index,
                Some((index, false)) => same = index + 1,
                // Compaction has removed the last records of all between: they are read.
                None => break,
            }
        }
        for index in same..=differs {
            if let Some(offset) = self.first_difference_in(index)? {
                return Ok(offset);
            }
        }
        // Only the epoch of the last record differs.
        Ok(self.segments.last(differs)?.map_or_else(|| self.segments.start(differs), |last| last.offset))
    }

    fn first_difference_in(&mut self, index: usize) -> Result<Option<Offset>, PartingError> {
        let Comparison { segments, log } = self;
        let until = match segments.last(index)? {
            Some(last) => last.offset.next(),
            None => return Ok(None),
        };
        log.start(segments.start(index), until)?;
        let mut found = None;
        segments.visit(index, &mut |offset, record| {
            found = difference(log, offset, record)?;
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(found)
    }
}

/// The offset at which the log has something else than this record, or than what lies before it.
fn difference(log: &mut impl Log, offset: Offset, record: ArchivedRecord<'_>) -> Result<Option<Offset>, LogError> {
    let (found, is_taken) = match log.front()? {
        LogFront::Record(logged) if logged.offset < offset => (Some(logged.offset), false),
        LogFront::Record(logged) if logged.offset == offset => {
            ((!record.is_same(logged.bytes)).then_some(offset), true)
        }
        LogFront::End(end) if end <= offset => (Some(end), false),
        // Compaction or retention has removed it.
        LogFront::Record(_) | LogFront::End(_) => (None, false),
    };
    if is_taken {
        log.pop();
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
