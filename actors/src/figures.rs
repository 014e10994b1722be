//! What the process has taken and stored, and what has failed, for whoever shows it. No actor looks at it.

use crate::transition::Buffered;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::AssignmentEpoch;
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All figures of the process.
#[derive(Debug, Default)]
pub struct Figures {
    wanted: AtomicU64,
    reached: AtomicU64,
    failures: Mutex<BTreeMap<(Port, Class), u64>>,
    partitions: Mutex<BTreeMap<TopicPartition, Arc<PartitionFigures>>>,
}

/// A failure that a partition is retrying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The latest failure.
    pub failure: Failure,
    /// How often in a row.
    pub failures: u32,
    /// When it failed first, in milliseconds since the Unix epoch.
    pub since_ms: i64,
}

impl Figures {
    /// How many offsets of all partitions lie between where they began and their `--until-end` targets. Grows as they are
    /// located. Offsets, not records: what the log does not show counts, too.
    pub fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// How many of these are stored, or in open segments: the files may be as large as all there is.
    pub fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// How often what has failed since the process began.
    pub fn failures(&self) -> BTreeMap<(Port, Class), u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a failure.
    pub fn failed(&self, failure: &Failure) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry((failure.port, failure.class)).or_default() += 1;
    }

    /// Counts a failure of something that is tried again for a partition, and shows it until it is over.
    pub fn troubled(&self, partition: &TopicPartition, failure: &Failure, failures: u32, wall_ms: i64) {
        self.failed(failure);
        let known = self.lock().get(partition).cloned();
        if let Some(known) = known {
            let mut troubles = known.troubles();
            let since_ms = troubles.get(&failure.port).map_or(wall_ms, |trouble| trouble.since_ms);
            troubles.insert(failure.port, Trouble { failure: failure.clone(), failures, since_ms });
        }
    }

    /// Ends the troubles of a partition at these ports.
    pub fn recovered(&self, partition: &TopicPartition, ports: &[Port]) {
        if let Some(known) = self.lock().get(partition) {
            known.troubles().retain(|port, _| !ports.contains(port));
        }
    }

    /// The partitions that have a writer.
    pub fn partitions(&self) -> BTreeMap<TopicPartition, Arc<PartitionFigures>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<PartitionFigures>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The figures of one partition, in one assignment.
#[derive(Debug)]
pub struct PartitionFigures {
    epoch: AssignmentEpoch,
    taken_to: AtomicI64,
    archived_to: AtomicI64,
    open_records: AtomicU64,
    open_bytes: AtomicU64,
    troubles: Mutex<BTreeMap<Port, Trouble>>,
}

/// Not known yet.
const NONE: i64 = -1;

impl PartitionFigures {
    /// In which assignment.
    pub fn epoch(&self) -> AssignmentEpoch {
        self.epoch
    }

    /// Everything below is in a segment, stored or not, or cannot be seen. `None` until the chain is located.
    pub fn taken_to(&self) -> Option<Offset> {
        Offset::new(self.taken_to.load(Ordering::Relaxed))
    }

    /// Everything below is in the store, or cannot be seen. `None` until the chain is located.
    pub fn archived_to(&self) -> Option<Offset> {
        Offset::new(self.archived_to.load(Ordering::Relaxed))
    }

    /// What is in the open segment.
    pub fn open(&self) -> Buffered {
        Buffered {
            record_count: self.open_records.load(Ordering::Relaxed),
            record_bytes: self.open_bytes.load(Ordering::Relaxed),
        }
    }

    /// The failures that it is retrying, by port.
    pub fn troubles(&self) -> MutexGuard<'_, BTreeMap<Port, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One partition's part in the figures; dropping it takes the partition out.
#[derive(Debug)]
pub(crate) struct Share {
    all: Arc<Figures>,
    partition: TopicPartition,
    own: Arc<PartitionFigures>,
    target: Option<Offset>,
    reached: Option<Offset>,
}

impl Share {
    pub(crate) fn new(
        all: Arc<Figures>,
        partition: TopicPartition,
        epoch: AssignmentEpoch,
        target: Option<Offset>,
    ) -> Share {
        let own = Arc::new(PartitionFigures {
            epoch,
            taken_to: AtomicI64::new(NONE),
            archived_to: AtomicI64::new(NONE),
            open_records: AtomicU64::new(0),
            open_bytes: AtomicU64::new(0),
            troubles: Mutex::default(),
        });
        // Of an assignment before, it takes the place.
        all.lock().insert(partition.clone(), Arc::clone(&own));
        Share { all, partition, own, target, reached: None }
    }

    /// Everything below an offset is stored or in an open segment; the first time it says where the partition begins.
    pub(crate) fn taken_to(&mut self, next_offset: Offset) {
        self.own.taken_to.store(next_offset.get(), Ordering::Relaxed);
        let Some(target) = self.target else { return };
        let now = next_offset.min(target);
        match self.reached {
            None => {
                self.all.wanted.fetch_add(now.distance_to(target), Ordering::Relaxed);
                self.reached = Some(now);
            }
            Some(before) if now > before => {
                self.all.reached.fetch_add(before.distance_to(now), Ordering::Relaxed);
                self.reached = Some(now);
            }
            Some(_) => {} // What was open was given up, or the chain ends earlier; it will come here again.
        }
    }

