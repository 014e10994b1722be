//! The rows of the partition chart, and their conditions.

use super::acts::{
    ask_topic, commit_and_read_again, committed, completed, depart, doubt, drain, drained, end_frozen, examine,
    fetch_again, fetch_on, finish_first, freeze, give_up_open, give_up_the_rest, keep_open, leave, leave_blocked,
    locate_anew, look_again, no_longer_ours, read_again, relocate, resolved, retry_later, sealed, start_fetching,
    take_again, take_the_rest, walk_again, walk_on,
};
use super::{
    Partition, PartitionEffect, PartitionEffectKind, PartitionEvent, PartitionEventKind, PartitionState,
    PartitionStateKind, Progress, Sealed,
};
use crate::chart::{Chart, Guard, Row};
use crate::offset::Offset;

use PartitionEffectKind as Do;
use PartitionEventKind as On;
use PartitionStateKind as In;

const ROOM_LEFT: Guard<Partition> = Guard {
    name: "room for another",
    holds: |partition, event| partition.follows_on(event) && partition.sealed.len() + 1 < partition.sealed_max,
};
const NO_ROOM_LEFT: Guard<Partition> = Guard {
    name: "no room for another",
    holds: |partition, event| partition.follows_on(event) && partition.sealed.len() + 1 >= partition.sealed_max,
};
const WAS_COMPLETING: Guard<Partition> =
    Guard { name: "it was being completed", holds: |partition, event| partition.was_completing(event) };
const AS_SEALED: Guard<Partition> =
    Guard { name: "stored as sealed", holds: |partition, event| partition.stored_as_sealed(event) == Some(true) };
const ENDS_ELSEWHERE: Guard<Partition> = Guard {
    name: "stored object ends otherwise",
    holds: |partition, event| partition.stored_as_sealed(event) == Some(false),
};
const OLDEST: Guard<Partition> =
    Guard { name: "it was the oldest", holds: |partition, event| partition.was_committing(event) };
const OTHERS_GO_ON: Guard<Partition> = Guard {
    name: "others go on",
    holds: |partition, event| partition.was_committing(event) && partition.sealed.len() > 1,
};
const LAST_ONE: Guard<Partition> = Guard {
    name: "it was the last",
    holds: |partition, event| partition.was_committing(event) && partition.sealed.len() == 1,
};
const SLOT_FREE: Guard<Partition> =
    Guard { name: "a slot is free", holds: |partition, _| partition.sealed.len() < partition.sealed_max };
const NO_SLOT: Guard<Partition> =
    Guard { name: "no slot is free", holds: |partition, _| partition.sealed.len() >= partition.sealed_max };
const NONE_STORED: Guard<Partition> = Guard { name: "none stored", holds: |partition, _| !partition.has_stored() };
const SOME_STORED: Guard<Partition> = Guard { name: "some stored", holds: |partition, _| partition.has_stored() };
const FOLLOWS_ON: Guard<Partition> =
    Guard { name: "it follows on", holds: |partition, event| partition.follows_on(event) };
const STILL_OURS: Guard<Partition> = Guard {
    name: "nothing left, still ours",
    holds: |partition, event| partition.leaves_nothing(event) == Some(true) && partition.is_assigned(),
};
const NO_LONGER_OURS: Guard<Partition> = Guard {
    name: "nothing left, no longer ours",
    holds: |partition, event| partition.leaves_nothing(event) == Some(true) && !partition.is_assigned(),
};
const SOMETHING_LEFT: Guard<Partition> =
    Guard { name: "something left", holds: |partition, event| partition.leaves_nothing(event) == Some(false) };
const ASSIGNED: Guard<Partition> = Guard { name: "still ours", holds: |partition, _| partition.is_assigned() };
const NOT_ASSIGNED: Guard<Partition> = Guard { name: "no longer ours", holds: |partition, _| !partition.is_assigned() };
const NONE_SEALED: Guard<Partition> = Guard { name: "none sealed", holds: |partition, _| partition.sealed.is_empty() };
const SOME_SEALED: Guard<Partition> = Guard { name: "some sealed", holds: |partition, _| !partition.sealed.is_empty() };

