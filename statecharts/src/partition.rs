//! The chart of one assigned partition: its position, and the order of its segments.
//!
//! It decides when records may be fetched, when a sealed segment may be uploaded and when it may be
//! committed, and what is given up when the chain turns out to go on elsewhere.
//! The diagram is `docs/statecharts.md`, drawn from [`Partition::TABLE`].
//!
//! Non-obvious:
//! * Segment n + 1 is named by the *stored* end of segment n, so its upload waits until n is resolved.
//! * When a stored object ends elsewhere than the sealed segment, everything held beyond it is void: it
//!   is discarded and the chain is walked on from the stored end.
//! * `position` alone cannot tell a stale record: after a seek back to 5, a queued record 6 passes
//!   `offset >= position`, and 5 would be lost. Hence the seek epoch.

use crate::chart::{Chart, Guard, Now, Row, kinds};
use crate::offset::{Offset, OffsetRange};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The process is stopping: nothing is fetched, sealed segments finish.
    Revoking,
    /// Something that must not be skipped stands in the way. Tried again at the next assignment.
    Frozen {
        /// What, and what to do about it.
        reason: String,
    },
    /// No longer ours.
    Gone,
}

kinds! {
    /// The names of [`PartitionState`].
    PartitionStateKind of PartitionState { Locating, Active, WaitingForSlot, Revoking, Frozen, Gone }
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
    },
    /// A segment's offset is committed.
    SegmentCommitted {
        /// The segment's start.
        start: Offset,
    },
    /// The group took the partition away.
    Revoked,
    /// The process is stopping.
    DrainRequested,
}

