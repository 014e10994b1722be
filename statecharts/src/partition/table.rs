//! The rows of the partition chart, and what each does.

use super::{
    Partition, PartitionEffect, PartitionEffectKind, PartitionEvent, PartitionEventKind, PartitionState,
    PartitionStateKind, Progress, Sealed,
};
use crate::chart::{Chart, Guard, Now, Row};
use crate::offset::Offset;
use alloc::vec::Vec;

use PartitionEffectKind as Do;
use PartitionEventKind as On;
use PartitionStateKind as In;

type Effects = Vec<PartitionEffect>;

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
    name: "stored object ends elsewhere",
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
const NONE_SEALED: Guard<Partition> = Guard { name: "none sealed", holds: |partition, _| partition.sealed.is_empty() };
const SOME_SEALED: Guard<Partition> = Guard { name: "some sealed", holds: |partition, _| !partition.sealed.is_empty() };

const GRANTS: &[Do] = &[Do::GrantUpload, Do::GrantCommit];
const RESUMES: &[Do] = &[Do::GrantUpload, Do::GrantCommit, Do::ResumeBuffering];
const WALKS: &[Do] = &[Do::StopFetching, Do::Locate];
const RELOCATES: &[Do] = &[Do::StopFetching, Do::DiscardUnresolved, Do::GrantCommit];
const FREEZES: &[Do] = &[Do::StopFetching, Do::DiscardAll, Do::ReportFrozen];
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
        Row::new(In::Active, On::SpoolCompleted, Some(WAS_COMPLETING), In::Active, GRANTS, completed),
        Row::new(In::Active, On::SegmentResolved, Some(AS_SEALED), In::Active, GRANTS, resolved),
        Row::new(In::Active, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Relocating, RELOCATES, relocate),
        Row::new(In::Active, On::SegmentCommitted, Some(OLDEST), In::Active, GRANTS, committed),
        Row::new(In::Active, On::SpoolShort, None, In::WaitingForSpool, GIVES_UP, give_up_open),
        Row::new(In::Active, On::OutOfRange, Some(NONE_SEALED), In::Locating, WALKS, walk_again),
        Row::new(In::Active, On::OutOfRange, Some(SOME_SEALED), In::Relocating, &[Do::StopFetching], finish_first),
        Row::new(In::Active, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::Active, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Active, On::DrainRequested, Some(NONE_SEALED), In::Gone, LEAVES, leave),
        Row::new(In::Active, On::DrainRequested, Some(SOME_SEALED), In::Revoking, DRAINS, drain),
        Row::new(In::WaitingForSlot, On::SpoolCompleted, Some(WAS_COMPLETING), In::WaitingForSlot, GRANTS, completed),
        Row::new(In::WaitingForSlot, On::SegmentResolved, Some(AS_SEALED), In::WaitingForSlot, GRANTS, resolved),
        Row::new(In::WaitingForSlot, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Relocating, RELOCATES, relocate),
        Row::new(In::WaitingForSlot, On::SegmentCommitted, Some(OLDEST), In::Active, RESUMES, committed),
        Row::new(In::WaitingForSlot, On::OutOfRange, None, In::Relocating, &[Do::StopFetching], finish_first),
        Row::new(In::WaitingForSlot, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::WaitingForSlot, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::WaitingForSlot, On::DrainRequested, None, In::Revoking, DRAINS, drain),
        Row::new(In::WaitingForSpool, On::SpoolGranted, None, In::Active, &[Do::StartFetching], fetch_again),
        Row::new(In::WaitingForSpool, On::SpoolCompleted, Some(WAS_COMPLETING), In::WaitingForSpool, GRANTS, completed),
        Row::new(In::WaitingForSpool, On::SegmentResolved, Some(AS_SEALED), In::WaitingForSpool, GRANTS, resolved),
        Row::new(In::WaitingForSpool, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Relocating, RELOCATES, relocate),
        Row::new(In::WaitingForSpool, On::SegmentCommitted, Some(OLDEST), In::WaitingForSpool, GRANTS, committed),
        Row::new(In::WaitingForSpool, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::WaitingForSpool, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::WaitingForSpool, On::DrainRequested, Some(NONE_SEALED), In::Gone, LEAVES, leave),
        Row::new(In::WaitingForSpool, On::DrainRequested, Some(SOME_SEALED), In::Revoking, DRAINS, drain),
        Row::new(In::Relocating, On::SpoolCompleted, Some(WAS_COMPLETING), In::Relocating, GRANTS, completed),
        Row::new(In::Relocating, On::SegmentResolved, Some(AS_SEALED), In::Relocating, GRANTS, resolved),
        Row::new(In::Relocating, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Relocating, RELOCATES, relocate),
        Row::new(In::Relocating, On::SegmentCommitted, Some(OTHERS_GO_ON), In::Relocating, GRANTS, committed),
        Row::new(In::Relocating, On::SegmentCommitted, Some(LAST_ONE), In::Locating, &[Do::Locate], walk_on),
        Row::new(In::Relocating, On::Blocked, None, In::Frozen, FREEZES, freeze),
        Row::new(In::Relocating, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Relocating, On::DrainRequested, None, In::Revoking, DRAINS, drain),
        Row::new(In::Revoking, On::SpoolCompleted, Some(WAS_COMPLETING), In::Revoking, GRANTS, completed),
        Row::new(In::Revoking, On::SegmentResolved, Some(AS_SEALED), In::Revoking, GRANTS, resolved),
        Row::new(In::Revoking, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Revoking, RELOCATES, give_up_the_rest),
        Row::new(In::Revoking, On::SegmentCommitted, Some(OTHERS_GO_ON), In::Revoking, GRANTS, committed),
        Row::new(In::Revoking, On::SegmentCommitted, Some(LAST_ONE), In::Gone, LEAVES, leave),
        Row::new(In::Revoking, On::Blocked, None, In::Gone, LEAVES_BLOCKED, leave_blocked),
        Row::new(In::Revoking, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Frozen, On::Revoked, None, In::Gone, LEAVES, leave),
        Row::new(In::Frozen, On::DrainRequested, None, In::Gone, LEAVES, leave),
    ];
    /// Kafka's errors and the group's decisions arrive whenever they do; the answer of a walk and room in the spool may
    /// come when nobody waits for them any more.
    const STALE: &'static [(In, On)] = &[
        (In::Locating, On::OutOfRange),
        (In::WaitingForSpool, On::OutOfRange),
        (In::Relocating, On::OutOfRange),
        (In::Revoking, On::OutOfRange),
        (In::Frozen, On::OutOfRange),
        (In::Gone, On::OutOfRange),
        (In::Locating, On::SpoolGranted),
        (In::Active, On::SpoolGranted),
        (In::WaitingForSlot, On::SpoolGranted),
        (In::Relocating, On::SpoolGranted),
        (In::Revoking, On::SpoolGranted),
        (In::Frozen, On::SpoolGranted),
        (In::Gone, On::SpoolGranted),
        (In::Revoking, On::DrainRequested),
        (In::Frozen, On::Located),
        (In::Frozen, On::Blocked),
        (In::Gone, On::Located),
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
        matches!(event, PartitionEvent::SegmentSealed { range } if Some(range.start()) == self.position())
    }

    fn was_completing(&self, event: &PartitionEvent) -> bool {
        matches!(event, PartitionEvent::SpoolCompleted { start } if self.is_at(*start, Progress::Completing))
    }

    /// `None` if the segment is not being uploaded.
    fn stored_as_sealed(&self, event: &PartitionEvent) -> Option<bool> {
        let PartitionEvent::SegmentResolved { start, stored_next } = event else { return None };
        let uploading = |sealed: &&Sealed| sealed.range.start() == *start && sealed.progress == Progress::Uploading;
        self.sealed.iter().find(uploading).map(|sealed| sealed.range.next_offset() == *stored_next)
    }

    /// Only the oldest is ever committing.
    fn was_committing(&self, event: &PartitionEvent) -> bool {
        matches!(event, PartitionEvent::SegmentCommitted { start } if self.is_at(*start, Progress::Committing))
    }
}

