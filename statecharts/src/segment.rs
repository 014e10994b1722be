//! The chart of one segment on its way from the first record to the committed offset.
//!
//! It owns the order of the promise: object stored and verified, then index row, then offset committed.
//! The diagram is `docs/statecharts.md`, drawn from [`Segment::TABLE`].
//!
//! Non-obvious:
//! * A segment is named by the chain's position, which may lie before its first record.
//! * Row and commit carry what the *store* holds. Where another writer's object was adopted, that is not
//!   what this process had sealed.
//! * A commit that fails changes nothing about the segment: it is stored, and is tried again.

use crate::boundary::SealReason;
use crate::chart::{Chart, Guard, Now, Row, kinds};
use crate::offset::{Offset, OffsetRange};
use alloc::vec::Vec;

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
}

/// One segment, from its first record until its offset is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Whether rows are written for segments.
    pub indexed: bool,
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
        Idle, Buffering, Sealing, AwaitingTurn, Uploading, AwaitingPredecessor, AwaitingIndexRow, AwaitingOffsetCommit,
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
    /// The name was taken by something that must not be adopted.
    ObjectConflicts,
    /// The store could not be asked, or its answer was lost.
    StoreFailed,
    /// All earlier segments of the partition are committed: its row may be written, its offset committed.
    CommitGranted,
    /// The index has the row.
    IndexRowWritten,
    /// The index could not be asked, or its answer was lost.
    IndexFailed,
    /// Kafka has the offset.
    OffsetCommitted,
    /// Kafka refused the offset, or its answer was lost.
    CommitFailed,
    /// It is time to try again what failed.
    RetryDue,
    /// The partition gives up what it holds.
    Discarded,
}

kinds! {
    /// The names of [`SegmentEvent`].
    SegmentEventKind of SegmentEvent {
        FirstRecord, BoundaryReached, SpoolCompleted, UploadGranted, ObjectStored, ObjectAlreadyExists, ObjectConflicts,
        StoreFailed, CommitGranted, IndexRowWritten, IndexFailed, OffsetCommitted, CommitFailed, RetryDue, Discarded,
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
        OpenSpool, CompleteSpool, StoreObject, RetryLater, WriteIndexRow, CommitOffset, DropSpool,
    }
}

impl Segment {
    /// A segment without records.
    pub fn new(indexed: bool) -> Segment {
        Segment { indexed, state: SegmentState::Idle }
    }
}

use SegmentEffectKind as Do;
use SegmentEventKind as On;
use SegmentStateKind as In;

type Effects = Vec<SegmentEffect>;

const HAS_INDEX: Guard<Segment> = Guard { name: "with index", holds: |segment, _| segment.indexed };
const NO_INDEX: Guard<Segment> = Guard { name: "without index", holds: |segment, _| !segment.indexed };

const fn row(
    from: In,
    event: On,
    guard: Option<Guard<Segment>>,
    to: In,
    effects: &'static [Do],
    act: fn(&mut Segment, Now, SegmentEvent, &mut Effects),
) -> Row<Segment> {
    Row { from, event, guard, to, effects, act }
}

impl Chart for Segment {
    type Event = SegmentEvent;
    type Effect = SegmentEffect;
    type StateKind = SegmentStateKind;
    type EventKind = SegmentEventKind;
    type EffectKind = SegmentEffectKind;

    const NAME: &'static str = "segment";
    const INITIAL: In = In::Idle;
    const TABLE: &'static [Row<Segment>] = &[
        row(In::Idle, On::FirstRecord, None, In::Buffering, &[Do::OpenSpool], open),
        row(In::Buffering, On::BoundaryReached, None, In::Sealing, &[Do::CompleteSpool], seal),
        row(In::Buffering, On::Discarded, None, In::Idle, &[Do::DropSpool], finish),
        row(In::Sealing, On::SpoolCompleted, None, In::AwaitingTurn, &[], await_turn),
        row(In::Sealing, On::Discarded, None, In::Idle, &[Do::DropSpool], finish),
        row(In::AwaitingTurn, On::UploadGranted, None, In::Uploading, &[Do::StoreObject], upload),
        row(In::AwaitingTurn, On::Discarded, None, In::Idle, &[Do::DropSpool], finish),
        row(In::Uploading, On::ObjectStored, None, In::AwaitingPredecessor, &[Do::DropSpool], resolve),
        row(In::Uploading, On::ObjectAlreadyExists, None, In::AwaitingPredecessor, &[Do::DropSpool], resolve),
        row(In::Uploading, On::ObjectConflicts, None, In::Idle, &[Do::DropSpool], finish),
        row(In::Uploading, On::StoreFailed, None, In::Uploading, &[Do::RetryLater], retry_later),
        row(In::Uploading, On::RetryDue, None, In::Uploading, &[Do::StoreObject], retry),
        row(In::Uploading, On::Discarded, None, In::Idle, &[Do::DropSpool], finish),
        row(
            In::AwaitingPredecessor,
            On::CommitGranted,
            Some(HAS_INDEX),
            In::AwaitingIndexRow,
            &[Do::WriteIndexRow],
            index,
        ),
        row(
            In::AwaitingPredecessor,
            On::CommitGranted,
            Some(NO_INDEX),
            In::AwaitingOffsetCommit,
            &[Do::CommitOffset],
            commit,
        ),
        row(In::AwaitingPredecessor, On::Discarded, None, In::Idle, &[], forget),
        row(In::AwaitingIndexRow, On::IndexRowWritten, None, In::AwaitingOffsetCommit, &[Do::CommitOffset], commit),
        row(In::AwaitingIndexRow, On::IndexFailed, None, In::AwaitingIndexRow, &[Do::RetryLater], retry_later),
        row(In::AwaitingIndexRow, On::RetryDue, None, In::AwaitingIndexRow, &[Do::WriteIndexRow], retry),
        row(In::AwaitingIndexRow, On::Discarded, None, In::Idle, &[], forget),
        row(In::AwaitingOffsetCommit, On::OffsetCommitted, None, In::Idle, &[], forget),
        row(In::AwaitingOffsetCommit, On::CommitFailed, None, In::AwaitingOffsetCommit, &[Do::RetryLater], retry_later),
        row(In::AwaitingOffsetCommit, On::RetryDue, None, In::AwaitingOffsetCommit, &[Do::CommitOffset], retry),
        row(In::AwaitingOffsetCommit, On::Discarded, None, In::Idle, &[], forget),
    ];
    /// After a discard, answers to what was asked before it may still arrive.
    const STALE: &'static [(In, On)] = &[
        (In::Idle, On::SpoolCompleted),
        (In::Idle, On::ObjectStored),
        (In::Idle, On::ObjectAlreadyExists),
        (In::Idle, On::ObjectConflicts),
        (In::Idle, On::StoreFailed),
        (In::Idle, On::IndexRowWritten),
        (In::Idle, On::IndexFailed),
        (In::Idle, On::OffsetCommitted),
        (In::Idle, On::CommitFailed),
        (In::Idle, On::RetryDue),
    ];

    fn state(&self) -> In {
        self.state.kind()
    }

    fn event_kind(event: &SegmentEvent) -> On {
        event.kind()
    }

    fn effect_kind(effect: &SegmentEffect) -> Do {
        effect.kind()
    }
}