kinds! {
    /// The names of [`PartitionEvent`].
    PartitionEventKind of PartitionEvent {
        Located, Blocked, SegmentSealed, SpoolCompleted, SegmentResolved, SegmentCommitted, Revoked, DrainRequested,
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
    /// Give up everything.
    DiscardAll,
    /// Walk the chain on.
    Locate {
        /// From here, or from wherever it goes on if not known.
        from: Option<Offset>,
    },
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
        StartFetching, StopFetching, ResumeBuffering, GrantUpload, GrantCommit, DiscardOpen, DiscardUnresolved, DiscardAll,
        Locate, ReportFrozen, ReportGone,
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

    /// The name of the open or the next segment, while there is one.
    pub fn position(&self) -> Option<Offset> {
        match self.state {
            PartitionState::Active { position } | PartitionState::WaitingForSlot { position } => Some(position),
            _ => None,
        }
    }

    fn sealed_at(&mut self, start: Offset) -> Option<&mut Sealed> {
        self.sealed.iter_mut().find(|sealed| sealed.range.start() == start)
    }

    fn ends_as_sealed(&self, event: &PartitionEvent) -> bool {
        matches!(event, PartitionEvent::SegmentResolved { start, stored_next }
            if self.sealed.iter().any(|sealed| sealed.range.start() == *start && sealed.range.next_offset() == *stored_next))
    }

    fn is_last_sealed(&self, event: &PartitionEvent) -> bool {
        matches!(event, PartitionEvent::SegmentCommitted { start }
            if self.sealed.len() == 1 && self.sealed.iter().all(|sealed| sealed.range.start() == *start))
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

impl PartialOrd for Progress {
    fn partial_cmp(&self, other: &Progress) -> Option<core::cmp::Ordering> {
        (*self as u8).partial_cmp(&(*other as u8))
    }
}

use PartitionEffectKind as Do;
use PartitionEventKind as On;
use PartitionStateKind as In;

type Effects = Vec<PartitionEffect>;

const ROOM_LEFT: Guard<Partition> =
    Guard { name: "room for another", holds: |partition, _| partition.sealed.len() + 1 < partition.sealed_max };
const NO_ROOM_LEFT: Guard<Partition> =
    Guard { name: "no room for another", holds: |partition, _| partition.sealed.len() + 1 >= partition.sealed_max };
const AS_SEALED: Guard<Partition> = Guard { name: "stored as sealed", holds: |p, event| p.ends_as_sealed(event) };
const ENDS_ELSEWHERE: Guard<Partition> =
    Guard { name: "stored object ends elsewhere", holds: |p, event| !p.ends_as_sealed(event) };
const NONE_SEALED: Guard<Partition> = Guard { name: "none sealed", holds: |p, _| p.sealed.is_empty() };
const SOME_SEALED: Guard<Partition> = Guard { name: "some sealed", holds: |p, _| !p.sealed.is_empty() };
const LAST_SEALED: Guard<Partition> = Guard { name: "it was the last", holds: |p, event| p.is_last_sealed(event) };
const NOT_LAST_SEALED: Guard<Partition> = Guard { name: "others go on", holds: |p, event| !p.is_last_sealed(event) };

const GRANTS: &[Do] = &[Do::GrantUpload, Do::GrantCommit];
const FREEZES: &[Do] = &[Do::StopFetching, Do::DiscardAll, Do::ReportFrozen];
const LEAVES: &[Do] = &[Do::DiscardAll, Do::ReportGone];
const DRAINS: &[Do] = &[Do::StopFetching, Do::DiscardAll, Do::ReportGone];

const fn row(
    from: In,
    event: On,
    guard: Option<Guard<Partition>>,
    to: In,
    effects: &'static [Do],
    act: fn(&mut Partition, Now, PartitionEvent, &mut Effects),
) -> Row<Partition> {
    Row { from, event, guard, to, effects, act }
}

impl Chart for Partition {
    type Event = PartitionEvent;
    type Effect = PartitionEffect;
    type StateKind = PartitionStateKind;
    type EventKind = PartitionEventKind;
    type EffectKind = PartitionEffectKind;

    const NAME: &'static str = "partition";
    const INITIAL: In = In::Locating;
    const TABLE: &'static [Row<Partition>] = &[
        row(In::Locating, On::Located, None, In::Active, &[Do::StartFetching], start_fetching),
        row(In::Locating, On::Blocked, None, In::Frozen, FREEZES, freeze),
        row(In::Locating, On::SegmentCommitted, None, In::Locating, GRANTS, committed),
        row(In::Locating, On::Revoked, None, In::Gone, LEAVES, leave),
        row(In::Locating, On::DrainRequested, None, In::Gone, LEAVES, leave),
        row(In::Active, On::SegmentSealed, Some(ROOM_LEFT), In::Active, &[], sealed),
        row(In::Active, On::SegmentSealed, Some(NO_ROOM_LEFT), In::WaitingForSlot, &[], sealed),
        row(In::Active, On::SpoolCompleted, None, In::Active, GRANTS, completed),
        row(In::Active, On::SegmentResolved, Some(AS_SEALED), In::Active, GRANTS, resolved),
        row(In::Active, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Locating, RELOCATES, relocate),
        row(In::Active, On::SegmentCommitted, None, In::Active, GRANTS, committed),
        row(In::Active, On::Blocked, None, In::Frozen, FREEZES, freeze),
        row(In::Active, On::Revoked, None, In::Gone, LEAVES, leave),
        row(In::Active, On::DrainRequested, Some(NONE_SEALED), In::Gone, DRAINS, drain_at_once),
        row(
            In::Active,
            On::DrainRequested,
            Some(SOME_SEALED),
            In::Revoking,
            &[Do::StopFetching, Do::DiscardOpen],
            drain,
        ),
        row(In::WaitingForSlot, On::SpoolCompleted, None, In::WaitingForSlot, GRANTS, completed),
        row(In::WaitingForSlot, On::SegmentResolved, Some(AS_SEALED), In::WaitingForSlot, GRANTS, resolved),
        row(In::WaitingForSlot, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Locating, RELOCATES, relocate),
        row(In::WaitingForSlot, On::SegmentCommitted, None, In::Active, RESUMES, committed),
        row(In::WaitingForSlot, On::Blocked, None, In::Frozen, FREEZES, freeze),
        row(In::WaitingForSlot, On::Revoked, None, In::Gone, LEAVES, leave),
        row(In::WaitingForSlot, On::DrainRequested, None, In::Revoking, &[Do::StopFetching, Do::DiscardOpen], drain),
        row(In::Revoking, On::SpoolCompleted, None, In::Revoking, GRANTS, completed),
        row(In::Revoking, On::SegmentResolved, Some(AS_SEALED), In::Revoking, GRANTS, resolved),
        row(In::Revoking, On::SegmentResolved, Some(ENDS_ELSEWHERE), In::Gone, LEAVES, leave),
        row(In::Revoking, On::SegmentCommitted, Some(NOT_LAST_SEALED), In::Revoking, GRANTS, committed),
        row(In::Revoking, On::SegmentCommitted, Some(LAST_SEALED), In::Gone, LEAVES, leave),
        row(In::Revoking, On::Blocked, None, In::Gone, LEAVES, leave),
        row(In::Revoking, On::Revoked, None, In::Gone, LEAVES, leave),
        row(In::Frozen, On::Revoked, None, In::Gone, LEAVES, leave),
        row(In::Frozen, On::DrainRequested, None, In::Gone, LEAVES, leave),
    ];
    /// Kafka's errors and the group's decisions arrive whenever they do; what was given up answers late.
    const STALE: &'static [(In, On)] = &[
        (In::Revoking, On::Located),
        (In::Revoking, On::DrainRequested),
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

const RESUMES: &[Do] = &[Do::GrantUpload, Do::GrantCommit, Do::ResumeBuffering];
const RELOCATES: &[Do] = &[Do::StopFetching, Do::DiscardUnresolved, Do::GrantUpload, Do::GrantCommit, Do::Locate];

fn start_fetching(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::Located { position } = event {
        partition.seek_epoch = partition.seek_epoch.next();
        partition.state = PartitionState::Active { position };
        effects.push(PartitionEffect::StartFetching { position, seek_epoch: partition.seek_epoch });
    }
}

fn sealed(partition: &mut Partition, _: Now, event: PartitionEvent, _: &mut Effects) {
    if let PartitionEvent::SegmentSealed { range } = event {
        assert_eq!(Some(range.start()), partition.position(), "a segment starts where the one before it ended");
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
        partition.sealed_at(start).expect("only sealed segments are completed").progress = Progress::Ready;
        partition.grant(effects);
    }
}

fn resolved(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentResolved { start, .. } = event {
        partition.sealed_at(start).expect("guarded by `stored as sealed`").progress = Progress::Resolved;
        partition.grant(effects);
    }
}

fn relocate(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentResolved { start, stored_next } = event {
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardUnresolved]);
        // Uploads run one at a time, so what is resolved lies before `start`, and what lies after is not.
        partition.sealed.retain(|sealed| sealed.range.start() <= start);
        if let Some(adopted) = partition.sealed_at(start) {
            adopted.progress = Progress::Resolved;
        }
        partition.grant(effects);
        partition.state = PartitionState::Locating;
        effects.push(PartitionEffect::Locate { from: Some(stored_next) });
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
    effects.extend([PartitionEffect::DiscardAll, PartitionEffect::ReportGone]);
}

fn drain_at_once(partition: &mut Partition, now: Now, event: PartitionEvent, effects: &mut Effects) {
    effects.push(PartitionEffect::StopFetching);
    leave(partition, now, event, effects);
}

fn drain(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    partition.state = PartitionState::Revoking;
    effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardOpen]);
}
