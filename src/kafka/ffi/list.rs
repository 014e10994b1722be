//! librdkafka's lists of partitions.

use super::{KafkaError, owned, rd};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::ffi::CString;
use std::ptr::NonNull;

/// A partition and where to go on in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset.
    pub offset: Offset,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub next_offset: Offset,
    /// Epoch of the leader that wrote the record before it, where the commit says it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The string kept beside it.
    pub metadata: String,
}

/// A list that this process owns.
#[derive(Debug)]
pub(super) struct PartitionList(NonNull<rd::rd_kafka_topic_partition_list_t>);

impl PartitionList {
    pub(super) fn new() -> PartitionList {
        // SAFETY: allocates; librdkafka aborts the process when memory is out.
        let list = unsafe { rd::rd_kafka_topic_partition_list_new(0) };
        PartitionList(NonNull::new(list).expect("librdkafka allocates or aborts"))
    }

    pub(super) fn of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> PartitionList {
        let mut list = PartitionList::new();
        for partition in partitions {
            list.add(partition);
        }
        list
    }

    pub(super) fn from_offsets(partitions: &[PartitionOffset]) -> PartitionList {
        let mut list = PartitionList::new();
        for PartitionOffset { partition, offset } in partitions {
            list.add(partition).offset = offset.get();
        }
        list
    }

    /// Adds a topic as a whole, by its name or by a pattern.
    pub(super) fn add_topic(&mut self, topic: &TopicName) {
        const ANY_PARTITION: i32 = -1; // RD_KAFKA_PARTITION_UA
        let topic = topic_string(topic);
        // SAFETY: the list is ours and the name is copied.
        unsafe { rd::rd_kafka_topic_partition_list_add(self.0.as_ptr(), topic.as_ptr(), ANY_PARTITION) };
    }

    /// Adds a partition without an offset, and gives its element to fill in.
    pub(super) fn add(&mut self, partition: &TopicPartition) -> &mut rd::rd_kafka_topic_partition_t {
        let topic = topic_string(&partition.topic);
        // SAFETY: the list is ours, the topic's name is copied, and the element lives until the list
        // changes again, which the borrow of `self` prevents.
        unsafe {
            &mut *rd::rd_kafka_topic_partition_list_add(self.0.as_ptr(), topic.as_ptr(), partition.partition.get())
        }
    }

    /// Adds a partition with an offset and metadata to commit.
    pub(super) fn add_commit(
        &mut self,
        partition: &TopicPartition,
        next_offset: Offset,
        leader_epoch: Option<LeaderEpoch>,
        metadata: &str,
    ) {
        let element = self.add(partition);
        element.offset = next_offset.get();
        if let Some(epoch) = leader_epoch {
            // SAFETY: the element is valid.
            unsafe { rd::rd_kafka_topic_partition_set_leader_epoch(element, epoch.get()) };
        }
        // SAFETY: librdkafka frees the metadata with the list, by `free`, so it must come from `malloc`.
        // The copied bytes fit: the block has their length.
        unsafe {
            let block = libc::malloc(metadata.len().max(1));
            assert!(!block.is_null(), "out of memory");
            std::ptr::copy_nonoverlapping(metadata.as_ptr(), block.cast(), metadata.len());
            element.metadata = block;
            element.metadata_size = metadata.len();
        }
    }

    /// Gives all elements the same leader epoch.
    pub(super) fn set_leader_epochs(&mut self, epoch: LeaderEpoch) {
        for index in 0..self.elements().len() {
            // SAFETY: the list has that many elements, and is ours.
            unsafe {
                let element = (*self.0.as_ptr()).elems.add(index);
                rd::rd_kafka_topic_partition_set_leader_epoch(element, epoch.get());
            }
        }
    }

    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_topic_partition_list_t {
        self.0.as_ptr()
    }

    pub(super) fn elements(&self) -> &[rd::rd_kafka_topic_partition_t] {
        // SAFETY: `self.0` is a valid list.
        unsafe { elements_of(self.0.as_ptr()) }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: the list is ours and nothing borrows from it any more.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) };
    }
}

/// The elements of a list that somebody owns.
///
/// # Safety
/// `list` is a valid list that is neither changed nor freed for `'a`.
pub(super) unsafe fn elements_of<'a>(
    list: *const rd::rd_kafka_topic_partition_list_t,
) -> &'a [rd::rd_kafka_topic_partition_t] {
    // SAFETY: by the function's own condition.
    let list = unsafe { &*list };
    let count = usize::try_from(list.cnt).unwrap_or(0);
    if count == 0 || list.elems.is_null() {
        return &[];
    }
    // SAFETY: a list has `cnt` elements at `elems`.
    unsafe { std::slice::from_raw_parts(list.elems, count) }
}

/// The partition that an element names.
pub(super) fn partition_of(element: &rd::rd_kafka_topic_partition_t) -> Option<TopicPartition> {
    Some(TopicPartition {
        topic: TopicName::new(&owned(element.topic)).ok()?,
        partition: PartitionId::new(element.partition)?,
    })
}

/// What an element says that is committed; `None` if nothing is.
pub(super) fn committed_of(element: &rd::rd_kafka_topic_partition_t) -> Result<Option<Committed>, KafkaError> {
    KafkaError::check(element.err)?;
    let Some(next_offset) = Offset::new(element.offset) else { return Ok(None) };
    let metadata = if element.metadata.is_null() {
        String::new()
    } else {
        // SAFETY: an element's metadata has `metadata_size` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size) };
        String::from_utf8_lossy(bytes).into_owned()
    };
    Ok(Some(Committed { next_offset, leader_epoch: leader_epoch_of(element), metadata }))
}

/// The leader epoch that an element names, if it names one.
pub(super) fn leader_epoch_of(element: &rd::rd_kafka_topic_partition_t) -> Option<LeaderEpoch> {
    // SAFETY: the element is valid, and made by librdkafka, which keeps the epoch beside it.
    LeaderEpoch::new(unsafe { rd::rd_kafka_topic_partition_get_leader_epoch(element) })
}

pub(super) fn topic_string(topic: &TopicName) -> CString {
    CString::new(topic.as_str()).expect("a topic's name holds no zero byte")
}
