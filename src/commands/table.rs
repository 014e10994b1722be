//! Tables and numbers for people.

use indicatif::{DecimalBytes, HumanCount};
use std::io::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Rows whose columns are as wide as what is in them.
#[derive(Debug)]
pub(super) struct Table {
    /// The headings; one that begins with `>` stands over numbers.
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&'static str]) -> Table {
        Table { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.headings.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The lines, each with its newline.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let titles: Vec<String> =
            self.headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        let lines = || std::iter::once(&titles).chain(&self.rows);
        let width = |column: usize| lines().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..titles.len()).map(width).collect();
        for cells in lines() {
            let mut line = String::new();
            for ((cell, width), heading) in cells.iter().zip(&widths).zip(&self.headings) {
                let padding = " ".repeat(width - cell.chars().count());
                let padded = if heading.starts_with('>') { padding + cell } else { format!("{cell}{padding}") };
                line.push_str(&padded);
                line.push_str("  ");
            }
            // A Vec takes everything.
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

/// A number with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A size in powers of ten, as in `12.34 MB`.
pub(super) fn size(bytes: u64) -> String {
    DecimalBytes(bytes).to_string()
}

/// A timestamp to the second, or the bare number where it is no time that has a calendar.
pub(super) fn moment(timestamp_ms: i64) -> String {
    // 1970 to 9999; what lies outside is a wrong timestamp, and is shown as it is.
    let seconds = Some(timestamp_ms.div_euclid(1_000)).filter(|seconds| (0..253_402_300_800).contains(seconds));
    let moment = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| timestamp_ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&["NAME", ">COUNT", "NOTE"]);
        table.row(vec!["a".into(), grouped(1_234_567), String::new()]);
        table.row(vec!["longer".into(), grouped(7), "no".into()]);
        let mut out = Vec::new();
        table.write(&mut out);
        let expected = "NAME        COUNT  NOTE\na       1,234,567\nlonger          7  no\n";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn wrong_timestamps_are_shown_as_they_are() {
        assert_eq!(moment(1_700_000_000_999), "2023-11-14T22:13:20Z");
        for wrong in [-1, i64::MIN, i64::MAX] {
            assert_eq!(moment(wrong), wrong.to_string());
        }
    }
}
