//! The acts of the partition chart: each makes the new value and the effects of the rows that name it.

use super::{Partition, PartitionEffect, PartitionEvent, PartitionState, Progress, Sealed};
use crate::chart::Now;
use crate::offset::{Offset, OffsetRange};
use alloc::vec::Vec;

type Effects = Vec<PartitionEffect>;

/// What several acts do.
impl Partition {
    /// Gives up what is sealed and not stored. Returns the offset after what is stored.
    fn keep_stored(&mut self, position: Offset) -> Offset {
        let unresolved = self.sealed.iter().find(|sealed| sealed.progress < Progress::Resolved);
        let next = unresolved.map_or(position, |sealed| sealed.range.start());
        self.sealed.retain(|sealed| sealed.progress >= Progress::Resolved);
        next
    }

    /// The state of a partition that is fetched, by whether another segment may be sealed.
    fn fetching_at(&self, position: Offset) -> PartitionState {
        if self.sealed.len() < self.sealed_max {
            PartitionState::Active { position }
        } else {
            PartitionState::WaitingForSlot { position }
        }
    }

    fn advance(&mut self, start: Offset, progress: Progress) {
        if let Some(sealed) = self.sealed.iter_mut().find(|sealed| sealed.range.start() == start) {
            sealed.progress = progress;
        }
    }

    /// Lets the oldest segment that is ready upload, and the oldest that is stored commit, if none is before them.
    /// While it is not known whether the log is the one that was read, nothing more is uploaded.
    fn grant(&mut self, effects: &mut Effects) {
        let in_doubt = matches!(self.state, PartitionState::Examining { .. } | PartitionState::Leaving { .. });
        if !in_doubt
            && let Some(next) = self.sealed.iter_mut().find(|sealed| sealed.progress < Progress::Resolved)
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

pub(super) fn start_fetching(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::Located { position } = event {
        partition.seek_epoch = partition.seek_epoch.next();
        partition.state = PartitionState::Active { position };
        effects.push(PartitionEffect::StartFetching { position, seek_epoch: partition.seek_epoch });
    }
}

/// Kafka has the records of the open segment.
pub(super) fn give_up_open(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let Some(position) = partition.position() {
        partition.state = PartitionState::WaitingForSpool { position };
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardOpen, PartitionEffect::AwaitSpool]);
    }
}

pub(super) fn fetch_again(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::WaitingForSpool { position } = partition.state {
        partition.seek_epoch = partition.seek_epoch.next();
        partition.state = PartitionState::Active { position };
        effects.push(PartitionEffect::StartFetching { position, seek_epoch: partition.seek_epoch });
    }
}

pub(super) fn sealed(partition: &mut Partition, _: Now, event: PartitionEvent, _: &mut Effects) {
    if let PartitionEvent::SegmentSealed { range } = event {
        partition.sealed.push_back(Sealed { range, progress: Progress::Completing });
        let next = range.next_offset();
        if let PartitionState::Departing { position, .. } = &mut partition.state {
            *position = next;
        } else {
            partition.state = partition.fetching_at(next);
        }
    }
}

pub(super) fn examine(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let Some(position) = partition.position() {
        partition.state = PartitionState::Examining { position };
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::Examine]);
    }
}

pub(super) fn fetch_on(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::Examining { position } = partition.state {
        partition.state = partition.fetching_at(position);
        partition.seek_epoch = partition.seek_epoch.next();
        partition.grant(effects);
        effects.push(PartitionEffect::FetchOn { seek_epoch: partition.seek_epoch });
    }
}

/// The epoch stays, and with it what is queued.
pub(super) fn take_the_rest(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::Examining { position } = partition.state {
        partition.state = partition.fetching_at(position);
        partition.grant(effects);
        effects.push(PartitionEffect::ResumeBuffering);
    }
}

/// Back to what is stored: the log no longer has what follows.
pub(super) fn read_again(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::Examining { position } = partition.state {
        let from = partition.keep_stored(position);
        partition.state = PartitionState::Locating;
        effects.extend([PartitionEffect::DiscardUnresolved, PartitionEffect::Locate { from }]);
    }
}

pub(super) fn commit_and_read_again(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::Examining { position } = partition.state {
        let from = partition.keep_stored(position);
        partition.state = PartitionState::Relocating { from };
        effects.push(PartitionEffect::DiscardUnresolved);
    }
}

pub(super) fn doubt(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::Examining { position } = partition.state {
        partition.state = PartitionState::Doubting { from: position };
        effects.extend([PartitionEffect::DiscardAll, PartitionEffect::LookLater]);
    }
}

/// Back to what is committed: the walk finds what is stored beyond, and gives it its row.
pub(super) fn retry_later(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let Some(position) = partition.held_position() {
        let from = partition.sealed.front().map_or(position, |oldest| oldest.range.start());
        partition.sealed.clear();
        partition.state = PartitionState::Retrying { from };
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardAll, PartitionEffect::LookLater]);
    }
}

pub(super) fn locate_anew(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    partition.state = PartitionState::Locating;
    effects.push(PartitionEffect::LocateAnew);
}

pub(super) fn look_again(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::Doubting { from } | PartitionState::Retrying { from } = partition.state {
        partition.state = PartitionState::Locating;
        effects.push(PartitionEffect::Locate { from });
    }
}

