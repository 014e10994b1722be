//! What a verification found.

use std::fmt;
use std::rc::Rc;

/// What the logs say, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The files read.
    pub files: usize,
    /// Their lines.
    pub lines: u64,
    /// The instances, in the order of their names.
    pub instances: Vec<InstanceReport>,
    /// The chains that segments were stored to.
    pub chains: usize,
    /// The segments that were stored.
    pub stored: u64,
    /// The segments that were there already, and were adopted.
    pub adopted: u64,
    /// Segments whose upload was under way when an instance ended or gave them up, and that are in the archive: the
    /// chain goes on behind them.
    pub in_doubt_stored: u64,
    /// The offsets committed.
    pub committed: u64,
    /// Last lines that an instance could not finish.
    pub torn_lines: u64,
    /// What is no problem, but should be known.
    pub notes: Vec<String>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// What is known of an instance.
#[derive(Clone, Debug)]
pub struct InstanceReport {
    /// Its name.
    pub name: String,
    /// How many lines it wrote, as far as they were given.
    pub lines: u64,
    /// Its version, if its first line was given.
    pub version: Option<String>,
    /// How it ended; `None` if it was killed or still runs.
    pub exit_code: Option<u64>,
    /// How many charts were not at their end when the log ended.
    pub open: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// The line that shows it.
    pub place: Place,
    /// What, in words.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.kind.as_str(), self.message)
    }
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was given.
    pub file: Rc<str>,
    /// From 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// A line that cannot be read, elsewhere than at the end of an instance.
    UnreadableLine,
    /// Sequence numbers are missing.
    MissingLines,
    /// A sequence number occurs twice.
    RepeatedLine,
    /// A line stands after one with a higher sequence number.
    OutOfOrder,
    /// Something after an instance's last line, or before its first.
    Misplaced,
    /// No row of the chart's table.
    IllegalTransition,
    /// A chart leaves a state that it was not in.
    MissingTransition,
    /// A chart was left open by an instance that ended in good order, or went on without it.
    LeftOpen,
    /// What a line says of a segment contradicts what an earlier one said.
    Contradiction,
    /// A segment was opened elsewhere than at its partition's position.
    WrongPosition,
    /// An offset is committed of a segment that is not stored.
    CommitBeforeStore,
    /// An offset is committed that is not the one after the stored segment.
    WrongCommit,
    /// An offset is committed of a segment without a row, by an instance with an index.
    MissingRow,
    /// Two contents are said to be stored under one name.
    DifferentContent,
    /// Two segments hold the same offsets, or a chain goes on within one.
    Overlap,
    /// Offsets between segments that are in none.
    BrokenChain,
}

impl ProblemKind {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProblemKind::UnreadableLine => "unreadable line",
            ProblemKind::MissingLines => "missing lines",
            ProblemKind::RepeatedLine => "repeated line",
            ProblemKind::OutOfOrder => "line out of order",
            ProblemKind::Misplaced => "misplaced line",
            ProblemKind::IllegalTransition => "illegal transition",
            ProblemKind::MissingTransition => "missing transition",
            ProblemKind::LeftOpen => "left open",
            ProblemKind::Contradiction => "contradiction",
            ProblemKind::WrongPosition => "wrong position",
            ProblemKind::CommitBeforeStore => "commit before store",
            ProblemKind::WrongCommit => "wrong commit",
            ProblemKind::MissingRow => "missing row",
            ProblemKind::DifferentContent => "different content",
            ProblemKind::Overlap => "overlap",
            ProblemKind::BrokenChain => "broken chain",
        }
    }
}

/// Problems as they are found.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, kind: ProblemKind, place: &Place, message: impl Into<String>) {
        self.0.push(Problem { kind, place: place.clone(), message: message.into() });
    }
}
