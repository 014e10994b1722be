//! The chart of one assigned partition: its position, and the order of its segments.
//!
//! It decides when records may be fetched, when a sealed segment may be uploaded and when it may be
//! committed, and what is given up when the chain turns out to go on elsewhere.
//! The diagram is `docs/statecharts.md`, drawn from its table.
//!
//! Non-obvious:
//! * Segment n + 1 is named by the *stored* end of segment n, so its upload waits until n is resolved.
//! * When a stored object ends elsewhere than the sealed segment, everything held beyond it is void: it
//!   is discarded, and the chain is walked on from the stored end. The walk waits until what is stored has
//!   its row and its commit, for it may find later objects and give them theirs.
//! * Where the topic is gone, or may be, nothing can be read again: what is held beyond the stored end is taken from
//!   the spool into segments that follow on.
//! * `position` alone cannot tell a stale record: after a seek back to 5, a queued record 6 passes
//!   `offset >= position`, and 5 would be lost. Hence the seek epoch.

use crate::chart::kinds;
use crate::offset::{Offset, OffsetRange};
use alloc::collections::VecDeque;
use alloc::string::String;

mod acts;
mod table;

/// Counts the assignments of a process: what an earlier assignment asked for is void in a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssignmentEpoch(pub u64);

/// Counts the starts of fetching within one assignment: records that an earlier start fetched are stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeekEpoch(pub u64);

impl SeekEpoch {
    /// The epoch of the next start.
    #[must_use]
    pub const fn next(self) -> SeekEpoch {
        SeekEpoch(self.0 + 1)
    }
}

/// One assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// How many sealed segments may be on their way before buffering waits.
    pub sealed_max: usize,
    /// The epoch of the present or the next start of fetching.
    pub seek_epoch: SeekEpoch,
    /// Sealed segments on their way, oldest first.
    pub sealed: VecDeque<Sealed>,
    /// The state and what belongs to it.
    pub state: PartitionState,
}

/// A sealed segment, as far as the order of segments is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// What it covers.
    pub range: OffsetRange,
    /// How far it has come.
    pub progress: Progress,
}

/// How far a sealed segment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Its spool file is not complete yet.
    Completing,
    /// It could be uploaded.
    Ready,
    /// It is being uploaded: what the store holds under its name is not known.
    Uploading,
    /// The store holds it.
    Resolved,
    /// Its row is being written or its offset committed.
    Committing,
}

/// The state of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionState {
    /// The chain is being walked; nothing is fetched.
    Locating,
    /// Records are fetched and buffered.
    Active {
        /// The offset after the last sealed segment: the name of the open or the next one.
        position: Offset,
    },
    /// As many sealed segments as may be are on their way; records wait in the queue.
    WaitingForSlot {
        /// As in `Active`.
        position: Offset,
    },
    /// The spool had no room for the open or the next segment; nothing is fetched until it has room for a whole one.
    WaitingForSpool {
        /// As in `Active`.
        position: Offset,
    },
    /// The log does not continue where it was read. Records are kept until the cause is known; nothing is fetched,
    /// sealed or uploaded.
    Examining {
        /// As in `Active`.
        position: Offset,
    },
    /// The record that the chain ends with is not in the log. One look proves nothing: the chain is located again
    /// after a minute.
    Doubting {
        /// End of the chain.
        from: Offset,
    },
    /// Something outside failed that passes, and what was held is lost with it: a file of the spool, mostly. After a while
    /// the chain is located again, and what is not stored is fetched again.
    Retrying {
        /// End of what is committed.
        from: Offset,
    },
    /// The chain goes on elsewhere than was thought, or Kafka does not have what comes next; what is sealed or stored
    /// is finished before the chain is walked on.
    Relocating {
        /// From here.
        from: Offset,
    },
    /// The group took the partition away while records are held. They are kept until the topic's id is known: a
    /// deletion arrives as a revocation.
    Leaving {
        /// As in `Active`.
        position: Offset,
    },
    /// The topic was deleted or re-created. Records read before are archived, since no log has them any more.
    Departing {
        /// As in `Active`.
        position: Offset,
        /// Cause, and a way out.
        reason: String,
        /// True while the group still assigns the partition to this process.
        assigned: bool,
        /// True once no record waits to be sealed.
        drained: bool,
    },
    /// The process is stopping: nothing is fetched, sealed segments finish.
    Revoking,
    /// Something that must not be skipped stands in the way. The chain is located again from time to time, when somebody
    /// asks for it, and at the next assignment.
    Frozen {
        /// What, and what to do about it.
        reason: String,
    },
    /// No longer ours.
    Gone,
}

kinds! {
    /// The names of [`PartitionState`].
    PartitionStateKind of PartitionState {
        Locating, Active, WaitingForSlot, WaitingForSpool, Examining, Doubting, Retrying, Relocating, Leaving, Departing,
        Revoking, Frozen, Gone,
    }
}

