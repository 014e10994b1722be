//! The chart of one segment on its way from the first record to the committed offset.
//!
//! It owns the order of the promise: object stored and verified, then index row, then offset committed.
//! The diagram is `docs/statecharts.md`, drawn from its table.
//!
//! Non-obvious:
//! * A segment is named by the chain's position, which may lie before its first record.
//! * Row and commit carry what the *store* holds. Where another writer's object was adopted, that is not
//!   what this process had sealed.
//! * A commit that fails changes nothing about the segment: it is stored, and is tried again.

use crate::boundary::SealReason;
use crate::chart::{Now, kinds};
use crate::offset::{Offset, OffsetRange};

mod table;

/// What is known of a segment's content: what it covers, and the hash by which contents are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentContent {
    /// The offsets covered.
    pub range: OffsetRange,
    /// The records in it.
    pub record_count: u64,
    /// BLAKE3 of the canonical bytes of all records; `None` for a file of the original tool.
    pub content_hash: Option<[u8; 32]>,
    /// The size of the whole file.
    pub file_bytes: u64,
    /// CRC-32C (Castagnoli) of the whole file.
    pub crc32c: u32,
}

/// One segment, from its first record until its offset is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Whether rows are written for segments.
    pub indexed: bool,
    /// Whether other stores than the arbiter are to hold segments, too.
    pub mirrored: bool,
    /// The state and what belongs to it.
    pub state: SegmentState,
}

/// Where a segment is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// No record yet, or all done.
    Idle,
    /// Records are appended to the spool file.
    Buffering {
        /// The first offset covered.
        start: Offset,
        /// When the first record arrived.
        opened_at: Now,
    },
    /// The end is settled; the spool file is being completed.
    Sealing {
        /// What it will cover.
        range: OffsetRange,
        /// Why it ends there.
        reason: SealReason,
    },
    /// The spool file is complete; an earlier segment of the partition is not resolved yet.
    AwaitingTurn {
        /// What was sealed.
        content: SegmentContent,
    },
    /// The arbiter is asked to store it, create-only.
    Uploading {
        /// What was sealed.
        content: SegmentContent,
        /// How many tries have failed.
        failures: u32,
    },
    /// The arbiter has it; the mirrors are being given the same bytes.
    Mirroring {
        /// What the arbiter holds.
        stored: SegmentContent,
        /// How many tries have failed.
        failures: u32,
    },
    /// Stored; rows and commits of earlier segments of the partition are still under way.
    AwaitingPredecessor {
        /// What the store holds.
        stored: SegmentContent,
    },
    /// The index row is being written.
    AwaitingIndexRow {
        /// What the store holds.
        stored: SegmentContent,
        /// How many tries have failed.
        failures: u32,
    },
    /// Stored, and in the index where there is one; the offset is being committed.
    AwaitingOffsetCommit {
        /// What the store holds.
        stored: SegmentContent,
        /// How many tries have failed.
        failures: u32,
    },
}

kinds! {
    /// The names of [`SegmentState`].
    SegmentStateKind of SegmentState {
        Idle, Buffering, Sealing, AwaitingTurn, Uploading, Mirroring, AwaitingPredecessor, AwaitingIndexRow,
        AwaitingOffsetCommit,
    }
}

impl SegmentStateKind {
    /// The name with its parent, as a PartitionWriter shows it: `Sealing.AwaitingTurn`, `Committing.AwaitingIndexRow`.
    pub const fn path(self) -> &'static str {
        match self {
            SegmentStateKind::Idle => "Idle",
            SegmentStateKind::Buffering => "Buffering",
            SegmentStateKind::Sealing => "Sealing.Completing",
            SegmentStateKind::AwaitingTurn => "Sealing.AwaitingTurn",
            SegmentStateKind::Uploading => "Uploading.Arbiter",
            SegmentStateKind::Mirroring => "Uploading.Mirrors",
            SegmentStateKind::AwaitingPredecessor => "Committing.AwaitingPredecessor",
            SegmentStateKind::AwaitingIndexRow => "Committing.AwaitingIndexRow",
            SegmentStateKind::AwaitingOffsetCommit => "Committing.AwaitingOffsetCommit",
        }
    }
}

