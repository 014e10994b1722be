//! The string that goes with each committed offset.
//!
//! Kafka keeps it beside the offset and never reads it. Ours says which segment ends there, so that a
//! restart finds the chain's tail with one look at the store.

use crate::offset::Offset;
use alloc::format;
use alloc::string::String;

/// What the metadata of a commit says. The original tool committed an empty string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitMetadata {
    /// Of which chain of the partition it speaks: 1 where nothing is said.
    pub lineage: u32,
    /// The start of the segment whose `next_offset` was committed.
    pub segment_start: Option<Offset>,
    /// The position up to which nothing more was visible when the partition was caught up.
    pub seen_to: Option<Offset>,
}

impl Default for CommitMetadata {
    fn default() -> CommitMetadata {
        CommitMetadata { lineage: 1, segment_start: None, seen_to: None }
    }
}

const FORMAT: &str = "kafka-store/1";

impl CommitMetadata {
    /// The string to commit.
    pub fn encode(&self) -> String {
        let mut text = String::from(FORMAT);
        if self.lineage > 1 {
            text.push_str(&format!(" lineage={}", self.lineage));
        }
        if let Some(start) = self.segment_start {
            text.push_str(&format!(" segment={start}"));
        }
        if let Some(seen_to) = self.seen_to {
            text.push_str(&format!(" seen_to={seen_to}"));
        }
        text
    }

    /// True if this program committed the string.
    pub fn is_ours(text: &str) -> bool {
        text.split(' ').next() == Some(FORMAT)
    }

    /// Reads a committed string; anything that is not ours says nothing.
    pub fn parse(text: &str) -> CommitMetadata {
        let mut metadata = CommitMetadata::default();
        let mut words = text.split(' ');
        if !CommitMetadata::is_ours(text) {
            return metadata;
        }
        words.next();
        for word in words {
            let Some((name, value)) = word.split_once('=') else { continue };
            let offset = value.parse().ok().and_then(Offset::new);
            match name {
                "lineage" => metadata.lineage = value.parse().unwrap_or(1),
                "segment" => metadata.segment_start = offset,
                "seen_to" => metadata.seen_to = offset,
                _ => {} // A later version's word.
            }
        }
        metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_read_back() {
        for segment_start in [None, Offset::new(0), Offset::new(77)] {
            for (seen_to, lineage) in [(None, 1), (Offset::new(80), 1), (None, 2), (Offset::new(80), 30)] {
                let metadata = CommitMetadata { lineage, segment_start, seen_to };
                assert_eq!(CommitMetadata::parse(&metadata.encode()), metadata);
            }
        }
    }

    #[test]
    fn other_peoples_metadata_says_nothing() {
        for text in ["", "NO_METADATA", "kafka-store/2 segment=3", "kafka-store/1 segment=-3", "kafka-store/1 later=1"]
        {
            assert_eq!(CommitMetadata::parse(text), CommitMetadata::default(), "{text:?}");
        }
    }
}
