//! What the rules cost: one step of a chart, one record's boundary.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use kafka_store_statecharts::boundary::{BoundaryRule, BoundarySettings};
use kafka_store_statecharts::chart::{Now, on};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::{Partition, PartitionEvent};
use kafka_store_statecharts::segment::{Segment, SegmentEvent};
use std::hint::black_box;
use std::num::NonZeroU64;

fn chart_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chart_step");
    let idle = Segment::new(false, false);
    group.bench_function("segment: first record", |bencher| {
        bencher.iter(|| on(black_box(&idle), Now::default(), SegmentEvent::FirstRecord { start: Offset::default() }));
    });
    let located = PartitionEvent::Located { position: Offset::default() };
    let active = on(&Partition::new(2), Now::default(), located).expect("a row of the table").chart;
    let range = OffsetRange::new(Offset::default(), Offset::MAX).expect("not empty");
    group.bench_function("partition: segment sealed", |bencher| {
        bencher.iter(|| on(black_box(&active), Now::default(), PartitionEvent::SegmentSealed { range }));
    });
    group.finish();
}

fn boundary(criterion: &mut Criterion) {
    let settings =
        BoundarySettings { segment_bytes: NonZeroU64::MAX, segment_records: None, segment_age_ms: NonZeroU64::MAX };
    let mut rule = BoundaryRule::new(settings);
    let mut timestamp = 1_700_000_000_000;
    criterion.bench_function("boundary: one record", |bencher| {
        bencher.iter(|| {
            timestamp += 1;
            rule.observe(black_box(1_100), black_box(timestamp))
        });
    });
}

criterion_group!(benches, chart_step, boundary);
criterion_main!(benches);
