//! The status as JSON.

use super::board::LastStored;
use super::view::{PartitionView, View};
use kafka_store_statecharts::offset::Offset;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One object.
pub(super) fn render(view: &View) -> String {
    let about = &view.about;
    let budgets = &view.budgets;
    let status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "time": time(view.at_ms),
        "started": time(view.started_ms),
        "group": about.group,
        "group_state": view.board.group_state,
        "cluster": about.cluster,
        "store": about.store,
        "partitions": view.partitions.iter().map(of_partition).collect::<Vec<_>>(),
        "memory_used_bytes": budgets.memory_used_bytes(),
        "memory_limit_bytes": about.memory_limit_bytes,
        "spool_bytes": budgets.spool.taken_bytes(),
        "spool_limit_bytes": about.spool_limit_bytes,
    });
    format!("{status:#}\n")
}

fn of_partition(partition: &PartitionView) -> Value {
    let segments: Vec<Value> = partition
        .charts
        .segments
        .iter()
        .map(|(start, segment)| {
            json!({
                "start": start.get(),
                "state": segment.state,
                "since": time(segment.since_ms),
                "opened": time(segment.opened_ms),
            })
        })
        .collect();
    json!({
        "topic": partition.partition.topic.as_str(),
        "partition": partition.partition.partition.get(),
        "chain": partition.charts.chain.to_string(),
        "state": partition.charts.state,
        "since": partition.charts.since_ms.map(time),
        "reason": partition.charts.reason,
        "archived_offset": partition.archived_to.map(Offset::get),
        "taken_offset": partition.taken_to.map(Offset::get),
        "high_watermark": partition.high_watermark.map(Offset::get),
        "lag_offsets": partition.lag(),
        "open_records": partition.open.record_count,
        "open_bytes": partition.open.record_bytes,
        "segments": segments,
        "last_stored": partition.charts.last_stored.map(|LastStored { start, final_offset, at_ms }| {
            json!({ "start": start.get(), "final": final_offset.get(), "time": time(at_ms) })
        }),
    })
}

/// A moment, in UTC, to the second.
pub(super) fn time(ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).expect("every moment of this era has a name")
}
