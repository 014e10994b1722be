//! What the header of a segment says of it.

use super::BLOCK_RECORD_BYTES;
use super::codec::{BlockCodec, Codec};
use super::content_hash::ContentHash;
use super::error::ReadError;
use super::metadata::Metadata;
use super::source::ByteSource;
use super::summary::SegmentSummary;
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use std::io;

/// Version of the format that this program writes.
pub const FORMAT_VERSION: u32 = 2;

/// Everything that the header of one of our segments says.
///
/// The entries that format version 2 added are `None` for files of version 1, and only for those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Version of the format, 1 or 2.
    pub format: u32,
    /// Chain and start offset: the object's name.
    pub name: SegmentName,
    /// How the blocks are compressed.
    pub codec: BlockCodec,
    /// How many records there are; at least one.
    pub record_count: u64,
    /// Of the records.
    pub content_hash: ContentHash,
    /// What the writer said at the seal.
    pub summary: SegmentSummary,
    /// Length of the file. Since version 2.
    pub file_bytes: Option<u64>,
    /// Record bytes that close a block. Since version 2.
    pub block_bytes: Option<u64>,
    /// CRC-32C of all bytes behind the header. Since version 2.
    pub blocks_crc32c: Option<u32>,
}

/// The blocks of a segment, when they have all been written.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenBlocks {
    pub(super) record_count: u64,
    pub(super) content_hash: ContentHash,
    /// Length of all blocks as they are stored.
    pub(super) stored_bytes: u64,
    /// CRC-32C of all blocks as they are stored.
    pub(super) crc32c: u32,
}

/// Why a segment could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file could not be written.
    #[error("the header of the segment cannot be written")]
    Io(#[source] io::Error),
    /// What is to be sealed contradicts itself. A bug.
    #[error("the segment contradicts itself: {0}")]
    Inconsistent(String),
    /// The header is longer than readers accept: it lists tens of thousands of gaps.
    #[error("the header of the segment has {bytes} bytes, and readers accept 1 MiB ({gap_count} gaps)")]
    HeaderTooLong {
        /// Its length.
        bytes: usize,
        /// Number of gaps that it lists.
        gap_count: usize,
    },
}

/// The 16 bytes that follow every block: a function of the segment's name alone.
///
/// They are the front of the BLAKE3 hash of `kafka-store sync marker 1 ` and the name as it is displayed.
pub fn sync_marker(name: &SegmentName) -> [u8; 16] {
    let hash = blake3::hash(format!("kafka-store sync marker 1 {name}").as_bytes());
    let mut marker = [0; 16];
    marker.copy_from_slice(&hash.as_bytes()[..16]);
    marker
}

impl SegmentHeader {
    /// Puts a header together and checks that it does not contradict itself.
    pub(super) fn new(
        name: SegmentName,
        codec: Codec,
        blocks: &WrittenBlocks,
        summary: SegmentSummary,
    ) -> Result<SegmentHeader, SealError> {
        let mut header = SegmentHeader {
            format: FORMAT_VERSION,
            name,
            codec: codec.block_codec(),
            record_count: blocks.record_count,
            content_hash: blocks.content_hash,
            summary,
            file_bytes: Some(0),
            block_bytes: Some(BLOCK_RECORD_BYTES as u64),
            blocks_crc32c: Some(blocks.crc32c),
        };
        if let Some(contradiction) = header.contradiction() {
            return Err(SealError::Inconsistent(contradiction.into()));
        }
        header.file_bytes = Some(header.encoded_bytes() as u64 + blocks.stored_bytes);
        Ok(header)
    }

    /// Length of the header that a segment will have if its summary is like this one: which entries it has is all that
    /// matters.
    pub(super) fn expected_bytes(name: &SegmentName, codec: Codec, expected: &SegmentSummary) -> usize {
        let header = SegmentHeader {
            format: FORMAT_VERSION,
            name: name.clone(),
            codec: codec.block_codec(),
            record_count: 1,
            content_hash: ContentHash::new([0; 32]),
            // It counts the offsets that are missing.
            summary: SegmentSummary { final_offset: name.start, gaps: Vec::new(), ..expected.clone() },
            file_bytes: Some(0),
            block_bytes: Some(0),
            blocks_crc32c: Some(0),
        };
        header.encoded_bytes()
    }

    /// The first bytes of a file, if they are a header of ours.
    ///
    /// # Errors
    /// As for any file; an original tool's file is [`ReadError::NotSegment`] here.
    pub fn parse(bytes: &[u8]) -> Result<SegmentHeader, ReadError> {
        let metadata = Metadata::read(&mut ByteSource::new(bytes))?;
        Self::from_metadata(&metadata)
    }

    /// The offsets covered.
    pub fn range(&self) -> OffsetRange {
        OffsetRange::new(self.name.start, self.summary.final_offset).expect("checked when the header was made")
    }

    /// Where the next segment of the chain starts.
    pub fn next_offset(&self) -> Offset {
        self.summary.final_offset.next()
    }

    /// How many offsets of the range the log did not show: compacted, aborted, or transaction markers.
    pub fn invisible_count(&self) -> u64 {
        self.missing_count().expect("checked when the header was made")
    }

    /// `None` if there are more records and gaps than offsets.
    fn missing_count(&self) -> Option<u64> {
        let offset_count = OffsetRange::new(self.name.start, self.summary.final_offset)?.offset_count();
        let listed =
            self.summary.gaps.iter().try_fold(0_u64, |sum, gap| sum.checked_add(gap.offsets.offset_count()))?;
        offset_count.checked_sub(self.record_count)?.checked_sub(listed)
    }

    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let SegmentSummary { final_offset, timestamps, gaps, .. } = &self.summary;
        let gaps_in_order = gaps.is_sorted_by(|gap, next| gap.offsets.final_offset() < next.offsets.start());
        let gaps_inside =
            gaps.iter().all(|gap| self.name.start <= gap.offsets.start() && gap.offsets.final_offset() < *final_offset);
        if *final_offset < self.name.start {
            Some("it ends before it starts")
        } else if self.record_count == 0 {
            Some("it has no records")
        } else if !gaps_in_order || !gaps_inside {
            Some("its gaps overlap, or lie beyond its ends")
        } else if self.missing_count().is_none() {
            Some("it has more records and gaps than offsets")
        } else if timestamps.first < timestamps.min || timestamps.max < timestamps.first {
            Some("its first timestamp lies outside of their range")
        } else if self.format > 1 && self.summary.last_record.is_none() {
            Some("it does not name its last record")
        } else {
            None
        }
    }
}
