//! Seeking with a leader epoch, which the leader validates.

use super::client::{Client, milliseconds};
use super::list::{PartitionList, PartitionOffset};
use super::{KafkaError, rd};
use kafka_store_statecharts::offset::LeaderEpoch;
use std::time::Duration;

impl Client {
    /// Fetches a partition again from an offset on, once its leader has confirmed that the log reaches there in this epoch
    /// (KIP-320). Blocks until librdkafka has begun.
    ///
    /// Records that came before the call returns are dropped by librdkafka; what comes later is of the confirmed log. A log
    /// that ends earlier in this epoch is reported as an event of the partition. A question that no leader answers is asked
    /// again by librdkafka, without an event.
    ///
    /// # Errors
    /// `_STATE` while the partition is not fetched yet, as right after it was assigned; `_TIMED_OUT`. Both may pass.
    pub fn seek_validated(
        &self,
        to: &PartitionOffset,
        epoch: LeaderEpoch,
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        let mut list = PartitionList::new();
        let element = list.add(&to.partition);
        element.offset = to.offset.get();
        // SAFETY: the element is valid.
        unsafe { rd::rd_kafka_topic_partition_set_leader_epoch(element, epoch.get()) };
        // SAFETY: the list is ours, and its elements are written to before the call returns and not after.
        KafkaError::take(unsafe { rd::rd_kafka_seek_partitions(self.handle(), list.as_ptr(), milliseconds(timeout)) })?;
        list.elements().iter().try_for_each(|element| KafkaError::check(element.err))
    }
}
