//! The rows of the segment chart, and what each does.

use super::{
    Segment, SegmentEffect, SegmentEffectKind, SegmentEvent, SegmentEventKind, SegmentState, SegmentStateKind,
};
use crate::chart::{Chart, Guard, Now, Row};
use crate::offset::OffsetRange;
use alloc::vec::Vec;

use SegmentEffectKind as Do;
use SegmentEventKind as On;
use SegmentStateKind as In;

type Effects = Vec<SegmentEffect>;

const HAS_INDEX: Guard<Segment> = Guard { name: "with index", holds: |segment, _| segment.indexed };
const NO_INDEX: Guard<Segment> = Guard { name: "without index", holds: |segment, _| !segment.indexed };
const NOT_EMPTY: Guard<Segment> = Guard { name: "it has a record", holds: |segment, event| segment.ends_well(event) };
const AS_SEALED: Guard<Segment> = Guard { name: "as sealed", holds: |segment, event| segment.is_as_sealed(event) };
const STORED: Guard<Segment> = Guard {
    name: "as sealed, without mirrors",
    holds: |segment, event| !segment.mirrored && segment.is_as_sealed(event),
};
const STORED_MIRRORED: Guard<Segment> =
    Guard { name: "as sealed, with mirrors", holds: |segment, event| segment.mirrored && segment.is_as_sealed(event) };
const EXISTS: Guard<Segment> = Guard {
    name: "same start, without mirrors",
    holds: |segment, event| !segment.mirrored && segment.has_same_start(event),
};
const EXISTS_MIRRORED: Guard<Segment> = Guard {
    name: "same start, with mirrors",
    holds: |segment, event| segment.mirrored && segment.has_same_start(event),
};

impl Chart for Segment {
    type Event = SegmentEvent;
    type Effect = SegmentEffect;
    type StateKind = SegmentStateKind;
    type EventKind = SegmentEventKind;
    type EffectKind = SegmentEffectKind;

    const NAME: &'static str = "segment";
    const INITIAL: In = In::Idle;
    const TABLE: &'static [Row<Segment>] = &[
        Row::new(In::Idle, On::FirstRecord, None, In::Buffering, &[Do::OpenSpool], open),
        Row::new(In::Buffering, On::BoundaryReached, Some(NOT_EMPTY), In::Sealing, &[Do::CompleteSpool], seal),
        Row::new(In::Buffering, On::Discarded, None, In::Idle, &[Do::DropSpool], finish),
        Row::new(In::Sealing, On::SpoolCompleted, Some(AS_SEALED), In::AwaitingTurn, &[], await_turn),
        Row::new(In::Sealing, On::Discarded, None, In::Idle, &[Do::DropSpool], finish),
        Row::new(In::AwaitingTurn, On::UploadGranted, None, In::Uploading, &[Do::StoreObject], upload),
        Row::new(In::AwaitingTurn, On::Discarded, None, In::Idle, &[Do::DropSpool], finish),
        Row::new(In::Uploading, On::ObjectStored, Some(STORED), In::AwaitingPredecessor, &[Do::DropSpool], resolve),
        Row::new(In::Uploading, On::ObjectStored, Some(STORED_MIRRORED), In::Mirroring, &[Do::CopyToMirrors], mirror),
        Row::new(
            In::Uploading,
            On::ObjectAlreadyExists,
            Some(EXISTS),
            In::AwaitingPredecessor,
            &[Do::DropSpool],
            resolve,
        ),
        Row::new(
            In::Uploading,
            On::ObjectAlreadyExists,
            Some(EXISTS_MIRRORED),
            In::Mirroring,
            &[Do::CopyToMirrors],
            mirror,
        ),
        Row::new(In::Uploading, On::ObjectConflicts, None, In::Idle, &[Do::DropSpool], finish),
        Row::new(In::Uploading, On::StoreFailed, None, In::Uploading, &[Do::RetryLater], retry_later),
        Row::new(In::Uploading, On::RetryDue, None, In::Uploading, &[Do::StoreObject], retry),
        Row::new(In::Uploading, On::Discarded, None, In::Idle, &[Do::DropSpool], finish),
        Row::new(In::Mirroring, On::MirrorsStored, None, In::AwaitingPredecessor, &[Do::DropSpool], mirrored),
        Row::new(In::Mirroring, On::MirrorsConflict, None, In::Idle, &[Do::DropSpool], finish),
        Row::new(In::Mirroring, On::MirrorsFailed, None, In::Mirroring, &[Do::RetryLater], retry_later),
        Row::new(In::Mirroring, On::RetryDue, None, In::Mirroring, &[Do::CopyToMirrors], retry),
        Row::new(In::Mirroring, On::Discarded, None, In::Idle, &[Do::DropSpool], finish),
        Row::new(
            In::AwaitingPredecessor,
            On::CommitGranted,
            Some(HAS_INDEX),
            In::AwaitingIndexRow,
            &[Do::WriteIndexRow],
            index,
        ),
        Row::new(
            In::AwaitingPredecessor,
            On::CommitGranted,
            Some(NO_INDEX),
            In::AwaitingOffsetCommit,
            &[Do::CommitOffset],
            commit,
        ),
        Row::new(In::AwaitingPredecessor, On::Discarded, None, In::Idle, &[], forget),
        Row::new(
            In::AwaitingIndexRow,
            On::IndexRowWritten,
            None,
            In::AwaitingOffsetCommit,
            &[Do::CommitOffset],
            commit,
        ),
        Row::new(In::AwaitingIndexRow, On::IndexFailed, None, In::AwaitingIndexRow, &[Do::RetryLater], retry_later),
        Row::new(In::AwaitingIndexRow, On::IndexConflicts, None, In::Idle, &[], forget),
        Row::new(In::AwaitingIndexRow, On::RetryDue, None, In::AwaitingIndexRow, &[Do::WriteIndexRow], retry),
        Row::new(In::AwaitingIndexRow, On::Discarded, None, In::Idle, &[], forget),
        Row::new(In::AwaitingOffsetCommit, On::OffsetCommitted, None, In::Idle, &[], forget),
        Row::new(
            In::AwaitingOffsetCommit,
            On::CommitFailed,
            None,
            In::AwaitingOffsetCommit,
            &[Do::RetryLater],
            retry_later,
        ),
        Row::new(In::AwaitingOffsetCommit, On::CommitVoid, None, In::Idle, &[], forget),
        Row::new(In::AwaitingOffsetCommit, On::RetryDue, None, In::AwaitingOffsetCommit, &[Do::CommitOffset], retry),
        Row::new(In::AwaitingOffsetCommit, On::Discarded, None, In::Idle, &[], forget),
    ];
    /// After a discard, answers to what was asked before it may still arrive.
    const STALE: &'static [(In, On)] = &[
        (In::Idle, On::SpoolCompleted),
        (In::Idle, On::ObjectStored),
        (In::Idle, On::ObjectAlreadyExists),
        (In::Idle, On::ObjectConflicts),
        (In::Idle, On::MirrorsStored),
        (In::Idle, On::MirrorsConflict),
        (In::Idle, On::MirrorsFailed),
        (In::Idle, On::StoreFailed),
        (In::Idle, On::IndexRowWritten),
        (In::Idle, On::IndexFailed),
        (In::Idle, On::IndexConflicts),
        (In::Idle, On::OffsetCommitted),
        (In::Idle, On::CommitFailed),
        (In::Idle, On::CommitVoid),
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

