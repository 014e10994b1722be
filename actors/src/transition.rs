//! What is kept of a transition: who changed from what to what, and the little that an auditor needs besides.

use kafka_store_statecharts::assignment::{Assignment, AssignmentState};
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::{Now, Transition};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{AssignmentEpoch, Partition, PartitionEffect, PartitionState};
use kafka_store_statecharts::segment::{Segment, SegmentContent, SegmentState};
use std::fmt::Debug;

/// Keeps every change of a state's name.
pub trait TransitionLog: Debug + Send + Sync {
    /// Takes one change; it is kept when this returns.
    fn record(&self, transition: &TransitionRecord<'_>);
}

/// One change of a state's name.
#[derive(Clone, Debug)]
pub struct TransitionRecord<'a> {
    /// When.
    pub now: Now,
    /// Whose; `None` for the assignment chart.
    pub subject: Option<Subject<'a>>,
    /// Which chart.
    pub chart: &'static str,
    /// The state before.
    pub from: &'static str,
    /// What happened.
    pub event: &'static str,
    /// The state after.
    pub to: &'static str,
    /// What belongs to the state after.
    pub detail: Detail<'a>,
}

/// What a transition belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The chain, and so the partition.
    pub chain: &'a ChainName,
    /// In which assignment; `None` for an upload, which may outlast one.
    pub epoch: Option<AssignmentEpoch>,
    /// Which segment, by its start; `None` for the partition chart.
    pub segment_start: Option<Offset>,
    /// Which upload of the segment, counted in the process; `None` for every other chart.
    pub upload: Option<u64>,
}

/// What belongs to the state that a transition ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail<'a> {
    /// Nothing that is not known from earlier transitions.
    None,
    /// Partitions were assigned.
    Assigned {
        /// The epoch of the assignment.
        epoch: AssignmentEpoch,
        /// How many partitions the process now has.
        partition_count: usize,
    },
    /// The chain goes on here.
    Position(Offset),
    /// Something stands in the way.
    Blocked(&'a str),
    /// The end of a segment is settled.
    Sealed {
        /// Why it ends there.
        reason: SealReason,
        /// The offset of its last record.
        final_offset: Offset,
        /// What was buffered, and never logged record by record.
        buffered: Buffered,
    },
    /// The spool file is complete: this is in it.
    Completed(SegmentContent),
    /// The store holds this under the segment's name.
    Stored(SegmentContent),
    /// This row is being written.
    Row(SegmentContent),
    /// This offset is being committed, or was.
    Commit {
        /// The offset after the stored object's end.
        next_offset: Offset,
    },
}

/// The records that a segment took while it was buffering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffered {
    /// How many.
    pub record_count: u64,
    /// Their bytes, before compression.
    pub record_bytes: u64,
}

impl<'a> Detail<'a> {
    /// Of a transition of the assignment chart.
    pub fn of_assignment(transition: &Transition<Assignment>) -> Detail<'static> {
        let partitions = &transition.chart.partitions;
        match (&transition.chart.state, partitions.values().max()) {
            (AssignmentState::Assigned, Some(&epoch)) => Detail::Assigned { epoch, partition_count: partitions.len() },
            _ => Detail::None,
        }
    }

    /// Of a transition of a partition's chart.
    pub fn of_partition(transition: &'a Transition<Partition>) -> Detail<'a> {
        match &transition.chart.state {
            PartitionState::Active { position }
            | PartitionState::WaitingForSlot { position }
            | PartitionState::WaitingForSpool { position }
            | PartitionState::Examining { position }
            | PartitionState::Leaving { position } => Detail::Position(*position),
            PartitionState::Relocating { from }
            | PartitionState::Doubting { from }
            | PartitionState::Retrying { from } => Detail::Position(*from),
            PartitionState::Frozen { reason } | PartitionState::Departing { reason, .. } => Detail::Blocked(reason),
            // A partition that is blocked while it leaves is not frozen any more, but the reason is told.
            PartitionState::Gone => transition.effects.iter().find_map(blocked).unwrap_or(Detail::None),
            PartitionState::Locating | PartitionState::Revoking => Detail::None,
        }
    }

    /// Of a transition of a segment's chart; `before` is the chart that it started from.
    pub fn of_segment(before: &Segment, transition: &Transition<Segment>, buffered: Buffered) -> Detail<'static> {
        match (&transition.chart.state, &before.state) {
            (SegmentState::Sealing { range, reason }, _) => {
                Detail::Sealed { reason: *reason, final_offset: range.final_offset(), buffered }
            }
            (SegmentState::AwaitingTurn { content }, _) => Detail::Completed(*content),
            (SegmentState::Mirroring { stored, .. } | SegmentState::AwaitingPredecessor { stored }, _) => {
                Detail::Stored(*stored)
            }
            (SegmentState::AwaitingIndexRow { stored, .. }, _) => Detail::Row(*stored),
            (SegmentState::AwaitingOffsetCommit { stored, .. }, _)
            | (SegmentState::Idle, SegmentState::AwaitingOffsetCommit { stored, .. }) => {
                Detail::Commit { next_offset: stored.range.next_offset() }
            }
            (SegmentState::Idle | SegmentState::Buffering { .. } | SegmentState::Uploading { .. }, _) => Detail::None,
        }
    }
}

fn blocked(effect: &PartitionEffect) -> Option<Detail<'_>> {
    match effect {
        PartitionEffect::ReportFrozen { reason } => Some(Detail::Blocked(reason)),
        _ => None,
    }
}
