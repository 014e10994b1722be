//! The last record of a segment: what tells one history of a partition from another.
//!
//! Offsets repeat when a log is cut or a topic is re-created. The bytes of a record and the epoch of the leader that
//! wrote it do not.

use crate::offset::LeaderEpoch;
use core::fmt;

/// BLAKE3 hash of the canonical bytes of one record.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordHash([u8; 32]);

/// The last record of a segment, or the last one that an open segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LastRecord {
    /// Hash of its canonical bytes, offset and timestamp included.
    pub hash: RecordHash,
    /// Epoch of the leader that wrote it, where the broker reports one.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl RecordHash {
    /// Hashes the canonical bytes of one record.
    pub fn of(canonical_bytes: &[u8]) -> RecordHash {
        RecordHash(*blake3::hash(canonical_bytes).as_bytes())
    }

    /// Makes a hash of its 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> RecordHash {
        RecordHash(bytes)
    }

    /// Returns its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses the 64 lower-case hexadecimal digits that [`RecordHash`] displays as.
    pub fn parse(text: &str) -> Option<RecordHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(RecordHash(bytes))
    }
}

impl fmt::Display for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn hashes_parse_as_they_display() {
        // The published test vector of the empty input.
        const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        let hash = RecordHash::of(b"");
        assert_eq!(hash.to_string(), EMPTY);
        assert_eq!(RecordHash::parse(EMPTY), Some(hash));
        assert_eq!(RecordHash::new(*hash.as_bytes()), hash);
        for wrong in [&EMPTY[1..], &EMPTY.to_uppercase(), &EMPTY.replace('a', "g"), ""] {
            assert_eq!(RecordHash::parse(wrong), None, "{wrong}");
        }
    }
}
