//! Topics, partitions and the ids that Kafka gives them.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

/// A legal Kafka topic name: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..`.
///
/// Names come from the command line and from listings of stores, so they are input: what this type
/// holds can be a path component and a part of an object name as it is. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a string is not a topic name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a Kafka topic name (1 to 249 of the characters a-z A-Z 0-9 . _ -, and neither . nor ..)")]
pub struct InvalidTopicName {
    /// What was given.
    pub name: String,
}

impl TopicName {
    /// Kafka's limit on the length of a name, in bytes (`Topic.MAX_NAME_LENGTH`).
    pub const LENGTH_MAX: usize = 249;

    /// Checks a name against Kafka's own rule.
    pub fn new(name: &str) -> Result<TopicName, InvalidTopicName> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > Self::LENGTH_MAX || matches!(name, "." | "..") || !name.bytes().all(legal) {
            return Err(InvalidTopicName { name: name.into() });
        }
        Ok(TopicName(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a partition within its topic. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(i32);

impl PartitionId {
    /// A partition from Kafka's signed number; `None` for the sentinel -1 and other negatives.
    pub const fn new(partition: i32) -> Option<PartitionId> {
        if partition >= 0 { Some(PartitionId(partition)) } else { None }
    }

    /// As Kafka's signed number.
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The id that a broker gives a topic at its creation: another id is another topic, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// An id from its 16 bytes; `None` for the zero id, by which brokers say "unknown". It equals no id.
    pub fn new(bytes: [u8; 16]) -> Option<TopicId> {
        (bytes != [0; 16]).then_some(TopicId(bytes))
    }

    /// An id from the 32 hexadecimal digits that [`TopicId`] displays as.
    pub fn parse(text: &str) -> Option<TopicId> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        TopicId::new(bytes)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn only_kafkas_own_names_are_names() {
        for legal in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert_eq!(TopicName::new(legal).expect("legal").as_str(), legal);
        }
        for illegal in ["", ".", "..", "a/b", "~", "a b", "ü", "a\0", &"x".repeat(250)] {
            assert!(TopicName::new(illegal).is_err(), "{illegal:?}");
        }
    }

    #[test]
    fn a_zero_topic_id_is_no_id() {
        assert_eq!(TopicId::new([0; 16]), None);
        let id = TopicId::new([0xab; 16]).expect("not zero");
        assert_eq!(TopicId::parse(&id.to_string()), Some(id));
        assert_eq!(TopicId::parse("xyz"), None);
    }
}
