//! `--until-end`: which partitions still lack what they had when the run began, and what becomes of those that other members
//! of the group archive.

use crate::ports::Coverage;
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after one look at a partition the next one is due.
const LOOK_AGAIN_MS: u64 = 1_500;
/// How many looks are under way at a time. There may be thousands of partitions, and a coordinator that answers none of them.
const LOOKS_MAX: usize = 8;
/// How often it is logged that looks are not answered.
const WARN_AGAIN_MS: u64 = 60_000;

/// The targets of a run, fixed at its start.
#[derive(Debug)]
pub(crate) struct UntilEnd {
    targets: BTreeMap<TopicPartition, Offset>,
    open: BTreeSet<TopicPartition>,
    stall_ms: u64,
    /// Of the open ones that other members have.
    foreign: BTreeMap<TopicPartition, Foreign>,
    looks: usize,
    warned_ms: Option<u64>,
}

/// A partition that another member has, or nobody.
#[derive(Debug)]
struct Foreign {
    /// A look is under way, or when the last one was answered.
    look: Option<Look>,
    seen: Option<(Option<Offset>, Option<Offset>)>,
    moved_ms: u64,
    is_stalled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    UnderWay,
    Answered(u64),
}

impl UntilEnd {
    pub(crate) fn new(targets: BTreeMap<TopicPartition, Offset>, stall_timeout: Duration) -> UntilEnd {
        let open = targets.keys().cloned().collect();
        let stall_ms = u64::try_from(stall_timeout.as_millis()).unwrap_or(u64::MAX);
        UntilEnd { targets, open, stall_ms, foreign: BTreeMap::new(), looks: 0, warned_ms: None }
    }

    pub(crate) fn target(&self, partition: &TopicPartition) -> Option<Offset> {
        self.targets.get(partition).copied()
    }

    pub(crate) fn reached(&mut self, partition: &TopicPartition) {
        self.open.remove(partition);
    }

    /// The partitions whose targets are not reached yet.
    pub(crate) fn open(&self) -> &BTreeSet<TopicPartition> {
        &self.open
    }

    /// Partitions to look at now, with their targets; each is to be [answered](UntilEnd::answered). A partition is looked at
    /// again only after the last look was answered, and those not looked at for longest come first.
    pub(crate) fn looks_due(
        &mut self,
        now: Now,
        is_ours: impl Fn(&TopicPartition) -> bool,
    ) -> Vec<(TopicPartition, Offset)> {
        let now_ms = now.monotonic_ms;
        for partition in &self.open {
            match self.foreign.get_mut(partition) {
                None if !is_ours(partition) => {
                    let foreign = Foreign { look: None, seen: None, moved_ms: now_ms, is_stalled: false };
                    self.foreign.insert(partition.clone(), foreign);
                }
                // What its writer does is no stall.
                Some(foreign) if is_ours(partition) => (foreign.moved_ms, foreign.is_stalled) = (now_ms, false),
                _ => {}
            }
        }
        let open = &self.open;
        self.foreign.retain(|partition, foreign| foreign.look == Some(Look::UnderWay) || open.contains(partition));
        let mut due: Vec<(u64, &TopicPartition)> = self
            .foreign
            .iter()
            .filter(|(partition, _)| open.contains(*partition) && !is_ours(partition))
            .filter_map(|(partition, foreign)| match foreign.look {
                None => Some((0, partition)),
                Some(Look::Answered(at)) if now_ms.saturating_sub(at) >= LOOK_AGAIN_MS => Some((at, partition)),
                Some(_) => None,
            })
            .collect();
        due.sort_unstable();
        let chosen: Vec<TopicPartition> =
            due.into_iter().take(LOOKS_MAX - self.looks).map(|(_, partition)| partition.clone()).collect();
        self.looks += chosen.len();
        for partition in &chosen {
            if let Some(foreign) = self.foreign.get_mut(partition) {
                foreign.look = Some(Look::UnderWay);
            }
        }
        chosen.into_iter().filter_map(|partition| Some((partition.clone(), self.target(&partition)?))).collect()
    }

    /// Takes the answer to a look; `None` if there was none.
    pub(crate) fn answered(&mut self, partition: &TopicPartition, coverage: Option<Coverage>, now: Now) {
        self.looks = self.looks.saturating_sub(1);
        let Some(foreign) = self.foreign.get_mut(partition) else { return };
        foreign.look = Some(Look::Answered(now.monotonic_ms));
        if let Some(coverage) = coverage {
            let seen = Some((coverage.archived_to, coverage.committed));
            if foreign.seen != seen {
                // The first look is one at what was there before.
                if foreign.seen.is_some() {
                    (foreign.moved_ms, foreign.is_stalled) = (now.monotonic_ms, false);
                }
                foreign.seen = seen;
            }
        }
    }

