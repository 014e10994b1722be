//! Draws a chart's table for the documents: as a Mermaid state diagram and as a Markdown table.

use crate::chart::{Chart, Kind, Row};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The diagram of a chart: one arrow for each row of its table, in the table's order.
pub fn diagram<C: Chart>() -> String {
    let mut text = String::from("stateDiagram-v2\n");
    text.push_str(&format!("    [*] --> {}\n", C::INITIAL.as_str()));
    for row in C::TABLE {
        text.push_str(&format!("    {} --> {}: {}", row.from.as_str(), row.to.as_str(), row.event.as_str()));
        if let Some(guard) = &row.guard {
            text.push_str(&format!(" [{}]", guard.name));
        }
        if !row.effects.is_empty() {
            text.push_str(&format!(" / {}", effects(row)));
        }
        text.push('\n');
    }
    for state in C::StateKind::ALL {
        if !C::TABLE.iter().any(|row| row.from == *state) {
            text.push_str(&format!("    {} --> [*]\n", state.as_str()));
        }
    }
    text
}

/// The table of a chart, in Markdown: one line for each row, in the table's order.
pub fn table<C: Chart>() -> String {
    let mut text = String::from("| From | Event | Condition | To | Effects |\n|---|---|---|---|---|\n");
    for row in C::TABLE {
        let condition = row.guard.as_ref().map_or("", |guard| guard.name);
        let (from, to, event) = (row.from.as_str(), row.to.as_str(), row.event.as_str());
        text.push_str(&format!("| {from} | {event} | {condition} | {to} | {} |\n", effects(row)));
    }
    text
}

fn effects<C: Chart>(row: &Row<C>) -> String {
    row.effects.iter().map(|effect| effect.as_str()).collect::<Vec<_>>().join(", ")
}
