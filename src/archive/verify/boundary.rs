//! Checks that a segment ends where its records and settings say.
//!
//! Size, number and age of the records end a segment at one place only. The clock (idle, overdue, `--until-end`) may end
//! it earlier, and nothing later: so a segment is never longer than the rule says, and one that was not ended by the
//! clock is never shorter. A directory does not keep the reason; there a shorter one may be the clock's.

use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::boundary::{BoundaryRule, BoundarySettings, SealReason, Verdict};
use kafka_store_statecharts::offset::Offset;

/// The rule at work on a segment that is being read.
#[derive(Clone, Debug)]
pub(super) struct Boundary {
    rule: BoundaryRule,
    /// The segment's end by the rule: the last record that belongs to it, and why.
    ended: Option<(Offset, SealReason)>,
    last: Option<Offset>,
    /// The first record that does not belong to it.
    beyond: Option<Offset>,
}

impl Boundary {
    pub(super) fn new(settings: BoundarySettings) -> Boundary {
        Boundary { rule: BoundaryRule::new(settings), ended: None, last: None, beyond: None }
    }

    /// Takes the next record in.
    pub(super) fn record(&mut self, offset: Offset, canonical_bytes: u64, timestamp: TimestampMs) {
        if self.beyond.is_some() {
            return;
        }
        if self.ended.is_some() {
            self.beyond = Some(offset);
            return;
        }
        match self.rule.observe(canonical_bytes, timestamp) {
            Verdict::Keep => {}
            Verdict::SealAfter(reason) => self.ended = Some((offset, reason)),
            Verdict::SealBefore(reason) => {
                // The first record of a segment is never before its end.
                self.ended = self.last.map(|last| (last, reason));
                self.beyond = Some(offset);
            }
        }
        self.last = Some(offset);
    }

    /// Describes what is wrong with the segment's end. `reason` is the one that the store keeps; `next_timestamp` is the first of
    /// the next segment, if that is there.
    pub(super) fn problem(&self, reason: Option<SealReason>, next_timestamp: Option<TimestampMs>) -> Option<String> {
        if let (Some((end, rule)), Some(beyond)) = (self.ended, self.beyond) {
            return Some(format!(
                "it is longer than its settings say: {rule} ends it after offset {end}, and it goes on with {beyond}"
            ));
        }
        let ended_by = self.ended.map(|(_, reason)| reason).or_else(|| self.age_after(next_timestamp));
        match (reason?, ended_by) {
            (said @ (SealReason::Size | SealReason::Records), found) if found != Some(said) => Some(format!(
                "it is said to be ended by {said}, and its records are too few for that ({} bytes, {} records)",
                self.rule.record_bytes(),
                self.rule.record_count()
            )),
            (SealReason::Age, found) if found != Some(SealReason::Age) && next_timestamp.is_some() => {
                Some("it is said to be ended by age, and the next segment's first record is not old enough".to_owned())
            }
            _ => None,
        }
    }

    fn age_after(&self, next_timestamp: Option<TimestampMs>) -> Option<SealReason> {
        match self.rule.clone().observe(0, next_timestamp?) {
            Verdict::SealBefore(reason) => Some(reason),
            Verdict::Keep | Verdict::SealAfter(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    const MORNING: i64 = 1_700_000_000_000;

    fn boundary(records: &[(u64, i64)]) -> Boundary {
        let mut boundary = Boundary::new(BoundarySettings {
            segment_bytes: NonZeroU64::new(100).expect("not zero"),
            segment_records: NonZeroU64::new(3),
            segment_age_ms: NonZeroU64::new(1_000).expect("not zero"),
        });
        for (offset, (bytes, after)) in (0..).zip(records) {
            boundary.record(Offset::new(offset).expect("legal"), *bytes, MORNING + after);
        }
        boundary
    }

    fn is_right(records: &[(u64, i64)], reason: Option<SealReason>, next: Option<i64>) -> bool {
        boundary(records).problem(reason, next.map(|after| MORNING + after)).is_none()
    }

    #[test]
    fn what_the_rule_ends_ends_there() {
        assert!(is_right(&[(50, 0), (50, 1)], Some(SealReason::Size), Some(2)));
        assert!(is_right(&[(1, 0), (1, 1), (1, 2)], Some(SealReason::Records), None));
        assert!(is_right(&[(1, 0), (1, 999)], Some(SealReason::Age), Some(1_000)));
        // The next one is not there yet.
        assert!(is_right(&[(1, 0)], Some(SealReason::Age), None));
    }

    #[test]
    fn nothing_is_longer() {
        for reason in [None, Some(SealReason::Idle), Some(SealReason::Size)] {
            assert!(!is_right(&[(50, 0), (50, 1), (1, 2)], reason, None), "{reason:?}");
            assert!(!is_right(&[(1, 0), (1, 1), (1, 2), (1, 3)], reason, None), "{reason:?}");
            assert!(!is_right(&[(1, 0), (1, 1_000)], reason, None), "{reason:?}");
        }
    }

    #[test]
    fn only_the_clock_ends_it_earlier() {
        for reason in [None, Some(SealReason::Idle), Some(SealReason::Overdue), Some(SealReason::UntilEnd)] {
            assert!(is_right(&[(1, 0)], reason, Some(1)), "{reason:?}");
        }
        assert!(!is_right(&[(1, 0)], Some(SealReason::Size), Some(1)));
        assert!(!is_right(&[(1, 0), (1, 0)], Some(SealReason::Records), None));
        assert!(!is_right(&[(1, 0)], Some(SealReason::Age), Some(999)));
    }
}
