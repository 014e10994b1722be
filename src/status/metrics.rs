//! The figures as Prometheus reads them.

use super::view::{PartitionView, View};
use prometheus::core::{Atomic, AtomicF64, AtomicU64, Collector, GenericCounterVec, GenericGaugeVec};
use prometheus::process_collector::ProcessCollector;
use prometheus::{Opts, Registry, TextEncoder};
use std::time::Duration;

/// What [`render`] writes.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Gauges = GenericGaugeVec<AtomicU64>;
type Counters = GenericCounterVec<AtomicU64>;

/// What a partition shows, if it is known.
type OfPartition = fn(&PartitionView) -> Option<u64>;

/// The same, a time in milliseconds since 1970.
type TimeOfPartition = fn(&PartitionView) -> Option<i64>;

/// One gauge for each partition.
const OF_PARTITIONS: &[(&str, &str, OfPartition)] = &[
    (
        "partition_frozen",
        "1 if the partition cannot go on: the log and the status page say why, kafka-store resolve the ways out",
        |partition| Some(partition.is_frozen().into()),
    ),
    ("partition_lag_offsets", "Offsets of Kafka's log that are not in the store yet", PartitionView::lag),
    ("partition_high_watermark", "Where Kafka's log ends", |partition| {
        partition.high_watermark.map(|offset| offset.get().unsigned_abs())
    }),
    ("partition_archived_offset", "Everything below this offset is in the store, or cannot be seen", |partition| {
        partition.archived_to.map(|offset| offset.get().unsigned_abs())
    }),
    (
        "partition_taken_offset",
        "Everything below this offset is in a file, stored or not, or cannot be seen",
        |partition| partition.taken_to.map(|offset| offset.get().unsigned_abs()),
    ),
    ("partition_open_records", "Records in the open file", |partition| Some(partition.open.record_count)),
    ("partition_open_bytes", "Their bytes, before compression", |partition| Some(partition.open.record_bytes)),
    ("partition_segments", "Files from their first record until their offset is committed", |partition| {
        Some(partition.segments.len() as u64)
    }),
];

/// Times of partitions, in seconds since 1970.
const TIMES_OF_PARTITIONS: &[(&str, &str, TimeOfPartition)] = &[
    (
        "partition_unstored_since_seconds",
        "When the oldest file was begun that the store does not have yet",
        PartitionView::unstored_since_ms,
    ),
    ("partition_last_stored_seconds", "When the last file was stored, in this assignment", |partition| {
        partition.last_stored.map(|last| last.at_ms)
    }),
];

/// All of them, in Prometheus's text format.
pub(super) fn render(view: &View) -> String {
    let registry = Registry::new();
    of_the_process(&registry, view);
    of_partitions(&registry, view);
    of_segments(&registry, view);
    of_budgets(&registry, view);
    register(&registry, ProcessCollector::for_self());
    TextEncoder::new().encode_to_string(&registry.gather()).expect("every figure has a name and a value")
}

fn of_the_process(registry: &Registry, view: &View) {
    gauges(registry, "build_info", "The running version", &["version"])
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
    gauges(registry, "group_state", "1 for the state of this member of the group", &["group", "state"])
        .with_label_values(&[&*view.about.group, view.board.group_state])
        .set(1);
    seconds(registry, "since_last_poll_seconds", "How long ago the thread that polls Kafka last made a step", &[])
        .with_label_values::<&str>(&[])
        .set(view.since_last_poll.as_secs_f64());
    let failures =
        counters(registry, "failures_total", "What has failed, each time; it is always tried again", &["of"]);
    for (what, count) in view.failures {
        failures.with_label_values(&[what.as_str()]).inc_by(count);
    }
}