    /// What begins at an offset was given up, as far as it is not in the store: it will be taken again.
    pub(crate) fn falls_back_to(&self, start: Offset) {
        let archived_to = self.own.archived_to.load(Ordering::Relaxed);
        self.own.taken_to.store(start.get().max(archived_to), Ordering::Relaxed);
    }

    /// Everything below an offset is in the store.
    pub(crate) fn archived_to(&self, next_offset: Offset) {
        self.own.archived_to.store(next_offset.get(), Ordering::Relaxed);
    }

    /// Counts a failure that is retried, and shows it until it is over.
    pub(crate) fn troubled(&self, failure: &Failure, failures: u32, wall_ms: i64) {
        self.all.troubled(&self.partition, failure, failures, wall_ms);
    }

    /// Ends the trouble at a port.
    pub(crate) fn recovered(&self, port: Port) {
        self.own.troubles().remove(&port);
    }

    /// Ends all troubles: nothing is retried any more.
    pub(crate) fn tries_nothing(&self) {
        self.own.troubles().clear();
    }

    /// This is in the open segment.
    pub(crate) fn open(&self, buffered: Buffered) {
        self.own.open_records.store(buffered.record_count, Ordering::Relaxed);
        self.own.open_bytes.store(buffered.record_bytes, Ordering::Relaxed);
    }

    /// Takes the partition out.
    pub(crate) fn leave(&self) {
        let mut partitions = self.all.lock();
        if partitions.get(&self.partition).is_some_and(|known| Arc::ptr_eq(known, &self.own)) {
            partitions.remove(&self.partition);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_store_statecharts::topic::{PartitionId, TopicName};

    fn offset(number: i64) -> Offset {
        Offset::new(number).expect("legal")
    }

    fn partition(number: i32) -> TopicPartition {
        let partition = PartitionId::new(number).expect("legal");
        TopicPartition { topic: TopicName::new("t").expect("legal"), partition }
    }

    fn share(all: &Arc<Figures>, number: i32, epoch: u64, target: Option<i64>) -> Share {
        Share::new(Arc::clone(all), partition(number), AssignmentEpoch(epoch), target.map(offset))
    }

    #[test]
    fn partitions_add_up_to_their_targets() {
        let all = Arc::new(Figures::default());
        let (mut first, mut second) = (share(&all, 1, 1, Some(100)), share(&all, 2, 1, Some(50)));
        let mut without = share(&all, 3, 1, None);
        for share in [&mut first, &mut second, &mut without] {
            share.taken_to(offset(40));
        }
        assert_eq!((all.wanted(), all.reached()), (70, 0));
        first.taken_to(offset(70));
        first.taken_to(offset(60));
        second.taken_to(offset(90));
        assert_eq!((all.wanted(), all.reached()), (70, 40));
        assert_eq!(all.partitions()[&partition(1)].taken_to(), Some(offset(60)), "it may go back");
        first.archived_to(offset(50));
        for (start, taken_to) in [(55, 55), (45, 50)] {
            first.falls_back_to(offset(start));
            assert_eq!(all.partitions()[&partition(1)].taken_to(), Some(offset(taken_to)), "what is stored stays");
        }
    }

    #[test]
    fn a_partition_is_there_as_long_as_its_last_writer() {
        let all = Arc::new(Figures::default());
        let before = share(&all, 1, 1, None);
        before.archived_to(offset(7));
        let after = share(&all, 1, 2, None);
        drop(before);
        let known = all.partitions();
        assert_eq!((known[&partition(1)].epoch(), known[&partition(1)].archived_to()), (AssignmentEpoch(2), None));
        after.open(Buffered { record_count: 3, record_bytes: 4 });
        assert_eq!(known[&partition(1)].open().record_count, 3);
        drop(after);
        assert!(all.partitions().is_empty());
    }

    #[test]
    fn failures_are_counted_apart_and_troubles_end() {
        let all = Arc::new(Figures::default());
        let share = share(&all, 1, 1, None);
        let away = Failure::new(Port::Store, Class::Unavailable, "it answered 503");
        share.troubled(&away, 1, 1_000);
        share.troubled(&away, 2, 2_000);
        all.troubled(&partition(1), &Failure::new(Port::Index, Class::Busy, "deadlock"), 1, 3_000);
        all.failed(&Failure::new(Port::Store, Class::Throttled, "slow down"));
        let counted = [((Port::Store, Class::Unavailable), 2), ((Port::Store, Class::Throttled), 1)];
        assert_eq!(all.failures(), counted.into_iter().chain([((Port::Index, Class::Busy), 1)]).collect());
        let known = Arc::clone(&all.partitions()[&partition(1)]);
        let trouble = Trouble { failure: away, failures: 2, since_ms: 1_000 };
        assert_eq!(known.troubles().get(&Port::Store), Some(&trouble), "it began with the first failure");
        share.recovered(Port::Store);
        assert_eq!(known.troubles().keys().collect::<Vec<_>>(), [&Port::Index]);
        all.recovered(&partition(1), &[Port::Index]);
        assert!(known.troubles().is_empty());
    }
}
