//! Problems of an archive.

use super::segment::kind_and_text;
use crate::archive::error::ArchiveError;
use crate::store::ArchiveStore;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use std::fmt;

/// A problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// The chain that it is in; `None` for a topic as a whole.
    pub chain: Option<ChainName>,
    /// The place that shows it: a segment's path or URL, or the chain.
    pub location: String,
    /// Description, and what to do.
    pub message: String,
}

impl Problem {
    /// A problem of a chain as a whole.
    pub(super) fn of_chain(kind: ProblemKind, chain: &ChainName, message: String) -> Problem {
        Problem { kind, chain: Some(chain.clone()), location: chain.to_string(), message }
    }

    /// True unless it is of one segment.
    pub(super) fn is_of_chain(&self) -> bool {
        self.chain.as_ref().is_some_and(|chain| chain.to_string() == self.location)
    }

    /// A segment that cannot be read.
    pub(super) fn unreadable(store: &dyn ArchiveStore, name: &SegmentName, error: &ArchiveError) -> Problem {
        let (kind, message) = kind_and_text(error);
        Problem { kind, chain: Some(name.chain.clone()), location: store.location(name), message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.location, self.kind.as_str(), self.message)
    }
}

/// Kind of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// The store could not read it.
    Unreadable,
    /// The file ends too early.
    Truncated,
    /// The file is not what its writer wrote, or no segment at all.
    Damaged,
    /// The segment says that it belongs elsewhere: another topic, partition or lineage.
    Misplaced,
    /// The segment is from another cluster or topic, or was read otherwise, than the rest of its chain.
    Stranger,
    /// Segments are missing in the middle of the chain.
    Missing,
    /// Two segments cover the same offsets.
    Overlap,
    /// Segments lie before the chain's origin.
    BeforeOrigin,
    /// A segment of the original tool after one of ours.
    OutOfOrder,
    /// The bytes are not those that the store's checksum is of.
    Checksum,
    /// The object's metadata in the store contradicts its header.
    Metadata,
    /// The segment does not end where its settings and its records say.
    Boundary,
    /// The mirror lacks a segment.
    NotMirrored,
    /// The mirror holds other bytes, or a segment that the archive does not have.
    MirrorDiffers,
    /// Kafka removed records that are not in the archive.
    Lost,
    /// An offset is committed beyond the archive's end.
    CommitBeyondTail,
    /// The index has no row of a segment.
    NoRow,
    /// The index has a row that says something else.
    OtherRow,
    /// The index has a row of a segment that is not there.
    RowWithoutSegment,
    /// The archive goes beyond the end of Kafka's log, or is of another topic of this name, or of another cluster.
    LogChanged,
    /// Kafka's log has other records than the one that was archived.
    OtherHistory,
    /// Some of Kafka's records differ from the archived ones.
    RecordsDiffer,
    /// Kafka has records that are in no segment, before the chain's end.
    NotArchived,
    /// Kafka's log cannot be read.
    LogUnreadable,
}

impl ProblemKind {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProblemKind::Unreadable => "unreadable",
            ProblemKind::Truncated => "truncated",
            ProblemKind::Damaged => "damaged",
            ProblemKind::Misplaced => "misplaced",
            ProblemKind::Stranger => "of another source",
            ProblemKind::Missing => "missing",
            ProblemKind::Overlap => "overlap",
            ProblemKind::BeforeOrigin => "before the origin",
            ProblemKind::OutOfOrder => "out of order",
            ProblemKind::Checksum => "wrong checksum",
            ProblemKind::Metadata => "wrong metadata",
            ProblemKind::Boundary => "wrong end",
            ProblemKind::NotMirrored => "not mirrored",
            ProblemKind::MirrorDiffers => "mirror differs",
            ProblemKind::Lost => "lost",
            ProblemKind::CommitBeyondTail => "commit beyond the archive",
            ProblemKind::NoRow => "not in the index",
            ProblemKind::OtherRow => "another row",
            ProblemKind::RowWithoutSegment => "row without a file",
            ProblemKind::LogChanged => "another log",
            ProblemKind::OtherHistory => "another history",
            ProblemKind::RecordsDiffer => "records differ",
            ProblemKind::NotArchived => "not archived",
            ProblemKind::LogUnreadable => "log unreadable",
        }
    }
}
