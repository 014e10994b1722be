//! The charts' states, events and effects as words, read and written.

use kafka_store_statecharts::assignment::{
    Assignment, AssignmentEffect, AssignmentEvent, AssignmentEventKind, AssignmentState,
};
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::{Chart, Kind};
use kafka_store_statecharts::input::{Input, InputEffect, InputEnd, InputEvent, InputEventKind, InputState, SeenEnd};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::{
    AssignmentEpoch, Partition, PartitionEffect, PartitionEvent, PartitionEventKind, PartitionState,
};
use kafka_store_statecharts::segment::{
    Segment, SegmentContent, SegmentEffect, SegmentEvent, SegmentEventKind, SegmentState,
};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use kafka_store_statecharts::upload::{ObjectSum, Upload, UploadEffect, UploadEvent, UploadEventKind, UploadState};

/// A chart that can be read and written.
pub(crate) trait ChartText: Chart + PartialEq {
    /// A chart at its start, from the words that describe it.
    fn start(words: &str) -> Self;
    /// The state and all that belongs to it.
    fn show(&self) -> String;
    /// An event, from its words.
    fn event(words: &str) -> Self::Event;
    /// An effect.
    fn show_effect(effect: &Self::Effect) -> String;
}

/// The numbers in a text, in order.
fn numbers(words: &str) -> Vec<i64> {
    words.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

pub(crate) fn offset(number: i64) -> Offset {
    Offset::new(number).expect("no sentinel")
}

pub(crate) fn range(start: i64, last: i64) -> OffsetRange {
    OffsetRange::new(offset(start), offset(last)).expect("not empty")
}

/// A content of this range; the same range is the same content.
pub(crate) fn content(range: OffsetRange) -> SegmentContent {
    let record_count = range.offset_count();
    SegmentContent { range, record_count, content_hash: Some([7; 32]), file_bytes: 100 * record_count, crc32c: 7 }
}

pub(crate) fn topic_partition(partition: i64) -> TopicPartition {
    let partition = i32::try_from(partition).ok().and_then(PartitionId::new).expect("a partition");
    TopicPartition { topic: TopicName::new("orders").expect("a topic"), partition }
}

/// Which kind of event the words name first.
fn kind<K: Kind>(words: &str) -> K {
    let name = words.split(' ').next().unwrap_or_default();
    K::ALL.iter().copied().find(|kind| kind.as_str() == name).unwrap_or_else(|| panic!("no event {name:?}"))
}

impl ChartText for Segment {
    fn start(words: &str) -> Segment {
        match words {
            "with index" => Segment::new(true, false),
            "without index" => Segment::new(false, false),
            "with mirrors" => Segment::new(false, true),
            other => panic!("a segment is with or without index, or with mirrors, not {other:?}"),
        }
    }

    fn show(&self) -> String {
        let name = self.state.kind().as_str();
        let tries = |failures: u32| if failures == 0 { String::new() } else { format!(", failed {failures}") };
        match &self.state {
            SegmentState::Idle => name.to_owned(),
            SegmentState::Buffering { start, .. } => format!("{name} from {start}"),
            SegmentState::Sealing { range, reason } => format!("{name} {range} {reason}"),
            SegmentState::AwaitingTurn { content } => format!("{name} {}", content.range),
            SegmentState::Uploading { content, failures } => format!("{name} {}{}", content.range, tries(*failures)),
            SegmentState::Mirroring { stored, failures } => format!("{name} {}{}", stored.range, tries(*failures)),
            SegmentState::AwaitingPredecessor { stored } => format!("{name} {}", stored.range),
            SegmentState::AwaitingIndexRow { stored, failures }
            | SegmentState::AwaitingOffsetCommit { stored, failures } => {
                format!("{name} {}{}", stored.range, tries(*failures))
            }
        }
    }

    fn event(words: &str) -> SegmentEvent {
        let numbers = numbers(words);
        let content = || content(range(numbers[0], numbers[1]));
        match kind::<SegmentEventKind>(words) {
            SegmentEventKind::FirstRecord => SegmentEvent::FirstRecord { start: offset(numbers[0]) },
            SegmentEventKind::BoundaryReached => {
                SegmentEvent::BoundaryReached { final_offset: offset(numbers[0]), reason: SealReason::Size }
            }
            SegmentEventKind::SpoolCompleted => SegmentEvent::SpoolCompleted { content: content() },
            SegmentEventKind::UploadGranted => SegmentEvent::UploadGranted,
            SegmentEventKind::ObjectStored => SegmentEvent::ObjectStored { stored: content() },
            SegmentEventKind::ObjectAlreadyExists => SegmentEvent::ObjectAlreadyExists { stored: content() },
            SegmentEventKind::ObjectConflicts => SegmentEvent::ObjectConflicts,
            SegmentEventKind::MirrorsStored => SegmentEvent::MirrorsStored,
            SegmentEventKind::MirrorsConflict => SegmentEvent::MirrorsConflict,
            SegmentEventKind::MirrorsFailed => SegmentEvent::MirrorsFailed,
            SegmentEventKind::StoreFailed => SegmentEvent::StoreFailed,
            SegmentEventKind::CommitGranted => SegmentEvent::CommitGranted,
            SegmentEventKind::IndexRowWritten => SegmentEvent::IndexRowWritten,
            SegmentEventKind::IndexFailed => SegmentEvent::IndexFailed,
            SegmentEventKind::IndexConflicts => SegmentEvent::IndexConflicts,
            SegmentEventKind::OffsetCommitted => SegmentEvent::OffsetCommitted,
            SegmentEventKind::CommitFailed => SegmentEvent::CommitFailed,
            SegmentEventKind::CommitVoid => SegmentEvent::CommitVoid,
            SegmentEventKind::RetryDue => SegmentEvent::RetryDue,
            SegmentEventKind::Discarded => SegmentEvent::Discarded,
        }
    }

    fn show_effect(effect: &SegmentEffect) -> String {
        let name = effect.kind().as_str();
        match effect {
            SegmentEffect::OpenSpool { start } => format!("{name} {start}"),
            SegmentEffect::CompleteSpool { range, .. } => format!("{name} {range}"),
            SegmentEffect::RetryLater { failures } => format!("{name} {failures}"),
            SegmentEffect::CopyToMirrors { stored } => format!("{name} {}", stored.range),
            SegmentEffect::WriteIndexRow { stored } => format!("{name} {}", stored.range),
            SegmentEffect::CommitOffset { stored } => format!("{name} {}", stored.range.next_offset()),
            SegmentEffect::StoreObject | SegmentEffect::DropSpool => name.to_owned(),
        }
    }
}

impl ChartText for Partition {
    fn start(words: &str) -> Partition {
        Partition::new(numbers(words).first().map_or(2, |most| usize::try_from(*most).expect("a small number")))
    }

    fn show(&self) -> String {
        let mut text = self.state.kind().as_str().to_owned();
        match &self.state {
            PartitionState::Active { position }
            | PartitionState::WaitingForSlot { position }
            | PartitionState::WaitingForSpool { position }
            | PartitionState::Examining { position }
            | PartitionState::Leaving { position } => {
                text.push_str(&format!(" at {position}"));
            }
            PartitionState::Departing { position, assigned, drained, .. } => {
                text.push_str(&format!(" at {position}"));
                text.push_str(if *assigned { "" } else { ", not ours" });
                text.push_str(if *drained { ", drained" } else { "" });
            }
            PartitionState::Doubting { from } | PartitionState::Retrying { from } => {
                text.push_str(&format!(" from {from}"))
            }
            PartitionState::Relocating { from } => text.push_str(&format!(" to {from}")),
            PartitionState::Locating
            | PartitionState::Revoking
            | PartitionState::Frozen { .. }
            | PartitionState::Gone => {}
        }
        for sealed in &self.sealed {
            text.push_str(&format!(" | {} {:?}", sealed.range, sealed.progress));
        }
        text
    }

    fn event(words: &str) -> PartitionEvent {
        let numbers = numbers(words);
        let first = || offset(numbers[0]);
        match kind::<PartitionEventKind>(words) {
            PartitionEventKind::Located => PartitionEvent::Located { position: first() },
            PartitionEventKind::Blocked => PartitionEvent::Blocked { reason: "a hole".to_owned() },
            PartitionEventKind::Interrupted => PartitionEvent::Interrupted,
            PartitionEventKind::LogBroken => PartitionEvent::LogBroken,
            PartitionEventKind::LogUnchanged => PartitionEvent::LogUnchanged,
            PartitionEventKind::RetentionPassed => PartitionEvent::RetentionPassed,
            PartitionEventKind::LogCut => PartitionEvent::LogCut,
            PartitionEventKind::HistoryDoubted => PartitionEvent::HistoryDoubted,
            PartitionEventKind::LookDue => PartitionEvent::LookDue,
            PartitionEventKind::InputEnded => PartitionEvent::InputEnded,
            PartitionEventKind::TopicGone => PartitionEvent::TopicGone { reason: "deleted".to_owned() },
            PartitionEventKind::TopicConfirmed => PartitionEvent::TopicConfirmed,
            PartitionEventKind::SpoolShort => PartitionEvent::SpoolShort,
            PartitionEventKind::SpoolGranted => PartitionEvent::SpoolGranted,
            PartitionEventKind::SegmentSealed => PartitionEvent::SegmentSealed { range: range(numbers[0], numbers[1]) },
            PartitionEventKind::SpoolCompleted => PartitionEvent::SpoolCompleted { start: first() },
            PartitionEventKind::SegmentResolved => {
                let same_end = !words.ends_with("other");
                PartitionEvent::SegmentResolved { start: first(), stored_next: offset(numbers[1]), same_end }
            }
            PartitionEventKind::SegmentCommitted => PartitionEvent::SegmentCommitted { start: first() },
            PartitionEventKind::Revoked => PartitionEvent::Revoked,
            PartitionEventKind::RevokedHolding => PartitionEvent::RevokedHolding,
            PartitionEventKind::DrainRequested => PartitionEvent::DrainRequested,
        }
    }

    fn show_effect(effect: &PartitionEffect) -> String {
        let name = effect.kind().as_str();
        match effect {
            PartitionEffect::StartFetching { position, seek_epoch } => {
                format!("{name} {position} in epoch {}", seek_epoch.0)
            }
            PartitionEffect::GrantUpload { start } | PartitionEffect::GrantCommit { start } => {
                format!("{name} {start}")
            }
            PartitionEffect::Locate { from } | PartitionEffect::TakeAgain { from } => format!("{name} from {from}"),
            PartitionEffect::FetchOn { seek_epoch } => format!("{name} in epoch {}", seek_epoch.0),
            PartitionEffect::ReportFrozen { reason } => format!("{name}: {reason}"),
            PartitionEffect::StopFetching
            | PartitionEffect::Examine
            | PartitionEffect::LookLater
            | PartitionEffect::AskTopic
            | PartitionEffect::AwaitSpool
            | PartitionEffect::ResumeBuffering
            | PartitionEffect::DiscardOpen
            | PartitionEffect::DiscardUnresolved
            | PartitionEffect::DiscardAll
            | PartitionEffect::LocateAnew
            | PartitionEffect::ReportGone => name.to_owned(),
        }
    }
}

impl ChartText for Assignment {
    fn start(_: &str) -> Assignment {
        Assignment::default()
    }

    fn show(&self) -> String {
        let mut text = self.state.kind().as_str().to_owned();
        for (partition, epoch) in &self.partitions {
            text.push_str(&format!(" | {} of {}", partition.partition.get(), epoch.0));
        }
        assert!(!matches!(self.state, AssignmentState::Left) || self.partitions.is_empty());
        text
    }

    fn event(words: &str) -> AssignmentEvent {
        let numbers = numbers(words);
        let epoch = |number: i64| AssignmentEpoch(u64::try_from(number).expect("no sign"));
        match kind::<AssignmentEventKind>(words) {
            AssignmentEventKind::PartitionsAssigned => AssignmentEvent::PartitionsAssigned {
                epoch: epoch(numbers[0]),
                partitions: numbers[1..].iter().copied().map(topic_partition).collect(),
            },
            AssignmentEventKind::PartitionsRevoked => AssignmentEvent::PartitionsRevoked {
                partitions: numbers.iter().copied().map(topic_partition).collect(),
            },
            AssignmentEventKind::WriterGone => {
                AssignmentEvent::WriterGone { partition: topic_partition(numbers[0]), epoch: epoch(numbers[1]) }
            }
            AssignmentEventKind::DrainRequested => AssignmentEvent::DrainRequested,
            AssignmentEventKind::DrainExpired => AssignmentEvent::DrainExpired,
        }
    }

    fn show_effect(effect: &AssignmentEffect) -> String {
        let name = effect.kind().as_str();
        match effect {
            AssignmentEffect::StartWriter { partition, epoch } => {
                format!("{name} {} of {}", partition.partition.get(), epoch.0)
            }
            AssignmentEffect::RevokeWriter { partition } | AssignmentEffect::DrainWriter { partition } => {
                format!("{name} {}", partition.partition.get())
            }
            AssignmentEffect::LeaveGroup => name.to_owned(),
        }
    }
}

/// Causes of an input's end, as texts name them.
fn input_end(words: &str) -> InputEnd {
    match words.split(' ').next_back() {
        Some("retention") => InputEnd::Retention,
        Some("topic-gone") => InputEnd::TopicGone,
        Some("failed") => InputEnd::Failed { reason: "unreadable".to_owned() },
        _ => panic!("{words:?} names no cause"),
    }
}

impl ChartText for Input {
    fn start(words: &str) -> Input {
        match words {
            "" => Input::flowing(),
            "at target" => Input::finished(),
            other => panic!("an input starts at its target or without words, not {other:?}"),
        }
    }

    fn show(&self) -> String {
        let mut text = self.state.kind().as_str().to_owned();
        match &self.state {
            InputState::Flowing | InputState::Finished | InputState::Reported => {}
            InputState::CaughtUp { end: SeenEnd { position, high_watermark } } => {
                text.push_str(&format!(" at {position}"));
                if let Some(high_watermark) = high_watermark {
                    text.push_str(&format!(" of {high_watermark}"));
                }
            }
            InputState::Ending { end } | InputState::Ended { end } => {
                text.push_str(match end {
                    InputEnd::Retention => " by retention",
                    InputEnd::TopicGone => " by topic-gone",
                    InputEnd::Failed { .. } => " by failed",
                });
            }
        }
        if self.caught_up_before { format!("{text}, caught up before") } else { text }
    }

    fn event(words: &str) -> InputEvent {
        match kind::<InputEventKind>(words) {
            InputEventKind::RecordsArrived => InputEvent::RecordsArrived,
            InputEventKind::EndReached => {
                let numbers = numbers(words);
                let high_watermark = numbers.get(1).copied().map(offset);
                InputEvent::EndReached { end: SeenEnd { position: offset(numbers[0]), high_watermark } }
            }
            InputEventKind::TargetReached => InputEvent::TargetReached,
            InputEventKind::TargetArchived => InputEvent::TargetArchived,
            InputEventKind::Closed => InputEvent::Closed { end: input_end(words) },
            InputEventKind::QueueDrained => InputEvent::QueueDrained,
            InputEventKind::TakenAgain => InputEvent::TakenAgain,
        }
    }

    fn show_effect(effect: &InputEffect) -> String {
        let name = effect.kind().as_str();
        match effect {
            InputEffect::SealRest { reason } => format!("{name} {reason}"),
            InputEffect::StopFetching | InputEffect::ReportTarget | InputEffect::EndInput => name.to_owned(),
        }
    }
}

/// The checksum of the file that is uploaded in texts.
pub(crate) const CRC32C: u32 = 7;

impl ChartText for Upload {
    /// `1000` bytes at once, or `1000 by 400`.
    fn start(words: &str) -> Upload {
        let numbers = numbers(words);
        let bytes = |index: usize| numbers.get(index).map(|number| u64::try_from(*number).expect("no sign"));
        Upload::new(bytes(0).unwrap_or(1000), CRC32C, bytes(1), 3)
    }

    fn show(&self) -> String {
        let mut text = self.state.kind().as_str().to_owned();
        match self.state {
            UploadState::Open { persisted_bytes } | UploadState::QueryingStatus { persisted_bytes } => {
                text.push_str(&format!(" at {persisted_bytes}"));
            }
            UploadState::Looking { forbidden: true } => text.push_str(" whether forbidden"),
            _ => {}
        }
        if self.sessions > 0 {
            text.push_str(&format!(", session {}", self.sessions));
            text.push_str(if self.is_resumed { ", resumed" } else { "" });
        }
        if self.failures > 0 {
            text.push_str(&format!(", failed {}", self.failures));
        }
        if self.was_refused { format!("{text}, refused") } else { text }
    }

    fn event(words: &str) -> UploadEvent {
        let numbers = numbers(words);
        let bytes = |index: usize| u64::try_from(numbers[index]).expect("no sign");
        // A checksum that is not said is not known.
        let crc32c = || numbers.get(1).map(|crc32c| u32::try_from(*crc32c).expect("a small number"));
        let object = || ObjectSum { bytes: bytes(0), crc32c: crc32c() };
        match kind::<UploadEventKind>(words) {
            UploadEventKind::Started => UploadEvent::Started,
            UploadEventKind::Resumed => UploadEvent::Resumed,
            UploadEventKind::ObjectAbsent => UploadEvent::ObjectAbsent,
            UploadEventKind::ObjectFound => UploadEvent::ObjectFound { object: object() },
            UploadEventKind::Initiated => UploadEvent::Initiated,
            UploadEventKind::ChunkAcknowledged => UploadEvent::ChunkAcknowledged { persisted_bytes: bytes(0) },
            UploadEventKind::AcknowledgedNothing => UploadEvent::AcknowledgedNothing,
            UploadEventKind::StatusAnswered => UploadEvent::StatusAnswered { persisted_bytes: bytes(0) },
            UploadEventKind::ObjectFinalized => UploadEvent::ObjectFinalized { object: object() },
            UploadEventKind::OutcomeUnknown => UploadEvent::OutcomeUnknown,
            UploadEventKind::SessionGone => UploadEvent::SessionGone,
            UploadEventKind::Unauthorised => UploadEvent::Unauthorised,
            UploadEventKind::PreconditionFailed => UploadEvent::PreconditionFailed,
            UploadEventKind::Forbidden => UploadEvent::Forbidden,
            UploadEventKind::ChecksumRefused => UploadEvent::ChecksumRefused,
            UploadEventKind::Refused => UploadEvent::Refused,
            UploadEventKind::RetryDue => UploadEvent::RetryDue,
        }
    }

    fn show_effect(effect: &UploadEffect) -> String {
        let name = effect.kind().as_str();
        match effect {
            UploadEffect::Send { from, until } => format!("{name} {from}-{until}"),
            UploadEffect::RetryLater { failures } => format!("{name} {failures}"),
            UploadEffect::Look
            | UploadEffect::Initiate
            | UploadEffect::Query
            | UploadEffect::RefreshToken
            | UploadEffect::DropSession => name.to_owned(),
        }
    }
}
