//! Where a chain begins.

use crate::offset::Offset;
use core::fmt;

/// The first offset of a chain, settled once and for ever before its first record is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name of the chain's first segment, also if its first record lies later.
    pub offset: Offset,
    /// How it was settled.
    pub reason: OriginReason,
}

/// How an origin was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginReason {
    /// `--offset-reset earliest` at the group's first start: the log start offset of that moment.
    Earliest,
    /// `--offset-reset latest` at the group's first start: the end of the log at that moment.
    Latest,
    /// The partition appeared after the group's first start: its log start offset.
    NewPartition,
    /// The chain was begun anew by hand, where the one before it could not go on.
    NewLineage,
}

impl OriginReason {
    /// Every reason, for tables and parsers.
    pub const ALL: [OriginReason; 4] =
        [OriginReason::Earliest, OriginReason::Latest, OriginReason::NewPartition, OriginReason::NewLineage];

    /// The word that stores and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            OriginReason::Earliest => "earliest",
            OriginReason::Latest => "latest",
            OriginReason::NewPartition => "new-partition",
            OriginReason::NewLineage => "new-lineage",
        }
    }

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<OriginReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for OriginReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
