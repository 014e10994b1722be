//! Taking records into batches, and holding those for which there is no room.

use super::super::blocked;
use super::super::fetching::{Fetching, Taken};
use super::super::ffi::{Event, FetchedRecord};
use super::PollThread;
use kafka_store_actors::messages::LogEvent;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use kafka_store_statecharts::topic::TopicPartition;
use slog::info;

/// What there was no room for, and what must not overtake it.
#[derive(Debug)]
pub(super) struct Held {
    what: HeldEvent,
    /// Of which start of fetching it is. After another one it comes again.
    fetching: Option<FetchingOf>,
}

#[derive(Debug)]
enum HeldEvent {
    /// A record, with the bytes of key and value.
    Record(Event, usize),
    /// The end of the partition, and where it is.
    End(i64),
}

/// What tells two starts of fetching apart.
type FetchingOf = (TopicPartition, AssignmentEpoch, Option<(SeekEpoch, Offset)>);

fn which_start(fetching: &Fetching) -> FetchingOf {
    (fetching.partition.clone(), fetching.epoch, fetching.started)
}

/// What became of a record.
enum Fate {
    Taken,
    /// There is no room for it in the budget.
    Refused(usize),
}

impl PollThread {
    /// Takes the records of an event. Nothing overtakes what is held.
    pub(super) fn take_records(&mut self, mut event: Event) {
        if self.held.is_empty() {
            if let Some(held) = self.take_as_many_as_fit(event) {
                self.held.push_back(held);
            }
        } else if let Some(record) = event.record()
            && let Some(index) = self.partitions.index_of(&record)
        {
            let size = record.size();
            event.put_back();
            let fetching = self.fetching_of(index);
            self.held.push_back(Held { what: HeldEvent::Record(event, size), fetching });
        }
    }

    /// Takes the end of a partition; not before the records that are held.
    pub(super) fn take_end(&mut self, partition: &TopicPartition, offset: i64) {
        if self.held.is_empty() {
            self.end_reached(partition, offset);
        } else if let Some(fetching) = self.partitions.find(partition) {
            let fetching = Some(which_start(fetching));
            self.held.push_back(Held { what: HeldEvent::End(offset), fetching });
        }
    }

    /// Takes records; the event comes back with the first one that there was no room for.
    fn take_as_many_as_fit(&mut self, mut event: Event) -> Option<Held> {
        while let Some(record) = event.record() {
            let size = record.size();
            if let Fate::Refused(index) = self.take_record(&record) {
                event.put_back();
                return Some(Held { what: HeldEvent::Record(event, size), fetching: self.fetching_of(index) });
            }
        }
        None
    }

    fn fetching_of(&mut self, index: usize) -> Option<FetchingOf> {
        self.partitions.get(index).map(|fetching| which_start(fetching))
    }

    fn take_record(&mut self, record: &FetchedRecord<'_>) -> Fate {
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

    fn tell_if_large(&mut self, index: usize, record: &FetchedRecord<'_>) {
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
            match held.what {
                HeldEvent::End(offset) => self.end_reached(&partition, offset),
                HeldEvent::Record(event, _) => {
                    if let Some(held) = self.take_as_many_as_fit(event) {
                        self.held.push_front(held);
                        return;
                    }
                }
            }
        }
    }

    /// The bytes of the first record that is held.
    pub(super) fn held_bytes(&self) -> Option<usize> {
        self.held.iter().find_map(|held| match held.what {
            HeldEvent::Record(_, size) => Some(size),
            HeldEvent::End(_) => None,
        })
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
