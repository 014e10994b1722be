//! Encoding records into their canonical bytes.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

mod sample;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::record::{Decoder, RecordFields, TimestampType, encode_record};
use std::hint::black_box;

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record_encoding");
    for (name, size) in sample::SIZES {
        let events = sample::events(size, 256);
        let bytes: usize = events.iter().map(|event| event.value.len() + event.key.len()).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut out = Vec::with_capacity(2 * bytes);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                for event in &events {
                    sample::encode(event, Offset::default(), &mut out);
                }
                black_box(out.len())
            });
        });
    }
    let headers: [(&[u8], Option<&[u8]>); 3] =
        [(b"trace", Some(b"00f067aa0ba902b7")), (b"tenant", Some(b"blue")), (b"retry", None)];
    let fields = RecordFields {
        timestamp: 1_700_000_000_000,
        timestamp_type: TimestampType::CreateTime,
        offset: Offset::default(),
        key: Some(b"key"),
        value: Some(&[b'v'; 100]),
    };
    group.throughput(Throughput::Elements(1));
    let mut out = Vec::with_capacity(1024);
    group.bench_function("100B with 3 headers, one record", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode_record(black_box(&fields), headers.iter().copied(), &mut out);
            black_box(out.len())
        });
    });
    group.finish();
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record_decoding");
    for (name, size) in sample::SIZES {
        let (block, records) = sample::blocks(&sample::events(size, 1_000)).swap_remove(0);
        group.throughput(Throughput::Bytes(block.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut decoder = Decoder::new(&block);
                for _ in 0..records {
                    black_box(decoder.record().expect("our own bytes"));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encoding, decoding);
criterion_main!(benches);
