//! The records that the benchmarks work on: JSON events of about a given size, the same in every run.
#![allow(dead_code, reason = "each benchmark uses its own part")]

use kafka_store::avro::{Isolation, SegmentSummary, TimestampRange};
use kafka_store_actors::batch::{RecordBatch, RecordMark};
use kafka_store_statecharts::boundary::BoundarySettings;
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::record::{RecordFields, TimestampType, encode_record};
use std::num::NonZeroU64;

/// The sizes of values that are measured, in bytes.
pub(crate) const SIZES: [(&str, usize); 3] = [("100B", 100), ("1KiB", 1024), ("10KiB", 10 * 1024)];

/// A record without its offset.
pub(crate) struct Event {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) timestamp: i64,
}

/// `count` events whose values have about `size` bytes.
pub(crate) fn events(size: usize, count: usize) -> Vec<Event> {
    const WORDS: [&str; 16] = [
        "amount",
        "basket",
        "checkout",
        "customer",
        "delivery",
        "express",
        "invoice",
        "kettle",
        "machine",
        "opened",
        "payment",
        "quantity",
        "refund",
        "session",
        "teapot",
        "warehouse",
    ];
    let mut state = size as u64;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    };
    (0..count)
        .map(|number| {
            let mut value = format!("{{\"id\":{number},\"user\":\"{:08x}\"", next() as u32);
            while value.len() < size {
                let word = WORDS[(next() % 16) as usize];
                if next() % 3 == 0 {
                    value.push_str(&format!(",\"{word}\":{}", next() % 100_000));
                } else {
                    let other = WORDS[(next() % 16) as usize];
                    value.push_str(&format!(",\"{word}\":\"{other} {:04x}\"", next() as u16));
                }
            }
            value.push('}');
            Event {
                key: format!("user-{:06}", next() % 1_000_000).into_bytes(),
                value: value.into_bytes(),
                timestamp: 1_700_000_000_000 + number as i64,
            }
        })
        .collect()
}

/// The summary of a segment, up to what depends on its records.
pub(crate) fn summary() -> SegmentSummary {
    SegmentSummary {
        final_offset: Offset::default(),
        timestamps: TimestampRange::new(0),
        cluster_id: None,
        topic_id: None,
        isolation: Isolation::ReadCommitted,
        boundaries: BoundarySettings {
            segment_bytes: NonZeroU64::new(256_000_000).expect("not zero"),
            segment_records: None,
            segment_age_ms: NonZeroU64::new(3_600_000).expect("not zero"),
        },
        gaps: Vec::new(),
        last_record: Some(LastRecord { hash: RecordHash::new([0; 32]), leader_epoch: None }),
    }
}

/// Encodes an event at an offset.
pub(crate) fn encode(event: &Event, offset: Offset, out: &mut Vec<u8>) {
    let fields = RecordFields {
        timestamp: event.timestamp,
        timestamp_type: TimestampType::CreateTime,
        offset,
        key: Some(&event.key),
        value: Some(&event.value),
    };
    encode_record(&fields, std::iter::empty(), out);
}

/// The batches that a poll thread makes of events, about a quarter of a megabyte each.
pub(crate) fn batches(events: &[Event]) -> Vec<RecordBatch> {
    let mut all = vec![RecordBatch::default()];
    for (number, event) in events.iter().enumerate() {
        if all.last().is_some_and(|batch| batch.bytes.len() >= 256 * 1024) {
            all.push(RecordBatch::default());
        }
        let batch = all.last_mut().expect("never empty");
        let offset = Offset::new(number as i64).expect("small");
        encode(event, offset, &mut batch.bytes);
        batch.marks.push(RecordMark { offset, timestamp: event.timestamp, end: batch.bytes.len() });
    }
    all
}

/// The canonical bytes of events, cut into blocks as a segment has them, with the records in each.
pub(crate) fn blocks(events: &[Event]) -> Vec<(Vec<u8>, u64)> {
    let mut all = Vec::new();
    let (mut block, mut records) = (Vec::new(), 0);
    for (number, event) in events.iter().enumerate() {
        encode(event, Offset::new(number as i64).expect("small"), &mut block);
        records += 1;
        if block.len() >= kafka_store_statecharts::record::BLOCK_BYTES {
            all.push((std::mem::take(&mut block), std::mem::take(&mut records)));
        }
    }
    if records > 0 {
        all.push((block, records));
    }
    all
}