pub(super) fn ask_topic(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let Some(position) = partition.held_position() {
        partition.state = PartitionState::Leaving { position };
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::AskTopic]);
    }
}

pub(super) fn depart(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let (Some(position), PartitionEvent::TopicGone { reason }) = (partition.held_position(), event) {
        let assigned = !matches!(partition.state, PartitionState::Leaving { .. });
        partition.state = PartitionState::Departing { position, reason, assigned, drained: false };
        effects.push(PartitionEffect::StopFetching);
        partition.grant(effects);
        effects.push(PartitionEffect::ResumeBuffering);
    }
}

/// No log has the records of the open segment any more: it is finished, even beyond the limit of the spool.
pub(super) fn keep_open(_: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    effects.push(PartitionEffect::ResumeBuffering);
}

pub(super) fn drained(partition: &mut Partition, _: Now, _: PartitionEvent, _: &mut Effects) {
    if let PartitionState::Departing { drained, .. } = &mut partition.state {
        *drained = true;
    }
}

pub(super) fn no_longer_ours(partition: &mut Partition, _: Now, _: PartitionEvent, _: &mut Effects) {
    if let PartitionState::Departing { assigned, .. } = &mut partition.state {
        *assigned = false;
    }
}

pub(super) fn end_frozen(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::Departing { reason, .. } = &partition.state {
        let reason = reason.clone();
        partition.sealed.clear();
        partition.state = PartitionState::Frozen { reason: reason.clone() };
        effects.push(PartitionEffect::ReportFrozen { reason });
    }
}

pub(super) fn completed(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SpoolCompleted { start } = event {
        partition.advance(start, Progress::Ready);
        partition.grant(effects);
    }
}

pub(super) fn resolved(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentResolved { start, .. } = event {
        partition.advance(start, Progress::Resolved);
        partition.grant(effects);
    }
}

pub(super) fn relocate(partition: &mut Partition, now: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentResolved { stored_next, .. } = event {
        give_up_the_rest(partition, now, event, effects);
        partition.state = PartitionState::Relocating { from: stored_next };
    }
}

pub(super) fn give_up_the_rest(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentResolved { start, .. } = event {
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardUnresolved]);
        // Uploads run one at a time, so what is resolved lies before `start`, and what lies after is not.
        partition.sealed.retain(|sealed| sealed.range.start() <= start);
        partition.advance(start, Progress::Resolved);
        partition.grant(effects);
    }
}

/// No log may have what is held any more: what lies beyond the stored end becomes the next segment.
pub(super) fn take_again(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentResolved { start, stored_next, .. } = event {
        match &mut partition.state {
            PartitionState::Leaving { position } => *position = stored_next,
            PartitionState::Departing { position, drained, .. } => (*position, *drained) = (stored_next, false),
            _ => {}
        }
        effects.push(PartitionEffect::TakeAgain { from: stored_next });
        partition.sealed.retain(|sealed| sealed.range.start() <= start);
        // The next segment adjoins what is stored, not what was sealed here.
        if let (Some(last), Some(final_offset)) = (partition.sealed.back_mut(), stored_next.previous())
            && let Some(stored) = OffsetRange::new(start, final_offset)
        {
            last.range = stored;
        }
        partition.advance(start, Progress::Resolved);
        partition.grant(effects);
    }
}

pub(super) fn committed(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::SegmentCommitted { start } = event {
        partition.sealed.retain(|sealed| sealed.range.start() != start);
        partition.grant(effects);
        if let PartitionState::WaitingForSlot { position } = partition.state {
            partition.state = PartitionState::Active { position };
            effects.push(PartitionEffect::ResumeBuffering);
        }
    }
}

pub(super) fn walk_on(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let PartitionState::Relocating { from } = partition.state {
        partition.sealed.clear();
        partition.state = PartitionState::Locating;
        effects.push(PartitionEffect::Locate { from });
    }
}

pub(super) fn walk_again(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let Some(from) = partition.position() {
        partition.state = PartitionState::Locating;
        effects.extend([PartitionEffect::StopFetching, PartitionEffect::Locate { from }]);
    }
}

pub(super) fn finish_first(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    if let Some(from) = partition.position() {
        partition.state = PartitionState::Relocating { from };
        effects.push(PartitionEffect::StopFetching);
    }
}

pub(super) fn freeze(partition: &mut Partition, _: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::Blocked { reason } = event {
        partition.sealed.clear();
        partition.state = PartitionState::Frozen { reason: reason.clone() };
        effects.extend([
            PartitionEffect::StopFetching,
            PartitionEffect::DiscardAll,
            PartitionEffect::ReportFrozen { reason },
            PartitionEffect::LookLater,
        ]);
    }
}

pub(super) fn leave(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    partition.sealed.clear();
    partition.state = PartitionState::Gone;
    effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardAll, PartitionEffect::ReportGone]);
}

pub(super) fn leave_blocked(partition: &mut Partition, now: Now, event: PartitionEvent, effects: &mut Effects) {
    if let PartitionEvent::Blocked { reason } = &event {
        effects.push(PartitionEffect::ReportFrozen { reason: reason.clone() });
    }
    leave(partition, now, event, effects);
}

pub(super) fn drain(partition: &mut Partition, _: Now, _: PartitionEvent, effects: &mut Effects) {
    partition.state = PartitionState::Revoking;
    effects.extend([PartitionEffect::StopFetching, PartitionEffect::DiscardOpen]);
}
