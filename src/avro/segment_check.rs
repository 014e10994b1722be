//! What is known of a segment only when its last block has been read.

use super::content_hash::{ContentHash, ContentHasher};
use super::error::ReadError;
use super::reader::{FileHeader, FileKind};
use kafka_store_statecharts::last_record::RecordHash;
use kafka_store_statecharts::record::Decoder;

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

    /// After the last block, which ends at `position`: `last_record` is the hash of its last record. The original
    /// tool's files have nothing to compare with.
    ///
    /// # Errors
    /// If something else was read than the header says.
    pub fn end(
        &self,
        header: &FileHeader,
        position: u64,
        last_record: impl FnOnce() -> Option<RecordHash>,
    ) -> Result<(), ReadError> {
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
            match &header.summary.last_record {
                Some(said) if last_record() != Some(said.hash) => {
                    Err(ReadError::corrupt(position, "its last record is not the one that its header's hash is of"))
                }
                _ => Ok(()),
            }
        }
    }
}

/// The hash of a block's last record; `None` if it does not hold whole records.
pub(super) fn last_record(block: &[u8]) -> Option<RecordHash> {
    let (mut decoder, mut last) = (Decoder::new(block), None);
    while !decoder.rest().is_empty() {
        let record = decoder.rest();
        decoder.record().ok()?;
        last = Some(&record[..record.len() - decoder.rest().len()]);
    }
    last.map(RecordHash::of)
}