/// What several acts do.
impl Partition {
    fn advance(&mut self, start: Offset, progress: Progress) {
        if let Some(sealed) = self.sealed.iter_mut().find(|sealed| sealed.range.start() == start) {
            sealed.progress = progress;
        }
    }

    /// Lets the oldest segment that is ready upload, and the oldest that is stored commit, if none is before them.
    fn grant(&mut self, effects: &mut Effects) {
        if let Some(next) = self.sealed.iter_mut().find(|sealed| sealed.progress < Progress::Resolved)
            && next.progress == Progress::Ready
        {
            next.progress = Progress::Uploading;
            effects.push(PartitionEffect::GrantUpload { start: next.range.start() });
        }
        if let Some(oldest) = self.sealed.front_mut()
            && oldest.progress == Progress::Resolved
        {
            oldest.progress = Progress::Committing;
            effects.push(PartitionEffect::GrantCommit { start: oldest.range.start() });
        }
    }
}

fn start_fetching(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::Located { position } = event {
        partition.seek_epoch = partition.seek_epoch.next();
        partition.state = PartitionState::Active { position };
        effects.push(PartitionEffect::StartFetching { position, seek_epoch: partition.seek_epoch });
    }
}

/// Kafka has the records of the open segment.
fn give_up_open(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let Some(position) = partition.position() {
        partition.state = PartitionState::WaitingForSpool { position };
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardOpen, PartitionEffect::AwaitSpool]);
    }
}

