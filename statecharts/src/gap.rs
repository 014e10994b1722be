//! Offsets inside a chain that no record has.

use crate::offset::{Offset, OffsetRange};
use core::fmt;

/// A run of missing offsets whose reason is *not* that the log never shows them.
///
/// Offsets that the log does not show (compaction, transaction markers, aborted records) are counted,
/// not listed: they follow from the records' offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The missing offsets.
    pub offsets: OffsetRange,
    /// Why they are missing.
    pub reason: GapReason,
}

/// Why offsets are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Retention or DeleteRecords removed them before they were archived.
    Deleted,
}

impl Gap {
    /// What is left of it at the front of a segment that starts here; `None` if that starts elsewhere.
    #[must_use]
    pub fn at_front_of(self, start: Offset) -> Option<Gap> {
        let offsets = OffsetRange::new(start, self.offsets.final_offset())?;
        self.offsets.contains(start).then_some(Gap { offsets, ..self })
    }
}

impl GapReason {
    /// The word that files and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            GapReason::Deleted => "deleted",
        }
    }

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<GapReason> {
        (text == "deleted").then_some(GapReason::Deleted)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
