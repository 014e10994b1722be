//! Taking records into batches, and holding those for which there is no room.

use super::super::blocked;
use super::super::fetching::Taken;
use super::super::ffi::Message;
use super::{PollThread, Step};
use kafka_store_actors::messages::LogEvent;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use kafka_store_statecharts::topic::TopicPartition;
use slog::info;

/// A record for which there was no room.
#[derive(Debug)]
pub(super) struct Held {
    record: Message,
    /// Of which start of fetching it is. After another one it is fetched again.
    fetching: Option<FetchingOf>,
}

/// What tells two starts of fetching apart.
type FetchingOf = (TopicPartition, AssignmentEpoch, Option<(SeekEpoch, Offset)>);

/// What became of a record.
enum Fate {
    Taken,
    /// There is no room for it in the budget.
    Refused(usize),
}

impl PollThread {
    /// Takes what was taken off the queue, in its order. Nothing overtakes what is held.
    pub(super) fn take_message(&mut self, message: Message) -> Step {
        if let Some(event) = message.event() {
            return self.take_event(event);
        }
        if self.held.is_empty() {
            if let Some(held) = self.take_if_it_fits(message) {
                self.held.push_back(held);
            }
        } else if let Some(index) = self.partitions.index_of(&message) {
            let fetching = self.fetching_of(index);
            self.held.push_back(Held { record: message, fetching });
        }
        Step::GoOn
    }

    /// Takes a record; it comes back if there was no room for it.
    fn take_if_it_fits(&mut self, record: Message) -> Option<Held> {
        match self.take_record(&record) {
            Fate::Taken => None,
            Fate::Refused(index) => Some(Held { fetching: self.fetching_of(index), record }),
        }
    }

    fn fetching_of(&mut self, index: usize) -> Option<FetchingOf> {
        let fetching = self.partitions.get(index)?;
        Some((fetching.partition.clone(), fetching.epoch, fetching.started))
    }

    fn take_record(&mut self, record: &Message) -> Fate {
        let mut taken = self.partitions.take(record, &self.budget);
        if let Taken::NeedsNewBatch(index) = taken {
            self.flush(index);
            taken = self.partitions.take(record, &self.budget);
        }
        match taken {
            Taken::Waiting => {}
            Taken::NeedsNewBatch(_) => unreachable!("an empty batch takes any record"),
            Taken::NoRoom(index) => return Fate::Refused(index),
            Taken::BatchFull(index) => {
                self.tell_if_large(index, record);
                self.flush(index);
            }
            Taken::Failed(index, error) => {
                if let Some(partition) = self.partitions.get(index).map(|fetching| fetching.partition.clone()) {
                    self.fail(&partition, &blocked::unreadable(&partition, record.offset(), &error));
                }
            }
        }
        Fate::Taken
    }

    fn tell_if_large(&mut self, index: usize, record: &Message) {
        if record.size() as u64 > self.large_record_bytes
            && let Some(fetching) = self.partitions.get(index)
        {
            info!(self.log, "a record larger than an eighth of --memory-limit was handled alone";
                "bytes" => record.size(), "offset" => record.offset(), "partition" => %fetching.partition);
        }
    }

    /// Takes what was held, in its order, as far as there is room now.
    pub(super) fn take_held(&mut self) {
        while let Some(held) = self.held.pop_front() {
            let Some((partition, epoch, started)) = held.fetching else { continue };
            if self.partitions.find_in(&partition, epoch).is_none_or(|fetching| fetching.started != started) {
                continue;
            }
            if let Some(held) = self.take_if_it_fits(held.record) {
                self.held.push_front(held);
                return;
            }
        }
    }

    /// The bytes of the first record that is held.
    pub(super) fn held_bytes(&self) -> Option<usize> {
        self.held.front().map(|held| held.record.size())
    }

    pub(super) fn flush(&mut self, index: usize) {
        if let Some(fetching) = self.partitions.get(index)
            && let Some(batch) = fetching.take_batch()
        {
            self.out.push(LogEvent::Records(fetching.partition.clone(), batch));
        }
    }

    pub(super) fn flush_all(&mut self) {
        let batches = self.partitions.take_batches();
        self.out.extend(batches.map(|(partition, batch)| LogEvent::Records(partition, batch)));
    }
}
