//! Blocks as they are stored, before they are decompressed: reading and decompressing can be two threads.

use super::BLOCK_BYTES_MAX;
use super::decompressor::{Decompressor, KEPT_BUFFER_BYTES, Undecompressed};
use super::error::ReadError;
use super::metadata::Metadata;
use super::reader::{Block, FileHeader, FileKind};
use super::source::ByteSource;
use kafka_store_statecharts::offset::Offset;
use std::fmt;
use std::io::Read;

/// The blocks of a segment file, front to back, as they are stored.
#[derive(Debug)]
pub struct StoredBlocks<R> {
    source: ByteSource<R>,
    header: FileHeader,
    header_crc32c: u32,
    record_count: u64,
    /// The numbers in front of a block that is not read yet.
    front: Option<BlockFront>,
}

/// What a block says of itself in front of its bytes.
#[derive(Clone, Copy, Debug)]
struct BlockFront {
    position: u64,
    record_count: u64,
    stored_bytes: u64,
}

/// What stands around a stored block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredBlock {
    /// How many records it says it has.
    pub record_count: u64,
    /// Where it begins in its file.
    pub position: u64,
    /// How many bytes it has as it is stored.
    pub stored_bytes: u64,
    /// Only for the original tool's files: the offset of its first record.
    pub(super) derived_offset: Option<Offset>,
}

impl<R: Read> StoredBlocks<R> {
    /// Reads the header of a file whose name says that it starts at `start`.
    ///
    /// # Errors
    /// If there is no whole header of either kind, or ours says that it starts elsewhere.
    pub fn new(reader: R, start: Offset) -> Result<StoredBlocks<R>, ReadError> {
        let mut source = ByteSource::new(reader);
        let metadata = Metadata::read(&mut source)?;
        let header = FileHeader::from_metadata(&metadata, start)?;
        let header_crc32c = source.restart_crc32c();
        Ok(StoredBlocks { source, header, header_crc32c, record_count: 0, front: None })
    }

    /// What the file says before its first block.
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// Bytes of the file read so far.
    pub fn position(&self) -> u64 {
        self.source.position()
    }

    /// CRC-32C of the bytes of the file read so far.
    pub fn crc32c(&self) -> u32 {
        let behind = usize::try_from(self.position() - self.header.header_bytes).expect("a 64-bit system");
        crc32c::crc32c_combine(self.header_crc32c, self.source.crc32c(), behind)
    }

    /// Replaces what is in `stored` by the next block, or says `None` at the clean end of the file.
    ///
    /// # Errors
    /// If the file ends within a block, or something else than a block is there; at the end, if length and checksum are
    /// not those that the header of a file of format version 2 says.
    pub fn next_block(&mut self, stored: &mut Vec<u8>) -> Result<Option<StoredBlock>, ReadError> {
        Ok(self.next_block_within(stored, BLOCK_BYTES_MAX)?.map(|block| block.expect("no block is larger")))
    }

    /// As [`StoredBlocks::next_block`], but returns a [`LargeBlock`] if the block has more than `most` bytes. The file
    /// cannot be read any further then.
    ///
    /// # Errors
    /// As [`StoredBlocks::next_block`].
    pub fn next_block_within(
        &mut self,
        stored: &mut Vec<u8>,
        most: u64,
    ) -> Result<Option<Result<StoredBlock, LargeBlock>>, ReadError> {
        if self.next_size()?.is_none() {
            return Ok(None);
        }
        let Some(BlockFront { position, record_count, stored_bytes }) = self.front.take() else { return Ok(None) };
        self.source.bytes(stored_bytes.min(most), stored, INSIDE)?;
        if stored_bytes > most {
            return Ok(Some(Err(LargeBlock { position, stored_bytes })));
        }
        let sync_position = self.source.position();
        if self.source.array::<16>(INSIDE)? != self.header.sync {
            return Err(ReadError::corrupt(sync_position, "the block does not end with the file's sync marker"));
        }
        let derived_offset = match self.header.kind {
            FileKind::Ours(_) => None,
            FileKind::Original => Some(
                self.header
                    .start
                    .advanced_by(self.record_count)
                    .ok_or_else(|| ReadError::corrupt(position, "its records go beyond the last offset"))?,
            ),
        };
        self.record_count += record_count;
        Ok(Some(Ok(StoredBlock { record_count, position, stored_bytes, derived_offset })))
    }

