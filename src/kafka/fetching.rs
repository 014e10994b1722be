//! The partitions of this process, as the poll thread knows them: what is fetched, and the batches being filled.

use super::canonical;
use super::check::{Check, Checked, last_of};
use super::ffi::{FetchedRecord, KafkaError};
use kafka_store_actors::batch::{RecordBatch, RecordMark, SpareBuffers};
use kafka_store_actors::budget::{Budget, PartitionUse};
use kafka_store_statecharts::anchor::{Anchor, Evidence, FetchStart, Proof};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A batch is handed over when it holds this much, or when nothing more has been fetched.
const BATCH_BYTES: usize = 256 * 1024;
/// A record of this size has a batch for itself, which is handed over only when there is room for it.
const LARGE_RECORD_BYTES: usize = 1 << 20;
/// What a large record takes beside key and value, if its headers are few.
const LARGE_RECORD_FRAME_BYTES: usize = 4096;
/// How often the bytes of a large record are in memory at a time: its batch, its block, and the block compressed.
const LARGE_RECORD_COPIES: u64 = 3;
/// What a batch and its mail take beside the records' bytes. It keeps a flood of tiny batches within the budget.
const BATCH_OVERHEAD_BYTES: usize = 1024;

/// One partition that the group gave to this process.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) partition: TopicPartition,
    pub(super) epoch: AssignmentEpoch,
    /// Set while it is to be fetched: the epoch that records carry, and the first offset wanted.
    pub(super) started: Option<(SeekEpoch, Offset)>,
    /// Not waiting only while it is started.
    pub(super) turn: Turn,
    pub(super) turns_had: u64,
    /// The offset after what was fetched so far.
    pub(super) next: Offset,
    /// What must hold before the next record is taken.
    pub(super) check: Check,
    /// How the log proves itself at the start, and at each turn until a record was handed over.
    proof: Proof,
    /// The last record handed over in this start.
    last: Option<Anchor>,
    /// Epoch of the leader that wrote the last record taken.
    seen_epoch: Option<LeaderEpoch>,
    /// A later epoch, which the log has proved itself for.
    accepted_epoch: Option<LeaderEpoch>,
    /// A connection was lost since the last record: the log may be another when the next one comes.
    is_doubted: bool,
    /// librdkafka fetches nothing more of it for the moment.
    pub(super) paused: bool,
    /// Its writer gives nothing back: it gets no more memory, and what it has is not held against the others.
    pub(super) is_stalled: bool,
    /// A record of it is parked: nothing that comes after it is taken.
    pub(super) is_parked: bool,
    /// Something came after it.
    pub(super) is_overtaken: bool,
    /// Something has come since its turn began.
    pub(super) is_heard: bool,
    pub(super) in_use: PartitionUse,
    /// While memory is half used up: what was given back when it last gave something back, and when that was.
    pub(super) moved: Option<(u64, Instant)>,
    batch: RecordBatch,
    /// It is among those whose batch may hold something.
    is_filling: bool,
    /// How many bytes and records the next batch will likely have.
    likely_batch: (usize, usize),
}

/// Whether librdkafka fetches a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Not yet, or not now.
    Waiting,
    /// Since then, and its end has not been seen.
    Behind(Instant),
    /// It does, and its end has been seen.
    AtEnd,
}

impl Fetching {
    fn new(partition: TopicPartition, epoch: AssignmentEpoch) -> Fetching {
        Fetching {
            partition,
            epoch,
            started: None,
            turn: Turn::Waiting,
            turns_had: 0,
            next: Offset::default(),
            check: Check::Passed,
            proof: Proof::Nothing,
            last: None,
            seen_epoch: None,
            accepted_epoch: None,
            is_doubted: false,
            paused: false,
            is_stalled: false,
            is_parked: false,
            is_overtaken: false,
            is_heard: false,
            in_use: PartitionUse::default(),
            moved: None,
            batch: RecordBatch::default(),
            is_filling: false,
            likely_batch: (0, 0),
        }
    }

    pub(super) fn start(&mut self, seek_epoch: SeekEpoch, start: FetchStart) {
        self.started = Some((seek_epoch, start.position));
        self.next = start.position;
        self.proof = start.proof;
        (self.last, self.seen_epoch, self.accepted_epoch) = (None, None, None);
        self.batch = RecordBatch::default();
        (self.is_parked, self.is_overtaken) = (false, false);
    }

    /// Begins at the last record handed over, or where the start said, and lets nothing pass before the log has proved
    /// itself. Says where fetching begins.
    pub(super) fn begin_checked(&mut self) -> Offset {
        self.is_heard = false;
        self.is_doubted = false;
        let proof = self.last.map_or(self.proof, Proof::Record);
        self.check = Check::of(proof);
        match proof {
            Proof::Record(anchor) => {
                self.seen_epoch = anchor.record.leader_epoch;
                anchor.offset
            }
            Proof::Epoch(_) | Proof::Nothing => self.next,
        }
    }

