//! The partitions of this process, as the poll thread knows them: what is fetched, and the batches being filled.

use super::ffi::{FetchedRecord, KafkaError};
use kafka_store_actors::batch::{RecordBatch, RecordMark};
use kafka_store_actors::budget::{Budget, PartitionUse};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use kafka_store_statecharts::record::{RecordFields, encode_record};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A batch is handed over when it holds this much, or when nothing more has been fetched.
const BATCH_BYTES: usize = 256 * 1024;
/// What a batch and its mail take beside the records' bytes. It keeps a flood of tiny batches within the budget.
const BATCH_OVERHEAD_BYTES: usize = 1024;

/// One partition that the group gave to this process.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) partition: TopicPartition,
    pub(super) epoch: AssignmentEpoch,
    /// Set while librdkafka fetches it: the epoch that records carry, and the first offset wanted.
    pub(super) started: Option<(SeekEpoch, Offset)>,
    /// The offset after what was fetched so far.
    pub(super) next: Offset,
    pub(super) paused: bool,
    pub(super) in_use: PartitionUse,
    batch: RecordBatch,
}

impl Fetching {
    fn new(partition: TopicPartition, epoch: AssignmentEpoch) -> Fetching {
        Fetching {
            partition,
            epoch,
            started: None,
            next: Offset::default(),
            paused: false,
            in_use: PartitionUse::default(),
            batch: RecordBatch::default(),
        }
    }

    pub(super) fn start(&mut self, seek_epoch: SeekEpoch, position: Offset) {
        self.started = Some((seek_epoch, position));
        self.next = position;
        self.paused = false;
        self.batch = RecordBatch::default();
    }

    pub(super) fn stop(&mut self) {
        self.started = None;
        self.batch = RecordBatch::default();
    }

    /// Takes the filled batch out, if it holds anything.
    pub(super) fn take_batch(&mut self, budget: &Arc<Budget>) -> Option<RecordBatch> {
        let (seek_epoch, _) = self.started?;
        if self.batch.marks.is_empty() {
            return None;
        }
        // The next batch will likely be as large as this one.
        let next = RecordBatch {
            bytes: Vec::with_capacity(self.batch.bytes.len()),
            marks: Vec::with_capacity(self.batch.marks.len()),
            ..RecordBatch::default()
        };
        let mut batch = std::mem::replace(&mut self.batch, next);
        let taken = batch.bytes.capacity() + batch.marks.capacity() * size_of::<RecordMark>() + BATCH_OVERHEAD_BYTES;
        batch.share = budget.take(taken as u64, &self.in_use);
        (batch.epoch, batch.seek_epoch) = (self.epoch, seek_epoch);
        Some(batch)
    }

    /// Encodes a record into the batch; true if the batch is full.
    fn append(&mut self, record: &FetchedRecord<'_>) -> Result<bool, KafkaError> {
        let Some((_, position)) = self.started else { return Ok(false) };
        let Some(offset) = Offset::new(record.offset()).filter(|offset| *offset >= position) else { return Ok(false) };
        record.error()?;
        let headers = record.headers()?;
        let (timestamp, timestamp_type) = record.timestamp();
        let fields = RecordFields { timestamp, timestamp_type, offset, key: record.key(), value: record.value() };
        encode_record(&fields, headers, &mut self.batch.bytes);
        self.next = offset.next();
        self.batch.marks.push(RecordMark { offset, timestamp, end: self.batch.bytes.len() });
        Ok(self.batch.bytes.len() >= BATCH_BYTES)
    }
}

/// What became of a record.
#[derive(Debug)]
pub(super) enum Taken {
    /// It waits in its batch, or was not wanted.
    Waiting,
    /// Its batch is full.
    BatchFull(usize),
    /// It cannot be read as it should, and must not be skipped.
    Failed(usize, KafkaError),
}

/// All partitions of this process. An index names one until the next change of the assignment.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    all: Vec<Fetching>,
    by_name: BTreeMap<TopicPartition, usize>,
    /// By librdkafka's handle of the topic: spares a look-up by name for each record.
    by_handle: HashMap<(usize, i32), usize>,
    last: Option<((usize, i32), usize)>,
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
        gone.into_iter().filter(|fetching| fetching.started.is_some()).map(|fetching| fetching.partition).collect()
    }

    fn index(&mut self) {
        self.by_name =
            self.all.iter().enumerate().map(|(index, fetching)| (fetching.partition.clone(), index)).collect();
        self.by_handle.clear();
        self.last = None;
    }

    pub(super) fn find(&mut self, partition: &TopicPartition) -> Option<&mut Fetching> {
        self.by_name.get(partition).map(|index| &mut self.all[*index])
    }

    /// The partition in this assignment; `None` if it was revoked since.
    pub(super) fn find_in(&mut self, partition: &TopicPartition, epoch: AssignmentEpoch) -> Option<&mut Fetching> {
        self.find(partition).filter(|fetching| fetching.epoch == epoch)
    }

    pub(super) fn get(&mut self, index: usize) -> &mut Fetching {
        &mut self.all[index]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Fetching> {
        self.all.iter_mut()
    }

    /// Encodes a record into the batch of its partition.
    pub(super) fn take(&mut self, record: &FetchedRecord<'_>) -> Taken {
        let key = (record.topic_handle(), record.partition());
        let index = match self.last {
            Some((last, index)) if last == key => index,
            _ => match self.look_up(key, record) {
                Some(index) => index,
                None => return Taken::Waiting,
            },
        };
        match self.all[index].append(record) {
            Ok(false) => Taken::Waiting,
            Ok(true) => Taken::BatchFull(index),
            Err(error) => Taken::Failed(index, error),
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