/// What can happen to a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentEvent {
    /// The first record arrived.
    FirstRecord {
        /// The chain's position: it names the segment.
        start: Offset,
    },
    /// The boundary rule, or the clock, ended it.
    BoundaryReached {
        /// The offset of its last record.
        final_offset: Offset,
        /// Why it ends there.
        reason: SealReason,
    },
    /// The spool file is complete.
    SpoolCompleted {
        /// What it holds.
        content: SegmentContent,
    },
    /// All earlier segments of the partition are resolved: it may be uploaded.
    UploadGranted,
    /// The arbiter stored it and the stored object was verified.
    ObjectStored {
        /// What the store holds.
        stored: SegmentContent,
    },
    /// The name was taken, by an object that belongs to this chain and is whole.
    ObjectAlreadyExists {
        /// What the store holds.
        stored: SegmentContent,
    },
    /// The name was taken by something that must not be adopted, or the store refuses for good.
    ObjectConflicts,
    /// Every mirror has the bytes that the arbiter has.
    MirrorsStored,
    /// A mirror has something else under the name.
    MirrorsConflict,
    /// A mirror could not be written, or the arbiter not read.
    MirrorsFailed,
    /// The store could not be asked, or its answer was lost.
    StoreFailed,
    /// All earlier segments of the partition are committed: its row may be written, its offset committed.
    CommitGranted,
    /// The index has the row.
    IndexRowWritten,
    /// The index could not be asked, or its answer was lost.
    IndexFailed,
    /// The index has something else where the row belongs.
    IndexConflicts,
    /// Kafka has the offset.
    OffsetCommitted,
    /// Kafka refused the offset, or its answer was lost.
    CommitFailed,
    /// Nobody needs the offset any more: its topic is gone, or the group has given the partition to another member.
    CommitVoid,
    /// It is time to try again what failed.
    RetryDue,
    /// The partition gives up what it holds.
    Discarded,
}

kinds! {
    /// The names of [`SegmentEvent`].
    SegmentEventKind of SegmentEvent {
        FirstRecord, BoundaryReached, SpoolCompleted, UploadGranted, ObjectStored, ObjectAlreadyExists, ObjectConflicts,
        MirrorsStored, MirrorsConflict, MirrorsFailed, StoreFailed, CommitGranted, IndexRowWritten, IndexFailed, IndexConflicts, OffsetCommitted, CommitFailed, CommitVoid,
        RetryDue, Discarded,
    }
}

/// What a segment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentEffect {
    /// Open a spool file.
    OpenSpool {
        /// The first offset covered.
        start: Offset,
    },
    /// Write the last block and the header.
    CompleteSpool {
        /// What it covers.
        range: OffsetRange,
        /// Why it ends there.
        reason: SealReason,
    },
    /// Ask the arbiter to store the spool file under its name, create-only.
    StoreObject,
    /// Give the mirrors the bytes that the arbiter has, create-only.
    CopyToMirrors {
        /// What the arbiter holds.
        stored: SegmentContent,
    },
    /// Try again later what failed; the more failures, the later.
    RetryLater {
        /// How many tries have failed.
        failures: u32,
    },
    /// Write the index row of what the store holds.
    WriteIndexRow {
        /// What the store holds.
        stored: SegmentContent,
    },
    /// Commit the offset after what the store holds.
    CommitOffset {
        /// What the store holds.
        stored: SegmentContent,
    },
    /// Remove the spool file.
    DropSpool,
}

kinds! {
    /// The names of [`SegmentEffect`].
    SegmentEffectKind of SegmentEffect {
        OpenSpool, CompleteSpool, StoreObject, CopyToMirrors, RetryLater, WriteIndexRow, CommitOffset, DropSpool,
    }
}

impl Segment {
    /// A segment without records.
    pub fn new(indexed: bool, mirrored: bool) -> Segment {
        Segment { indexed, mirrored, state: SegmentState::Idle }
    }
}
