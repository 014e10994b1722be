//! Goal: no sequence of events, however wrong, makes a chart panic or break what it promises. Method: random
//! sequences, most of whose events fit the state they meet.

use crate::text::{CRC32C, content, offset, range, topic_partition};
use kafka_store_statecharts::assignment::{Assignment, AssignmentEffect, AssignmentEvent, AssignmentState};
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::{Chart, Kind, Now, on};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::{
    AssignmentEpoch, Partition, PartitionEffect, PartitionEvent, PartitionState, Progress, SeekEpoch,
};
use kafka_store_statecharts::segment::{Segment, SegmentEffect, SegmentEvent};
use kafka_store_statecharts::upload::{ObjectSum, Upload, UploadEffect, UploadEvent, UploadState};
use proptest::prelude::*;

/// What a random event is made of.
type Draw = (u8, u8, u8);

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    proptest::collection::vec(any::<Draw>(), 0..120)
}

fn now(step: usize) -> Now {
    Now { monotonic_ms: step as u64, wall_ms: 1_700_000_000_000 }
}

fn ending(start: Offset, length: u8) -> OffsetRange {
    range(start.get(), start.get() + i64::from(length % 10))
}

/// An event that mostly fits: it names a segment that exists, or the position.
fn partition_event(chart: &Partition, (what, which, how): Draw) -> PartitionEvent {
    let index = usize::from(which) % chart.sealed.len().max(1);
    let known = chart.sealed.get(index).map_or(range(i64::from(which), i64::from(which)), |sealed| sealed.range);
    let start = known.start();
    match what % 20 {
        0..=2 => {
            PartitionEvent::Located { position: chart.position().unwrap_or(offset(0)).max(offset(i64::from(which))) }
        }
        3 if how < 60 => PartitionEvent::Blocked { reason: String::new() },
        3 if how > 200 => PartitionEvent::OutOfRange,
        3 if how < 120 => PartitionEvent::SpoolShort,
        3 => PartitionEvent::SpoolGranted,
        4..=8 => PartitionEvent::SegmentSealed { range: ending(chart.position().unwrap_or(start), how) },
        9 => PartitionEvent::SegmentSealed { range: ending(offset(i64::from(which)), how) },
        10..=12 => PartitionEvent::SpoolCompleted { start },
        13..=15 if how < 220 => PartitionEvent::SegmentResolved { start, stored_next: known.next_offset() },
        13..=15 => PartitionEvent::SegmentResolved { start, stored_next: ending(start, which).next_offset() },
        18 if how < 30 => PartitionEvent::Revoked,
        19 if how < 90 => PartitionEvent::DrainRequested,
        _ => PartitionEvent::SegmentCommitted { start },
    }
}

fn check_partition(chart: &Partition) {
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
    // No grant is owed: what could go on was told to.
    assert_ne!(progress.first(), Some(&Progress::Resolved), "{chart:?}");
    assert_ne!(later.first(), Some(&Progress::Ready), "{chart:?}");
    let ranges: Vec<OffsetRange> = chart.sealed.iter().map(|sealed| sealed.range).collect();
    assert!(ranges.windows(2).all(|pair| pair[0].next_offset() == pair[1].start()), "no hole, no overlap: {chart:?}");
    match (&chart.state, ranges.last()) {
        (PartitionState::Active { position }, last) => {
            assert!(chart.sealed.len() < chart.sealed_max, "{chart:?}");
            assert!(last.is_none_or(|last| last.next_offset() == *position), "{chart:?}");
        }
        (PartitionState::WaitingForSpool { position }, last) => {
            assert!(chart.sealed.len() < chart.sealed_max, "there is no slot to wait for: {chart:?}");
            assert!(last.is_none_or(|last| last.next_offset() == *position), "{chart:?}");
        }
        (PartitionState::WaitingForSlot { position }, last) => {
            assert_eq!(chart.sealed.len(), chart.sealed_max);
            assert_eq!(last.map(|last| last.next_offset()), Some(*position));
        }
        (PartitionState::Relocating { .. } | PartitionState::Revoking, last) => assert!(last.is_some(), "{chart:?}"),
        (PartitionState::Locating | PartitionState::Frozen { .. } | PartitionState::Gone, last) => {
            assert_eq!(last, None, "{chart:?}");
        }
    }
}

/// What a partition has granted since it was located.
#[derive(Default)]
struct Granted {
    upload: Option<Offset>,
    commit: Option<Offset>,
    fetching: SeekEpoch,
}