const UPLOADS: &[Do] = &[Do::GrantUpload];
const COMMITS: &[Do] = &[Do::GrantCommit];
const GRANTS: &[Do] = &[Do::GrantUpload, Do::GrantCommit];
const COMMITS_AND_RESUMES: &[Do] = &[Do::GrantCommit, Do::ResumeBuffering];
const WALKS: &[Do] = &[Do::StopFetching, Do::Locate];
const EXAMINES: &[Do] = &[Do::StopFetching, Do::Examine];
const FETCHES_ON: &[Do] = &[Do::GrantUpload, Do::FetchOn];
const TAKES_THE_REST: &[Do] = &[Do::GrantUpload, Do::ResumeBuffering];
const READS_AGAIN: &[Do] = &[Do::DiscardUnresolved, Do::Locate];
const LOOKS_LATER: &[Do] = &[Do::DiscardAll, Do::LookLater];
const ASKS: &[Do] = &[Do::StopFetching, Do::AskTopic];
const DEPARTS: &[Do] = &[Do::StopFetching, Do::ResumeBuffering];
const DEPARTS_AND_UPLOADS: &[Do] = &[Do::StopFetching, Do::GrantUpload, Do::ResumeBuffering];
const ENDS_FROZEN: &[Do] = &[Do::ReportFrozen];
const RELOCATES: &[Do] = &[Do::StopFetching, Do::DiscardUnresolved, Do::GrantCommit];
const TAKES_AGAIN: &[Do] = &[Do::TakeAgain, Do::GrantCommit];
const FREEZES: &[Do] = &[Do::StopFetching, Do::DiscardAll, Do::ReportFrozen, Do::LookLater];
const RETRIES: &[Do] = &[Do::StopFetching, Do::DiscardAll, Do::LookLater];
const DRAINS: &[Do] = &[Do::StopFetching, Do::DiscardOpen];
const GIVES_UP: &[Do] = &[Do::StopFetching, Do::DiscardOpen, Do::AwaitSpool];
const LEAVES: &[Do] = &[Do::StopFetching, Do::DiscardAll, Do::ReportGone];
const LEAVES_BLOCKED: &[Do] = &[Do::ReportFrozen, Do::StopFetching, Do::DiscardAll, Do::ReportGone];

impl Chart for Partition {
    type Event = PartitionEvent;
    type Effect = PartitionEffect;
    type StateKind = PartitionStateKind;
    type EventKind = PartitionEventKind;
    type EffectKind = PartitionEffectKind;

