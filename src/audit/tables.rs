//! What the charts allow, by the names that a line has.

use kafka_store_statecharts::assignment::Assignment;
use kafka_store_statecharts::chart::{Chart, Kind};
use kafka_store_statecharts::partition::Partition;
use kafka_store_statecharts::segment::{Segment, SegmentStateKind};
use kafka_store_statecharts::upload::Upload;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The names that a verification knows the meaning of.
pub(super) mod name {
    use kafka_store_statecharts::segment::SegmentStateKind as Segment;

    pub(in super::super) const ASSIGNMENT: &str = "assignment";
    pub(in super::super) const LEFT: &str = "Left";
    pub(in super::super) const DRAIN_EXPIRED: &str = "DrainExpired";

    pub(in super::super) const ACTIVE: &str = "Active";
    pub(in super::super) const WAITING_FOR_SLOT: &str = "WaitingForSlot";
    pub(in super::super) const GONE: &str = "Gone";
    pub(in super::super) const LOCATED: &str = "Located";

    pub(in super::super) const SEGMENT: &str = "segment";
    pub(in super::super) const UPLOAD: &str = "upload";
    pub(in super::super) const IDLE: &str = Segment::Idle.path();
    pub(in super::super) const SEALING: &str = Segment::Sealing.path();
    pub(in super::super) const AWAITING_TURN: &str = Segment::AwaitingTurn.path();
    pub(in super::super) const UPLOADING: &str = Segment::Uploading.path();
    pub(in super::super) const MIRRORING: &str = Segment::Mirroring.path();
    pub(in super::super) const AWAITING_PREDECESSOR: &str = Segment::AwaitingPredecessor.path();
    pub(in super::super) const AWAITING_INDEX_ROW: &str = Segment::AwaitingIndexRow.path();
    pub(in super::super) const AWAITING_OFFSET_COMMIT: &str = Segment::AwaitingOffsetCommit.path();
    pub(in super::super) const FIRST_RECORD: &str = "FirstRecord";
    pub(in super::super) const BOUNDARY_REACHED: &str = "BoundaryReached";
    pub(in super::super) const OBJECT_STORED: &str = "ObjectStored";
    pub(in super::super) const OFFSET_COMMITTED: &str = "OffsetCommitted";
}

/// The transitions of one chart that change its state's name. Rows that do not are never logged.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) chart: &'static str,
    pub(super) initial: &'static str,
    pub(super) rows: BTreeSet<[&'static str; 3]>,
}

impl Table {
    /// Of every chart, made from what the charts run on.
    pub(super) fn all() -> [Table; 4] {
        [
            Table::of::<Assignment>(Kind::as_str),
            Table::of::<Partition>(Kind::as_str),
            Table::of::<Segment>(SegmentStateKind::path),
            Table::of::<Upload>(Kind::as_str),
        ]
    }

    fn of<C: Chart>(name: fn(C::StateKind) -> &'static str) -> Table {
        let rows = C::TABLE.iter().filter(|row| row.from != row.to);
        Table {
            chart: C::NAME,
            initial: name(C::INITIAL),
            rows: rows.map(|row| [name(row.from), row.event.as_str(), name(row.to)]).collect(),
        }
    }

    pub(super) fn allows(&self, from: &str, event: &str, to: &str) -> bool {
        self.rows.contains(&[from, event, to])
    }
}

/// Tells versions of the charts apart: the first half of BLAKE3 of all transitions that can be logged.
pub fn charts_hash() -> String {
    let mut text = String::new();
    for Table { chart, initial, rows } in Table::all() {
        let _ = writeln!(text, "{chart} {initial}");
        for [from, event, to] in rows {
            let _ = writeln!(text, "{from} {event} {to}");
        }
    }
    let mut hash = blake3::hash(text.as_bytes()).to_hex().to_string();
    hash.truncate(32);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_names_of_the_log() {
        let [assignment, partition, segment, upload] = Table::all();
        assert_eq!((assignment.chart, assignment.initial), ("assignment", "Joining"));
        assert!(partition.allows("Locating", "Located", "Active"));
        assert!(upload.allows("Open", "OutcomeUnknown", "QueryingStatus") && upload.chart == name::UPLOAD);
        assert!(segment.allows("Committing.AwaitingPredecessor", "CommitGranted", "Committing.AwaitingOffsetCommit"));
        assert!(!segment.allows("Buffering", "ObjectStored", "Idle"));
        assert!(!segment.allows("Uploading.Arbiter", "StoreFailed", "Uploading.Arbiter"), "the name does not change");
    }
}
