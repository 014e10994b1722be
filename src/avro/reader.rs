//! Reading a segment, ours or the original tool's, block by block.

use super::codec::BlockCodec;
use super::content_hash::ContentHash;
use super::decompressor::{Decompressor, KEPT_BUFFER_BYTES, Undecompressed};
use super::error::ReadError;
use super::header::SegmentHeader;
use super::header_entries::{block_codec, schema};
use super::memory::{DecodeMemory, MemoryShare};
use super::metadata::Metadata;
use super::schema::{SCHEMA, is_original};
use super::segment_check::{SegmentCheck, last_record};
use super::source::ByteSource;
use super::stored::{LargeBlock, StoredBlock, StoredBlocks};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::record::{Decoder, Headers, RecordFields};
use std::fmt;
use std::io::Read;
use std::sync::Arc;

/// What a file says before its first block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The first offset covered: the file's name.
    pub start: Offset,
    /// How its blocks are compressed.
    pub codec: BlockCodec,
    /// Length of the header, which is the position of the first block.
    pub header_bytes: u64,
    /// What follows each of its blocks, and ends it.
    pub sync: [u8; 16],
    /// Who wrote it.
    pub kind: FileKind,
}

/// Who wrote a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// This program.
    Ours(Box<SegmentHeader>),
    /// The original tool: no offsets (a record's is start + index), no headers, no word on where it ends.
    Original,
}

/// Reads a segment file front to back and checks everything on the way.
///
/// At the end of one of our files, everything that its header says of it as a whole must be true.
pub struct SegmentReader<R> {
    blocks: StoredBlocks<R>,
    decompressor: Decompressor,
    stored: Vec<u8>,
    /// For the block that was read last.
    memory: MemoryShare,
    last_offset: Option<Offset>,
    check: SegmentCheck,
}

/// One block of records.
#[derive(Debug)]
pub struct Block<'a> {
    bytes: &'a [u8],
    record_count: u64,
    /// Only for the original tool's files: the offset of the first record.
    derived_offset: Option<Offset>,
    header: &'a FileHeader,
    last_offset: &'a mut Option<Offset>,
    position: u64,
}

/// The records of a block, one at a time.
#[derive(Debug)]
pub struct Records<'a> {
    decoder: Decoder<'a>,
    block: Block<'a>,
    index: u64,
}

/// One record, borrowed from its block.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Everything but the headers.
    pub fields: RecordFields<'a>,
    /// The headers, in the log's order.
    pub headers: Headers<'a>,
    /// How many bytes it takes in its block. In files of ours these are its canonical bytes.
    pub encoded_bytes: usize,
}

impl<R: Read> SegmentReader<R> {
    /// Reads the header of a file whose name says that it starts at `start`.
    ///
    /// # Errors
    /// If there is no whole header of either kind, or ours says that it starts elsewhere.
    pub fn new(reader: R, start: Offset) -> Result<SegmentReader<R>, ReadError> {
        SegmentReader::with_memory(reader, start, DecodeMemory::of_process())
    }

    /// As [`SegmentReader::new`], with other memory than the process's. A thread that waits for this reader's next
    /// block must have no other reader of the same memory: each may wait for the other's block to be done.
    ///
    /// # Errors
    /// As [`SegmentReader::new`].
    pub fn with_memory(reader: R, start: Offset, memory: Arc<DecodeMemory>) -> Result<SegmentReader<R>, ReadError> {
        let blocks = StoredBlocks::new(reader, start)?;
        Ok(SegmentReader {
            blocks,
            decompressor: Decompressor::new(),
            stored: Vec::new(),
            memory: MemoryShare::of(memory),
            last_offset: None,
            check: SegmentCheck::default(),
        })
    }

    /// What the file says before its first block.
    pub fn header(&self) -> &FileHeader {
        self.blocks.header()
    }

    /// Records in the blocks read so far.
    pub fn record_count(&self) -> u64 {
        self.check.record_count()
    }

