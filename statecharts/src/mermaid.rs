//! Draws a chart's table as a Mermaid state diagram, for the documents.

use crate::chart::{Chart, Kind};
use alloc::format;
use alloc::string::String;

/// The diagram of a chart: one arrow for each row of its table, in the table's order.
pub fn diagram<C: Chart>() -> String {
    let mut text = String::from("stateDiagram-v2\n");
    text.push_str(&format!("    [*] --> {}\n", C::INITIAL.as_str()));
    for row in C::TABLE {
        text.push_str(&format!("    {} --> {}: {}", row.from.as_str(), row.to.as_str(), row.event.as_str()));
        if let Some(guard) = &row.guard {
            text.push_str(&format!(" [{}]", guard.name));
        }
        for (index, effect) in row.effects.iter().enumerate() {
            text.push_str(if index == 0 { " / " } else { ", " });
            text.push_str(effect.as_str());
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
