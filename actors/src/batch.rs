//! Records on their way from the poll thread to a writer, already in their canonical bytes.

use crate::budget::BudgetShare;
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};

/// Consecutive records of one partition.
#[derive(Debug, Default)]
pub struct RecordBatch {
    /// The assignment in which they were fetched.
    pub epoch: AssignmentEpoch,
    /// The start of fetching that they belong to.
    pub seek_epoch: SeekEpoch,
    /// The epoch of the leader that had written them, if the broker says it. All of a batch have the same.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The canonical bytes of all records, one after the other.
    pub bytes: Vec<u8>,
    /// Where each record ends in `bytes`, and what the boundary rule asks of it.
    pub marks: Vec<RecordMark>,
    /// What they take of the process's budget.
    pub share: BudgetShare,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMark {
    /// The record's place in the log.
    pub offset: Offset,
    /// The record's time, verbatim.
    pub timestamp: TimestampMs,
    /// Where its bytes end; they begin where the record before it ends.
    pub end: usize,
}