    /// Bytes of the file read so far.
    pub fn position(&self) -> u64 {
        self.blocks.position()
    }

    /// CRC-32C of the bytes of the file read so far.
    pub fn crc32c(&self) -> u32 {
        self.blocks.crc32c()
    }

    /// The hash of the records in the blocks read so far, as they are encoded in this file.
    pub fn content_hash(&self) -> ContentHash {
        self.check.content_hash()
    }

    /// The next block, or `None` at the clean end of the file. Waits while a large block is decoded elsewhere, if this
    /// one is large, too.
    ///
    /// # Errors
    /// Whatever keeps the file from being a whole segment; nothing can be read after that. [`ReadError::TooLarge`] if
    /// the block does not fit into the memory.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, ReadError> {
        let Some(size) = self.blocks.next_size()? else {
            let last_record = || last_record(self.decompressor.block());
            self.check.end(self.blocks.header(), self.blocks.position(), last_record)?;
            self.release();
            return Ok(None);
        };
        self.release();
        let Some(place) = self.next_stored(size)? else { return Ok(None) };
        self.decompress(place)?;
        if self.stored.capacity() > KEPT_BUFFER_BYTES {
            self.stored = Vec::new();
        }
        let header = self.blocks.header();
        let bytes = self.decompressor.block();
        self.check.block(bytes, place.record_count);
        Ok(Some(Block::new(bytes, place, header, &mut self.last_offset)))
    }

    /// Gives back what the last block has taken.
    fn release(&mut self) {
        self.decompressor.forget_block();
        if self.stored.capacity() > KEPT_BUFFER_BYTES {
            self.stored = Vec::new();
        }
        self.memory.release();
    }

    /// Reads the next block, which says that it has `size` bytes, as it is stored.
    fn next_stored(&mut self, size: u64) -> Result<Option<StoredBlock>, ReadError> {
        if self.memory.grow_to(size) < size {
            self.memory.wait_to_be_alone();
        }
        let most = self.memory.grow_to(size);
        match self.blocks.next_block_within(&mut self.stored, most)? {
            None => Ok(None),
            Some(Ok(place)) => Ok(Some(place)),
            Some(Err(LargeBlock { position, stored_bytes })) => Err(self.too_large(position, stored_bytes, None)),
        }
    }

    /// Decompresses the block that was read.
    fn decompress(&mut self, place: StoredBlock) -> Result<(), ReadError> {
        let stored_bytes = self.stored.len() as u64;
        loop {
            let SegmentReader { blocks, decompressor, stored, memory, .. } = self;
            let mut room =
                |wanted: u64| memory.grow_to(stored_bytes.saturating_add(wanted)).saturating_sub(stored_bytes);
            match decompressor.decompress_of(blocks.header(), stored, place.position, &mut room) {
                Ok(()) => return Ok(()),
                Err(Undecompressed::Corrupt(error)) => return Err(error),
                Err(Undecompressed::NoRoom { .. }) if !memory.is_alone() => memory.wait_to_be_alone(),
                Err(Undecompressed::NoRoom { decompressed_bytes }) => {
                    return Err(self.too_large(place.position, stored_bytes, decompressed_bytes));
                }
            }
        }
    }

    fn too_large(&self, position: u64, stored_bytes: u64, decompressed_bytes: Option<u64>) -> ReadError {
        let (room_bytes, limit_bytes) = (self.memory.alone_bytes(), self.memory.limit_bytes());
        ReadError::TooLarge { position, stored_bytes, decompressed_bytes, room_bytes, limit_bytes }
    }
}

