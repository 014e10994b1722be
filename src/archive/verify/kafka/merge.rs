//! Two streams of records in the order of offsets, an archive's and a log's, held against each other.

use super::archived::ArchivedRecord;
use crate::kafka::{LogError, LogFront, LoggedRecord};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use std::ops::ControlFlow;

/// Outcome of comparing archived records with a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordComparison {
    /// Records that both have, and that are the same.
    pub equal: u64,
    /// The last of them.
    pub last_equal: Option<Offset>,
    /// Records that differ.
    pub different: u64,
    /// The first of them.
    pub first_different: Option<Offset>,
    /// The last of them.
    pub last_different: Option<Offset>,
    /// A record that is the same, but that leaders of different epochs appended.
    pub other_epoch: Option<OtherEpoch>,
    /// The last archived record, if the log has it no more and its leader does not know the epoch that it was appended in
    /// up to there.
    pub lost_epoch: Option<(Offset, LeaderEpoch)>,
    /// Records of the log that are in no segment although the chain covers their offsets.
    pub not_archived: u64,
    /// The first of them.
    pub first_not_archived: Option<Offset>,
    /// The last of them.
    pub last_not_archived: Option<Offset>,
    /// Archived records before the log's start.
    pub expired: u64,
    /// Archived records that the log has lost between its start and its end, as compaction does.
    pub compacted: u64,
    /// Archived records beyond the log's end.
    pub beyond_log: u64,
    /// Records of the log that could not be compared because their segment cannot be read.
    pub not_compared: u64,
    /// Differences below an end of the chain at which an operator decided that the log is of the same history: counted here
    /// alone.
    pub accepted: u64,
    /// The chain's last such end. Zero if there is none.
    pub(super) accepted_to: Offset,
}

/// The same record, appended under two epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherEpoch {
    /// Its offset.
    pub offset: Offset,
    /// As the archive says.
    pub archived: LeaderEpoch,
    /// As the log says.
    pub logged: LeaderEpoch,
}

/// A log as a merge reads it. [`crate::kafka::LogReader`] explains the calls.
pub(super) trait Log {
    fn front(&mut self) -> Result<LogFront<'_>, LogError>;
    fn pop(&mut self);
    fn log_start(&self) -> Offset;
}

/// A comparison under way. Archived records are given to it in order; it takes the log's as they are needed.
#[derive(Debug)]
pub(super) struct Merge<L> {
    log: L,
    /// The offset after the last archived record.
    next: Offset,
    found: RecordComparison,
}

enum Step {
    NotArchived(Offset),
    Both(Verdict),
    Absent,
    Beyond,
}

/// Comparison of an archived record with the log's record of the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Different,
    OtherEpoch { archived: LeaderEpoch, logged: LeaderEpoch },
}

impl Verdict {
    /// Epochs are compared where both sides have one.
    pub(super) fn new(is_same: bool, archived: Option<LeaderEpoch>, logged: &LoggedRecord<'_>) -> Verdict {
        match (archived, logged.leader_epoch) {
            _ if !is_same => Verdict::Different,
            (Some(archived), Some(logged)) if archived != logged => Verdict::OtherEpoch { archived, logged },
            _ => Verdict::Same,
        }
    }
}

impl<L: Log> Merge<L> {
    /// Differences below `accepted_to` are accepted.
    pub(super) fn new(log: L, accepted_to: Offset) -> Merge<L> {
        Merge { log, next: Offset::default(), found: RecordComparison::accepting(accepted_to) }
    }

    /// The log's start, as far as it is known.
    pub(super) fn log_start(&self) -> Offset {
        self.log.log_start()
    }

