//! Goal: what every chart does with every event in every state is a text that can be reviewed, and every row of
//! every table matters. Method: states are reached by scripts, each meets each event, and rows are left out.

use crate::snapshot;
use crate::text::ChartText;
use crate::traces;
use kafka_store_statecharts::assignment::Assignment;
use kafka_store_statecharts::chart::{Kind, Now, Refusal, Row, on, on_rows};
use kafka_store_statecharts::input::Input;
use kafka_store_statecharts::partition::Partition;
use kafka_store_statecharts::segment::Segment;
use kafka_store_statecharts::upload::Upload;
use std::collections::BTreeSet;

mod examples;

use examples::Examples;

fn now() -> Now {
    Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 }
}

fn state<C: ChartText>(start: &str, script: &str) -> C {
    let mut chart = C::start(start);
    for words in script.split("; ").filter(|words| !words.is_empty()) {
        let transition = on(&chart, now(), C::event(words));
        chart = transition.unwrap_or_else(|refused| panic!("{script}: {refused}")).chart;
    }
    chart
}

/// One pair's outcome in words; the event's words if it was refused.
fn outcome<'a, C: ChartText>(
    rows: impl Iterator<Item = &'a Row<C>>,
    chart: &C,
    words: &str,
) -> Result<String, Refusal> {
    match on_rows(rows, chart, now(), C::event(words)) {
        Ok(transition) => {
            let effects: Vec<String> = transition.effects.iter().map(C::show_effect).collect();
            let mut line = format!("  {words:<27} -> {}", transition.chart.show());
            if !effects.is_empty() {
                line.push_str(&format!(" ! {}", effects.join(", ")));
            }
            Ok(line)
        }
        Err(refused) => Err(refused.refusal),
    }
}

/// All pairs' outcomes, a paragraph for each state.
fn walk<C: ChartText>(examples: &Examples, leave_out: Option<usize>) -> String {
    let mut text = String::new();
    for (start, script) in examples.states {
        let chart: C = state(start, script);
        let about = if start.is_empty() { String::new() } else { format!(" ({start})") };
        text.push_str(&format!("{}{about}\n", chart.show()));
        let (mut stale, mut impossible) = (Vec::new(), Vec::new());
        for words in examples.events {
            let rows =
                || C::TABLE.iter().enumerate().filter(|(index, _)| Some(*index) != leave_out).map(|(_, row)| row);
            let (first, second) = (outcome(rows(), &chart, words), outcome(rows(), &chart, words));
            assert_eq!(first, second, "the same twice");
            match first {
                Ok(line) => text.push_str(&format!("{line}\n")),
                Err(Refusal::Stale) => stale.push(*words),
                Err(Refusal::Impossible) => impossible.push(*words),
            }
        }
        for (name, refused) in [("stale", stale), ("impossible", impossible)] {
            if !refused.is_empty() {
                text.push_str(&format!("  {name}: {}\n", refused.join(", ")));
            }
        }
        text.push('\n');
    }
    text
}

fn check<C: ChartText>(examples: &Examples) {
    every_state_and_event_has_an_example::<C>(examples);
    guards_are_exclusive_and_every_row_is_taken::<C>(examples);
    every_stale_pair_is_refused::<C>(examples);
    let whole = walk::<C>(examples, None);
    for (index, row) in C::TABLE.iter().enumerate() {
        assert_ne!(walk::<C>(examples, Some(index)), whole, "{}: {row:?} makes no difference", C::NAME);
        assert!(traces::differ_without::<C>(index), "{}: no trace needs {row:?}", C::NAME);
    }
    let path = snapshot::path(&format!("tests/charts/tables/{}.txt", examples.name));
    snapshot::compare(&path, &whole, "UPDATE_TABLES");
}

fn every_state_and_event_has_an_example<C: ChartText>(examples: &Examples) {
    for kind in C::StateKind::ALL {
        let named = examples.states.iter().any(|(start, script)| state::<C>(start, script).state() == *kind);
        assert!(named, "{}: no example of the state {kind:?}", C::NAME);
    }
    for kind in C::EventKind::ALL {
        let named = examples.events.iter().any(|words| C::event_kind(&C::event(words)) == *kind);
        assert!(named, "{}: no example of the event {kind:?}", C::NAME);
    }
}

fn guards_are_exclusive_and_every_row_is_taken<C: ChartText>(examples: &Examples) {
    let mut taken = vec![false; C::TABLE.len()];
    for (start, script) in examples.states {
        let chart: C = state(start, script);
        for words in examples.events {
            let event = C::event(words);
            let fits = |row: &Row<C>| {
                row.from == chart.state()
                    && row.event == C::event_kind(&event)
                    && row.guard.as_ref().is_none_or(|guard| (guard.holds)(&chart, &event))
            };
            let fitting: Vec<usize> = (0..C::TABLE.len()).filter(|index| fits(&C::TABLE[*index])).collect();
            assert!(fitting.len() <= 1, "{}: {script}: {words} fits more than one row: {fitting:?}", C::NAME);
            for index in fitting {
                taken[index] = true;
            }
        }
    }
    let never: Vec<&Row<C>> = C::TABLE.iter().zip(taken).filter(|(_, taken)| !taken).map(|(row, _)| row).collect();
    assert!(never.is_empty(), "{}: never taken: {never:?}", C::NAME);
}

fn every_named_effect_is_had<C: ChartText>(examples: &Examples) {
    for row in C::TABLE {
        let mut had = BTreeSet::new();
        for (start, script) in examples.states {
            let chart: C = state(start, script);
            for words in examples.events {
                if let Ok(transition) = on_rows(std::iter::once(row), &chart, now(), C::event(words)) {
                    had.extend(transition.effects.iter().map(C::effect_kind));
                }
            }
        }
        let named: BTreeSet<_> = row.effects.iter().copied().collect();
        assert_eq!(had, named, "{}: {row:?} names effects that it never has", C::NAME);
    }
}

fn every_stale_pair_is_refused<C: ChartText>(examples: &Examples) {
    for (state_kind, event_kind) in C::STALE {
        let row = C::TABLE.iter().find(|row| (row.from, row.event) == (*state_kind, *event_kind));
        assert!(row.is_none(), "{}: stale, and yet {row:?}", C::NAME);
        let charts = examples.states.iter().map(|(start, script)| state::<C>(start, script));
        for chart in charts.filter(|chart| chart.state() == *state_kind) {
            for words in examples.events.iter().filter(|words| C::event_kind(&C::event(words)) == *event_kind) {
                assert_eq!(outcome(C::TABLE.iter(), &chart, words), Err(Refusal::Stale));
            }
        }
    }
}

#[test]
fn the_segment_table_is_as_reviewed() {
    check::<Segment>(&examples::SEGMENT);
    every_named_effect_is_had::<Segment>(&examples::SEGMENT);
}

#[test]
fn the_partition_table_is_as_reviewed() {
    check::<Partition>(&examples::PARTITION);
    every_named_effect_is_had::<Partition>(&examples::PARTITION);
}

#[test]
fn the_input_table_is_as_reviewed() {
    check::<Input>(&examples::INPUT);
    every_named_effect_is_had::<Input>(&examples::INPUT);
}

#[test]
fn the_assignment_table_is_as_reviewed() {
    check::<Assignment>(&examples::ASSIGNMENT);
}

#[test]
fn the_upload_table_is_as_reviewed() {
    check::<Upload>(&examples::UPLOAD);
    every_named_effect_is_had::<Upload>(&examples::UPLOAD);
}
