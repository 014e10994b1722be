//! Consuming what is assigned by hand, outside of a group: records and events come by one queue.

use super::client::{Client, milliseconds};
use super::event::Event;
use super::list::{PartitionList, PartitionOffset};
use super::record::{Delivered, delivered};
use super::{KafkaError, rd};
use kafka_store_statecharts::offset::LeaderEpoch;
use std::ptr::NonNull;
use std::time::Duration;

impl Client {
    /// Waits for the next record or event, and gives it to `take`; false if nothing came within the time.
    ///
    /// For a client that has not subscribed and whose records are not [led](Client::lead_records) elsewhere.
    pub fn next_delivered(&self, timeout: Duration, take: &mut dyn FnMut(Delivered<'_>)) -> bool {
        // SAFETY: the queue is valid; the event becomes ours.
        let event = unsafe { rd::rd_kafka_queue_poll(self.main_queue(), milliseconds(timeout)) };
        let Some(event) = Event::from_owned(event) else { return false };
        // SAFETY: the event is valid; the message belongs to it, and is not used after it. It holds no other.
        let message = unsafe { rd::rd_kafka_event_message_next(event.as_ptr()) };
        match NonNull::new(message.cast_mut()) {
            // SAFETY: as above.
            Some(message) => take(unsafe { delivered(message) }),
            None => take(Delivered::Event(event.kind())),
        }
        true
    }

    /// Moves a partition that is being fetched to an offset, if its log is the one that the leader of `epoch` left there
    /// (KIP-320). If not, the partition fails as if the offset were out of range.
    pub fn seek_in_epoch(&self, to: &PartitionOffset, epoch: LeaderEpoch, timeout: Duration) -> Result<(), KafkaError> {
        let mut list = PartitionList::from_offsets(std::slice::from_ref(to));
        list.set_leader_epochs(epoch);
        // SAFETY: the list is ours; the call writes each partition's error into it.
        KafkaError::take(unsafe { rd::rd_kafka_seek_partitions(self.handle(), list.as_ptr(), milliseconds(timeout)) })?;
        list.elements().iter().try_for_each(|element| KafkaError::check(element.err))
    }
}
