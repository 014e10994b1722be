//! What the audit log costs: one transition, formatted and handed to the operating system.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use kafka_store::audit::{AuditFileSettings, AuditLog};
use kafka_store_actors::transition::{Detail, Subject, TransitionLog, TransitionRecord};
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::AssignmentEpoch;
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use slog::{Discard, Logger, o};
use std::num::NonZeroU64;

fn one_transition(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let settings = AuditFileSettings {
        path: folder.path().join("log"),
        size: NonZeroU64::new(100_000_000).expect("not zero"),
        keep: NonZeroU64::new(1),
    };
    let log = AuditLog::open(&settings, &Logger::root(Discard, o!())).expect("opened");
    let partition = PartitionId::new(7).expect("a number");
    let chain =
        ChainName::first_lineage(TopicPartition { topic: TopicName::new("orders").expect("a name"), partition });
    let range = OffsetRange::new(Offset::default(), Offset::MAX).expect("not empty");
    let stored =
        SegmentContent { range, record_count: 200_000, content_hash: Some([7; 32]), file_bytes: 64_000_000, crc32c: 7 };
    let transition = TransitionRecord {
        now: Now { monotonic_ms: 0, wall_ms: 1_600_000_000_000 },
        subject: Some(Subject {
            chain: &chain,
            epoch: Some(AssignmentEpoch(3)),
            segment_start: Some(range.start()),
            upload: None,
        }),
        chart: "segment",
        from: "Uploading.Arbiter",
        event: "ObjectStored",
        to: "Committing.AwaitingPredecessor",
        detail: Detail::Stored(stored),
    };
    criterion.bench_function("audit_log: one transition", |bencher| bencher.iter(|| log.record(&transition)));
}

criterion_group!(benches, one_transition);
criterion_main!(benches);
