//! The outcome of a verification, for people and for programs.

use super::Run;
use crate::archive::{ChainReport, Depth, KafkaTail, OtherEpoch, RecordComparison, VerifyReport};
use crate::commands::print::{Output, Stop};
use crate::commands::table::{Table, grouped, size};
use kafka_store_statecharts::offset::Offset;
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::Write;

pub(super) fn print_text<W: Write>(run: &Run, report: &VerifyReport, output: &mut Output<W>) -> Result<(), Stop> {
    let mut table =
        Table::new(&["PARTITION", ">SEGMENTS", ">FIRST", ">NEXT", ">RECORDS", ">INVISIBLE", ">SIZE", ">READ"]);
    let known = |number: Option<String>| number.unwrap_or_else(|| "?".to_owned());
    for chain in &report.chains {
        let records = grouped(chain.records);
        table.row(vec![
            chain.chain.to_string(),
            grouped(chain.segments),
            chain.first_offset.map_or_else(String::new, |offset| offset.to_string()),
            known(chain.next_offset.map(|offset| offset.to_string())),
            if chain.unknown > 0 { format!("{records}+?") } else { records },
            grouped(chain.invisible),
            size(chain.bytes),
            grouped(chain.read_whole),
        ]);
    }
    table.write(output.line());
    if !run.tails.is_empty() {
        output.line().push(b'\n');
        tails_table(&run.tails).write(output.line());
        if run.depth == Depth::Deep {
            output.line().push(b'\n');
            records_table(&run.tails).write(output.line());
        }
    }
    output.line().push(b'\n');
    let mut line = |text: &dyn Display| {
        // A Vec takes everything.
        let _ = writeln!(output.line(), "{text}");
        output.line_done()
    };
    for note in &report.notes {
        line(&format_args!("note: {note}"))?;
    }
    for problem in &report.problems {
        line(problem)?;
    }
    line(&totals(run, report))?;
    match report.problems.len() {
        0 => line(&"no problems"),
        1 => line(&"1 problem"),
        count => line(&format_args!("{count} problems")),
    }
}

fn tails_table(tails: &[KafkaTail]) -> Table {
    let mut table =
        Table::new(&["PARTITION", ">ARCHIVED TO", ">COMMITTED", ">LOG START", ">LAST STABLE", ">LOG END", ">LAG"]);
    for tail in tails {
        let known = |offset: Option<String>| offset.unwrap_or_else(|| "-".to_owned());
        table.row(vec![
            tail.partition.to_string(),
            known(tail.next_offset.map(|offset| offset.to_string())),
            known(tail.committed.map(|offset| offset.to_string())),
            tail.log_start.to_string(),
            tail.last_stable.to_string(),
            tail.high_watermark.to_string(),
            known(tail.lag.map(grouped)),
        ]);
    }
    table
}

fn records_table(tails: &[KafkaTail]) -> Table {
    let mut table = Table::new(&[
        "PARTITION",
        ">SAME IN KAFKA",
        ">DIFFERENT",
        ">NOT ARCHIVED",
        ">NOT COMPARED",
        ">EXPIRED",
        ">COMPACTED",
    ]);
    for KafkaTail { partition, records, .. } in tails {
        let Some(records) = records else { continue };
        table.row(vec![
            partition.to_string(),
            grouped(records.equal),
            grouped(records.different),
            grouped(records.not_archived),
            grouped(records.not_compared),
            grouped(records.expired),
            grouped(records.compacted),
        ]);
    }
    table
}