impl Granted {
    fn check(&mut self, effect: &PartitionEffect, chart: &Partition) {
        match effect {
            PartitionEffect::StartFetching { seek_epoch, .. } => {
                assert!(*seek_epoch > self.fetching, "every start has an epoch of its own");
                self.fetching = *seek_epoch;
                // A walk begins anew; room in the spool leaves what is on its way as it is.
                if chart.sealed.is_empty() {
                    *self = Granted { fetching: *seek_epoch, ..Granted::default() };
                }
            }
            PartitionEffect::GrantUpload { start } => {
                assert!(self.upload < Some(*start), "uploads are granted once, in order");
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

fn segment_event(chart: &Segment, (what, which, how): Draw, sealed: &mut Option<OffsetRange>) -> SegmentEvent {
    use kafka_store_statecharts::segment::SegmentState;
    if let SegmentState::Sealing { range, .. } = chart.state {
        *sealed = Some(range);
    }
    let ours = sealed.unwrap_or(range(10, 19));
    let theirs = if how < 128 { ours } else { ending(offset(i64::from(which % 12)), how) };
    match what % 25 {
        0..=2 => SegmentEvent::FirstRecord { start: offset(i64::from(which)) },
        3 => SegmentEvent::BoundaryReached { final_offset: offset(i64::from(how)), reason: SealReason::Records },
        4 | 5 => SegmentEvent::SpoolCompleted { content: content(theirs) },
        6 | 7 => SegmentEvent::UploadGranted,
        8 => SegmentEvent::ObjectStored { stored: content(theirs) },
        9 => SegmentEvent::ObjectAlreadyExists { stored: content(theirs) },
        10 => SegmentEvent::ObjectConflicts,
        11 if how < 40 => SegmentEvent::MirrorsFailed,
        11 if how < 50 => SegmentEvent::MirrorsConflict,
        11 => SegmentEvent::StoreFailed,
        12 if how < 128 => SegmentEvent::MirrorsStored,
        12..=14 => SegmentEvent::CommitGranted,
        15 | 16 => SegmentEvent::IndexRowWritten,
        17 => SegmentEvent::IndexFailed,
        18..=20 => SegmentEvent::OffsetCommitted,
        21 => SegmentEvent::CommitFailed,
        22 => SegmentEvent::RetryDue,
        23 => SegmentEvent::IndexConflicts,
        _ => SegmentEvent::Discarded,
    }
}

fn assignment_event((what, which, how): Draw, epoch: u64) -> AssignmentEvent {
    let partitions = (0..4).filter(|partition| which >> partition & 1 == 1).map(topic_partition).collect();
    match what % 16 {
        0..=5 => AssignmentEvent::PartitionsAssigned { epoch: AssignmentEpoch(epoch), partitions },
        6..=9 => AssignmentEvent::PartitionsRevoked { partitions },
        10..=13 => AssignmentEvent::WriterGone {
            partition: topic_partition(i64::from(which % 4)),
            epoch: AssignmentEpoch(u64::from(how) % (epoch + 1)),
        },
        14 => AssignmentEvent::DrainRequested,
        _ => AssignmentEvent::DrainExpired,
    }
}

/// What a store that loses answers may say, and what it may not.
fn upload_event(chart: &Upload, (what, which, how): Draw) -> UploadEvent {
    let share = chart.total_bytes * u64::from(which) / 250;
    let crc32c = [Some(CRC32C), Some(CRC32C), Some(CRC32C + 1), None][usize::from(how % 4)];
    let object = ObjectSum { bytes: if how < 200 { chart.total_bytes } else { share }, crc32c };
    let answers_look = |absent| if absent { UploadEvent::ObjectAbsent } else { UploadEvent::ObjectFound { object } };
    match (what % 20, &chart.state) {
        (0..=9, UploadState::Idle) => {
            if how < 128 {
                UploadEvent::Started
            } else {
                UploadEvent::Resumed
            }
        }
        (0..=7, UploadState::Looking { .. }) => answers_look(which < 200),
        (0..=7, UploadState::NoSession) => {
            if how < 128 {
                UploadEvent::RetryDue
            } else {
                UploadEvent::Initiated
            }
        }
        (0..=5, UploadState::Open { .. }) => UploadEvent::ChunkAcknowledged { persisted_bytes: share },
        (0..=5, UploadState::QueryingStatus { .. }) => UploadEvent::StatusAnswered { persisted_bytes: share },
        (0, _) => UploadEvent::Started,
        (1, _) => UploadEvent::Resumed,
        (2, _) => UploadEvent::Initiated,
        (3, _) => answers_look(true),
        (4, _) => answers_look(false),
        (5, _) => UploadEvent::StatusAnswered { persisted_bytes: share },
        (6 | 7, _) => UploadEvent::ObjectFinalized { object },
        (8, _) => UploadEvent::ChunkAcknowledged { persisted_bytes: share },
        (9, _) => UploadEvent::AcknowledgedNothing,
        (10 | 11, _) => UploadEvent::OutcomeUnknown,
        (12, _) => UploadEvent::SessionGone,
        (13, _) => UploadEvent::Unauthorised,
        (14, _) => UploadEvent::PreconditionFailed,
        (15, _) => UploadEvent::Forbidden,
        (16, _) => UploadEvent::ChecksumRefused,
        (17, _) => UploadEvent::Refused,
        _ => UploadEvent::RetryDue,
    }
}

/// Whether nobody can tell what became of what was asked for.
fn leaves_in_doubt(event: &UploadEvent) -> bool {
    matches!(event, UploadEvent::OutcomeUnknown | UploadEvent::AcknowledgedNothing | UploadEvent::Unauthorised)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_partition_keeps_its_order(sealed_max in 1..4_usize, draws in draws()) {
        let mut chart = Partition::new(sealed_max);
        let mut granted = Granted::default();
        for (step, draw) in draws.into_iter().enumerate() {
            let event = partition_event(&chart, draw);
            let was_located = matches!(event, PartitionEvent::Located { .. });
            let before = (chart.clone(), chart.position());
            match on(&chart, now(step), event) {
                Err(_) => prop_assert_eq!(&chart, &before.0),
                Ok(transition) => {
                    prop_assert!(!matches!(before.0.state, PartitionState::Gone), "nothing follows Gone");
                    chart = transition.chart;
                    check_partition(&chart);
                    for effect in &transition.effects {
                        granted.check(effect, &chart);
                    }
                    if let (Some(before), Some(after)) = (before.1, chart.position()) {
                        prop_assert!(after >= before && !was_located, "only a walk moves the position back");
                    }
                }
            }
        }
    }

    #[test]
    fn a_segment_keeps_the_order_of_the_promise(indexed: bool, has_mirrors: bool, draws in draws()) {
        let mut chart = Segment::new(indexed, has_mirrors);
        let (mut sealed, mut stored, mut row) = (None, None, None);
        let mut is_mirrored = false;
        for (step, draw) in draws.into_iter().enumerate() {
            let event = segment_event(&chart, draw, &mut sealed);
            if let Ok(transition) = on(&chart, now(step), event.clone()) {
                match event {
                    SegmentEvent::FirstRecord { .. } => (stored, row) = (None, None),
                    SegmentEvent::ObjectStored { stored: content }
                    | SegmentEvent::ObjectAlreadyExists { stored: content } => {
                        (stored, is_mirrored) = (Some(content), false);
                    }
                    SegmentEvent::MirrorsStored => is_mirrored = true,
                    SegmentEvent::IndexRowWritten => row = stored,
                    _ => {}
                }
                for effect in &transition.effects {
                    match effect {
                        SegmentEffect::WriteIndexRow { stored: content } => {
                            prop_assert!(indexed);
                            prop_assert_eq!(Some(*content), stored, "a row says what is stored");
                        }
                        SegmentEffect::CommitOffset { stored: content } => {
                            prop_assert!(is_mirrored == has_mirrors, "arbiter, then mirrors, then commit");
                            prop_assert_eq!(Some(*content), if indexed { row } else { stored }, "row, then commit");
                        }
                        _ => {}
                    }
                }
                chart = transition.chart;
            }
        }
    }

    #[test]
    fn an_upload_believes_only_what_it_is_told(chunk in proptest::option::of(1..1200_u64), draws in draws()) {
        let mut chart = Upload::new(1000, CRC32C, chunk, 3);
        // The most that the present session has ever acknowledged, or may have when another process opened it.
        let (mut acknowledged, mut sessions, mut in_doubt) = (0, 0, false);
        for (step, draw) in draws.into_iter().enumerate() {
            let event = upload_event(&chart, draw);
            let had_ended = chart.has_ended();
            let Ok(transition) = on(&chart, now(step), event.clone()) else { continue };
            prop_assert!(!had_ended, "nothing follows an end");
            chart = transition.chart;
            match &event {
                UploadEvent::Initiated => {
                    sessions += 1;
                    (acknowledged, in_doubt) = (0, false);
                }
                UploadEvent::Resumed => sessions += 1,
                UploadEvent::ChunkAcknowledged { persisted_bytes } | UploadEvent::StatusAnswered { persisted_bytes } => {
                    acknowledged = *persisted_bytes;
                    in_doubt = false;
                }
                event if leaves_in_doubt(event) => in_doubt = true,
                _ => {}
            }
            if let UploadState::Open { persisted_bytes } | UploadState::QueryingStatus { persisted_bytes } = chart.state {
                prop_assert!(persisted_bytes <= acknowledged, "only what was acknowledged is persisted: {:?}", chart);
            }
            for effect in &transition.effects {
                if let UploadEffect::Send { from, until } = effect {
                    prop_assert!(!in_doubt, "after a doubt the session is asked first");
                    prop_assert!(*from <= *until && *until <= 1000 && *from <= acknowledged);
                }
            }
            if matches!(chart.state, UploadState::Finalized) {
                let sum = ObjectSum { bytes: 1000, crc32c: Some(CRC32C) };
                let told = [UploadEvent::ObjectFound { object: sum }, UploadEvent::ObjectFinalized { object: sum }];
                prop_assert!(told.contains(&event), "the very bytes were seen: {:?}", event);
            }
            // One more than may be gone: after a checksum that was refused.
            prop_assert!(sessions <= 3 + u32::from(chart.was_refused), "sessions are counted: {:?}", chart);
        }
    }

    #[test]
    fn an_assignment_has_one_writer_a_partition(draws in draws()) {
        let mut chart = Assignment::default();
        let mut writers = std::collections::BTreeMap::new();
        let mut left = 0;
        for (step, draw) in draws.into_iter().enumerate() {
            let Ok(transition) = on(&chart, now(step), assignment_event(draw, step as u64 + 1)) else { continue };
            for effect in &transition.effects {
                match effect {
                    AssignmentEffect::StartWriter { partition, epoch } => {
                        prop_assert_eq!(writers.insert(partition.clone(), *epoch), None, "the old one was told to go");
                    }
                    AssignmentEffect::RevokeWriter { partition } => {
                        prop_assert!(writers.remove(partition).is_some(), "only a writer that there is");
                    }
                    AssignmentEffect::DrainWriter { partition } => prop_assert!(writers.contains_key(partition)),
                    AssignmentEffect::LeaveGroup => left += 1,
                }
            }
            chart = transition.chart;
            // A drained writer ends by itself; all others are those that the chart knows.
            prop_assert!(chart.partitions.iter().all(|(partition, epoch)| writers.get(partition) == Some(epoch)));
            match chart.state {
                AssignmentState::Joining | AssignmentState::Left => prop_assert!(chart.partitions.is_empty()),
                AssignmentState::Draining => prop_assert!(!chart.partitions.is_empty(), "who has nothing left leaves"),
                AssignmentState::Assigned => prop_assert_eq!(writers.len(), chart.partitions.len()),
            }
            prop_assert_eq!(left, i32::from(matches!(chart.state, AssignmentState::Left)), "left once");
        }
    }
}

/// Random events of a kind that `Chart` names, so that a new kind is not forgotten above.
#[test]
fn the_random_events_are_of_all_kinds() {
    let mut kinds = std::collections::BTreeSet::new();
    for what in 0..=255 {
        for how in [0, 50, 100, 150, 255] {
            kinds.insert(Partition::event_kind(&partition_event(&Partition::new(2), (what, 1, how))));
        }
    }
    assert_eq!(kinds.len(), <Partition as Chart>::EventKind::ALL.len());
    let segment = |what, how| Segment::event_kind(&segment_event(&Segment::new(true, true), (what, 1, how), &mut None));
    let hows = [1, 45, 200];
    let kinds: std::collections::BTreeSet<_> = (0..=255).flat_map(|what| hows.map(|how| segment(what, how))).collect();
    assert_eq!(kinds.len(), <Segment as Chart>::EventKind::ALL.len());
    let over = Upload { state: UploadState::GivenUp, ..Upload::new(1000, CRC32C, None, 3) };
    let upload = |what| Upload::event_kind(&upload_event(&over, (what, 1, 1)));
    let kinds: std::collections::BTreeSet<_> = (0..=255).map(upload).collect();
    assert_eq!(kinds.len(), <Upload as Chart>::EventKind::ALL.len());
}
