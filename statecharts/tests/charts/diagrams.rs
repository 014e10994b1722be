//! Goal: `docs/statecharts.md` says what the tables say. Method: it is made of them, and `UPDATE_DIAGRAMS=1` rewrites it.

use crate::snapshot;
use kafka_store_statecharts::assignment::Assignment;
use kafka_store_statecharts::chart::{Chart, Kind};
use kafka_store_statecharts::input::Input;
use kafka_store_statecharts::mermaid;
use kafka_store_statecharts::partition::Partition;
use kafka_store_statecharts::segment::Segment;
use kafka_store_statecharts::upload::Upload;

fn section<C: Chart>(title: &str, about: &str) -> String {
    let (diagram, table) = (mermaid::diagram::<C>(), mermaid::table::<C>());
    let mut text = format!("## {title}\n\n{about}\n\n```mermaid\n{diagram}```\n\n{table}\n");
    let stale: Vec<String> =
        C::STALE.iter().map(|(state, event)| format!("{} in {}", event.as_str(), state.as_str())).collect();
    if !stale.is_empty() {
        text.push_str(&format!("Too late through nobody's fault, and therefore ignored: {}.\n", stale.join(", ")));
    }
    text
}

fn document() -> String {
    let about = "\
# Statecharts

This document is generated from the tables that the daemon runs on (`UPDATE_DIAGRAMS=1 cargo test -p
kafka-store-statecharts`); a test compares the two. An arrow is a row of a table: the event, its [condition], and
after the slash the effects that it may have, in order. What is neither in a table nor named as too late cannot
happen: it ends the process, and a restart is safe.
";
    [
        about.to_owned(),
        section::<Assignment>("Assignment", "The membership of a process in its consumer group. One for each process."),
        section::<Partition>(
            "Partition",
            "The position in one partition, and the order of its segments. One for each assigned partition.",
        ),
        section::<Input>(
            "Input",
            "The records that a partition is fetched for, until no more come. One for each start of fetching.",
        ),
        section::<Segment>(
            "Segment",
            "A segment from its first record until its offset is committed. One for each segment on its way.",
        ),
        section::<Upload>(
            "Upload",
            "The bytes of a sealed segment on their way into Google Cloud Storage. One for each call that stores one.",
        ),
    ]
    .join("\n")
}

#[test]
fn the_document_is_what_the_tables_say() {
    snapshot::compare(&snapshot::path("../docs/statecharts.md"), &document(), "UPDATE_DIAGRAMS");
}

/// What Mermaid takes for its own in a label of a state diagram.
#[test]
fn labels_hold_nothing_that_mermaid_takes_for_its_own() {
    for diagram in [
        mermaid::diagram::<Assignment>(),
        mermaid::diagram::<Partition>(),
        mermaid::diagram::<Input>(),
        mermaid::diagram::<Segment>(),
        mermaid::diagram::<Upload>(),
    ] {
        assert!(diagram.starts_with("stateDiagram-v2\n"));
        for line in diagram.lines().skip(1) {
            let label = line.split_once(": ").map_or("", |(_, label)| label);
            let safe = |c: char| c.is_ascii_alphanumeric() || " []/,".contains(c);
            assert!(label.chars().all(safe), "{line}");
        }
    }
}