fn of_partitions(registry: &Registry, view: &View) {
    let states = gauges(registry, "partitions", "Assigned partitions, by the state of their chart", &["state"]);
    for (state, count) in view.partitions_by_state() {
        states.with_label_values(&[state]).set(count as u64);
    }
    const LABELS: &[&str] = &["topic", "partition"];
    for (name, help, figure) in OF_PARTITIONS {
        let of_all = gauges(registry, name, help, LABELS);
        for partition in &view.partitions {
            if let Some(value) = figure(partition) {
                of_all.with_label_values(&labels(partition)).set(value);
            }
        }
    }
    for (name, help, time) in TIMES_OF_PARTITIONS {
        let of_all = seconds(registry, name, help, LABELS);
        for partition in &view.partitions {
            let since_1970 = time(partition).and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
            if let Some(since_1970) = since_1970 {
                of_all.with_label_values(&labels(partition)).set(since_1970.as_secs_f64());
            }
        }
    }
}

fn of_segments(registry: &Registry, view: &View) {
    let sealed = counters(registry, "segments_sealed_total", "Files completed, by why they end", &["topic", "reason"]);
    let records = counters(registry, "records_sealed_total", "Records in them", &["topic"]);
    let bytes = counters(registry, "record_bytes_sealed_total", "Bytes of those, before compression", &["topic"]);
    for ((topic, reason), sums) in &view.board.sealed {
        sealed.with_label_values(&[topic.as_str(), reason.as_str()]).inc_by(sums.segments);
        records.with_label_values(&[topic.as_str()]).inc_by(sums.records);
        bytes.with_label_values(&[topic.as_str()]).inc_by(sums.bytes);
    }
    let help = "Files in the store: written by this process, or adopted because they were there already";
    let stored = counters(registry, "segments_stored_total", help, &["topic", "outcome"]);
    let records = counters(registry, "records_stored_total", "Records in them", &["topic"]);
    let bytes = counters(registry, "file_bytes_stored_total", "Bytes of those files", &["topic"]);
    for ((topic, outcome), sums) in &view.board.stored {
        stored.with_label_values(&[topic.as_str(), outcome.as_str()]).inc_by(sums.segments);
        records.with_label_values(&[topic.as_str()]).inc_by(sums.records);
        bytes.with_label_values(&[topic.as_str()]).inc_by(sums.bytes);
    }
}

fn of_budgets(registry: &Registry, view: &View) {
    let budgets = &view.budgets;
    let used = gauges(registry, "memory_used_bytes", "Memory that records take, by what they wait for", &["part"]);
    let limit = gauges(registry, "memory_part_limit_bytes", "What that may be", &["part"]);
    for (part, budget) in [("batches", &budgets.batches), ("blocks", &budgets.blocks)] {
        used.with_label_values(&[part]).set(budget.used_bytes());
        limit.with_label_values(&[part]).set(budget.limit_bytes());
    }
    let one = |name, help, value| gauges(registry, name, help, &[]).with_label_values::<&str>(&[]).set(value);
    one("memory_limit_bytes", "--memory-limit", view.about.memory_limit_bytes);
    one(
        "spool_bytes",
        "Disk that files take until they are stored, and that is set aside for whole ones",
        budgets.spool.taken_bytes(),
    );
    if let Some(limit) = view.about.spool_limit_bytes {
        one("spool_limit_bytes", "--spool-limit", limit);
    }
    counters(registry, "spool_given_up_total", "Open files given up because --spool-limit was short", &[])
        .with_label_values::<&str>(&[])
        .inc_by(budgets.spool.given_up());
}

fn labels(partition: &PartitionView) -> [String; 2] {
    let id = &partition.partition;
    [id.topic.to_string(), id.partition.get().to_string()]
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Gauges {
    gauges_of(registry, name, help, labels)
}

fn seconds(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GenericGaugeVec<AtomicF64> {
    gauges_of(registry, name, help, labels)
}

fn gauges_of<P: Atomic + 'static>(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GenericGaugeVec<P> {
    let gauges = GenericGaugeVec::new(options(name, help), labels).expect("names are legal");
    register(registry, gauges.clone());
    gauges
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Counters {
    let counters = Counters::new(options(name, help), labels).expect("names are legal");
    register(registry, counters.clone());
    counters
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("kafka_store")
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("each name is registered once");
}
