//! Goal: the ways that the charts go read as prose. Method: scripts of events; what follows from each stands beside
//! it, and is rewritten by `UPDATE_TRACES=1`.
//!
//! A script's lines: `# …` is for readers, `= CHART WORDS` begins a new chart, `> EVENT` happens to it.

use crate::snapshot;
use crate::text::ChartText;
use kafka_store_statecharts::assignment::Assignment;
use kafka_store_statecharts::chart::{Chart, Now, Row, on_rows};
use kafka_store_statecharts::input::Input;
use kafka_store_statecharts::partition::Partition;
use kafka_store_statecharts::segment::Segment;
use kafka_store_statecharts::upload::Upload;
use std::path::PathBuf;

fn scripts() -> Vec<PathBuf> {
    let directory = snapshot::path("tests/charts/traces");
    let entries = std::fs::read_dir(directory).expect("the traces lie beside the tests");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths
}

/// A script in paragraphs: each begins with `=`, except the first.
fn paragraphs(script: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in script.lines() {
        if line.starts_with("= ") {
            all.push(String::new());
        }
        let last = all.last_mut().expect("there is one");
        last.push_str(line);
        last.push('\n');
    }
    all
}

/// Plays one paragraph with these rows, if it is of this chart.
fn play<'a, C: ChartText>(paragraph: &str, rows: impl Iterator<Item = &'a Row<C>> + Clone) -> Option<String> {
    let mut lines = paragraph.lines();
    let words = lines.next()?.strip_prefix("= ")?.strip_prefix(C::NAME)?.trim();
    let mut chart = C::start(words.trim_start_matches(", "));
    let mut text =
        format!("= {}{}{words}\n", C::NAME, if words.is_empty() || words.starts_with(',') { "" } else { " " });
    let mut now = Now { monotonic_ms: 0, wall_ms: 1_700_000_000_000 };
    for line in lines {
        let Some(event) = line.strip_prefix("> ") else {
            text.push_str(&format!("{line}\n"));
            continue;
        };
        now.monotonic_ms += 1;
        let event = event.split("  ").next().unwrap_or_default().trim();
        let (state, effects) = match on_rows(rows.clone(), &chart, now, C::event(event)) {
            Ok(transition) => {
                chart = transition.chart;
                (chart.show(), transition.effects.iter().map(C::show_effect).collect::<Vec<_>>().join(", "))
            }
            Err(refused) => (format!("{:?}", refused.refusal).to_lowercase(), String::new()),
        };
        let mark = if effects.is_empty() { "" } else { "  ! " };
        let line = format!("> {event:<28}  {state:<44}{mark}{effects}");
        text.push_str(&format!("{}\n", line.trim_end()));
    }
    Some(text)
}

fn play_any(paragraph: &str) -> String {
    play::<Segment>(paragraph, Segment::TABLE.iter())
        .or_else(|| play::<Partition>(paragraph, Partition::TABLE.iter()))
        .or_else(|| play::<Input>(paragraph, Input::TABLE.iter()))
        .or_else(|| play::<Assignment>(paragraph, Assignment::TABLE.iter()))
        .or_else(|| play::<Upload>(paragraph, Upload::TABLE.iter()))
        .unwrap_or_else(|| paragraph.to_owned())
}

/// Whether a trace of this chart goes otherwise if one row of its table is left out.
pub(crate) fn differ_without<C: ChartText>(row: usize) -> bool {
    let all =
        scripts().into_iter().flat_map(|path| paragraphs(&std::fs::read_to_string(path).expect("a trace can be read")));
    all.into_iter().any(|paragraph| {
        let rows = C::TABLE.iter().enumerate().filter(move |(index, _)| *index != row).map(|(_, row)| row);
        play(&paragraph, rows) != play(&paragraph, C::TABLE.iter())
    })
}

#[test]
fn the_traces_are_as_reviewed() {
    for path in scripts() {
        let script = std::fs::read_to_string(&path).expect("a trace can be read");
        let played: String = paragraphs(&script).iter().map(|paragraph| play_any(paragraph)).collect();
        assert!(!played.contains("impossible"), "{}: a caller's bug:\n{played}", path.display());
        snapshot::compare(&path, &played, "UPDATE_TRACES");
    }
}