/// What can happen to a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionEvent {
    /// The walk found where the chain goes on.
    Located {
        /// The next offset to archive.
        position: Offset,
    },
    /// The walk found something that must not be skipped, or Kafka or a store reported it.
    Blocked {
        /// What, and what to do about it.
        reason: String,
    },
    /// What was held is lost, for a reason that passes; Kafka still has it.
    Interrupted,
    /// The log does not continue where it was read: the offset is out of range, or another record is there.
    LogBroken,
    /// The log is the one that was read, and still holds what comes next.
    LogUnchanged,
    /// Kafka deleted what comes next.
    RetentionPassed,
    /// The log no longer holds what was read, from the chain's end or an offset beyond it on.
    LogCut,
    /// The log does not hold the record that the chain ends with, by one look.
    HistoryDoubted,
    /// It is time to look again.
    LookDue,
    /// Everything that was read is sealed, and nothing more comes.
    InputEnded,
    /// The topic was deleted, or another one has its name.
    TopicGone {
        /// Cause, and a way out.
        reason: String,
    },
    /// The topic is still the one that the chain is of.
    TopicConfirmed,
    /// The spool has no room for the open or the next segment.
    SpoolShort,
    /// The spool has set room aside for a whole segment.
    SpoolGranted,
    /// The open segment reached its boundary.
    SegmentSealed {
        /// What it covers.
        range: OffsetRange,
    },
    /// The spool file of a sealed segment is complete.
    SpoolCompleted {
        /// The segment's start.
        start: Offset,
    },
    /// It is known what the store holds under a segment's name.
    SegmentResolved {
        /// The segment's start.
        start: Offset,
        /// The offset after the stored object's end.
        stored_next: Offset,
        /// True if the stored object ends with the record that the sealed one ends with. Otherwise what is held may be of
        /// another history than what is stored, also where both end at one offset.
        same_end: bool,
    },
    /// A segment's offset is committed.
    SegmentCommitted {
        /// The segment's start.
        start: Offset,
    },
    /// The group took the partition away.
    Revoked,
    /// The group took the partition away while records are held that may be in no log any more.
    RevokedHolding,
    /// The process is stopping.
    DrainRequested,
}

kinds! {
    /// The names of [`PartitionEvent`].
    PartitionEventKind of PartitionEvent {
        Located, Blocked, Interrupted, LogBroken, LogUnchanged, RetentionPassed, LogCut, HistoryDoubted, LookDue,
        InputEnded, TopicGone, TopicConfirmed, SpoolShort, SpoolGranted, SegmentSealed, SpoolCompleted, SegmentResolved, SegmentCommitted, Revoked,
        RevokedHolding, DrainRequested,
    }
}

/// What a partition asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionEffect {
    /// Fetch from here on; what was fetched under an earlier epoch is void.
    StartFetching {
        /// The first offset wanted.
        position: Offset,
        /// The epoch that fetched records carry.
        seek_epoch: SeekEpoch,
    },
    /// Fetch no more.
    StopFetching,
    /// Fetch again after the last record held.
    FetchOn {
        /// The epoch that fetched records carry.
        seek_epoch: SeekEpoch,
    },
    /// Find out why the log does not continue.
    Examine,
    /// Look again after a while.
    LookLater,
    /// Ask whether the topic still exists and is the same.
    AskTopic,
    /// Stand in line for room in the spool.
    AwaitSpool,
    /// Take queued records up again.
    ResumeBuffering,
    /// The sealed segment may be uploaded.
    GrantUpload {
        /// Its start.
        start: Offset,
    },
    /// The stored segment may be indexed and committed.
    GrantCommit {
        /// Its start.
        start: Offset,
    },
    /// Give up queued records and the open segment.
    DiscardOpen,
    /// Give up queued records, the open segment, and sealed ones that are not resolved.
    DiscardUnresolved,
    /// Give up the open segment, and sealed ones that are not resolved. Their records and the queued ones are kept and
    /// taken again from here on: no log may have them any more.
    TakeAgain {
        /// The offset after what the store holds.
        from: Offset,
    },
    /// Give up everything.
    DiscardAll,
    /// Walk the chain on.
    Locate {
        /// From here.
        from: Offset,
    },
    /// Walk the chain, of which no end is known any more.
    LocateAnew,
    /// Tell the operator.
    ReportFrozen {
        /// What, and what to do about it.
        reason: String,
    },
    /// Tell the Consumer that nothing is left to do.
    ReportGone,
}

kinds! {
    /// The names of [`PartitionEffect`].
    PartitionEffectKind of PartitionEffect {
        StartFetching, StopFetching, FetchOn, Examine, LookLater, AskTopic, AwaitSpool, ResumeBuffering, GrantUpload,
        GrantCommit, DiscardOpen, DiscardUnresolved, TakeAgain, DiscardAll, Locate, LocateAnew, ReportFrozen,
        ReportGone,
    }
}

impl Partition {
    /// A partition that was just assigned; the caller starts the walk.
    pub fn new(sealed_max: usize) -> Partition {
        Partition {
            sealed_max,
            seek_epoch: SeekEpoch::default(),
            sealed: VecDeque::new(),
            state: PartitionState::Locating,
        }
    }

    /// The name of the open or the next segment, while records of it are wanted.
    pub fn position(&self) -> Option<Offset> {
        match self.state {
            PartitionState::Active { position } | PartitionState::WaitingForSlot { position } => Some(position),
            _ => None,
        }
    }

    /// The name of the open or the next segment, while records that were read are kept.
    pub fn kept_position(&self) -> Option<Offset> {
        match self.state {
            PartitionState::Examining { position }
            | PartitionState::Leaving { position }
            | PartitionState::Departing { position, .. } => Some(position),
            _ => self.position(),
        }
    }

    /// The offset after the last sealed segment, while records may be held that the store does not hold.
    pub fn held_position(&self) -> Option<Offset> {
        match self.state {
            PartitionState::WaitingForSpool { position } | PartitionState::Relocating { from: position } => {
                Some(position)
            }
            _ => self.kept_position(),
        }
    }

    /// True while queued records are to be taken into segments.
    pub fn takes_records(&self) -> bool {
        matches!(self.state, PartitionState::Active { .. } | PartitionState::Departing { drained: false, .. })
    }
}
