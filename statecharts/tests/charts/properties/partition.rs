//! A partition keeps the order of its segments, loses nothing that it holds, and comes to rest.

use super::{Draw, draws, ending, now};
use crate::text::{offset, range};
use kafka_store_statecharts::chart::{Transition, on};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::{
    Partition, PartitionEffect, PartitionEvent, PartitionEventKind, PartitionState, PartitionStateKind, Progress,
    SeekEpoch,
};
use proptest::prelude::*;

/// An event that mostly fits: an answer that the state waits for, or one about a segment that exists.
pub(super) fn event(chart: &Partition, (what, which, how): Draw) -> PartitionEvent {
    let index = usize::from(which) % chart.sealed.len().max(1);
    let known = chart.sealed.get(index).map_or(range(i64::from(which), i64::from(which)), |sealed| sealed.range);
    let start = known.start();
    let located = PartitionEvent::Located { position: offset(i64::from(which)) };
    let reason = String::new();
    match (what % 32, &chart.state) {
        (0..=7, PartitionState::Locating) => located,
        (0..=1, PartitionState::WaitingForSpool { .. }) => PartitionEvent::SpoolGranted,
        (0..=3, PartitionState::Examining { .. }) => verdict(how),
        (0..=1, PartitionState::Doubting { .. } | PartitionState::Retrying { .. } | PartitionState::Frozen { .. }) => {
            PartitionEvent::LookDue
        }
        (0..=1, PartitionState::Leaving { .. }) if how < 80 => PartitionEvent::TopicConfirmed,
        (0..=1, PartitionState::Leaving { .. }) => PartitionEvent::TopicGone { reason },
        (0..=1, PartitionState::Departing { .. }) => PartitionEvent::InputEnded,
        (8..=12, _) => PartitionEvent::SegmentSealed { range: ending(chart.kept_position().unwrap_or(start), how) },
        (13, _) => PartitionEvent::SegmentSealed { range: ending(offset(i64::from(which)), how) },
        (14..=17, _) => PartitionEvent::SpoolCompleted { start },
        (18..=20, _) if how < 210 => {
            PartitionEvent::SegmentResolved { start, stored_next: known.next_offset(), same_end: how < 200 }
        }
        (18..=20, _) => {
            let stored_next = ending(start, which).next_offset();
            PartitionEvent::SegmentResolved { start, stored_next, same_end: stored_next == known.next_offset() }
        }
        (25, _) if how < 128 => PartitionEvent::LogBroken,
        (26, _) => match how % 8 {
            0 | 1 => PartitionEvent::TopicGone { reason },
            2 | 3 => PartitionEvent::InputEnded,
            _ => PartitionEvent::SpoolShort,
        },
        (27, _) => match how % 8 {
            0 => located,
            1 => PartitionEvent::SpoolGranted,
            2 => PartitionEvent::LookDue,
            3 => PartitionEvent::TopicConfirmed,
            _ => verdict(how >> 3),
        },
        (28, _) if how < 160 => match how % 5 {
            0 => PartitionEvent::Revoked,
            1 => PartitionEvent::RevokedHolding,
            2 => PartitionEvent::DrainRequested,
            3 => PartitionEvent::Interrupted,
            _ => PartitionEvent::Blocked { reason },
        },
        _ => PartitionEvent::SegmentCommitted { start },
    }
}

/// An answer of an examination.
fn verdict(how: u8) -> PartitionEvent {
    match how % 5 {
        0 => PartitionEvent::LogUnchanged,
        1 => PartitionEvent::RetentionPassed,
        2 => PartitionEvent::LogCut,
        3 => PartitionEvent::HistoryDoubted,
        _ => PartitionEvent::TopicGone { reason: String::new() },
    }
}

fn check(chart: &Partition) {
    let progress: Vec<Progress> = chart.sealed.iter().map(|sealed| sealed.progress).collect();
    let unresolved = |progress: &&Progress| **progress == Progress::Uploading;
    assert!(progress.iter().filter(unresolved).count() <= 1, "at most one unresolved upload: {chart:?}");
    let stored = progress.iter().take_while(|progress| **progress >= Progress::Resolved).count();
    let later = &progress[stored..];
    assert!(later.iter().all(|progress| *progress < Progress::Resolved), "stored in order: {chart:?}");
    assert!(later.iter().skip(1).all(|progress| *progress < Progress::Uploading), "uploaded in order: {chart:?}");
    assert!(
        progress.iter().skip(1).all(|progress| *progress != Progress::Committing),
        "only the head commits: {chart:?}"
    );
    // No grant is owed, except for uploads while it is not known whether the log is the one that was read.
    assert_ne!(progress.first(), Some(&Progress::Resolved), "{chart:?}");
    assert!(is_in_doubt(chart) || later.first() != Some(&Progress::Ready), "{chart:?}");
    let ranges: Vec<OffsetRange> = chart.sealed.iter().map(|sealed| sealed.range).collect();
    assert!(ranges.windows(2).all(|pair| pair[0].next_offset() == pair[1].start()), "no hole, no overlap: {chart:?}");
    check_state(chart, ranges.last().map(|last| last.next_offset()), later.is_empty());
}

