//! Offsets and ranges of offsets.

use core::fmt;

/// The place of a record in its partition's log. Never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The largest offset that Kafka can give a record and still name its successor.
    pub const MAX: Offset = Offset(i64::MAX as u64 - 1);

    /// An offset from Kafka's signed number; `None` for librdkafka's negative sentinels and for
    /// `i64::MAX`, which has no successor.
    pub const fn new(offset: i64) -> Option<Offset> {
        if offset >= 0 && offset < i64::MAX { Some(Offset(offset as u64)) } else { None }
    }

    /// As Kafka's signed number.
    pub const fn get(self) -> i64 {
        self.0 as i64
    }

    /// The offset after this one: the `next_offset` of a segment whose final offset this is.
    #[must_use]
    pub const fn next(self) -> Offset {
        Offset(self.0 + 1)
    }

    /// The offset before this one; `None` for the first.
    pub const fn previous(self) -> Option<Offset> {
        match self.0.checked_sub(1) {
            Some(offset) => Some(Offset(offset)),
            None => None,
        }
    }

    /// How many offsets lie in `[self, later)`; 0 if `later` is not later.
    pub const fn distance_to(self, later: Offset) -> u64 {
        later.0.saturating_sub(self.0)
    }

    /// The offset `count` places on, or `None` beyond [`Offset::MAX`].
    pub const fn advanced_by(self, count: u64) -> Option<Offset> {
        match self.0.checked_add(count) {
            Some(sum) if sum <= Offset::MAX.0 => Some(Offset(sum)),
            _ => None,
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The offsets `[start, final]` that a segment covers. Both ends belong to it, so it is never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetRange {
    start: Offset,
    last: Offset,
}

impl OffsetRange {
    /// The range from `start` to `final_offset`, both included; `None` if it would be empty.
    pub const fn new(start: Offset, final_offset: Offset) -> Option<OffsetRange> {
        if start.0 <= final_offset.0 { Some(OffsetRange { start, last: final_offset }) } else { None }
    }

    /// The first offset covered; it names the segment.
    pub const fn start(self) -> Offset {
        self.start
    }

    /// The last offset covered: always a record's.
    pub const fn final_offset(self) -> Offset {
        self.last
    }

    /// Where the next segment of the chain starts.
    pub const fn next_offset(self) -> Offset {
        self.last.next()
    }

    /// How many offsets are covered: records and gaps together.
    pub const fn offset_count(self) -> u64 {
        self.start.distance_to(self.last) + 1
    }

    /// Whether `offset` lies in the range.
    pub const fn contains(self, offset: Offset) -> bool {
        self.start.0 <= offset.0 && offset.0 <= self.last.0
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.start, self.last)
    }
}

/// The epoch of a partition's leader: it grows with each new leader, and tells apart logs that went different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(i32);

impl LeaderEpoch {
    /// An epoch from Kafka's signed number; `None` for -1, "unknown".
    pub const fn new(epoch: i32) -> Option<LeaderEpoch> {
        if epoch >= 0 { Some(LeaderEpoch(epoch)) } else { None }
    }

    /// As Kafka's signed number.
    pub const fn get(self) -> i32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_no_offsets() {
        for sentinel in [-1, -2, -1000, -1001, i64::MIN, i64::MAX] {
            assert_eq!(Offset::new(sentinel), None);
        }
        assert_eq!(Offset::new(0).map(Offset::get), Some(0));
        assert_eq!(Offset::new(i64::MAX - 1), Some(Offset::MAX));
    }

    #[test]
    fn a_range_counts_both_ends() {
        let (three, seven) = (Offset(3), Offset(7));
        let range = OffsetRange::new(three, seven).expect("3 <= 7");
        assert_eq!(range.offset_count(), 5);
        assert_eq!(range.next_offset(), Offset(8));
        assert!(range.contains(three) && range.contains(seven) && !range.contains(Offset(8)));
        assert_eq!(OffsetRange::new(seven, three), None);
    }
}
