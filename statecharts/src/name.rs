//! The names of objects in a store: predictable from topic, partition and start offset.
//!
//! `<topic>/<partition, 6 digits>/<start, 20 digits>`, as the original tool names them. A later lineage
//! of a partition is `<partition>~<n>`; whatever else lives in a store is under [`RESERVED`].

use crate::offset::Offset;
use crate::topic::{PartitionId, TopicName, TopicPartition};
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The folder of everything that is not a segment. No topic can have this name.
pub const RESERVED: &str = "~kafka-store";

/// The name of one segment's object, without the store's own prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The chain that it belongs to.
    pub chain: ChainName,
    /// The first offset that it covers.
    pub start: Offset,
}

/// The name of one chain: the folder that its segments share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName {
    /// The partition whose records it holds.
    pub topic_partition: TopicPartition,
    /// 1 for the first lineage of the partition, which carries no suffix.
    pub lineage: u32,
}

impl ChainName {
    /// The first lineage of a partition.
    pub fn first_lineage(topic_partition: TopicPartition) -> ChainName {
        ChainName { topic_partition, lineage: 1 }
    }

    /// The chain with which the partition is begun anew where this one cannot go on.
    pub fn next_lineage(&self) -> ChainName {
        ChainName { lineage: self.lineage + 1, ..self.clone() }
    }

    /// The name of the segment that starts at `start`.
    pub fn segment(&self, start: Offset) -> SegmentName {
        SegmentName { chain: self.clone(), start }
    }

    /// Where the origin of this chain is recorded.
    pub fn origin_object(&self) -> String {
        format!("{RESERVED}/origins/{self}")
    }

    /// Reads the two folder names back; `None` if they are not what [`ChainName`] displays as.
    pub fn parse(topic: &str, partition: &str) -> Option<ChainName> {
        let (digits, lineage) = match partition.split_once('~') {
            Some((digits, lineage)) => (digits, Some(lineage)),
            None => (partition, None),
        };
        let number = parse_digits(digits, 6)?;
        let lineage = match lineage {
            None => 1,
            Some(text) => {
                let lineage: u32 = text.parse().ok()?;
                // One spelling only: no leading zeros or signs, and the first lineage has no suffix.
                if lineage < 2 || format!("{lineage}") != text {
                    return None;
                }
                lineage
            }
        };
        Some(ChainName {
            topic_partition: TopicPartition {
                topic: TopicName::new(topic).ok()?,
                partition: PartitionId::new(i32::try_from(number).ok()?)?,
            },
            lineage,
        })
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicPartition { topic, partition } = &self.topic_partition;
        write!(f, "{topic}/{:06}", partition.get())?;
        if self.lineage > 1 {
            write!(f, "~{}", self.lineage)?;
        }
        Ok(())
    }
}

impl SegmentName {
    /// The last component alone: the start offset in 20 digits.
    pub fn file_name(&self) -> String {
        format!("{:020}", self.start.get())
    }

    /// Reads a start offset back from a last component; `None` unless it is exactly 20 digits.
    pub fn parse_file_name(name: &str) -> Option<Offset> {
        if name.len() != 20 {
            return None;
        }
        Offset::new(i64::try_from(parse_digits(name, 20)?).ok()?)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:020}", self.chain, self.start.get())
    }
}

/// A number written in decimal digits only, with leading zeros up to `width` and none beyond.
fn parse_digits(text: &str, width: usize) -> Option<u64> {
    let canonical = text.len() == width || (text.len() > width && !text.starts_with('0'));
    if !canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn chain(partition: i32, lineage: u32) -> ChainName {
        ChainName {
            topic_partition: TopicPartition {
                topic: TopicName::new("orders").expect("legal"),
                partition: PartitionId::new(partition).expect("not negative"),
            },
            lineage,
        }
    }

    #[test]
    fn names_are_the_originals() {
        let name = chain(7, 1).segment(Offset::new(1234).expect("legal"));
        assert_eq!(name.to_string(), "orders/000007/00000000000000001234");
        assert_eq!(chain(7, 3).to_string(), "orders/000007~3");
        assert_eq!(chain(7, 1).next_lineage(), chain(7, 2));
        assert_eq!(chain(7, 1).origin_object(), "~kafka-store/origins/orders/000007");
    }

    #[test]
    fn names_read_back_in_one_spelling_only() {
        for (partition, lineage) in [(0, 1), (999_999, 1), (1_234_567, 1), (3, 2), (3, 10)] {
            let chain = chain(partition, lineage);
            let text = chain.to_string();
            let (topic, folder) = text.split_once('/').expect("two components");
            assert_eq!(ChainName::parse(topic, folder), Some(chain));
        }
        for folder in ["7", "0000007", "00000x", "000007~1", "000007~02", "000007~", "-00007", "000007~+2"] {
            assert_eq!(ChainName::parse("orders", folder), None, "{folder}");
        }
        assert_eq!(SegmentName::parse_file_name("00000000000000001234").map(Offset::get), Some(1234));
        for name in ["1234", "0000000000000000123x", "99999999999999999999", "000000000000000012345"] {
            assert_eq!(SegmentName::parse_file_name(name), None, "{name}");
        }
    }
}
