//! What is known of a segment only when its last block has been read.

use super::content_hash::{ContentHash, ContentHasher};
use super::error::ReadError;
use super::reader::{FileHeader, FileKind};

/// Counts and hashes the records of a segment, block by block, to be compared with what its header says.
#[derive(Clone, Debug, Default)]
pub struct SegmentCheck {
    record_count: u64,
    hasher: ContentHasher,
}

impl SegmentCheck {
    /// Takes the next block in, decompressed.
    pub fn block(&mut self, bytes: &[u8], record_count: u64) {
        self.hasher.update(bytes);
        self.record_count += record_count;
    }

    /// Records in the blocks so far.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// The hash of the blocks so far.
    pub fn content_hash(&self) -> ContentHash {
        self.hasher.finish()
    }

    /// After the last block, which ends at `position`. The original tool's files have nothing to compare with.
    ///
    /// # Errors
    /// If something else was read than the header says.
    pub fn end(&self, header: &FileHeader, position: u64) -> Result<(), ReadError> {
        let FileKind::Ours(header) = &header.kind else {
            return Ok(());
        };
        let (found, said) = (self.record_count, header.record_count);
        if found < said {
            Err(ReadError::truncated(position, format!("after {found} of its {said} records")))
        } else if found > said {
            Err(ReadError::corrupt(position, format!("it has {found} records, and its header says {said}")))
        } else if self.content_hash() != header.content_hash {
            Err(ReadError::corrupt(position, "its records are not those that its header's content hash is of"))
        } else {
            Ok(())
        }
    }
}