    /// Compares the next archived record; breaks if the log has another one. `leader_epoch` is what the archive knows.
    pub(super) fn archived(
        &mut self,
        offset: Offset,
        record: ArchivedRecord<'_>,
        leader_epoch: Option<LeaderEpoch>,
    ) -> Result<ControlFlow<()>, LogError> {
        // Of segments that overlap, the first one's records count.
        if offset < self.next {
            return Ok(ControlFlow::Continue(()));
        }
        self.next = offset.next();
        if offset < self.log.log_start() {
            self.found.expired += 1;
            return Ok(ControlFlow::Continue(()));
        }
        loop {
            let step = match self.log.front()? {
                LogFront::Record(logged) if logged.offset < offset => Step::NotArchived(logged.offset),
                LogFront::Record(logged) if logged.offset == offset => {
                    Step::Both(Verdict::new(record.is_same(logged.bytes), leader_epoch, &logged))
                }
                LogFront::End(end) if end <= offset => Step::Beyond,
                LogFront::Record(_) | LogFront::End(_) => Step::Absent,
            };
            match step {
                Step::NotArchived(logged) => self.not_archived(logged),
                Step::Both(verdict) => {
                    self.log.pop();
                    return Ok(self.found.add(offset, verdict));
                }
                // The log's start may have moved on meanwhile.
                Step::Absent if offset < self.log.log_start() => self.found.expired += 1,
                Step::Absent => self.found.compacted += 1,
                Step::Beyond if offset < self.found.accepted_to => self.found.accepted += 1,
                Step::Beyond => self.found.beyond_log += 1,
            }
            if !matches!(step, Step::NotArchived(_)) {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// Counts archived records of which it is known without reading them that the log has them no more.
    pub(super) fn expired(&mut self, records: u64) {
        self.found.expired += records;
    }

    /// Passes over the offsets `[start, end)`, whose archived records cannot be read.
    pub(super) fn pass(&mut self, start: Offset, end: Offset) -> Result<(), LogError> {
        while let LogFront::Record(LoggedRecord { offset, .. }) = self.log.front()? {
            if offset >= end {
                break;
            }
            if offset < start {
                self.not_archived(offset);
            } else {
                self.found.not_compared += 1;
                self.log.pop();
            }
        }
        self.next = self.next.max(end);
        Ok(())
    }

    /// Takes what the log has after the last archived record, and ends the comparison.
    pub(super) fn finish(mut self) -> Result<RecordComparison, LogError> {
        while let LogFront::Record(LoggedRecord { offset, .. }) = self.log.front()? {
            self.not_archived(offset);
        }
        Ok(self.found)
    }

    /// Ends the comparison here.
    pub(super) fn found(self) -> RecordComparison {
        self.found
    }

    fn not_archived(&mut self, offset: Offset) {
        self.found.add_not_archived(offset);
        self.log.pop();
    }
}

impl RecordComparison {
    /// Nothing was compared yet. Differences below `accepted_to` are accepted.
    pub(super) fn accepting(accepted_to: Offset) -> RecordComparison {
        RecordComparison { accepted_to, ..RecordComparison::default() }
    }

    /// Adds a record that both have; breaks if it differs and that was not accepted.
    pub(super) fn add(&mut self, offset: Offset, verdict: Verdict) -> ControlFlow<()> {
        match verdict {
            Verdict::Different | Verdict::OtherEpoch { .. } if offset < self.accepted_to => {
                self.accepted += 1;
                return ControlFlow::Continue(());
            }
            Verdict::Same => {
                self.equal += 1;
                self.last_equal = Some(offset);
                return ControlFlow::Continue(());
            }
            Verdict::Different => {
                self.different += 1;
                self.first_different.get_or_insert(offset);
                self.last_different = Some(offset);
            }
            Verdict::OtherEpoch { archived, logged } => {
                self.equal += 1;
                self.other_epoch.get_or_insert(OtherEpoch { offset, archived, logged });
            }
        }
        ControlFlow::Break(())
    }

    pub(super) fn add_not_archived(&mut self, offset: Offset) {
        if offset < self.accepted_to {
            self.accepted += 1;
            return;
        }
        self.not_archived += 1;
        self.first_not_archived.get_or_insert(offset);
        self.last_not_archived = Some(offset);
    }

    /// True if the log is not the one that was archived: its newest record that both have is another one.
    pub(super) fn is_other_history(&self) -> bool {
        self.last_different.is_some() && self.last_different > self.last_equal
            || self.other_epoch.is_some()
            || self.lost_epoch.is_some()
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
