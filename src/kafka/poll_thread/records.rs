//! Taking records into batches, and holding the one for which there is no room.

use super::super::blocked;
use super::super::fetching::{Fetching, Taken};
use super::super::ffi::FetchedRecord;
use super::PollThread;
use kafka_store_actors::batch::RecordBatch;
use kafka_store_actors::messages::LogEvent;
use kafka_store_statecharts::topic::TopicPartition;
use slog::info;

/// A large record for which there is no room yet. Until there is, no other is taken, so that nothing overtakes it; that of a
/// partition that is paused meanwhile is parked, and holds back its own partition alone.
#[derive(Debug)]
pub(super) struct Held {
    partition: TopicPartition,
    batch: RecordBatch,
    /// What it takes of the budget.
    pub(super) bytes: u64,
}

impl PollThread {
    pub(super) fn take_record(&mut self, record: &FetchedRecord<'_>) {
        self.record_bytes = record.size().max(self.record_bytes - self.record_bytes.div_ceil(1024));
        let mut taken = self.partitions.take(record, &self.budget);
        if let Taken::NeedsNewBatch(index) = taken {
            self.flush(index);
            taken = self.partitions.take(record, &self.budget);
        }
        match taken {
            Taken::Waiting => {}
            Taken::NeedsNewBatch(_) => unreachable!("an empty batch takes any record"),
            Taken::BatchFull(index) => {
                self.tell_if_large(index, record);
                self.flush(index);
            }
            Taken::BatchWithoutRoom(index, bytes) => {
                self.tell_if_large(index, record);
                self.hold(index, bytes);
            }
            Taken::Unproven(index) => self.prove_by_epoch(index),
            Taken::Doubted(index) => self.fetch_again(index),
            Taken::Broken(index, evidence) => {
                if let Some(partition) = self.partitions.get(index).map(|fetching| fetching.partition.clone()) {
                    self.broken(&partition, evidence);
                }
            }
            Taken::Failed(index, error) => {
                if let Some(partition) = self.partitions.get(index).map(|fetching| fetching.partition.clone()) {
                    self.fail(&partition, &blocked::unreadable(&partition, record.offset(), &error));
                }
            }
        }
    }

    fn tell_if_large(&mut self, index: usize, record: &FetchedRecord<'_>) {
        if record.size() as u64 > self.memory.large_record_bytes
            && let Some(fetching) = self.partitions.get(index)
        {
            info!(self.log, "a record larger than an eighth of --memory-limit was handled alone";
                "bytes" => record.size(), "offset" => record.offset(), "partition" => %fetching.partition);
        }
    }

    fn hold(&mut self, index: usize, bytes: u64) {
        let taken = self.partitions.get(index).and_then(Fetching::take_named_batch);
        self.held = taken.map(|(partition, batch)| Held { partition, batch, bytes });
    }

    /// Hands over what is held or parked if there is room now, and forgets it if it is no longer wanted.
    pub(super) fn take_held(&mut self) {
        for parked in std::mem::take(&mut self.parked) {
            let (partition, has_room) = (parked.partition.clone(), self.budget.has_room_for(parked.bytes));
            match self.hand_over_held(parked, has_room) {
                Some(parked) => self.parked.push(parked),
                None => self.unpark(&partition),
            }
        }
        let Some(held) = self.held.take() else { return };
        let has_room = self.has_room_for(held.bytes);
        let Some(held) = self.hand_over_held(held, has_room) else { return };
        match self.partitions.find(&held.partition).filter(|fetching| fetching.is_stalled) {
            Some(fetching) => {
                fetching.is_parked = true;
                self.parked.push(held);
            }
            None => self.held = Some(held),
        }
    }

    /// What came after the parked record is fetched again.
    fn unpark(&mut self, partition: &TopicPartition) {
        let Some(fetching) = self.partitions.find(partition) else { return };
        fetching.is_parked = false;
        if std::mem::take(&mut fetching.is_overtaken) && fetching.is_fetched() {
            let partition = partition.clone();
            self.fetch_partition_again(&partition);
        }
    }

    /// Hands a record over if there is room, and forgets it if it is no longer wanted. Returns it otherwise.
    fn hand_over_held(&mut self, mut held: Held, has_room: bool) -> Option<Held> {
        if self.partitions.find(&held.partition).is_none_or(|fetching| !fetching.is_of_this_start(&held.batch)) {
            return None;
        }
        if !has_room {
            return Some(held);
        }
        held.batch.share.set(held.bytes);
        self.out.push(LogEvent::Records(held.partition, held.batch));
        None
    }

    pub(super) fn flush(&mut self, index: usize) {
        let taken = self.partitions.get(index).and_then(Fetching::take_named_batch);
        self.out.extend(taken.map(|(partition, batch)| LogEvent::Records(partition, batch)));
    }

    pub(super) fn flush_all(&mut self) {
        let batches = self.partitions.take_batches();
        self.out.extend(batches.map(|(partition, batch)| LogEvent::Records(partition, batch)));
    }
}
