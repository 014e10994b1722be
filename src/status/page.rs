//! The status as a page for people.

use super::board::SegmentState;
use super::json::time;
use super::view::{PartitionView, View};
use indicatif::{DecimalBytes, HumanCount};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::segment::SegmentStateKind;
use std::fmt::{self, Write};

const STYLE: &str = "\
body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;color:#222;background:#fff}\
h1{font-size:1.3em}table{border-collapse:collapse;margin:1em 0}\
th,td{padding:.2em .8em;text-align:left;white-space:nowrap;vertical-align:top;border-bottom:1px solid #ddd}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
tr.frozen td{background:#fdecea}.reason{max-width:40em;white-space:normal}";

/// One page, which loads itself again every few seconds.
pub(super) fn render(view: &View) -> String {
    let mut page = String::with_capacity(4096 + view.partitions.len() * 512);
    write(&mut page, view).expect("a String takes everything");
    page
}

fn write(page: &mut String, view: &View) -> fmt::Result {
    let about = &view.about;
    write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>kafka-store: {group}</title><style>{STYLE}</style><h1>kafka-store {version}: {group}</h1><table>",
        group = Escaped(&about.group),
        version = env!("CARGO_PKG_VERSION"),
    )?;
    let budgets = &view.budgets;
    let memory = budgets.memory_used_bytes();
    let spool = match about.spool_limit_bytes {
        Some(limit) => format!("{} of {}", DecimalBytes(budgets.spool.taken_bytes()), DecimalBytes(limit)),
        None => DecimalBytes(budgets.spool.taken_bytes()).to_string(),
    };
    let rows = [
        ("time", time(view.at_ms)),
        ("started", time(view.started_ms)),
        ("store", about.store.clone()),
        ("cluster", about.cluster.clone().unwrap_or_default()),
        ("member of the group", view.board.group_state.to_owned()),
        ("memory for records", format!("{} of {}", DecimalBytes(memory), DecimalBytes(about.memory_limit_bytes))),
        ("disk for files that are not stored", spool),
        ("partitions", by_state(view)),
        ("offsets to archive", HumanCount(view.partitions.iter().filter_map(PartitionView::lag).sum()).to_string()),
    ];
    for (name, value) in &rows {
        write!(page, "<tr><th>{name}<td>{}", Escaped(value))?;
    }
    page.push_str(
        "</table><table><tr><th>partition<th>state<th>since<th class=\"n\">to archive<th class=\"n\">archived below",
    );
    page.push_str("<th class=\"n\">log ends<th>open file<th>on their way<th>last stored");
    for partition in &view.partitions {
        row(page, view, partition)?;
    }
    page.push_str("</table></html>\n");
    Ok(())
}

fn row(page: &mut String, view: &View, partition: &PartitionView) -> fmt::Result {
    let class = if partition.is_frozen() { " class=\"frozen\"" } else { "" };
    write!(page, "<tr{class}><td>{}<td>{}", Escaped(&partition.charts.chain.to_string()), partition.charts.state)?;
    if let Some(reason) = &partition.charts.reason {
        let id = partition.partition.to_string();
        write!(
            page,
            "<div class=\"reason\">{}<br>ways out: <code>kafka-store resolve --partition {}</code></div>",
            Escaped(reason),
            Escaped(&id)
        )?;
    }
    write!(page, "<td>{}", partition.charts.since_ms.map(|since| age(view, since)).unwrap_or_default())?;
    let offset = |offset: Option<Offset>| offset.map(|offset| offset.get().to_string()).unwrap_or_default();
    write!(
        page,
        "<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td>",
        partition.lag().map(|lag| HumanCount(lag).to_string()).unwrap_or_default(),
        offset(partition.archived_to),
        offset(partition.high_watermark),
    )?;
    if partition.open.record_count > 0 {
        let opened = partition.charts.segments.values().next_back().map(|segment| age(view, segment.opened_ms));
        let (records, bytes) = (HumanCount(partition.open.record_count), DecimalBytes(partition.open.record_bytes));
        write!(page, "{records} records, {bytes}, begun {}", opened.unwrap_or_default())?;
    }
    page.push_str("<td>");
    for (start, SegmentState { state, since_ms, .. }) in &partition.charts.segments {
        if *state != SegmentStateKind::Buffering.path() {
            write!(page, "{start}: {state}, {}<br>", age(view, *since_ms))?;
        }
    }
    page.push_str("<td>");
    if let Some(last) = partition.charts.last_stored {
        write!(page, "{} to {}, {}", last.start, last.final_offset, age(view, last.at_ms))?;
    }
    Ok(())
}

fn by_state(view: &View) -> String {
    let counts = view.partitions_by_state().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(state, count)| format!("{count} {state}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

/// How long ago something was.
fn age(view: &View, at_ms: i64) -> String {
    let seconds = view.at_ms.saturating_sub(at_ms).max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A text within a page.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}
