//! All committed offsets of a group.

use super::admin::Request;
use super::client::Client;
use super::list::{Committed, committed_of, elements_of, partition_of};
use super::{KafkaError, rd};
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

impl Client {
    /// Returns the committed offsets of a group, of all partitions. Asks the group's coordinator; blocks.
    pub fn group_offsets(
        &self,
        group: &str,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, Committed>, KafkaError> {
        let name =
            CString::new(group).map_err(|_| KafkaError::local("the group's name holds a zero byte".to_owned()))?;
        let request = Request::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout)?;
        // SAFETY: the name is copied, null asks for all partitions, and the group is freed after the call that reads it.
        unsafe {
            let asked = rd::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), std::ptr::null());
            let mut groups = [asked];
            rd::rd_kafka_ListConsumerGroupOffsets(
                self.handle(),
                groups.as_mut_ptr(),
                groups.len(),
                request.options(),
                request.queue(),
            );
            rd::rd_kafka_ListConsumerGroupOffsets_destroy(asked);
        }
        let answer = request.answer(timeout)?;
        // SAFETY: the event answers ListConsumerGroupOffsets; what is read belongs to it and lives as long.
        let elements = unsafe {
            let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(answer.as_ptr());
            let mut count = 0;
            let groups = if result.is_null() {
                std::ptr::null_mut()
            } else {
                rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count)
            };
            if groups.is_null() || count == 0 {
                return Ok(BTreeMap::new());
            }
            let error = rd::rd_kafka_group_result_error(*groups);
            if !error.is_null() {
                KafkaError::check(rd::rd_kafka_error_code(error))?;
            }
            let list = rd::rd_kafka_group_result_partitions(*groups);
            if list.is_null() { &[] } else { elements_of(list) }
        };
        let mut offsets = BTreeMap::new();
        for element in elements {
            if let (Some(partition), Some(committed)) = (partition_of(element), committed_of(element)?) {
                offsets.insert(partition, committed);
            }
        }
        Ok(offsets)
    }
}