    /// Drops whatever comes until fetching has begun again.
    pub(super) fn await_restart(&mut self) {
        self.check = Check::Restart;
    }

    /// Lets the next record pass only after the last one was seen again.
    pub(super) fn doubt(&mut self) {
        self.is_doubted = self.is_fetched();
    }

    /// Reports whether the log has to prove itself again before this record is taken: another leader wrote it, or a
    /// connection was lost meanwhile.
    fn must_prove_itself(&mut self, epoch: Option<LeaderEpoch>) -> bool {
        let is_known = self.last.is_some() || !self.batch.marks.is_empty() || self.proof != Proof::Nothing;
        let is_changed = self.seen_epoch.is_some() && epoch.is_some() && epoch != self.seen_epoch;
        let again = is_known && (self.is_doubted || (is_changed && epoch != self.accepted_epoch));
        if again {
            self.accepted_epoch = epoch;
        } else {
            self.seen_epoch = epoch.or(self.seen_epoch);
        }
        again
    }

    pub(super) fn stop(&mut self) {
        self.started = None;
        self.turn = Turn::Waiting;
        self.batch = RecordBatch::default();
    }

    /// Whether librdkafka fetches it.
    pub(super) fn is_fetched(&self) -> bool {
        self.turn != Turn::Waiting
    }

    /// Whether it is fetched and its end has not been seen.
    pub(super) fn is_behind(&self) -> bool {
        matches!(self.turn, Turn::Behind(_))
    }

    /// Since when its turn has brought nothing, unless it is paused.
    pub(super) fn silent_since(&self, now: Instant) -> Option<Instant> {
        match self.turn {
            Turn::Behind(since) if !self.is_heard && !self.paused => Some(since.min(now)),
            _ => None,
        }
    }

    /// Counts its turn from now.
    pub(super) fn restart_turn(&mut self, now: Instant) {
        self.turn = Turn::Behind(now);
    }

    /// True if it is to be fetched, and is not.
    pub(super) fn waits_for_turn(&self) -> bool {
        self.started.is_some() && self.turn == Turn::Waiting
    }

    /// Begins its turn, if it waits for one.
    pub(super) fn takes_turn(&mut self, now: Instant) -> bool {
        let waits = self.waits_for_turn() && !self.is_stalled;
        if waits {
            self.turn = Turn::Behind(now);
            self.turns_had += 1;
        }
        waits
    }

    /// How long its writer has given nothing back, as far as that was watched.
    pub(super) fn stands_still_for(&mut self, now: Instant) -> Duration {
        let given_back = self.in_use.given_back();
        match self.moved {
            Some((before, since)) if before == given_back => now.saturating_duration_since(since),
            _ => {
                self.moved = Some((given_back, now));
                Duration::ZERO
            }
        }
    }

    /// Whether a batch is of what is fetched now.
    pub(super) fn is_of_this_start(&self, batch: &RecordBatch) -> bool {
        self.epoch == batch.epoch && self.started.is_some_and(|(seek_epoch, _)| seek_epoch == batch.seek_epoch)
    }