    const NAME: &'static str = "partition";
    const INITIAL: In = In::Locating;
    const TABLE: &'static [Row<Partition>] = &[
        Row::new(In::Locating, On::Located, None, In::Active, &[Do::StartFetching], start_fetching),
        Row::new(In::Locating, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::Locating, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Locating, On::DrainRequested, None, In::Gone, LEAVES, leave),
        Row::new(In::Active, On::SegmentSealed, Some(ROOM_LEFT), In::Active, &[], sealed),
        Row::new(In::Active, On::SegmentSealed, Some(NO_ROOM_LEFT), In::WaitingForSlot, &[], sealed),
        Row::new(In::Active, On::SpoolCompleted, Some(WAS_COMPLETING), In::Active, UPLOADS, completed),
        Row::new(In::Active, On::SegmentResolved, Some(AS_SEALED), In::Active, GRANTS, resolved),
        Row::new(In::Active, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Relocating, RELOCATES, relocate),
        Row::new(In::Active, On::SegmentCommitted, Some(OLDEST), In::Active, COMMITS, committed),
        Row::new(In::Active, On::SpoolShort, None, In::WaitingForSpool, GIVES_UP, give_up_open),
        Row::new(In::Active, On::InputEnded, Some(NONE_SEALED), In::Locating, WALKS, walk_again),
        Row::new(In::Active, On::InputEnded, Some(SOME_SEALED), In::Relocating, &[Do::StopFetching], finish_first),
        Row::new(In::Active, On::LogBroken, None, In::Examining, EXAMINES, examine),
        Row::new(In::Active, On::TopicGone, None, In::Departing, DEPARTS, depart),
        Row::new(In::Active, On::RevokedHolding, None, In::Leaving, ASKS, ask_topic),
        Row::new(In::Active, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::Active, On::Interrupted, None, In::Retrying, RETRIES, retry_later),
        Row::new(In::Active, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Active, On::DrainRequested, Some(NONE_SEALED), In::Gone, LEAVES, leave),
        Row::new(In::Active, On::DrainRequested, Some(SOME_SEALED), In::Revoking, DRAINS, drain),
        Row::new(In::WaitingForSlot, On::SpoolCompleted, Some(WAS_COMPLETING), In::WaitingForSlot, UPLOADS, completed),
        Row::new(In::WaitingForSlot, On::SegmentResolved, Some(AS_SEALED), In::WaitingForSlot, GRANTS, resolved),
        Row::new(In::WaitingForSlot, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Relocating, RELOCATES, relocate),
        Row::new(In::WaitingForSlot, On::SegmentCommitted, Some(OLDEST), In::Active, COMMITS_AND_RESUMES, committed),
        Row::new(In::WaitingForSlot, On::InputEnded, None, In::Relocating, &[Do::StopFetching], finish_first),
        Row::new(In::WaitingForSlot, On::LogBroken, None, In::Examining, EXAMINES, examine),
        Row::new(In::WaitingForSlot, On::TopicGone, None, In::Departing, DEPARTS, depart),
        Row::new(In::WaitingForSlot, On::RevokedHolding, None, In::Leaving, ASKS, ask_topic),
        Row::new(In::WaitingForSlot, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::WaitingForSlot, On::Interrupted, None, In::Retrying, RETRIES, retry_later),
        Row::new(In::WaitingForSlot, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::WaitingForSlot, On::DrainRequested, None, In::Revoking, DRAINS, drain),
        Row::new(In::WaitingForSpool, On::SpoolGranted, None, In::Active, &[Do::StartFetching], fetch_again),
        Row::new(
            In::WaitingForSpool,
            On::SpoolCompleted,
            Some(WAS_COMPLETING),
            In::WaitingForSpool,
            UPLOADS,
            completed,
        ),
        Row::new(In::WaitingForSpool, On::SegmentResolved, Some(AS_SEALED), In::WaitingForSpool, GRANTS, resolved),
        Row::new(In::WaitingForSpool, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Relocating, RELOCATES, relocate),
        Row::new(In::WaitingForSpool, On::SegmentCommitted, Some(OLDEST), In::WaitingForSpool, COMMITS, committed),
        Row::new(In::WaitingForSpool, On::TopicGone, None, In::Departing, DEPARTS, depart),
        Row::new(In::WaitingForSpool, On::RevokedHolding, None, In::Leaving, ASKS, ask_topic),
        Row::new(In::WaitingForSpool, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::WaitingForSpool, On::Interrupted, None, In::Retrying, RETRIES, retry_later),
        Row::new(In::WaitingForSpool, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::WaitingForSpool, On::DrainRequested, Some(NONE_SEALED), In::Gone, LEAVES, leave),
        Row::new(In::WaitingForSpool, On::DrainRequested, Some(SOME_SEALED), In::Revoking, DRAINS, drain),
        Row::new(In::Examining, On::SpoolCompleted, Some(WAS_COMPLETING), In::Examining, &[], completed),
        Row::new(In::Examining, On::SegmentResolved, Some(AS_SEALED), In::Examining, COMMITS, resolved),
        Row::new(In::Examining, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Relocating, RELOCATES, relocate),
        Row::new(In::Examining, On::SegmentCommitted, Some(OLDEST), In::Examining, COMMITS, committed),
        Row::new(In::Examining, On::LogUnchanged, Some(SLOT_FREE), In::Active, FETCHES_ON, fetch_on),
        Row::new(In::Examining, On::LogUnchanged, Some(NO_SLOT), In::WaitingForSlot, FETCHES_ON, fetch_on),
        Row::new(In::Examining, On::RetentionPassed, Some(SLOT_FREE), In::Active, TAKES_THE_REST, take_the_rest),
        Row::new(In::Examining, On::RetentionPassed, Some(NO_SLOT), In::WaitingForSlot, TAKES_THE_REST, take_the_rest),
        Row::new(In::Examining, On::LogCut, Some(NONE_STORED), In::Locating, READS_AGAIN, read_again),
        Row::new(
            In::Examining,
            On::LogCut,
            Some(SOME_STORED),
            In::Relocating,
            &[Do::DiscardUnresolved],
            commit_and_read_again,
        ),
        Row::new(In::Examining, On::HistoryDoubted, Some(NONE_SEALED), In::Doubting, LOOKS_LATER, doubt),
        Row::new(In::Examining, On::TopicGone, None, In::Departing, DEPARTS_AND_UPLOADS, depart),
        Row::new(In::Examining, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::Examining, On::Interrupted, None, In::Retrying, RETRIES, retry_later),
        Row::new(In::Examining, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Examining, On::RevokedHolding, None, In::Leaving, ASKS, ask_topic),
        Row::new(In::Examining, On::DrainRequested, None, In::Gone, LEAVES, leave),
        Row::new(In::Doubting, On::LookDue, None, In::Locating, &[Do::Locate], look_again),
        Row::new(In::Doubting, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Doubting, On::DrainRequested, None, In::Gone, LEAVES, leave),
        Row::new(In::Retrying, On::LookDue, None, In::Locating, &[Do::Locate], look_again),
        Row::new(In::Retrying, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Retrying, On::DrainRequested, None, In::Gone, LEAVES, leave),
        Row::new(In::Relocating, On::SpoolCompleted, Some(WAS_COMPLETING), In::Relocating, UPLOADS, completed),
        Row::new(In::Relocating, On::SegmentResolved, Some(AS_SEALED), In::Relocating, GRANTS, resolved),
        Row::new(In::Relocating, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Relocating, RELOCATES, relocate),
        Row::new(In::Relocating, On::SegmentCommitted, Some(OTHERS_GO_ON), In::Relocating, COMMITS, committed),
        Row::new(In::Relocating, On::SegmentCommitted, Some(LAST_ONE), In::Locating, &[Do::Locate], walk_on),
        Row::new(In::Relocating, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::Relocating, On::Interrupted, None, In::Retrying, RETRIES, retry_later),
        Row::new(In::Relocating, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Relocating, On::RevokedHolding, None, In::Leaving, ASKS, ask_topic),
        Row::new(In::Relocating, On::DrainRequested, None, In::Revoking, DRAINS, drain),
        Row::new(In::Leaving, On::SpoolCompleted, Some(WAS_COMPLETING), In::Leaving, &[], completed),
        Row::new(In::Leaving, On::SegmentResolved, Some(AS_SEALED), In::Leaving, COMMITS, resolved),
        Row::new(In::Leaving, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Leaving, TAKES_AGAIN, take_again),
        Row::new(In::Leaving, On::SegmentCommitted, Some(OLDEST), In::Leaving, COMMITS, committed),
        Row::new(In::Leaving, On::TopicConfirmed, None, In::Gone, LEAVES, leave),
        Row::new(In::Leaving, On::TopicGone, None, In::Departing, DEPARTS_AND_UPLOADS, depart),
        Row::new(In::Leaving, On::Blocked, None, In::Gone, LEAVES_BLOCKED, leave_blocked),
        Row::new(In::Leaving, On::Interrupted, None, In::Gone, LEAVES, leave),
        Row::new(In::Departing, On::SegmentSealed, Some(FOLLOWS_ON), In::Departing, &[], sealed),
        Row::new(In::Departing, On::SpoolShort, None, In::Departing, &[Do::ResumeBuffering], keep_open),
        Row::new(In::Departing, On::SpoolCompleted, Some(WAS_COMPLETING), In::Departing, UPLOADS, completed),
        Row::new(In::Departing, On::SegmentResolved, Some(AS_SEALED), In::Departing, GRANTS, resolved),
        Row::new(In::Departing, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Departing, TAKES_AGAIN, take_again),
        Row::new(In::Departing, On::SegmentCommitted, Some(SOMETHING_LEFT), In::Departing, COMMITS, committed),
        Row::new(In::Departing, On::SegmentCommitted, Some(STILL_OURS), In::Frozen, ENDS_FROZEN, end_frozen),
        Row::new(In::Departing, On::SegmentCommitted, Some(NO_LONGER_OURS), In::Gone, LEAVES, leave),
        Row::new(In::Departing, On::InputEnded, Some(SOMETHING_LEFT), In::Departing, &[], drained),
        Row::new(In::Departing, On::InputEnded, Some(STILL_OURS), In::Frozen, ENDS_FROZEN, end_frozen),
        Row::new(In::Departing, On::InputEnded, Some(NO_LONGER_OURS), In::Gone, LEAVES, leave),
        Row::new(In::Departing, On::Revoked, None, In::Departing, &[], no_longer_ours),
        Row::new(In::Departing, On::RevokedHolding, None, In::Departing, &[], no_longer_ours),
        Row::new(In::Departing, On::DrainRequested, None, In::Departing, &[], no_longer_ours),
        Row::new(In::Departing, On::Blocked, Some(ASSIGNED), In::Frozen, FREEZES, freeze),
        Row::new(In::Departing, On::Blocked, Some(NOT_ASSIGNED), In::Gone, LEAVES_BLOCKED, leave_blocked),
        Row::new(In::Revoking, On::SpoolCompleted, Some(WAS_COMPLETING), In::Revoking, UPLOADS, completed),
        Row::new(In::Revoking, On::SegmentResolved, Some(AS_SEALED), In::Revoking, GRANTS, resolved),
        Row::new(In::Revoking, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Revoking, RELOCATES, give_up_the_rest),
        Row::new(In::Revoking, On::SegmentCommitted, Some(OTHERS_GO_ON), In::Revoking, COMMITS, committed),
        Row::new(In::Revoking, On::SegmentCommitted, Some(LAST_ONE), In::Gone, LEAVES, leave),
        Row::new(In::Revoking, On::Blocked, None, In::Gone, LEAVES_BLOCKED, leave_blocked),
        Row::new(In::Revoking, On::Interrupted, None, In::Gone, LEAVES, leave),
        Row::new(In::Revoking, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Revoking, On::RevokedHolding, None, In::Gone, LEAVES, leave),
        Row::new(In::Frozen, On::LookDue, None, In::Locating, &[Do::LocateAnew], locate_anew),
        Row::new(In::Frozen, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Frozen, On::DrainRequested, None, In::Gone, LEAVES, leave),
    ];
    /// Kafka's errors and the group's decisions arrive at any moment. The answer of a walk and room in the spool may come
    /// when they are no longer wanted, and so may the end of the input, if sealing its last segment blocks the partition.
    const STALE: &'static [(In, On)] = &[
        (In::Locating, On::LogBroken),
        (In::WaitingForSpool, On::LogBroken),
        (In::Examining, On::LogBroken),
        (In::Doubting, On::LogBroken),
        (In::Retrying, On::LogBroken),
        (In::Relocating, On::LogBroken),
        (In::Leaving, On::LogBroken),
        (In::Departing, On::LogBroken),
        (In::Revoking, On::LogBroken),
        (In::Frozen, On::LogBroken),
        (In::Gone, On::LogBroken),
        (In::Locating, On::TopicGone),
        (In::Doubting, On::TopicGone),
        (In::Retrying, On::TopicGone),
        (In::Relocating, On::TopicGone),
        (In::Departing, On::TopicGone),
        (In::Revoking, On::TopicGone),
        (In::Frozen, On::TopicGone),
        (In::Gone, On::TopicGone),
        (In::Doubting, On::Blocked),
        (In::Retrying, On::Blocked),
        (In::Leaving, On::Revoked),
        (In::Leaving, On::RevokedHolding),
        (In::Leaving, On::DrainRequested),
        (In::Locating, On::SpoolGranted),
        (In::Examining, On::SpoolGranted),
        (In::Doubting, On::SpoolGranted),
        (In::Retrying, On::SpoolGranted),
        (In::Leaving, On::SpoolGranted),
        (In::Departing, On::SpoolGranted),
        (In::Active, On::SpoolGranted),
        (In::WaitingForSlot, On::SpoolGranted),
        (In::Relocating, On::SpoolGranted),
        (In::Revoking, On::SpoolGranted),
        (In::Frozen, On::SpoolGranted),
        (In::Gone, On::SpoolGranted),
        (In::Revoking, On::DrainRequested),
        (In::Frozen, On::Located),
        (In::Frozen, On::InputEnded),
        (In::Retrying, On::InputEnded),
        (In::Retrying, On::Interrupted),
        (In::Frozen, On::Interrupted),
        (In::Gone, On::Interrupted),
        (In::Frozen, On::Blocked),
        (In::Gone, On::Located),
        (In::Gone, On::InputEnded),
        (In::Gone, On::Blocked),
        (In::Gone, On::Revoked),
        (In::Gone, On::DrainRequested),
    ];

    fn state(&self) -> In {
        self.state.kind()
    }

    fn event_kind(event: &PartitionEvent) -> On {
        event.kind()
    }

    fn effect_kind(effect: &PartitionEffect) -> Do {
        effect.kind()
    }
}

