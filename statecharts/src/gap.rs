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
    /// What is left of it at the front of a segment that starts here; `None` if that starts behind it. What lies between the
    /// start and the gap, the log does not show.
    #[must_use]
    pub fn at_front_of(self, start: Offset) -> Option<Gap> {
        let offsets = OffsetRange::new(start.max(self.offsets.start()), self.offsets.final_offset())?;
        Some(Gap { offsets, ..self })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_begins_with_what_is_left_of_a_gap() {
        let offset = |number| Offset::new(number).expect("legal");
        let gap = |first, last| Gap {
            offsets: OffsetRange::new(offset(first), offset(last)).expect("in order"),
            reason: GapReason::Deleted,
        };
        assert_eq!(gap(10, 19).at_front_of(offset(10)), Some(gap(10, 19)));
        assert_eq!(gap(10, 19).at_front_of(offset(15)), Some(gap(15, 19)), "another writer's segment ends within it");
        assert_eq!(gap(10, 19).at_front_of(offset(9)), Some(gap(10, 19)), "a marker before it");
        assert_eq!(gap(10, 19).at_front_of(offset(20)), None);
    }
}
