//! What `resolve` says of a partition.

use crate::archive::{AtEnd, Begin, Difference, Finding, Stuck};
use kafka_store_statecharts::offset::Offset;

/// A partition: what stands in its way, what is known of it, and the ways out with what each keeps and loses.
pub(super) fn describe(stuck: &Stuck, group: &str) -> String {
    let partition = &stuck.chain.topic_partition;
    let mut text = format!("{partition}\n");
    let mut line = |name: &str, what: &str| text.push_str(&format!("  {name:<11}{what}\n"));
    match &stuck.found {
        Ok(position) => line("can go on", &format!("at {position}")),
        Err(reason) => line("frozen", reason),
    }
    match stuck.archive_end {
        Some((end, _)) => line("archive", &format!("{} ends before {end}", stuck.chain)),
        None => line("archive", &format!("{} is empty, or says nowhere to go on", stuck.chain)),
    }
    match stuck.committed {
        Some(offset) => line("committed", &format!("{offset}, by the group {group}")),
        None => line("committed", &format!("nothing, by the group {group}")),
    }
    let (start, end) = (stuck.log.0.offset, stuck.log.1.offset);
    line("Kafka", &format!("has what begins at {start} and ends before {end}"));
    for finding in stuck.history.findings() {
        line("finding", &found_before(finding));
    }
    if let Some(what) = histories(stuck) {
        line("histories", &what);
    }
    for way in ways_out(stuck) {
        line("way out", &way);
    }
    text
}

fn found_before(finding: &Finding) -> String {
    let decided = match finding.choice {
        None => "nothing is decided yet",
        Some(_) => "decided: the same history",
    };
    format!("{} at {}: {}; {decided}", finding.number, finding.end, finding.summary())
}

/// From which offset on the archive and the log differ.
fn histories(stuck: &Stuck) -> Option<String> {
    let parting = stuck.parting?;
    let same_before = |from: Offset| match from.previous() {
        Some(last) if from > stuck.log.0.offset => format!("the same up to {last}, as far as Kafka still has it; "),
        _ => String::new(),
    };
    Some(match (parting.at_end, parting.from) {
        (AtEnd::Same, _) if stuck.difference() == Some(Difference::OtherTopic) => {
            "the archive's last record is in Kafka's log: the topic may have been restored with the same records"
                .to_owned()
        }
        (AtEnd::Same, _) => "the archive's last record is in Kafka's log".to_owned(),
        (AtEnd::Removed, _) => {
            "cannot be compared: Kafka no longer has the archive's last record (retention or compaction)".to_owned()
        }
        (AtEnd::EndsBefore(end), Some(from)) if from >= end => {
            format!("{}Kafka's log ends before {end}", same_before(from))
        }
        (AtEnd::Other(_) | AtEnd::EndsBefore(_), from) => {
            let from = from.unwrap_or_default();
            format!("{}from {from} on Kafka has other records than the archive", same_before(from))
        }
    })
}

fn ways_out(stuck: &Stuck) -> Vec<String> {
    let mut ways = Vec::new();
    if let Ok((offset, _)) = stuck.commit_to_set() {
        ways.push(format!("--reset-commit: commit {offset}, where the archive ends; it goes on there"));
    }
    if let Ok(new) = stuck.new_lineage(Begin::Earliest) {
        let differs_from = stuck.parting.and_then(|parting| parting.from).filter(|from| *from > new.origin);
        let less = differs_from
            .filter(|from| *from <= stuck.log.1.offset)
            .map(|from| format!("; with --at {from}, where the histories part, only what differs"))
            .unwrap_or_default();
        ways.push(format!(
            "--begin-anew: begin {} at {}, or where --at says. Keeps all that is archived as it is, and all that Kafka has; \
             what both have is in both chains{less}",
            new.chain, new.origin
        ));
    }
    if let Ok(finding) = stuck.same_history() {
        ways.push(format!("--same-history: continue {} at {}. {}", finding.chain, finding.end, lost(stuck, &finding)));
    }
    ways
}

/// What is never archived if a chain is continued at its end.
fn lost(stuck: &Stuck, finding: &Finding) -> String {
    let from = match stuck.parting {
        Some(parting) if parting.at_end == AtEnd::Same => None,
        Some(parting) => Some(parting.from.unwrap_or(stuck.log.0.offset)),
        None => Some(stuck.log.0.offset),
    };
    match from.zip(finding.end.previous()).filter(|(from, last)| from <= last) {
        Some((from, last)) => format!(
            "Keeps what is archived; what Kafka has between the offsets {from} and {last} is never archived, and readers see \
             two histories as one"
        ),
        None => "Keeps what is archived, and loses nothing that Kafka has".to_owned(),
    }
}