/// What the guards ask.
impl Partition {
    fn is_at(&self, start: Offset, progress: Progress) -> bool {
        self.sealed.iter().any(|sealed| sealed.range.start() == start && sealed.progress == progress)
    }

    fn follows_on(&self, event: &PartitionEvent) -> bool {
        let PartitionEvent::SegmentSealed { range } = event else { return false };
        let adjoins = |last: &Sealed| last.range.next_offset() == range.start();
        self.takes_records() && self.kept_position() == Some(range.start()) && self.sealed.back().is_none_or(adjoins)
    }

    fn was_completing(&self, event: &PartitionEvent) -> bool {
        matches!(event, PartitionEvent::SpoolCompleted { start } if self.is_at(*start, Progress::Completing))
    }

    /// `None` if the segment is not being uploaded.
    fn stored_as_sealed(&self, event: &PartitionEvent) -> Option<bool> {
        let PartitionEvent::SegmentResolved { start, stored_next, same_end } = event else { return None };
        let uploading = |sealed: &&Sealed| sealed.range.start() == *start && sealed.progress == Progress::Uploading;
        self.sealed.iter().find(uploading).map(|sealed| sealed.range.next_offset() == *stored_next && *same_end)
    }

    /// True if the store holds a segment that is not committed yet.
    fn has_stored(&self) -> bool {
        self.sealed.iter().any(|sealed| sealed.progress >= Progress::Resolved)
    }

    fn is_assigned(&self) -> bool {
        matches!(self.state, PartitionState::Departing { assigned: true, .. })
    }

    /// Reports whether neither a sealed segment nor a record to be sealed is left of a partition that departs. `None` if
    /// the event uses up neither.
    fn leaves_nothing(&self, event: &PartitionEvent) -> Option<bool> {
        let PartitionState::Departing { drained, .. } = self.state else { return None };
        match event {
            PartitionEvent::InputEnded => Some(self.sealed.is_empty()),
            _ => self.was_committing(event).then_some(drained && self.sealed.len() == 1),
        }
    }

    /// Only the oldest is ever committing.
    fn was_committing(&self, event: &PartitionEvent) -> bool {
        matches!(event, PartitionEvent::SegmentCommitted { start } if self.is_at(*start, Progress::Committing))
    }
}
