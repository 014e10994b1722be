//! Which records of an archive are wanted.

use super::error::ArchiveError;
use super::survey::SegmentFacts;
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};

/// Which records are wanted, by their offsets and by their timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// By their offsets.
    pub offsets: OffsetWindow,
    /// By their timestamps.
    pub times: TimeWindow,
}

/// Which records of a chain are wanted. Both ends belong to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffsetWindow {
    /// From this offset on; `None` for the chain's first record.
    pub from: Option<Offset>,
    /// Up to this offset; `None` for the chain's last record.
    pub to: Option<Offset>,
}

/// From when to when the wanted records are, by their own timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeWindow {
    /// From this time on.
    pub from: Option<TimestampMs>,
    /// Before this time.
    pub to: Option<TimestampMs>,
}

impl Window {
    /// Whether a record is wanted.
    pub fn has(&self, offset: Offset, timestamp: TimestampMs) -> bool {
        self.offsets.from.is_none_or(|from| from <= offset)
            && self.times.from.is_none_or(|from| from <= timestamp)
            && self.times.to.is_none_or(|to| timestamp < to)
    }

    /// Whether an offset lies behind all that is wanted.
    pub fn ends_before(&self, offset: Offset) -> bool {
        self.offsets.to.is_some_and(|to| to < offset)
    }

    /// Leaves of a chain's segments those that may have something that is wanted.
    pub(super) fn keep_segments<T>(&self, segments: &mut Vec<T>, start: impl Fn(&T) -> Offset) {
        if let Some(from) = self.offsets.from {
            // The segment that starts at or before `from` may cover it.
            let later = segments.partition_point(|segment| start(segment) <= from);
            segments.drain(..later.saturating_sub(1));
        }
        segments.truncate(segments.partition_point(|segment| !self.ends_before(start(segment))));
    }

    /// What a segment covers, if nothing in it is wanted and it says so.
    pub(super) fn passes_over(&self, facts: &SegmentFacts) -> Option<OffsetRange> {
        let header = facts.header.as_ref()?;
        let times = header.summary.timestamps;
        let is_before = self.offsets.from.is_some_and(|from| header.summary.final_offset < from);
        let is_earlier = self.times.from.is_some_and(|from| times.max < from);
        let is_later = self.times.to.is_some_and(|to| to <= times.min);
        (is_before || is_earlier || is_later).then(|| header.range())
    }
}

/// A segment must start where the one before it ended.
pub(super) fn check_joint(before: Option<OffsetRange>, name: &SegmentName) -> Result<(), ArchiveError> {
    let Some(before) = before else {
        return Ok(());
    };
    if name.start < before.next_offset() {
        return Err(ArchiveError::Overlap { first: before, second: name.clone() });
    }
    if name.start > before.next_offset() {
        return Err(ArchiveError::Missing {
            missing: name.chain.segment(before.next_offset()),
            before: before.final_offset(),
            next: name.start,
        });
    }
    Ok(())
}

/// A segment of ours must say that it belongs to the chain that it was found in.
pub(super) fn check_chain(
    location: impl FnOnce() -> String,
    name: &SegmentName,
    facts: &SegmentFacts,
) -> Result<(), ArchiveError> {
    match &facts.header {
        Some(header) if header.name.chain != name.chain => {
            let chain = header.name.chain.clone();
            Err(ArchiveError::WrongChain { location: location(), chain })
        }
        _ => Ok(()),
    }
}