    /// Takes the filled batch out, if it holds anything.
    pub(super) fn take_batch(&mut self) -> Option<RecordBatch> {
        let (seek_epoch, _) = self.started?;
        if self.batch.marks.is_empty() {
            return None;
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.last = last_of(&batch).or(self.last);
        // One short batch, where nothing more had come yet, does not make the next one grow step by step.
        let (bytes, marks) = (batch.bytes.len().min(2 * BATCH_BYTES), batch.marks.len());
        self.likely_batch = (bytes.max(self.likely_batch.0 / 2), marks.max(self.likely_batch.1 / 2));
        (batch.epoch, batch.seek_epoch) = (self.epoch, seek_epoch);
        Some(batch)
    }

    /// The same, with whose it is.
    pub(super) fn take_named_batch(&mut self) -> Option<(TopicPartition, RecordBatch)> {
        self.take_batch().map(|batch| (self.partition.clone(), batch))
    }

    /// Encodes a record into the batch, which takes its bytes from the budget as it grows.
    fn append(
        &mut self,
        record: &FetchedRecord<'_>,
        budget: &Arc<Budget>,
        spares: &Arc<SpareBuffers>,
    ) -> Result<Appended, KafkaError> {
        if !self.is_fetched() {
            return Ok(Appended::Waiting);
        }
        if self.is_parked {
            self.is_overtaken = true;
            return Ok(Appended::Waiting);
        }
        match self.check.record(record) {
            Checked::Pass => {}
            Checked::Drop => return Ok(Appended::Waiting),
            Checked::Proved(anchor) => {
                self.last.get_or_insert(anchor);
                self.is_heard = true;
                return Ok(Appended::Waiting);
            }
            Checked::Unproven => return Ok(Appended::Unproven),
            Checked::Broken(evidence) => return Ok(Appended::Broken(evidence)),
            Checked::Unreadable(error) => return Err(error),
        }
        self.is_heard = true;
        // What was fetched before its start, or was handed over already: librdkafka fetches again what it gave us while a
        // pause of its own began.
        let Some(offset) = Offset::new(record.offset()).filter(|offset| *offset >= self.next) else {
            return Ok(Appended::Waiting);
        };
        if self.must_prove_itself(record.leader_epoch()) {
            return Ok(Appended::Doubted);
        }
        let is_large = record.size() >= LARGE_RECORD_BYTES;
        let has_other_leader = self.batch.leader_epoch != record.leader_epoch();
        if !self.batch.marks.is_empty() && (is_large || has_other_leader) {
            return Ok(Appended::NeedsNewBatch);
        }
        if self.batch.marks.is_empty() {
            self.begin_batch(record, is_large, budget, spares);
        }
        let timestamp = canonical::append(record, offset, &mut self.batch.bytes)?;
        self.next = offset.next();
        self.batch.marks.push(RecordMark { offset, timestamp, end: self.batch.bytes.len() });
        let copies = if is_large { LARGE_RECORD_COPIES } else { 1 };
        let marks = self.batch.marks.capacity() * size_of::<RecordMark>() + BATCH_OVERHEAD_BYTES;
        let bytes = self.batch.bytes.capacity() as u64 * copies + marks as u64;
        if is_large && !budget.has_room_for(bytes) {
            return Ok(Appended::FullWithoutRoom(bytes));
        }
        self.batch.share.set(bytes);
        Ok(if self.batch.bytes.len() >= BATCH_BYTES { Appended::Full } else { Appended::Waiting })
    }

    fn begin_batch(
        &mut self,
        record: &FetchedRecord<'_>,
        is_large: bool,
        budget: &Arc<Budget>,
        spares: &Arc<SpareBuffers>,
    ) {
        self.batch.leader_epoch = record.leader_epoch();
        self.batch.share = budget.share(&self.in_use);
        if is_large {
            self.batch.bytes.reserve_exact(record.size() + LARGE_RECORD_FRAME_BYTES);
            return;
        }
        // Where memory is short it grows as it must.
        let likely = self.likely_batch.0 + self.likely_batch.0 / 64;
        if budget.has_room_for(likely as u64) {
            self.batch.bytes = spares.buffer(likely);
            self.batch.marks.reserve_exact(self.likely_batch.1 + self.likely_batch.1 / 64);
        }
    }
}

/// What became of a record in its partition.
enum Appended {
    Waiting,
    Full,
    NeedsNewBatch,
    FullWithoutRoom(u64),
    Unproven,
    Doubted,
    Broken(Evidence),
}

/// What became of a record.
#[derive(Debug)]
pub(super) enum Taken {
    /// It waits in its batch, or was not wanted.
    Waiting,
    /// Its batch is full.
    BatchFull(usize),
    /// It was not taken: it cannot be in one batch with those before it.
    NeedsNewBatch(usize),
    /// It is large and has a batch for itself, which takes nothing of the budget yet: there is no room for its bytes.
    BatchWithoutRoom(usize, u64),
    /// It cannot be read as it should, and must not be skipped.
    Failed(usize, KafkaError),
    /// It was not taken: the leader must first confirm that its log reaches the position.
    Unproven(usize),
    /// It was not taken: the log must prove itself again.
    Doubted(usize),
    /// The log is not the one that was read.
    Broken(usize, Evidence),
}

/// All partitions of this process. An index names one until the next change of the assignment.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    all: Vec<Fetching>,
    by_name: BTreeMap<TopicPartition, usize>,
    /// By librdkafka's handle of the topic: spares a look-up by name for each record.
    by_handle: HashMap<(usize, i32), usize>,
    last: Option<((usize, i32), usize)>,
    /// Those whose batch may hold something: of a thousand partitions, a fetch brings a few.
    filling: Vec<usize>,
    spares: Arc<SpareBuffers>,
}

impl Partitions {
    pub(super) fn assign(&mut self, partitions: &[TopicPartition], epoch: AssignmentEpoch) {
        self.remove(partitions);
        self.all.extend(partitions.iter().map(|partition| Fetching::new(partition.clone(), epoch)));
        self.index();
    }

