//! What can be wrong with an archive.

use kafka_store_statecharts::name::ChainName;
use std::fmt;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// The chain that it is in.
    pub chain: ChainName,
    /// What shows it: a segment's path or URL, or the chain.
    pub location: String,
    /// What, in words, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.location, self.kind.as_str(), self.message)
    }
}

/// What can be wrong.
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
    /// There are segments before the chain's origin.
    BeforeOrigin,
    /// A segment of the original tool after one of ours.
    OutOfOrder,
    /// The bytes are not those that the store's checksum is of.
    Checksum,
    /// What the store keeps beside the object is not what its header says.
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
    /// The archive goes beyond the end of Kafka's log, or is of another topic of this name.
    LogChanged,
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
        }
    }
}
