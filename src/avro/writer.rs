//! Writing a segment: blocks first, the header at the seal.

use super::BLOCK_BYTES_MAX;
use super::codec::Codec;
use super::compressor::{Block, Compressor};
use super::content_hash::{ContentHash, ContentHasher};
use super::decompressor::{Decompressor, Undecompressed, any_room};
use super::error::ReadError;
use super::header::{SealError, SegmentHeader, WrittenBlocks, sync_marker};
use super::move_blocks::move_blocks;
use super::pieces_file::{PIECE_BYTES, PiecesFile};
use super::source::ByteSource;
use super::summary::SegmentSummary;
use crate::page_cache::PageCache;
use kafka_store_statecharts::name::SegmentName;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

/// A segment that is being written into a spool file.
///
/// Its header's room stays unwritten until [`SegmentWriter::seal`]: until then the file is not an Avro file and
/// cannot be taken for a segment. Nothing here calls fsync; the store does.
pub struct SegmentWriter {
    file: PiecesFile,
    /// Room that was left for the header.
    reserved_bytes: u64,
    name: SegmentName,
    codec: Codec,
    sync: [u8; 16],
    /// Bytes behind the blocks, which the next block will be made of.
    set_aside_bytes: u64,
    record_count: u64,
    record_bytes: u64,
    hasher: ContentHasher,
}

/// A segment whose file is complete, not yet durable.
#[derive(Debug)]
pub struct SealedFile {
    /// What its header says.
    pub header: SegmentHeader,
    /// The file's length.
    pub file_bytes: u64,
    /// CRC-32C of the whole file.
    pub crc32c: u32,
    /// The file, open for reading and writing as it was given.
    pub file: File,
}

impl SegmentWriter {
    /// Starts the segment `name` in `file`, which is empty and open for reading and writing. `cache` says whether what is
    /// written stays in the page cache.
    ///
    /// `expected` is what is known of the summary: the header's room follows from which ids and limits it has. If the
    /// seal brings others, or gaps, the blocks are moved.
    ///
    /// # Errors
    /// If the file is not empty or its length cannot be told.
    pub fn create(
        file: File,
        name: SegmentName,
        codec: Codec,
        cache: PageCache,
        expected: &SegmentSummary,
    ) -> io::Result<SegmentWriter> {
        if file.metadata()?.len() != 0 {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the spool file is not empty"));
        }
        let reserved_bytes = SegmentHeader::expected_bytes(&name, codec, expected) as u64;
        Ok(SegmentWriter {
            file: PiecesFile::new(file, reserved_bytes, cache),
            reserved_bytes,
            sync: sync_marker(&name),
            name,
            codec,
            set_aside_bytes: 0,
            record_count: 0,
            record_bytes: 0,
            hasher: ContentHasher::default(),
        })
    }