    /// Removes partitions; those that librdkafka was fetching are named in the answer.
    pub(super) fn remove(&mut self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        let (gone, kept): (Vec<Fetching>, Vec<Fetching>) =
            std::mem::take(&mut self.all).into_iter().partition(|fetching| partitions.contains(&fetching.partition));
        self.all = kept;
        self.index();
        gone.into_iter().filter(Fetching::is_fetched).map(|fetching| fetching.partition).collect()
    }

    fn index(&mut self) {
        self.by_name =
            self.all.iter().enumerate().map(|(index, fetching)| (fetching.partition.clone(), index)).collect();
        self.by_handle.clear();
        self.last = None;
        self.filling.clear();
        for (index, fetching) in self.all.iter_mut().enumerate() {
            fetching.is_filling = !fetching.batch.marks.is_empty();
            self.filling.extend(fetching.is_filling.then_some(index));
        }
    }

    pub(super) fn find(&mut self, partition: &TopicPartition) -> Option<&mut Fetching> {
        self.by_name.get(partition).map(|index| &mut self.all[*index])
    }

    /// The partition in this assignment; `None` if it was revoked since.
    pub(super) fn find_in(&mut self, partition: &TopicPartition, epoch: AssignmentEpoch) -> Option<&mut Fetching> {
        self.find(partition).filter(|fetching| fetching.epoch == epoch)
    }

    pub(super) fn get(&mut self, index: usize) -> Option<&mut Fetching> {
        self.all.get_mut(index)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Fetching> {
        self.all.iter_mut()
    }

    /// Takes all batches that hold something.
    pub(super) fn take_batches(&mut self) -> impl Iterator<Item = (TopicPartition, RecordBatch)> {
        self.filling.drain(..).filter_map(|index| {
            self.all[index].is_filling = false;
            self.all[index].take_named_batch()
        })
    }

    /// Encodes a record into the batch of its partition.
    ///
    /// [`Taken::NeedsNewBatch`] asks for the batch to be taken first, and the record to be given again.
    pub(super) fn take(&mut self, record: &FetchedRecord<'_>, budget: &Arc<Budget>) -> Taken {
        let Some(index) = self.index_of(record) else { return Taken::Waiting };
        let fetching = &mut self.all[index];
        let appended = fetching.append(record, budget, &self.spares);
        if !fetching.is_filling && !fetching.batch.marks.is_empty() {
            fetching.is_filling = true;
            self.filling.push(index);
        }
        match appended {
            Ok(Appended::Waiting) => Taken::Waiting,
            Ok(Appended::Full) => Taken::BatchFull(index),
            Ok(Appended::NeedsNewBatch) => Taken::NeedsNewBatch(index),
            Ok(Appended::FullWithoutRoom(bytes)) => Taken::BatchWithoutRoom(index, bytes),
            Ok(Appended::Unproven) => Taken::Unproven(index),
            Ok(Appended::Doubted) => Taken::Doubted(index),
            Ok(Appended::Broken(evidence)) => Taken::Broken(index, evidence),
            Err(error) => Taken::Failed(index, error),
        }
    }

    /// The partition that a record is of, if it is ours.
    pub(super) fn index_of(&mut self, record: &FetchedRecord<'_>) -> Option<usize> {
        let key = (record.topic_handle(), record.partition());
        match self.last {
            Some((last, index)) if last == key => Some(index),
            _ => self.look_up(key, record),
        }
    }

    fn look_up(&mut self, key: (usize, i32), record: &FetchedRecord<'_>) -> Option<usize> {
        let index = match self.by_handle.get(&key) {
            Some(index) => *index,
            None => {
                let partition = TopicPartition {
                    topic: TopicName::new(&record.topic()).ok()?,
                    partition: PartitionId::new(record.partition())?,
                };
                let index = *self.by_name.get(&partition)?;
                self.by_handle.insert(key, index);
                index
            }
        };
        self.last = Some((key, index));
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_stands_still_while_nothing_is_given_back() {
        let partition = TopicPartition {
            topic: TopicName::new("t").expect("legal"),
            partition: PartitionId::new(0).expect("legal"),
        };
        let mut fetching = Fetching::new(partition, AssignmentEpoch::default());
        let mut share = Budget::new(100).take(60, &fetching.in_use);
        let start = Instant::now();
        let mut after = |seconds| fetching.stands_still_for(start + Duration::from_secs(seconds)).as_secs();
        assert_eq!([after(0), after(2)], [0, 2]);
        share.set(80);
        assert_eq!(after(3), 3, "taking more is no progress");
        share.set(70);
        assert_eq!([after(4), after(5)], [0, 1]);
        drop(share);
        assert_eq!(after(6), 0);
    }
}