/// `3 partitions, 7 segments, 12.3 MB; read whole: 7`.
fn totals(run: &Run, report: &VerifyReport) -> String {
    let sum = |of: fn(&ChainReport) -> u64| report.chains.iter().map(of).sum::<u64>();
    let depth = match run.depth {
        Depth::Quick => "their headers and ends".to_owned(),
        Depth::Deep => "every byte".to_owned(),
        Depth::Sample { share, seed } => format!("every byte of {} % of them (--seed {seed})", share * 100.0),
    };
    let compared = run.tails.iter().filter(|tail| tail.records.is_some()).count() as u64;
    let compared = match (run.depth, compared) {
        (_, 0) => String::new(),
        (Depth::Deep, _) => ", and every record that Kafka still has".to_owned(),
        (_, count) => format!(", and against Kafka the last record of {} partitions", grouped(count)),
    };
    format!(
        "{}: {} partitions, {} segments, {} records, {}; verified: {depth}{compared}",
        run.location,
        grouped(report.chains.len() as u64),
        grouped(sum(|chain| chain.segments)),
        grouped(sum(|chain| chain.records)),
        size(sum(|chain| chain.bytes)),
    )
}

pub(super) fn print_json<W: Write>(run: &Run, report: &VerifyReport, output: &mut Output<W>) -> Result<(), Stop> {
    let (depth, share, seed) = match run.depth {
        Depth::Quick => ("quick", None, None),
        Depth::Deep => ("deep", None, None),
        Depth::Sample { share, seed } => ("sample", Some(share), Some(seed)),
    };
    let problems = report.problems.iter().map(|problem| {
        json!({
            "kind": problem.kind.as_str(),
            "chain": problem.chain.as_ref().map(ToString::to_string),
            "location": problem.location,
            "message": problem.message,
        })
    });
    let object = json!({
        "location": run.location,
        "depth": depth,
        "share": share,
        "seed": seed,
        "chains": report.chains.iter().map(chain_json).collect::<Value>(),
        "kafka": run.tails.iter().map(tail_json).collect::<Value>(),
        "notes": report.notes,
        "problems": problems.collect::<Value>(),
    });
    let _ = writeln!(output.line(), "{object}");
    output.line_done()
}

fn chain_json(chain: &ChainReport) -> Value {
    json!({
        "topic": chain.chain.topic_partition.topic.as_str(),
        "partition": chain.chain.topic_partition.partition.get(),
        "lineage": chain.chain.lineage,
        "origin": chain.origin.map(|origin| origin.offset.get()),
        "pruned": chain.pruned.map(|range| json!([range.start().get(), range.final_offset().get()])),
        "first_offset": chain.first_offset.map(|offset| offset.get()),
        "next_offset": chain.next_offset.map(|offset| offset.get()),
        "segments": chain.segments,
        "read_whole": chain.read_whole,
        "unknown_segments": chain.unknown,
        "record_count": chain.records,
        "invisible_count": chain.invisible,
        "deleted_count": chain.deleted,
        "bytes": chain.bytes,
    })
}

fn tail_json(tail: &KafkaTail) -> Value {
    json!({
        "topic": tail.partition.topic.as_str(),
        "partition": tail.partition.partition.get(),
        "next_offset": tail.next_offset.map(|offset| offset.get()),
        "committed": tail.committed.map(|offset| offset.get()),
        "log_start": tail.log_start.get(),
        "last_stable": tail.last_stable.get(),
        "high_watermark": tail.high_watermark.get(),
        "lag": tail.lag,
        "records": tail.records.as_ref().map(records_json),
    })
}

fn records_json(records: &RecordComparison) -> Value {
    let offset = |offset: Option<Offset>| offset.map(Offset::get);
    let other_epoch = records.other_epoch.map(|OtherEpoch { offset, archived, logged }| {
        json!({ "offset": offset.get(), "archived": archived.get(), "logged": logged.get() })
    });
    let lost_epoch =
        records.lost_epoch.map(|(offset, epoch)| json!({ "offset": offset.get(), "archived": epoch.get() }));
    json!({
        "equal": records.equal,
        "last_equal": offset(records.last_equal),
        "different": records.different,
        "first_different": offset(records.first_different),
        "last_different": offset(records.last_different),
        "other_epoch": other_epoch,
        "lost_epoch": lost_epoch,
        "not_archived": records.not_archived,
        "first_not_archived": offset(records.first_not_archived),
        "last_not_archived": offset(records.last_not_archived),
        "not_compared": records.not_compared,
        "expired": records.expired,
        "compacted": records.compacted,
        "beyond_log": records.beyond_log,
        "accepted": records.accepted,
    })
}
