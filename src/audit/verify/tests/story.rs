//! A daemon without a daemon: the charts and the writer themselves make its audit log.

use crate::audit::file::LineFile;
use crate::audit::{AuditFileSettings, AuditLog, InstanceStart};
use crate::exit::ExitCode;
use kafka_store_actors::transition::{Buffered, Detail, Subject, TransitionLog, TransitionRecord};
use kafka_store_statecharts::assignment::{Assignment, AssignmentEvent};
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::{Chart, Kind, Now, Transition, on};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::{AssignmentEpoch, Partition, PartitionEvent};
use kafka_store_statecharts::segment::{Segment, SegmentContent, SegmentEvent, SegmentStateKind};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use slog::{Discard, Logger, o};
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;

const EPOCH: AssignmentEpoch = AssignmentEpoch(1);

/// One instance of a daemon, without the daemon.
pub(super) struct Daemon {
    folder: tempfile::TempDir,
    log: AuditLog,
    indexed: bool,
    assignment: Assignment,
    partitions: BTreeMap<i32, Partition>,
    segments: BTreeMap<(i32, i64), Segment>,
}

pub(super) fn offset(number: i64) -> Offset {
    Offset::new(number).expect("no sentinel")
}

fn chain(partition: i32) -> ChainName {
    let (topic, partition) = (TopicName::new("t").expect("a name"), PartitionId::new(partition).expect("a number"));
    ChainName::first_lineage(TopicPartition { topic, partition })
}

pub(super) fn content(start: i64, last: i64) -> SegmentContent {
    let range = OffsetRange::new(offset(start), offset(last)).expect("not empty");
    let record_count = range.offset_count();
    SegmentContent {
        range,
        record_count,
        content_hash: Some([start as u8; 32]),
        file_bytes: 4096 + record_count,
        crc32c: 7,
    }
}

impl Daemon {
    /// With these partitions, each at a position.
    pub(super) fn start(name: &str, indexed: bool, positions: &[(i32, i64)]) -> Daemon {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("log");
        let settings = AuditFileSettings { path: path.clone(), size: NonZeroU64::MAX, keep: None };
        let file = LineFile::open(settings, Logger::root(Discard, o!())).expect("opened");
        let log = AuditLog::new(path, name.to_owned(), file);
        log.start(&InstanceStart { cluster: None, store: "/archive".to_owned(), indexed, flags: Vec::new() });
        let (partitions, segments) = (BTreeMap::new(), BTreeMap::new());
        let mut daemon = Daemon { folder, log, indexed, assignment: Assignment::default(), partitions, segments };
        let partitions = positions.iter().map(|(partition, _)| chain(*partition).topic_partition).collect();
        daemon.assigned(AssignmentEvent::PartitionsAssigned { epoch: EPOCH, partitions });
        for (partition, position) in positions {
            daemon.partition(*partition, PartitionEvent::Located { position: offset(*position) });
        }
        daemon
    }

    fn keep<C: Chart>(
        &self,
        transition: &Transition<C>,
        chain: Option<(&ChainName, Option<i64>)>,
        name: fn(C::StateKind) -> &'static str,
        detail: Detail<'_>,
    ) {
        if transition.from != transition.to {
            self.log.record(&TransitionRecord {
                now: Now { monotonic_ms: 0, wall_ms: 1_600_000_000_000 },
                subject: chain.map(|(chain, start)| Subject {
                    chain,
                    epoch: Some(EPOCH),
                    segment_start: start.map(offset),
                    upload: None,
                }),
                chart: C::NAME,
                from: name(transition.from),
                event: transition.event.as_str(),
                to: name(transition.to),
                detail,
            });
        }
    }

    fn assigned(&mut self, event: AssignmentEvent) {
        let transition = on(&self.assignment, Now::default(), event).expect("a row");
        self.keep(&transition, None, |state| state.as_str(), Detail::of_assignment(&transition));
        self.assignment = transition.chart;
    }

    pub(super) fn partition(&mut self, partition: i32, event: PartitionEvent) {
        let before = self.partitions.remove(&partition).unwrap_or_else(|| Partition::new(2));
        let transition = on(&before, Now::default(), event).expect("a row");
        let chain = chain(partition);
        self.keep(&transition, Some((&chain, None)), |state| state.as_str(), Detail::of_partition(&transition));
        self.partitions.insert(partition, transition.chart);
    }

    fn segment(&mut self, partition: i32, start: i64, event: SegmentEvent) {
        let before = self.segments.remove(&(partition, start)).unwrap_or_else(|| Segment::new(self.indexed, false));
        let buffered = match event {
            SegmentEvent::BoundaryReached { final_offset, .. } => {
                Buffered { record_count: content(start, final_offset.get()).record_count, record_bytes: 700 }
            }
            _ => Buffered::default(),
        };
        let transition = on(&before, Now::default(), event).expect("a row");
        let detail = Detail::of_segment(&before, &transition, buffered);
        self.keep(&transition, Some((&chain(partition), Some(start))), SegmentStateKind::path, detail);
        self.segments.insert((partition, start), transition.chart);
    }

    /// From the first record to the upload.
    pub(super) fn upload(&mut self, partition: i32, start: i64, last: i64) {
        let content = content(start, last);
        self.segment(partition, start, SegmentEvent::FirstRecord { start: offset(start) });
        self.partition(partition, PartitionEvent::SegmentSealed { range: content.range });
        let end = SegmentEvent::BoundaryReached { final_offset: offset(last), reason: SealReason::Size };
        self.segment(partition, start, end);
        self.segment(partition, start, SegmentEvent::SpoolCompleted { content });
        self.partition(partition, PartitionEvent::SpoolCompleted { start: offset(start) });
        self.segment(partition, start, SegmentEvent::UploadGranted);
    }

    pub(super) fn resolve(&mut self, partition: i32, start: i64, event: SegmentEvent, stored_next: i64) {
        self.segment(partition, start, event);
        let (start, stored_next) = (offset(start), offset(stored_next));
        self.partition(partition, PartitionEvent::SegmentResolved { start, stored_next, same_end: true });
    }

    pub(super) fn commit(&mut self, partition: i32, start: i64) {
        self.segment(partition, start, SegmentEvent::CommitGranted);
        if self.indexed {
            self.segment(partition, start, SegmentEvent::IndexRowWritten);
        }
        self.segment(partition, start, SegmentEvent::OffsetCommitted);
        self.partition(partition, PartitionEvent::SegmentCommitted { start: offset(start) });
    }

    pub(super) fn archive(&mut self, partition: i32, start: i64, last: i64) {
        self.upload(partition, start, last);
        self.resolve(partition, start, SegmentEvent::ObjectStored { stored: content(start, last) }, last + 1);
        self.commit(partition, start);
    }

    pub(super) fn end(mut self) -> Vec<String> {
        self.assigned(AssignmentEvent::DrainRequested);
        for partition in self.partitions.keys().copied().collect::<Vec<_>>() {
            self.partition(partition, PartitionEvent::DrainRequested);
            let partition = chain(partition).topic_partition;
            self.assigned(AssignmentEvent::WriterGone { partition, epoch: EPOCH });
        }
        self.log.end(ExitCode::Done);
        self.killed()
    }

    pub(super) fn killed(self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("log")).expect("readable");
        text.lines().map(str::to_owned).collect()
    }
}
