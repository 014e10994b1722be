//! The buffer of a PartitionWriter: batches in, boundary rule, blocks, spool file.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

mod sample;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kafka_store::archive::{Identity, Spool};
use kafka_store::avro::{Codec, Isolation};
use kafka_store::page_cache::PageCache;
use kafka_store::store::InstanceDir;
use kafka_store_actors::budget::Budget;
use kafka_store_actors::open_segment::{Appended, Cursor, OpenSegment};
use kafka_store_actors::ports::SegmentSpool;
use kafka_store_actors::spool_account::SpoolAccount;
use kafka_store_statecharts::boundary::{BoundarySettings, SealReason};
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::hint::black_box;
use std::num::NonZeroU64;
use std::sync::Arc;

const SETTINGS: BoundarySettings = BoundarySettings {
    segment_bytes: NonZeroU64::new(256_000_000).expect("not zero"),
    segment_records: None,
    segment_age_ms: NonZeroU64::new(3_600_000).expect("not zero"),
};

const CODECS: [Codec; 4] = [Codec::Null, Codec::Snappy, Codec::Zstandard { level: 1 }, Codec::Deflate { level: 1 }];

fn writer_throughput(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let instance = Arc::new(InstanceDir::create(directory.path()).expect("a directory for spool files"));
    let mut group = criterion.benchmark_group("writer_throughput");
    for (size_name, size) in sample::SIZES {
        let batches = sample::batches(&sample::events(size, (8 << 20) / size));
        let bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        for codec in CODECS {
            let identity = Identity { cluster_id: None, isolation: Isolation::ReadCommitted };
            let spool = Spool::new(Arc::clone(&instance), codec, SETTINGS, identity, PageCache::Kept);
            let account = SpoolAccount::new(u64::MAX, u64::MAX);
            let open = || {
                let file = spool.open(&chain(), None, Offset::default()).expect("a spool file");
                OpenSegment::new(
                    Offset::default(),
                    (file, account.open().expect("no limit")),
                    SETTINGS,
                    Budget::new(u64::MAX),
                    Now::default(),
                )
            };
            group.bench_function(format!("{size_name} {codec}"), |bencher| {
                bencher.iter_batched(
                    open,
                    |mut segment| {
                        for batch in &batches {
                            let mut cursor = Cursor::default();
                            let append = |segment: &mut OpenSegment, cursor: &mut Cursor| {
                                segment.append(batch, cursor, None, Now::default()).expect("it can be written")
                            };
                            while append(&mut segment, &mut cursor) != Appended::All {}
                        }
                        let last = segment.last_position().expect("there are records").0;
                        let range = OffsetRange::new(Offset::default(), last).expect("not empty");
                        black_box(segment.complete(range, SealReason::Size).expect("it can be written"))
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

fn chain() -> ChainName {
    ChainName::first_lineage(TopicPartition {
        topic: TopicName::new("bench").expect("legal"),
        partition: PartitionId::new(0).expect("not negative"),
    })
}

criterion_group!(benches, writer_throughput);
criterion_main!(benches);