    /// Partitions that have just been found to stand still for too long.
    pub(crate) fn newly_stalled(&mut self, now: Now) -> Vec<TopicPartition> {
        let stall_ms = self.stall_ms;
        let stalled = self.foreign.iter_mut().filter(|(partition, foreign)| {
            let stands_still = now.monotonic_ms.saturating_sub(foreign.moved_ms) >= stall_ms;
            stands_still && !foreign.is_stalled && self.open.contains(*partition)
        });
        let note = |(partition, foreign): (&TopicPartition, &mut Foreign)| {
            foreign.is_stalled = true;
            partition.clone()
        };
        stalled.map(note).collect()
    }

    /// Reports whether a partition that another member has stands still for too long.
    pub(crate) fn is_stalled(&self, partition: &TopicPartition) -> bool {
        self.foreign.get(partition).is_some_and(|foreign| foreign.is_stalled)
    }

    /// Reports whether a look that was not answered is to be logged as a warning: one a minute.
    pub(crate) fn is_to_warn(&mut self, now: Now) -> bool {
        let is_due = self.warned_ms.is_none_or(|warned| now.monotonic_ms.saturating_sub(warned) >= WARN_AGAIN_MS);
        if is_due {
            self.warned_ms = Some(now.monotonic_ms);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_store_statecharts::topic::{PartitionId, TopicName};

    const STALL: Duration = Duration::from_secs(600);

    fn partition(number: i32) -> TopicPartition {
        let topic = TopicName::new("orders").expect("legal");
        TopicPartition { topic, partition: PartitionId::new(number).expect("not negative") }
    }

    fn offset(offset: i64) -> Offset {
        Offset::new(offset).expect("not negative")
    }

    fn at(seconds: u64) -> Now {
        Now { monotonic_ms: seconds * 1_000, wall_ms: 0 }
    }

    fn until_end(partitions: i32) -> UntilEnd {
        UntilEnd::new((0..partitions).map(|number| (partition(number), offset(100))).collect(), STALL)
    }

    fn numbers(looks: &[(TopicPartition, Offset)]) -> Vec<i32> {
        looks.iter().map(|(partition, _)| partition.partition.get()).collect()
    }

    fn archived_to(end: i64) -> Option<Coverage> {
        Some(Coverage { is_covered: false, archived_to: Some(offset(end)), committed: Some(offset(end)) })
    }

    /// While the coordinator is away none of them is answered.
    #[test]
    fn looks_are_bounded_and_none_overtakes_another() {
        let mut until_end = until_end(20);
        let none_is_ours = |_: &TopicPartition| false;
        assert_eq!(numbers(&until_end.looks_due(at(0), none_is_ours)), (0..8).collect::<Vec<_>>());
        for seconds in 1..1_000 {
            assert_eq!(until_end.looks_due(at(seconds), none_is_ours), []);
        }
        until_end.answered(&partition(3), None, at(1_000));
        assert_eq!(numbers(&until_end.looks_due(at(1_000), none_is_ours)), [8], "others come first");
        (0..9).filter(|number| *number != 3).for_each(|number| until_end.answered(&partition(number), None, at(1_001)));
        assert_eq!(numbers(&until_end.looks_due(at(1_001), none_is_ours)), (9..17).collect::<Vec<_>>());
        (9..17).for_each(|number| until_end.answered(&partition(number), None, at(1_002)));
        assert_eq!(numbers(&until_end.looks_due(at(1_002), none_is_ours))[..4], [17, 18, 19, 3]);
    }

    #[test]
    fn ours_are_not_looked_at() {
        let mut until_end = until_end(3);
        let looks = until_end.looks_due(at(0), |partition| partition.partition.get() == 1);
        assert_eq!(numbers(&looks), [0, 2]);
        until_end.reached(&partition(0));
        until_end.answered(&partition(0), None, at(1));
        assert_eq!(until_end.looks_due(at(10), |_| true), []);
        assert_eq!(until_end.newly_stalled(at(609)), [], "it was ours at 10 s");
        assert_eq!(until_end.newly_stalled(at(610)), [partition(2)]);
    }

    #[test]
    fn what_does_not_move_is_stalled_and_what_moves_again_is_not() {
        let mut until_end = until_end(1);
        let look = |until_end: &mut UntilEnd, seconds, coverage| {
            assert_eq!(until_end.looks_due(at(seconds), |_| false).len(), 1);
            until_end.answered(&partition(0), coverage, at(seconds));
        };
        look(&mut until_end, 0, archived_to(10));
        look(&mut until_end, 300, archived_to(20));
        assert_eq!(until_end.newly_stalled(at(899)), []);
        assert_eq!(until_end.newly_stalled(at(900)), [partition(0)]);
        assert_eq!(until_end.newly_stalled(at(901)), [], "once");
        assert!(until_end.is_stalled(&partition(0)));
        look(&mut until_end, 902, None);
        assert!(until_end.is_stalled(&partition(0)), "no answer is no progress");
        look(&mut until_end, 905, archived_to(30));
        assert!(!until_end.is_stalled(&partition(0)));
        assert_eq!(until_end.newly_stalled(at(1_504)), []);
        assert_eq!(until_end.newly_stalled(at(1_505)), [partition(0)]);
    }
}
