//! Why a file cannot be read.

use kafka_store_statecharts::offset::Offset;
use std::{fmt, io};

/// Why bytes are not a whole segment file. Positions are byte offsets in the file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file itself could not be read.
    #[error("the file cannot be read at byte {position}")]
    Io {
        /// Where.
        position: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file ends too early: what there is of it is right. The original tool leaves such files after a crash.
    #[error("the file is truncated: it ends at byte {position}, {inside}")]
    Truncated {
        /// Where it ends.
        position: u64,
        /// What is incomplete, in words.
        inside: String,
    },
    /// The file holds something that no writer of it writes.
    #[error("the file is corrupt at byte {position}: {problem}")]
    Corrupt {
        /// Where the part begins that is wrong.
        position: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A block needs more memory than decoding may take. The file may be whole.
    #[error(
        "the block at byte {position} does not fit into memory: {stored_bytes} bytes stored and {need} decompressed, \
         of which one block can have {room_bytes} under --memory-limit {limit_bytes}; give a larger --memory-limit",
        need = Need(*decompressed_bytes)
    )]
    TooLarge {
        /// Where the block begins.
        position: u64,
        /// Its bytes as it is stored.
        stored_bytes: u64,
        /// Its bytes decompressed, as far as that is known.
        decompressed_bytes: Option<u64>,
        /// What both together may have.
        room_bytes: u64,
        /// The limit that this follows from.
        limit_bytes: u64,
    },
    /// The file is not a segment: no Avro file, or one of another schema.
    #[error("the file is not a kafka-store segment: {problem}")]
    NotSegment {
        /// How that shows.
        problem: String,
    },
    /// The file is a segment of a later version, or its codec is not supported.
    #[error("the file needs another version of kafka-store: {problem}")]
    Unsupported {
        /// What this version does not know.
        problem: String,
    },
}

/// The size of a decompressed block in words.
struct Need(Option<u64>);

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{bytes} bytes"),
            None => f.write_str("too many"),
        }
    }
}

impl ReadError {
    /// Whether the file merely ends too early.
    pub fn is_truncated(&self) -> bool {
        matches!(self, ReadError::Truncated { .. })
    }

    /// A file of the original tool without any record: it was never more than begun.
    pub(crate) fn without_records() -> ReadError {
        ReadError::Truncated { position: 0, inside: "without any record".into() }
    }

    /// The first record of the block at `position` does not follow on `last`.
    pub(crate) fn out_of_order(position: u64, offset: Offset, last: Offset) -> ReadError {
        ReadError::corrupt(position, format!("record 1 of the block here: its offset {offset} follows {last}"))
    }

    pub(super) fn corrupt(position: u64, problem: impl Into<String>) -> ReadError {
        ReadError::Corrupt { position, problem: problem.into() }
    }

    pub(super) fn truncated(position: u64, inside: impl Into<String>) -> ReadError {
        ReadError::Truncated { position, inside: inside.into() }
    }
}