/// What the guards ask.
impl Segment {
    fn ends_well(&self, event: &SegmentEvent) -> bool {
        matches!((&self.state, event), (SegmentState::Buffering { start, .. }, SegmentEvent::BoundaryReached { final_offset, .. })
            if start <= final_offset)
    }

    fn is_as_sealed(&self, event: &SegmentEvent) -> bool {
        match (&self.state, event) {
            (SegmentState::Sealing { range, .. }, SegmentEvent::SpoolCompleted { content }) => content.range == *range,
            (SegmentState::Uploading { content, .. }, SegmentEvent::ObjectStored { stored }) => stored == content,
            _ => false,
        }
    }

    fn has_same_start(&self, event: &SegmentEvent) -> bool {
        matches!((&self.state, event), (SegmentState::Uploading { content, .. }, SegmentEvent::ObjectAlreadyExists { stored })
            if stored.range.start() == content.range.start())
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
        let range = OffsetRange::new(*start, final_offset).expect("guarded by `it has a record`");
        segment.state = SegmentState::Sealing { range, reason };
        effects.push(SegmentEffect::CompleteSpool { range, reason });
    }
}

fn await_turn(segment: &mut Segment, _: Now, event: SegmentEvent, _: &mut Effects) {
    if let SegmentEvent::SpoolCompleted { content } = event {
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

fn mirror(segment: &mut Segment, _: Now, event: SegmentEvent, effects: &mut Effects) {
    if let SegmentEvent::ObjectStored { stored } | SegmentEvent::ObjectAlreadyExists { stored } = event {
        segment.state = SegmentState::Mirroring { stored, failures: 0 };
        effects.push(SegmentEffect::CopyToMirrors { stored });
    }
}

fn mirrored(segment: &mut Segment, _: Now, _: SegmentEvent, effects: &mut Effects) {
    if let SegmentState::Mirroring { stored, .. } = segment.state {
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
    | SegmentState::Mirroring { failures, .. }
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
        SegmentState::Mirroring { stored, .. } => effects.push(SegmentEffect::CopyToMirrors { stored }),
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