/// Checks what each state promises of the sealed segments, the last of which ends at `next`.
fn check_state(chart: &Partition, next: Option<Offset>, all_stored: bool) {
    let is_at = |position: &Offset| next.is_none_or(|next| next == *position);
    match &chart.state {
        PartitionState::Active { position } => {
            assert!(chart.sealed.len() < chart.sealed_max, "{chart:?}");
            assert!(is_at(position), "{chart:?}");
        }
        PartitionState::WaitingForSpool { position } => {
            assert!(chart.sealed.len() < chart.sealed_max, "there is no slot to wait for: {chart:?}");
            assert!(is_at(position), "{chart:?}");
        }
        PartitionState::WaitingForSlot { position } => {
            assert_eq!(chart.sealed.len(), chart.sealed_max);
            assert_eq!(next, Some(*position));
        }
        PartitionState::Examining { position } => {
            assert!(chart.sealed.len() <= chart.sealed_max, "{chart:?}");
            assert!(is_at(position), "{chart:?}");
        }
        // What ends elsewhere than it was sealed is stored.
        PartitionState::Leaving { position } => {
            assert!(chart.sealed.len() <= chart.sealed_max, "{chart:?}");
            assert!(all_stored || is_at(position), "{chart:?}");
        }
        // As many as there are: no log has their records.
        PartitionState::Departing { position, drained, .. } => {
            assert!(all_stored || is_at(position), "{chart:?}");
            assert!(!drained || next.is_some(), "nothing is left to wait for: {chart:?}");
        }
        PartitionState::Relocating { from } => {
            assert!(next.is_some(), "{chart:?}");
            assert!(all_stored || is_at(from), "{chart:?}");
        }
        PartitionState::Revoking => assert!(next.is_some(), "{chart:?}"),
        PartitionState::Locating
        | PartitionState::Doubting { .. }
        | PartitionState::Retrying { .. }
        | PartitionState::Frozen { .. }
        | PartitionState::Gone => assert_eq!(next, None, "{chart:?}"),
    }
}

fn is_in_doubt(chart: &Partition) -> bool {
    matches!(chart.state, PartitionState::Examining { .. } | PartitionState::Leaving { .. })
}

/// Orders that a partition has given.
#[derive(Default)]
struct Asked {
    upload: Option<Offset>,
    commit: Option<Offset>,
    seek_epoch: SeekEpoch,
    is_fetching: bool,
}

impl Asked {
    fn check(&mut self, effect: &PartitionEffect, chart: &Partition) {
        match effect {
            PartitionEffect::StartFetching { seek_epoch, .. } | PartitionEffect::FetchOn { seek_epoch } => {
                assert!(*seek_epoch > self.seek_epoch, "every start has an epoch of its own");
                assert!(!self.is_fetching, "stopped before it starts again");
                (self.seek_epoch, self.is_fetching) = (*seek_epoch, true);
                // A walk begins anew; room in the spool leaves what is on its way as it is.
                if chart.sealed.is_empty() && matches!(effect, PartitionEffect::StartFetching { .. }) {
                    (self.upload, self.commit) = (None, None);
                }
            }
            PartitionEffect::StopFetching => self.is_fetching = false,
            PartitionEffect::GrantUpload { start } => {
                assert!(self.upload < Some(*start), "uploads are granted once, in order");
                assert!(!is_in_doubt(chart), "the log may be another one: {chart:?}");
                self.upload = Some(*start);
            }
            PartitionEffect::GrantCommit { start } => {
                assert!(self.commit < Some(*start), "commits are granted once, in order");
                assert!(self.upload >= Some(*start), "and after the upload");
                assert_eq!(chart.sealed.front().map(|sealed| sealed.range.start()), Some(*start));
                self.commit = Some(*start);
            }
            _ => {}
        }
    }
}

