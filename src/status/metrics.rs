//! The figures as Prometheus reads them.

use super::board::Sums;
use super::view::{PartitionView, View};
use kafka_store_statecharts::failure::FAILURES;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

/// What [`render`] writes.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a partition shows, if it is known. (Prometheus keeps every figure as a 64-bit float.)
type OfPartition = fn(&PartitionView) -> Option<f64>;

/// One gauge for each partition. Times are in seconds since 1970.
const OF_PARTITIONS: &[(&str, &str, OfPartition)] = &[
    (
        "partition_frozen",
        "1 if the partition cannot go on: the log and the status page say why, kafka-store resolve the ways out",
        |partition| Some(partition.is_frozen().into()),
    ),
    ("partition_lag_offsets", "Offsets of Kafka's log that are not in the store yet", |partition| {
        partition.lag().map(|offsets| offsets as f64)
    }),
    ("partition_high_watermark", "Where Kafka's log ends", |partition| partition.high_watermark.map(number)),
    ("partition_archived_offset", "Everything below this offset is in the store, or cannot be seen", |partition| {
        partition.archived_to.map(number)
    }),
    (
        "partition_taken_offset",
        "Everything below this offset is in a file, stored or not, or cannot be seen",
        |partition| partition.taken_to.map(number),
    ),
    ("partition_open_records", "Records in the open file", |partition| Some(partition.open.record_count as f64)),
    ("partition_open_bytes", "Their bytes, before compression", |partition| Some(partition.open.record_bytes as f64)),
    ("partition_segments", "Files from their first record until their offset is committed", |partition| {
        Some(partition.charts.segments.len() as f64)
    }),
    (
        "partition_unstored_since_seconds",
        "When the oldest file was begun that the store does not have yet",
        |partition| partition.unstored_since_ms().map(seconds),
    ),
    ("partition_last_stored_seconds", "When the last file was stored, in this assignment", |partition| {
        partition.charts.last_stored.map(|last| seconds(last.at_ms))
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
        .set(1.0);
    gauges(registry, "group_state", "1 for the state of this member of the group", &["group", "state"])
        .with_label_values(&[&*view.about.group, view.board.group_state])
        .set(1.0);
    let help = "How long ago the thread that polls Kafka last made a step";
    gauge(registry, "since_last_poll_seconds", help, view.since_last_poll.as_secs_f64());
    let failures = counters(registry, "failures_total", "What has failed, each time", &["of", "class"]);
    // From the start on: a rate misses the first of a series that begins with it.
    for (port, class) in FAILURES.iter().flat_map(|row| row.ports.iter().map(|port| (*port, row.class))) {
        failures.with_label_values(&[port.as_str(), class.as_str()]).inc_by(0);
    }
    for ((port, class), count) in &view.failures {
        failures.with_label_values(&[port.as_str(), class.as_str()]).inc_by(*count);
    }
}

fn of_partitions(registry: &Registry, view: &View) {
    let states = gauges(registry, "partitions", "Assigned partitions, by the state of their chart", &["state"]);
    for (state, count) in view.partitions_by_state() {
        states.with_label_values(&[state]).set(count as f64);
    }
    let families = OF_PARTITIONS.iter().map(|(name, help, figure)| {
        let of_all = gauges(registry, name, help, &["topic", "partition"]);
        (of_all, figure)
    });
    let families: Vec<_> = families.collect();
    for partition in &view.partitions {
        let TopicPartition { topic, partition: number } = &partition.partition;
        let number = number.get().to_string();
        for (of_all, figure) in &families {
            if let Some(value) = figure(partition) {
                of_all.with_label_values(&[topic.as_str(), &number]).set(value);
            }
        }
    }
}

fn of_segments(registry: &Registry, view: &View) {
    let sealed = Summed {
        segments: counters(registry, "segments_sealed_total", "Files completed, by why they end", &["topic", "reason"]),
        records: counters(registry, "records_sealed_total", "Records in them", &["topic"]),
        bytes: counters(registry, "record_bytes_sealed_total", "Bytes of those, before compression", &["topic"]),
    };
    for ((topic, reason), sums) in &view.board.sealed {
        sealed.add(topic, reason.as_str(), sums);
    }
    let help = "Files in the store: written by this process, or adopted because they were there already";
    let stored = Summed {
        segments: counters(registry, "segments_stored_total", help, &["topic", "outcome"]),
        records: counters(registry, "records_stored_total", "Records in them", &["topic"]),
        bytes: counters(registry, "file_bytes_stored_total", "Bytes of those files", &["topic"]),
    };
    for ((topic, outcome), sums) in &view.board.stored {
        stored.add(topic, outcome.as_str(), sums);
    }
}

/// What is counted of segments.
struct Summed {
    segments: IntCounterVec,
    records: IntCounterVec,
    bytes: IntCounterVec,
}

impl Summed {
    fn add(&self, topic: &TopicName, kind: &str, sums: &Sums) {
        self.segments.with_label_values(&[topic.as_str(), kind]).inc_by(sums.segments);
        self.records.with_label_values(&[topic.as_str()]).inc_by(sums.records);
        self.bytes.with_label_values(&[topic.as_str()]).inc_by(sums.bytes);
    }
}

fn of_budgets(registry: &Registry, view: &View) {
    let budgets = &view.budgets;
    let used = gauges(registry, "memory_used_bytes", "Memory that records take, by what they wait for", &["part"]);
    let limit = gauges(registry, "memory_part_limit_bytes", "What that may be", &["part"]);
    for (part, budget) in [("batches", &budgets.batches), ("blocks", &budgets.blocks)] {
        used.with_label_values(&[part]).set(budget.used_bytes() as f64);
        limit.with_label_values(&[part]).set(budget.limit_bytes() as f64);
    }
    gauge(registry, "memory_limit_bytes", "--memory-limit", view.about.memory_limit_bytes as f64);
    let help = "Disk that files take until they are stored, and that is set aside for whole ones";
    gauge(registry, "spool_bytes", help, budgets.spool.taken_bytes() as f64);
    if let Some(limit) = view.about.spool_limit_bytes {
        gauge(registry, "spool_limit_bytes", "--spool-limit", limit as f64);
    }
    counters(registry, "spool_given_up_total", "Open files given up because --spool-limit was short", &[])
        .with_label_values::<&str>(&[])
        .inc_by(budgets.spool.given_up());
}

fn number(offset: Offset) -> f64 {
    offset.get() as f64
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// One without labels.
fn gauge(registry: &Registry, name: &str, help: &str, value: f64) {
    gauges(registry, name, help, &[]).with_label_values::<&str>(&[]).set(value);
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    let gauges = GaugeVec::new(options(name, help), labels).expect("names are legal");
    register(registry, gauges.clone());
    gauges
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(options(name, help), labels).expect("names are legal");
    register(registry, counters.clone());
    counters
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("kafka_store")
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("each name is registered once");
}
