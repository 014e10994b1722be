//! Reading a whole file only to know that it is whole.

use super::content_hash::ContentHash;
use super::error::ReadError;
use super::reader::{FileHeader, FileKind, Record, SegmentReader};
use super::summary::TimestampRange;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use std::io::Read;

/// What a whole segment file was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says of itself; all of it was found to be true.
    pub header: FileHeader,
    /// The offsets covered. For the original tool's files `final = start + record count - 1`.
    pub range: OffsetRange,
    /// How many records there are.
    pub record_count: u64,
    /// The records' timestamps.
    pub timestamps: TimestampRange,
    /// The hash of the records as this file encodes them: comparable between our files only.
    pub content_hash: ContentHash,
    /// The file's length.
    pub file_bytes: u64,
    /// CRC-32C of the whole file.
    pub crc32c: u32,
}

/// Reads a whole file, decodes every record and checks everything that the header says.
///
/// # Errors
/// The first thing that is wrong. [`ReadError::is_truncated`] tells a file that merely ends too early.
pub fn verify<R: Read>(reader: R, start: Offset) -> Result<Verified, ReadError> {
    verify_with(reader, start, |_, _| {})
}

/// As [`verify`], and shows each record on the way.
///
/// # Errors
/// As [`verify`].
pub fn verify_with<R: Read>(
    reader: R,
    start: Offset,
    mut each: impl FnMut(&FileHeader, &Record<'_>),
) -> Result<Verified, ReadError> {
    let mut reader = SegmentReader::new(reader, start)?;
    let header = reader.header().clone();
    let mut timestamps: Option<TimestampRange> = None;
    let mut last_offset = start;
    while let Some(block) = reader.next_block()? {
        let mut records = block.records();
        while let Some(record) = records.next_record()? {
            timestamps.get_or_insert(TimestampRange::new(record.fields.timestamp)).include(record.fields.timestamp);
            last_offset = record.fields.offset;
            check_gaps(&header, last_offset)?;
            each(&header, &record);
        }
    }
    let file_bytes = reader.position();
    let corrupt = |problem: &str| ReadError::corrupt(file_bytes, problem);
    let timestamps = timestamps.ok_or_else(|| corrupt("it has no records"))?;
    if let Some(ours) = header.ours() {
        if ours.summary.final_offset != last_offset {
            return Err(corrupt(&format!("its last record has offset {last_offset}, its header another final offset")));
        }
        if ours.summary.timestamps != timestamps {
            return Err(corrupt("the timestamps of its records are not those that its header says"));
        }
    }
    let range = OffsetRange::new(start, last_offset).ok_or_else(|| corrupt("it ends before it starts"))?;
    let (record_count, content_hash, crc32c) = (reader.record_count(), reader.content_hash(), reader.crc32c());
    Ok(Verified { header, range, record_count, timestamps, content_hash, file_bytes, crc32c })
}

fn check_gaps(header: &FileHeader, offset: Offset) -> Result<(), ReadError> {
    let FileKind::Ours(ours) = &header.kind else {
        return Ok(());
    };
    match ours.summary.gaps.iter().find(|gap| gap.offsets.contains(offset)) {
        None => Ok(()),
        Some(gap) => Err(ReadError::corrupt(0, format!("it has a record at {offset}, in its own gap {}", gap.offsets))),
    }
}