fn fetch_again(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::WaitingForSpool { position } = partition.state {
        partition.seek_epoch = partition.seek_epoch.next();
        partition.state = PartitionState::Active { position };
        effects.push(PartitionEffect::StartFetching { position, seek_epoch: partition.seek_epoch });
    }
}

fn sealed(partition: &mut Partition, _: Now, event: PartitionEvent, _: &mut Effects) {
    if let PartitionEvent::SegmentSealed { range } = event {
        partition.sealed.push_back(Sealed { range, progress: Progress::Completing });
        let position = range.next_offset();
        partition.state = if partition.sealed.len() < partition.sealed_max {
            PartitionState::Active { position }
        } else {
            PartitionState::WaitingForSlot { position }
        };
    }
}

fn completed(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SpoolCompleted { start } = event {
        partition.advance(start, Progress::Ready);
        partition.grant(effects);
    }
}

fn resolved(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentResolved { start, .. } = event {
        partition.advance(start, Progress::Resolved);
        partition.grant(effects);
    }
}

fn relocate(partition: &mut Partition, now: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentResolved { stored_next, .. } = event {
        give_up_the_rest(partition, now, event, effects);
        partition.state = PartitionState::Relocating { from: stored_next };
    }
}

fn give_up_the_rest(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentResolved { start, .. } = event {
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardUnresolved]);
        // Uploads run one at a time, so what is resolved lies before `start`, and what lies after is not.
        partition.sealed.retain(|sealed| sealed.range.start() <= start);
        partition.advance(start, Progress::Resolved);
        partition.grant(effects);
    }
}

fn committed(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentCommitted { start } = event {
        partition.sealed.retain(|sealed| sealed.range.start() != start);
        partition.grant(effects);
        if let PartitionState::WaitingForSlot { position } = partition.state {
            partition.state = PartitionState::Active { position };
            effects.push(PartitionEffect::ResumeBuffering);
        }
    }
}

fn walk_on(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::Relocating { from } = partition.state {
        partition.sealed.clear();
        partition.state = PartitionState::Locating;
        effects.push(PartitionEffect::Locate { from });
    }
}

fn walk_again(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let Some(from) = partition.position() {
        partition.state = PartitionState::Locating;
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::Locate { from }]);
    }
}

fn finish_first(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let Some(from) = partition.position() {
        partition.state = PartitionState::Relocating { from };
        effects.push(PartitionEffect::StopFetching);
    }
}

fn freeze(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::Blocked { reason } = event {
        partition.sealed.clear();
        partition.state = PartitionState::Frozen { reason: reason.clone() };
        effects.extend([
            PartitionEffect::StopFetching,
            PartitionEffect::DiscardAll,
            PartitionEffect::ReportFrozen { reason },
        ]);
    }
}

fn leave(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    partition.sealed.clear();
    partition.state = PartitionState::Gone;
    effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardAll, PartitionEffect::ReportGone]);
}

fn leave_blocked(partition: &mut Partition, now: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::Blocked { reason } = &event {
        effects.push(PartitionEffect::ReportFrozen { reason: reason.clone() });
    }
    leave(partition, now, event, effects);
}

fn drain(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    partition.state = PartitionState::Revoking;
    effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardOpen]);
}