impl FileHeader {
    pub(super) fn from_metadata(metadata: &Metadata, start: Offset) -> Result<FileHeader, ReadError> {
        let (sync, header_bytes) = (metadata.sync, metadata.header_bytes());
        match schema(metadata) {
            Some(schema) if schema != SCHEMA && is_original(schema) => {
                let codec = block_codec(metadata)?;
                Ok(FileHeader { start, codec, header_bytes, sync, kind: FileKind::Original })
            }
            _ => {
                let header = SegmentHeader::from_metadata(metadata)?;
                if header.name.start != start {
                    let problem = format!("its name says that it starts at {start}, its header {}", header.name.start);
                    return Err(ReadError::corrupt(0, problem));
                }
                let codec = header.codec;
                Ok(FileHeader { start, codec, header_bytes, sync, kind: FileKind::Ours(Box::new(header)) })
            }
        }
    }

    /// Reads the header of a file from its first bytes. 4 KiB are enough for nearly all of ours and the original
    /// tool's.
    ///
    /// # Errors
    /// As [`SegmentReader::new`]; truncated, if the header is longer than these bytes.
    pub fn parse(front: &[u8], start: Offset) -> Result<FileHeader, ReadError> {
        FileHeader::from_metadata(&Metadata::read(&mut ByteSource::new(front))?, start)
    }

    /// The header of ours, if it is one.
    pub fn ours(&self) -> Option<&SegmentHeader> {
        match &self.kind {
            FileKind::Ours(header) => Some(header),
            FileKind::Original => None,
        }
    }
}

impl<'a> Block<'a> {
    /// A decompressed block of the file with this header. `last_offset` is that of the record before it, and becomes
    /// that of the last record that is read.
    pub(super) fn new(
        bytes: &'a [u8],
        place: StoredBlock,
        header: &'a FileHeader,
        last_offset: &'a mut Option<Offset>,
    ) -> Block<'a> {
        let StoredBlock { record_count, position, derived_offset, .. } = place;
        Block { bytes, record_count, derived_offset, header, last_offset, position }
    }

    /// The encoded records, as they are hashed.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many records it says it has.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// The records, decoded one at a time.
    pub fn records(self) -> Records<'a> {
        Records { decoder: Decoder::new(self.bytes), block: self, index: 0 }
    }
}

impl<'a> Records<'a> {
    /// The next record, or `None` after the last.
    ///
    /// # Errors
    /// If the bytes are not records, or their offsets do not increase within the segment's range.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        if self.index == self.block.record_count {
            return match self.decoder.rest().len() {
                0 => Ok(None),
                rest => Err(self.corrupt(&format!("{rest} bytes follow it, the last"))),
            };
        }
        let rest_before = self.decoder.rest().len();
        let decoded = match self.block.derived_offset {
            None => self.decoder.record(),
            Some(first) => match first.advanced_by(self.index) {
                Some(offset) => self.decoder.original_record(offset).map(|fields| (fields, Headers::default())),
                None => return Err(self.corrupt("it goes beyond the last offset")),
            },
        };
        self.index += 1;
        let (fields, headers) = decoded.map_err(|error| self.corrupt(&error.to_string()))?;
        self.check_offset(fields.offset)?;
        let encoded_bytes = rest_before - self.decoder.rest().len();
        Ok(Some(Record { fields, headers, encoded_bytes }))
    }

    fn check_offset(&mut self, offset: Offset) -> Result<(), ReadError> {
        if let Some(last) = self.block.last_offset.filter(|last| offset <= *last) {
            return Err(self.corrupt(&format!("its offset {offset} follows {last}")));
        }
        if let FileKind::Ours(header) = &self.block.header.kind
            && !header.range().contains(offset)
        {
            return Err(self.corrupt(&format!("its offset {offset} lies outside of {}", header.range())));
        }
        *self.block.last_offset = Some(offset);
        Ok(())
    }

    fn corrupt(&self, problem: &str) -> ReadError {
        ReadError::corrupt(self.block.position, format!("record {} of the block here: {problem}", self.index))
    }
}

impl<R> fmt::Debug for SegmentReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentReader").field("record_count", &self.check.record_count()).finish_non_exhaustive()
    }
}
