//! Building blocks of a segment file: hashing, compressing, framing, writing.
//!
//! `buffer_path` holds the parts of the way of a record beside compression against the cheapest compression:
//! they must cost at most half of it at 1 KiB.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

mod sample;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_store::avro::{Codec, Compressor, SegmentWriter};
use kafka_store::page_cache::PageCache;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::hint::black_box;

const CODECS: [Codec; 5] = [
    Codec::Null,
    Codec::Snappy,
    Codec::Zstandard { level: 1 },
    Codec::Deflate { level: 1 },
    Codec::Deflate { level: 6 },
];

fn blocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block_building");
    for (size_name, size) in sample::SIZES {
        let blocks = sample::blocks(&sample::events(size, (1 << 20) / size));
        let bytes: usize = blocks.iter().map(|(block, _)| block.len()).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        for codec in CODECS {
            group.bench_function(format!("{size_name} {codec}"), |bencher| {
                let mut compressor = Compressor::new();
                bencher.iter(|| {
                    let file = tempfile::tempfile().expect("a temporary file");
                    let writer = SegmentWriter::create(file, name(), codec, PageCache::Kept, &sample::summary());
                    let mut writer = writer.expect("it can be written");
                    for (block, records) in &blocks {
                        writer.append_block(&mut compressor, block, *records).expect("it can be written");
                    }
                    black_box(writer.bytes_written())
                });
            });
        }
    }
    group.finish();
}

fn name() -> kafka_store_statecharts::name::SegmentName {
    let topic_partition = TopicPartition {
        topic: TopicName::new("bench").expect("legal"),
        partition: PartitionId::new(0).expect("not negative"),
    };
    ChainName::first_lineage(topic_partition).segment(Offset::default())
}

fn buffer_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("buffer_path_1KiB");
    let events = sample::events(1024, 1024);
    let blocks = sample::blocks(&events);
    let bytes: usize = blocks.iter().map(|(block, _)| block.len()).sum();
    group.throughput(Throughput::Bytes(bytes as u64));
    let mut out = Vec::with_capacity(2 * bytes);
    group.bench_function("encode + copy + hash", |bencher| {
        let mut block_buffer = Vec::with_capacity(128 * 1024);
        bencher.iter(|| {
            // As a record goes: encoded into a batch, copied into its block, hashed with the block.
            out.clear();
            for event in &events {
                sample::encode(event, Offset::default(), &mut out);
            }
            let mut hasher = blake3::Hasher::new();
            for run in out.chunks(kafka_store_statecharts::record::BLOCK_BYTES) {
                block_buffer.clear();
                block_buffer.extend_from_slice(run);
                hasher.update(&block_buffer);
            }
            black_box(hasher.finalize())
        });
    });
    for codec in [Codec::Snappy, Codec::Zstandard { level: 1 }, Codec::Deflate { level: 1 }] {
        group.bench_function(format!("compress {codec}"), |bencher| {
            let mut compressor = Compressor::new();
            bencher.iter(|| {
                let compressed = |(block, _): &(Vec<u8>, u64)| compressor.compress(codec, block).len();
                black_box(blocks.iter().map(compressed).sum::<usize>())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, blocks, buffer_path);
criterion_main!(benches);