/// Checks that nothing held is forgotten: it is committed, or its discard is asked for.
fn check_discards(before: &Partition, transition: &Transition<Partition>) {
    let after = &transition.chart;
    let discards = |effect: &PartitionEffect| {
        matches!(
            effect,
            PartitionEffect::DiscardUnresolved | PartitionEffect::TakeAgain { .. } | PartitionEffect::DiscardAll
        )
    };
    let is_committed = transition.event == PartitionEventKind::SegmentCommitted;
    let lost = before.sealed.len().saturating_sub(after.sealed.len());
    assert!(
        lost <= usize::from(is_committed) || transition.effects.iter().any(discards),
        "sealed segments are forgotten: {before:?}, {transition:?}"
    );
    let was_drained = matches!(before.state, PartitionState::Departing { drained: true, .. });
    let nothing_is_open = transition.event == PartitionEventKind::InputEnded || was_drained;
    let discards_open = |effect: &PartitionEffect| discards(effect) || *effect == PartitionEffect::DiscardOpen;
    if before.kept_position().is_some() && after.kept_position().is_none() && !nothing_is_open {
        assert!(
            transition.effects.iter().any(discards_open),
            "the open segment is forgotten: {before:?}, {transition:?}"
        );
    }
    if transition.effects.contains(&PartitionEffect::DiscardUnresolved) {
        assert!(after.sealed.iter().all(|sealed| sealed.progress >= Progress::Resolved), "{transition:?}");
    }
    for effect in &transition.effects {
        if let PartitionEffect::TakeAgain { from } = effect {
            assert!(after.sealed.iter().all(|sealed| sealed.progress >= Progress::Resolved), "{transition:?}");
            assert_eq!(after.kept_position(), Some(*from), "what is held follows what is stored: {transition:?}");
            assert!(!matches!(after.state, PartitionState::Departing { drained: true, .. }), "{transition:?}");
        }
    }
    if transition.effects.contains(&PartitionEffect::DiscardAll) {
        assert!(after.sealed.is_empty(), "{transition:?}");
    }
}

/// An event that a partition waits for, where everything that it asked for succeeds. `None` if it is at rest.
fn awaited(chart: &Partition, which: u8) -> Option<PartitionEvent> {
    for sealed in &chart.sealed {
        let (start, stored_next) = (sealed.range.start(), sealed.range.next_offset());
        match sealed.progress {
            Progress::Completing => return Some(PartitionEvent::SpoolCompleted { start }),
            Progress::Uploading => return Some(PartitionEvent::SegmentResolved { start, stored_next, same_end: true }),
            Progress::Committing => return Some(PartitionEvent::SegmentCommitted { start }),
            Progress::Ready | Progress::Resolved => {}
        }
    }
    match &chart.state {
        PartitionState::Locating => Some(PartitionEvent::Located { position: offset(0) }),
        PartitionState::WaitingForSpool { .. } => Some(PartitionEvent::SpoolGranted),
        PartitionState::Examining { .. } if chart.sealed.is_empty() => Some(verdict(which)),
        PartitionState::Examining { .. } => Some(verdict(which % 3)),
        PartitionState::Doubting { .. } | PartitionState::Retrying { .. } => Some(PartitionEvent::LookDue),
        PartitionState::Leaving { .. } if which < 128 => Some(PartitionEvent::TopicConfirmed),
        PartitionState::Leaving { .. } => Some(PartitionEvent::TopicGone { reason: String::new() }),
        PartitionState::Departing { drained: false, .. } => Some(PartitionEvent::InputEnded),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_partition_keeps_its_order(sealed_max in 1..4_usize, draws in draws()) {
        let mut chart = Partition::new(sealed_max);
        let mut asked = Asked::default();
        for (step, draw) in draws.into_iter().enumerate() {
            let event = event(&chart, draw);
            let before = chart.clone();
            let Ok(transition) = on(&chart, now(step), event) else { continue };
            prop_assert!(before.state != PartitionState::Gone, "nothing follows Gone");
            check(&transition.chart);
            check_discards(&before, &transition);
            for effect in &transition.effects {
                asked.check(effect, &transition.chart);
            }
            chart = transition.chart;
            prop_assert!(!asked.is_fetching || chart.position().is_some(), "what is fetched is wanted: {:?}", chart);
            if let (Some(before), Some(after)) = (before.position(), chart.position()) {
                prop_assert!(after >= before, "only a walk moves the position back");
            }
            if transition.from == PartitionStateKind::Departing {
                let ends = [PartitionStateKind::Departing, PartitionStateKind::Frozen, PartitionStateKind::Gone];
                prop_assert!(ends.contains(&transition.to), "a topic that is gone is not read again: {:?}", transition.to);
            }
        }
    }

    #[test]
    fn a_partition_comes_to_rest(sealed_max in 1..4_usize, draws in draws(), which: u8) {
        let mut chart = Partition::new(sealed_max);
        for (step, draw) in draws.into_iter().enumerate() {
            if let Ok(transition) = on(&chart, now(step), event(&chart, draw)) {
                chart = transition.chart;
            }
        }
        let mut path = vec![chart.clone()];
        while let Some(event) = awaited(&chart, which) {
            prop_assert!(path.len() < 100, "it never comes to rest: {:?}", path);
            chart = on(&chart, now(path.len()), event).expect("an answer that was asked for is taken").chart;
            path.push(chart.clone());
        }
        let rests = matches!(chart.state, PartitionState::Active { .. } | PartitionState::Frozen { .. } | PartitionState::Gone);
        prop_assert!(rests && chart.sealed.is_empty(), "it is stuck: {:?}", path);
    }
}