fn open(segment: &mut Segment, now: Now, event: SegmentEvent, effects: &mut Effects) {
    if let SegmentEvent::FirstRecord { start } = event {
        segment.state = SegmentState::Buffering { start, opened_at: now };
        effects.push(SegmentEffect::OpenSpool { start });
    }
}

fn seal(segment: &mut Segment, _: Now, event: SegmentEvent, effects: &mut Effects) {
    if let (SegmentState::Buffering { start, .. }, SegmentEvent::BoundaryReached { final_offset, reason }) =
        (&segment.state, event)
    {
        let range = OffsetRange::new(*start, final_offset).expect("a segment ends at or after its start");
        segment.state = SegmentState::Sealing { range, reason };
        effects.push(SegmentEffect::CompleteSpool { range, reason });
    }
}

fn await_turn(segment: &mut Segment, _: Now, event: SegmentEvent, _: &mut Effects) {
    if let (SegmentState::Sealing { range, .. }, SegmentEvent::SpoolCompleted { content }) = (&segment.state, event) {
        assert_eq!(content.range, *range, "the spool file covers other offsets than were sealed");
        segment.state = SegmentState::AwaitingTurn { content };
    }
}

fn upload(segment: &mut Segment, _: Now, _: SegmentEvent, effects: &mut Effects) {
    if let SegmentState::AwaitingTurn { content } = segment.state {
        segment.state = SegmentState::Uploading { content, failures: 0 };
        effects.push(SegmentEffect::StoreObject);
    }
}

fn resolve(segment: &mut Segment, _: Now, event: SegmentEvent, effects: &mut Effects) {
    if let SegmentEvent::ObjectStored { stored } | SegmentEvent::ObjectAlreadyExists { stored } = event {
        segment.state = SegmentState::AwaitingPredecessor { stored };
        effects.push(SegmentEffect::DropSpool);
    }
}

fn index(segment: &mut Segment, _: Now, _: SegmentEvent, effects: &mut Effects) {
    if let SegmentState::AwaitingPredecessor { stored } = segment.state {
        segment.state = SegmentState::AwaitingIndexRow { stored, failures: 0 };
        effects.push(SegmentEffect::WriteIndexRow { stored });
    }
}

fn commit(segment: &mut Segment, _: Now, _: SegmentEvent, effects: &mut Effects) {
    if let SegmentState::AwaitingPredecessor { stored } | SegmentState::AwaitingIndexRow { stored, .. } = segment.state
    {
        segment.state = SegmentState::AwaitingOffsetCommit { stored, failures: 0 };
        effects.push(SegmentEffect::CommitOffset { stored });
    }
}

fn retry_later(segment: &mut Segment, _: Now, _: SegmentEvent, effects: &mut Effects) {
    if let SegmentState::Uploading { failures, .. }
    | SegmentState::AwaitingIndexRow { failures, .. }
    | SegmentState::AwaitingOffsetCommit { failures, .. } = &mut segment.state
    {
        *failures = failures.saturating_add(1);
        effects.push(SegmentEffect::RetryLater { failures: *failures });
    }
}

fn retry(segment: &mut Segment, _: Now, _: SegmentEvent, effects: &mut Effects) {
    match segment.state {
        SegmentState::Uploading { .. } => effects.push(SegmentEffect::StoreObject),
        SegmentState::AwaitingIndexRow { stored, .. } => effects.push(SegmentEffect::WriteIndexRow { stored }),
        SegmentState::AwaitingOffsetCommit { stored, .. } => effects.push(SegmentEffect::CommitOffset { stored }),
        _ => {}
    }
}

fn finish(segment: &mut Segment, _: Now, _: SegmentEvent, effects: &mut Effects) {
    segment.state = SegmentState::Idle;
    effects.push(SegmentEffect::DropSpool);
}

fn forget(segment: &mut Segment, _: Now, _: SegmentEvent, _: &mut Effects) {
    segment.state = SegmentState::Idle;
}
