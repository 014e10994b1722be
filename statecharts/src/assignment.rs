//! The chart of this process's membership in its consumer group.
//!
//! It decides which partitions have a writer. The answers that librdkafka wants inside its rebalance
//! callback are given there, at once; what follows from them is decided here.
//! The diagram is `docs/statecharts.md`, drawn from [`Assignment::TABLE`].

use crate::chart::{Chart, Guard, Now, Row, kinds};
use crate::partition::AssignmentEpoch;
use crate::topic::TopicPartition;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What the group gave this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The partitions that have a writer, with the epoch in which they were assigned.
    pub partitions: BTreeMap<TopicPartition, AssignmentEpoch>,
    /// The state.
    pub state: AssignmentState,
}

/// The state of the membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AssignmentState {
    /// No partition yet, or none left.
    #[default]
    Joining,
    /// Partitions are being archived.
    Assigned,
    /// The process is stopping; writers finish what they sealed.
    Draining,
    /// The group is left.
    Left,
}

kinds! {
    /// The names of [`AssignmentState`].
    AssignmentStateKind of AssignmentState { Joining, Assigned, Draining, Left }
}

/// What can happen to the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignmentEvent {
    /// The group gave these partitions, possibly none.
    PartitionsAssigned {
        /// The epoch of this assignment, greater than every earlier one.
        epoch: AssignmentEpoch,
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// The group took these partitions away, or they were lost.
    PartitionsRevoked {
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// A writer has nothing left to do.
    WriterGone {
        /// Whose.
        partition: TopicPartition,
        /// Of which assignment.
        epoch: AssignmentEpoch,
    },
    /// The process is to stop.
    DrainRequested,
    /// Writers had their time.
    DrainExpired,
}

kinds! {
    /// The names of [`AssignmentEvent`].
    AssignmentEventKind of AssignmentEvent {
        PartitionsAssigned, PartitionsRevoked, WriterGone, DrainRequested, DrainExpired,
    }
}

/// What the membership asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignmentEffect {
    /// Start the writer of a partition.
    StartWriter {
        /// Whose.
        partition: TopicPartition,
        /// In which assignment.
        epoch: AssignmentEpoch,
    },
    /// Tell a writer that its partition is no longer ours.
    RevokeWriter {
        /// Whose.
        partition: TopicPartition,
    },
    /// Tell a writer to finish what it sealed.
    DrainWriter {
        /// Whose.
        partition: TopicPartition,
    },
    /// Leave the group; then the process may end.
    LeaveGroup,
}

kinds! {
    /// The names of [`AssignmentEffect`].
    AssignmentEffectKind of AssignmentEffect { StartWriter, RevokeWriter, DrainWriter, LeaveGroup }
}

impl Assignment {
    fn keeps_some(&self, event: &AssignmentEvent) -> bool {
        match event {
            AssignmentEvent::PartitionsRevoked { partitions } => {
                self.partitions.keys().any(|partition| !partitions.contains(partition))
            }
            AssignmentEvent::WriterGone { partition, epoch } => {
                self.partitions.iter().any(|(key, value)| (key, value) != (partition, epoch))
            }
            _ => !self.partitions.is_empty(),
        }
    }
}

use AssignmentEffectKind as Do;
use AssignmentEventKind as On;
use AssignmentStateKind as In;

type Effects = Vec<AssignmentEffect>;

const SOME_STAY: Guard<Assignment> = Guard { name: "some stay", holds: |a, event| a.keeps_some(event) };
const NONE_STAYS: Guard<Assignment> = Guard { name: "none stays", holds: |a, event| !a.keeps_some(event) };

impl Chart for Assignment {
    type Event = AssignmentEvent;
    type Effect = AssignmentEffect;
    type StateKind = AssignmentStateKind;
    type EventKind = AssignmentEventKind;
    type EffectKind = AssignmentEffectKind;

