//! Goal: no sequence of events, however wrong, makes a chart panic or break what it promises. Method: random
//! sequences, most of whose events fit the state they meet.

use crate::text::{CRC32C, content, offset, range, topic_partition};
use kafka_store_statecharts::assignment::{Assignment, AssignmentEffect, AssignmentEvent, AssignmentState};
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::{Chart, Kind, Now, Row, on};
use kafka_store_statecharts::input::Input;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::{AssignmentEpoch, Partition};
use kafka_store_statecharts::segment::{Segment, SegmentEffect, SegmentEvent};
use kafka_store_statecharts::upload::{ObjectSum, Upload, UploadEffect, UploadEvent, UploadState};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;

mod input;
mod partition;

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
        21 if how < 40 => SegmentEvent::CommitVoid,
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

/// Rows that random events take; every run draws the same.
fn rows_taken<C: Chart>(start: impl Fn() -> C, event: impl Fn(&C, Draw) -> C::Event) -> BTreeSet<usize> {
    let mut runner = TestRunner::deterministic();
    let mut taken = BTreeSet::new();
    for _ in 0..4_000 {
        let mut chart = start();
        let draws = draws().new_tree(&mut runner).expect("draws can be drawn").current();
        for (step, draw) in draws.into_iter().enumerate() {
            let event = event(&chart, draw);
            let fits = |row: &Row<C>| {
                row.from == chart.state()
                    && row.event == C::event_kind(&event)
                    && row.guard.as_ref().is_none_or(|guard| (guard.holds)(&chart, &event))
            };
            taken.extend(C::TABLE.iter().position(fits));
            if let Ok(transition) = on(&chart, now(step), event) {
                chart = transition.chart;
            }
        }
    }
    taken
}

fn takes_every_row<C: Chart>(start: impl Fn() -> C, event: impl Fn(&C, Draw) -> C::Event) {
    let taken = rows_taken(start, event);
    let never: Vec<_> = (0..C::TABLE.len()).filter(|row| !taken.contains(row)).map(|row| &C::TABLE[row]).collect();
    assert!(never.is_empty(), "{}: random events never take {never:?}", C::NAME);
}

/// Properties say nothing of rows that no random event takes.
#[test]
fn random_events_take_every_row() {
    takes_every_row(|| Partition::new(2), partition::event);
    takes_every_row(Input::flowing, |_, draw| input::event(draw));
}

/// Random events of a kind that `Chart` names, so that a new kind is not forgotten above.
#[test]
fn the_random_events_are_of_all_kinds() {
    let segment = |what, how| Segment::event_kind(&segment_event(&Segment::new(true, true), (what, 1, how), &mut None));
    let hows = [1, 45, 200];
    let kinds: BTreeSet<_> = (0..=255).flat_map(|what| hows.map(|how| segment(what, how))).collect();
    assert_eq!(kinds.len(), <Segment as Chart>::EventKind::ALL.len());
    let over = Upload { state: UploadState::GivenUp, ..Upload::new(1000, CRC32C, None, 3) };
    let upload = |what| Upload::event_kind(&upload_event(&over, (what, 1, 1)));
    let kinds: BTreeSet<_> = (0..=255).map(upload).collect();
    assert_eq!(kinds.len(), <Upload as Chart>::EventKind::ALL.len());
}
