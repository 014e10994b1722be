//! What existed when a group was first started over a store.
//!
//! `--offset-reset` speaks of that moment alone: a partition that appears later begins at its log start,
//! whenever the daemon first sees it. So the moment is written down, create-only.

use crate::store::{ArchiveStore, SmallOutcome, StoreError};
use kafka_store_statecharts::name::RESERVED;
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The partitions of a subscription at the group's first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstStart {
    partition_counts: BTreeMap<TopicName, i32>,
}

/// Why it is not known what existed.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// The store cannot say.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is there makes no sense.
    #[error("{name} in {store} is not a first start that this version can read")]
    Unreadable {
        /// The object.
        name: String,
        /// Where it is.
        store: String,
    },
}

impl FirstStart {
    /// The first start as it is now.
    pub fn now(partition_counts: BTreeMap<TopicName, i32>) -> FirstStart {
        FirstStart { partition_counts }
    }

    /// The first start that a store remembers of a group, if there was one.
    ///
    /// # Errors
    /// If the store cannot say, or holds something else under the name.
    pub fn read(store: &dyn ArchiveStore, group: &str) -> Result<Option<FirstStart>, FirstStartError> {
        let name = object_name(group);
        store.read_small(&name)?.map(|bytes| parse_stored(store, &name, &bytes)).transpose()
    }

    /// Makes the store remember it. Of several who try, one wins, and all get the winner's.
    ///
    /// # Errors
    /// If the store cannot keep it, or holds something else under the name.
    pub fn settle(self, store: &dyn ArchiveStore, group: &str) -> Result<FirstStart, FirstStartError> {
        let name = object_name(group);
        match store.create_small(&name, &self.encode(group))? {
            SmallOutcome::Created => Ok(self),
            SmallOutcome::AlreadyExists(bytes) => parse_stored(store, &name, &bytes),
        }
    }

    /// Whether a partition existed then.
    pub fn had(&self, partition: &TopicPartition) -> bool {
        self.partition_counts.get(&partition.topic).is_some_and(|count| partition.partition.get() < *count)
    }

    fn encode(&self, group: &str) -> Vec<u8> {
        let topics: Map<String, Value> =
            self.partition_counts.iter().map(|(topic, count)| (topic.to_string(), Value::from(*count))).collect();
        format!("{}\n", json!({ "format": 1, "group": group, "partitions": topics })).into_bytes()
    }

    fn parse(bytes: &[u8]) -> Option<FirstStart> {
        let object: Value = serde_json::from_slice(bytes).ok()?;
        if object["format"].as_i64()? != 1 {
            return None;
        }
        let counts = object["partitions"]
            .as_object()?
            .iter()
            .map(|(topic, count)| Some((TopicName::new(topic).ok()?, i32::try_from(count.as_i64()?).ok()?)));
        Some(FirstStart { partition_counts: counts.collect::<Option<_>>()? })
    }
}

fn parse_stored(store: &dyn ArchiveStore, name: &str, bytes: &[u8]) -> Result<FirstStart, FirstStartError> {
    FirstStart::parse(bytes)
        .ok_or_else(|| FirstStartError::Unreadable { name: name.to_owned(), store: store.describe() })
}

/// A group's name may hold any character, so it is hashed where it could not be a file's name as it is.
fn object_name(group: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if group.len() <= 200 && !group.starts_with('.') && group.bytes().all(plain) {
        format!("{RESERVED}/groups/{group}")
    } else {
        format!("{RESERVED}/groups/~{}", blake3::hash(group.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_store_statecharts::topic::PartitionId;

    #[test]
    fn what_existed_is_read_back() {
        let topic = TopicName::new("orders").expect("legal");
        let first = FirstStart::now(BTreeMap::from([(topic.clone(), 3)]));
        assert_eq!(FirstStart::parse(&first.encode("g")), Some(first.clone()));
        let partition = |number| TopicPartition {
            topic: topic.clone(),
            partition: PartitionId::new(number).expect("not negative"),
        };
        assert!(first.had(&partition(2)) && !first.had(&partition(3)));
    }

    #[test]
    fn no_group_leaves_its_folder() {
        assert_eq!(object_name("my-group"), "~kafka-store/groups/my-group");
        for group in ["../x", "a/b", "..", "grüppe", &"x".repeat(300)] {
            assert!(object_name(group).starts_with("~kafka-store/groups/~"), "{group}");
        }
    }
}