    const NAME: &'static str = "assignment";
    const INITIAL: In = In::Joining;
    const TABLE: &'static [Row<Assignment>] = &[
        Row::new(In::Joining, On::PartitionsAssigned, None, In::Assigned, &[Do::RevokeWriter, Do::StartWriter], assign),
        Row::new(In::Joining, On::PartitionsRevoked, None, In::Joining, &[], |_, _, _, _| {}),
        Row::new(In::Joining, On::DrainRequested, None, In::Left, &[Do::LeaveGroup], leave),
        Row::new(
            In::Assigned,
            On::PartitionsAssigned,
            None,
            In::Assigned,
            &[Do::RevokeWriter, Do::StartWriter],
            assign,
        ),
        Row::new(In::Assigned, On::PartitionsRevoked, Some(SOME_STAY), In::Assigned, &[Do::RevokeWriter], revoke),
        Row::new(In::Assigned, On::PartitionsRevoked, Some(NONE_STAYS), In::Joining, &[Do::RevokeWriter], revoke_all),
        Row::new(In::Assigned, On::DrainRequested, Some(SOME_STAY), In::Draining, &[Do::DrainWriter], drain),
        Row::new(In::Assigned, On::DrainRequested, Some(NONE_STAYS), In::Left, &[Do::LeaveGroup], leave),
        Row::new(In::Draining, On::PartitionsAssigned, None, In::Draining, &[], |_, _, _, _| {}),
        Row::new(In::Draining, On::PartitionsRevoked, Some(SOME_STAY), In::Draining, &[Do::RevokeWriter], revoke),
        Row::new(
            In::Draining,
            On::PartitionsRevoked,
            Some(NONE_STAYS),
            In::Left,
            &[Do::RevokeWriter, Do::LeaveGroup],
            revoke_and_leave,
        ),
        Row::new(In::Draining, On::WriterGone, Some(SOME_STAY), In::Draining, &[], writer_gone),
        Row::new(In::Draining, On::WriterGone, Some(NONE_STAYS), In::Left, &[Do::LeaveGroup], leave),
        Row::new(In::Draining, On::DrainRequested, None, In::Draining, &[], |_, _, _, _| {}),
        Row::new(In::Draining, On::DrainExpired, None, In::Left, &[Do::LeaveGroup], leave),
    ];
    /// Writers report their end after a revocation too, and a group's decisions may cross our leaving it.
    const STALE: &'static [(In, On)] = &[
        (In::Joining, On::WriterGone),
        (In::Assigned, On::WriterGone),
        (In::Left, On::PartitionsAssigned),
        (In::Left, On::PartitionsRevoked),
        (In::Left, On::WriterGone),
        (In::Left, On::DrainRequested),
        (In::Left, On::DrainExpired),
    ];

    fn state(&self) -> In {
        self.state.kind()
    }

    fn event_kind(event: &AssignmentEvent) -> On {
        event.kind()
    }

    fn effect_kind(effect: &AssignmentEffect) -> Do {
        effect.kind()
    }
}

fn assign(assignment: &mut Assignment, _: Now, event: AssignmentEvent, effects: &mut Effects) {
    if let AssignmentEvent::PartitionsAssigned { epoch, partitions } = event {
        assignment.state = AssignmentState::Assigned;
        let mut started = Vec::new();
        for partition in partitions {
            // A partition that is assigned twice was lost in between without our hearing of it.
            if assignment.partitions.insert(partition.clone(), epoch).is_some() {
                effects.push(AssignmentEffect::RevokeWriter { partition: partition.clone() });
            }
            started.push(AssignmentEffect::StartWriter { partition, epoch });
        }
        effects.extend(started);
    }
}

fn revoke(assignment: &mut Assignment, _: Now, event: AssignmentEvent, effects: &mut Effects) {
    if let AssignmentEvent::PartitionsRevoked { partitions } = event {
        for partition in partitions {
            if assignment.partitions.remove(&partition).is_some() {
                effects.push(AssignmentEffect::RevokeWriter { partition });
            }
        }
    }
}

fn revoke_all(assignment: &mut Assignment, now: Now, event: AssignmentEvent, effects: &mut Effects) {
    revoke(assignment, now, event, effects);
    assignment.state = AssignmentState::Joining;
}

fn revoke_and_leave(assignment: &mut Assignment, now: Now, event: AssignmentEvent, effects: &mut Effects) {
    revoke(assignment, now, event.clone(), effects);
    leave(assignment, now, event, effects);
}

fn drain(assignment: &mut Assignment, _: Now, _: AssignmentEvent, effects: &mut Effects) {
    assignment.state = AssignmentState::Draining;
    effects.extend(
        assignment.partitions.keys().map(|partition| AssignmentEffect::DrainWriter { partition: partition.clone() }),
    );
}

fn writer_gone(assignment: &mut Assignment, _: Now, event: AssignmentEvent, _: &mut Effects) {
    if let AssignmentEvent::WriterGone { partition, epoch } = event
        && assignment.partitions.get(&partition) == Some(&epoch)
    {
        assignment.partitions.remove(&partition);
    }
}

fn leave(assignment: &mut Assignment, _: Now, _: AssignmentEvent, effects: &mut Effects) {
    assignment.partitions.clear();
    assignment.state = AssignmentState::Left;
    effects.push(AssignmentEffect::LeaveGroup);
}