    /// How many bytes the next block says it has as it is stored, or `None` at the clean end of the file.
    ///
    /// # Errors
    /// As [`StoredBlocks::next_block`].
    pub fn next_size(&mut self) -> Result<Option<u64>, ReadError> {
        if let Some(front) = &self.front {
            return Ok(Some(front.stored_bytes));
        }
        let position = self.source.position();
        if self.source.at_end()? {
            self.check_end()?;
            return Ok(None);
        }
        let file_bytes = self.header.ours().and_then(|ours| ours.file_bytes);
        if let Some(file_bytes) = file_bytes.filter(|file_bytes| position >= *file_bytes) {
            let problem = format!("more follows, and its header says that it has {file_bytes} bytes");
            return Err(ReadError::corrupt(position, problem));
        }
        let record_count = self.source.length(BLOCK_BYTES_MAX, "a block's number of records", INSIDE)?;
        let stored_bytes = self.source.length(BLOCK_BYTES_MAX, "a block's size", INSIDE)?;
        self.front = Some(BlockFront { position, record_count, stored_bytes });
        Ok(Some(stored_bytes))
    }

    /// Compares length and checksum of the whole file with what its header says.
    fn check_end(&self) -> Result<(), ReadError> {
        let position = self.source.position();
        let Some(ours) = self.header.ours() else { return Ok(()) };
        match ours.file_bytes {
            Some(said) if position < said => {
                return Err(ReadError::truncated(position, format!("after {position} of its {said} bytes")));
            }
            Some(said) if position > said => {
                return Err(ReadError::corrupt(position, format!("its header says that it has {said} bytes")));
            }
            _ => {}
        }
        if ours.blocks_crc32c.is_some_and(|said| said != self.source.crc32c()) {
            let problem = "its blocks are not those that its header's checksum is of";
            return Err(ReadError::corrupt(self.header.header_bytes, problem));
        }
        Ok(())
    }
}

/// A block that is larger than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeBlock {
    /// Where it begins in its file.
    pub position: u64,
    /// How many bytes it has as it is stored.
    pub stored_bytes: u64,
}

/// What a file that ends too early ends inside of.
const INSIDE: &str = "inside a block";

/// The contexts that decompressing needs. They belong to a thread.
pub struct BlockDecoder(Decompressor);

/// A block with room for both its forms, which is kept for the next one.
#[derive(Debug, Default)]
pub struct BlockBuffer {
    /// As it is stored. After it was decompressed it means nothing.
    pub stored: Vec<u8>,
    /// Longer than the block, so that it is not zeroed for each.
    decompressed: Vec<u8>,
    length: usize,
}

/// Why a block is not decompressed although it may be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Its size, where it says it.
    pub decompressed_bytes: Option<u64>,
}

impl Default for BlockDecoder {
    fn default() -> BlockDecoder {
        BlockDecoder(Decompressor::new())
    }
}

impl BlockDecoder {
    /// Decompresses what is stored in `buffer`, a block of a file with this header. `room` is asked for memory for the
    /// decompressed block before it is taken: given the wanted bytes in total, it returns the granted ones. If those
    /// are not enough, the result is [`NoRoom`], and `buffer` still holds the stored block.
    ///
    /// # Errors
    /// If what is stored is not what the file's codec writes.
    pub fn decompress(
        &mut self,
        header: &FileHeader,
        place: StoredBlock,
        buffer: &mut BlockBuffer,
        room: &mut dyn FnMut(u64) -> u64,
    ) -> Result<Result<(), NoRoom>, ReadError> {
        buffer.length = 0;
        match self.0.decompress_of(header, &mut buffer.stored, place.position, room) {
            Ok(()) => {
                buffer.length = self.0.take_block(&mut buffer.decompressed);
                if buffer.stored.capacity() > KEPT_BUFFER_BYTES {
                    buffer.stored = Vec::new();
                }
                Ok(Ok(()))
            }
            Err(Undecompressed::Corrupt(error)) => Err(error),
            Err(Undecompressed::NoRoom { decompressed_bytes }) => Ok(Err(NoRoom { decompressed_bytes })),
        }
    }
}

impl BlockBuffer {
    /// The decompressed records.
    pub fn bytes(&self) -> &[u8] {
        &self.decompressed[..self.length]
    }

    /// The decompressed block. `last_offset` is that of the record before it, and becomes that of the last record that
    /// is read.
    pub fn block<'a>(
        &'a self,
        header: &'a FileHeader,
        place: StoredBlock,
        last_offset: &'a mut Option<Offset>,
    ) -> Block<'a> {
        Block::new(self.bytes(), place, header, last_offset)
    }

    /// The memory that it takes.
    pub fn memory_bytes(&self) -> u64 {
        (self.stored.capacity() + self.decompressed.capacity()) as u64
    }

    /// Whether it is worth keeping for the next block.
    pub fn is_small(&self) -> bool {
        self.stored.capacity().max(self.decompressed.capacity()) <= KEPT_BUFFER_BYTES
    }
}

impl fmt::Debug for BlockDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockDecoder").finish_non_exhaustive()
    }
}