    /// Compresses and appends one block and returns the bytes that the file grows by.
    ///
    /// `records` are the canonical bytes of `record_count` whole records. Where blocks end is the
    /// caller's part ([`super::BLOCK_RECORD_BYTES`]).
    ///
    /// # Errors
    /// What the system says. The segment is then as before the call, and the call can be repeated.
    pub fn append_block(&mut self, compressor: &mut Compressor, records: &[u8], record_count: u64) -> io::Result<u64> {
        if record_count == 0 || records.is_empty() || records.len() as u64 > BLOCK_BYTES_MAX {
            let problem = format!("a block of {record_count} records and {} bytes is impossible", records.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let block = Block { codec: self.codec, record_count, records, sync: &self.sync };
        let bound = compressor.frame_bound(&block);
        let block_bytes = if self.codec == Codec::Null || bound > PIECE_BYTES {
            self.file.append(compressor.frame(&block))?
        } else {
            self.file.append_made(bound, |room| compressor.frame_into(&block, room))?
        };
        self.hasher.update(records);
        self.record_count += record_count;
        self.record_bytes += records.len() as u64;
        Ok(block_bytes)
    }

    /// Keeps canonical bytes behind the blocks, after those that are kept there already.
    ///
    /// They are no part of the segment, and the next block overwrites them: [`SegmentWriter::take_back`] comes first.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_aside(&mut self, records: &[u8]) -> io::Result<()> {
        self.file.write_behind(self.set_aside_bytes, records)?;
        self.set_aside_bytes += records.len() as u64;
        Ok(())
    }

    /// Appends what was set aside to `records`. It is then set aside no more.
    ///
    /// # Errors
    /// What the system says.
    pub fn take_back(&mut self, records: &mut Vec<u8>) -> io::Result<()> {
        let from = records.len();
        let length = usize::try_from(self.set_aside_bytes).expect("it came from memory");
        records.resize(from + length, 0);
        self.file.read_behind(&mut records[from..])?;
        self.set_aside_bytes = 0;
        Ok(())
    }

    /// Reads the canonical bytes of the block that was appended last back from the file.
    ///
    /// # Errors
    /// What the system says, or if other bytes come back than were written.
    pub fn read_last_block(&self) -> io::Result<Vec<u8>> {
        let framed = self.file.read_last()?;
        let wrong = |error: ReadError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        let mut source = ByteSource::new(&framed[..]);
        let mut stored = Vec::new();
        source.long("").map_err(wrong)?;
        let stored_bytes = source.length(BLOCK_BYTES_MAX, "a block's size", "").map_err(wrong)?;
        source.bytes(stored_bytes, &mut stored, "").map_err(wrong)?;
        let mut decompressor = Decompressor::new();
        decompressor.decompress(self.codec.block_codec(), &mut stored, 0, &mut any_room).map_err(undecompressed)?;
        let mut records = Vec::new();
        let length = decompressor.take_block(&mut records);
        records.truncate(length);
        Ok(records)
    }

    /// Reads the blocks appended so far, front to back, and gives each one's records and their number to `each` until that
    /// breaks off.
    ///
    /// # Errors
    /// If the file cannot be written or read, or holds other bytes than were written.
    pub fn read_back(&mut self, each: &mut dyn FnMut(&[u8], u64) -> ControlFlow<()>) -> io::Result<()> {
        let wrong = |error: ReadError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        let mut source = ByteSource::new(self.file.read_from(self.reserved_bytes)?);
        let (mut decompressor, mut stored, mut records) = (Decompressor::new(), Vec::new(), Vec::new());
        while !source.at_end().map_err(wrong)? {
            let record_count = source.length(BLOCK_BYTES_MAX, "a block's number of records", "").map_err(wrong)?;
            let stored_bytes = source.length(BLOCK_BYTES_MAX, "a block's size", "").map_err(wrong)?;
            source.bytes(stored_bytes, &mut stored, "").map_err(wrong)?;
            if source.array::<16>("").map_err(wrong)? != self.sync {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a block does not end with the sync marker"));
            }
            let codec = self.codec.block_codec();
            decompressor.decompress(codec, &mut stored, 0, &mut any_room).map_err(undecompressed)?;
            let length = decompressor.take_block(&mut records);
            if each(&records[..length], record_count).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Writes the header: the file is then a whole segment.
    ///
    /// # Errors
    /// If the summary contradicts what was written, or what the system says.
    pub fn seal(self, summary: &SegmentSummary) -> Result<SealedFile, SealError> {
        let blocks = WrittenBlocks {
            record_count: self.record_count,
            content_hash: self.content_hash(),
            stored_bytes: self.file.end() - self.reserved_bytes,
            crc32c: self.file.crc32c(),
        };
        let header = SegmentHeader::new(self.name, self.codec, &blocks, summary.clone())?;
        let front = header.encode()?;
        let header_bytes = front.len() as u64;
        let file = self.file.into_file().map_err(SealError::Io)?;
        if header_bytes != self.reserved_bytes {
            move_blocks(&file, self.reserved_bytes, header_bytes, blocks.stored_bytes, blocks.crc32c)
                .map_err(SealError::Io)?;
        }
        file.write_all_at(&front, 0).map_err(SealError::Io)?;
        let stored_bytes = usize::try_from(blocks.stored_bytes).expect("a 64-bit system");
        let crc32c = crc32c::crc32c_combine(crc32c::crc32c(&front), blocks.crc32c, stored_bytes);
        Ok(SealedFile { header, file_bytes: header_bytes + blocks.stored_bytes, crc32c, file })
    }

    /// Writes what waits to be written in a larger piece, and gives its memory back.
    ///
    /// # Errors
    /// What the system says. The segment is then as before the call.
    pub fn write_held(&mut self) -> io::Result<()> {
        self.file.write_held()
    }

    /// The memory that waits to be written.
    pub fn held_bytes(&self) -> usize {
        self.file.memory_bytes()
    }

    /// The segment's name.
    pub fn name(&self) -> &SegmentName {
        &self.name
    }

    /// The hash of the records written so far.
    pub fn content_hash(&self) -> ContentHash {
        self.hasher.finish()
    }

    /// The length of the file so far, the header's room and what is held included.
    pub fn bytes_written(&self) -> u64 {
        self.file.end()
    }

    /// What the file takes of the disk, with what is set aside and the room that was asked for in advance.
    pub fn disk_bytes(&self) -> u64 {
        self.file.disk_end()
    }

    /// Records written so far.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// Canonical bytes of the records written so far, before compression.
    pub fn record_bytes(&self) -> u64 {
        self.record_bytes
    }
}

/// The error of a block of a spool file that cannot be decompressed.
fn undecompressed(why: Undecompressed) -> io::Error {
    let problem = match why {
        Undecompressed::Corrupt(error) => error.to_string(),
        Undecompressed::NoRoom { .. } => "a block is larger than it was written".to_owned(),
    };
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

impl std::fmt::Debug for SegmentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentWriter")
            .field("name", &self.name)
            .field("codec", &self.codec)
            .field("bytes_written", &self.bytes_written())
            .field("record_count", &self.record_count)
            .finish_non_exhaustive()
    }
}
