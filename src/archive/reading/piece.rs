//! A few blocks on their way from their file to the caller.

use crate::archive::error::ArchiveError;
use crate::avro::{BlockBuffer, FileHeader, ReadError, StoredBlock};
use crossbeam_channel::{Receiver, Sender};
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use std::sync::{Arc, Mutex};

/// Blocks of a piece. Blocks have 64 KiB of records: a piece is worth waking a thread for.
pub(super) const PIECE_BLOCKS: usize = 4;

/// Stored bytes that end a piece earlier.
pub(super) const PIECE_BYTES: u64 = 256 * 1024;

/// Pieces of one segment that are on their way; a large one counts as several.
pub(super) const PIECES_AHEAD: usize = 16;

/// A few blocks, and what was made of their records.
#[derive(Debug, Default)]
pub(super) struct Piece<T> {
    /// With their buffers; only the first `used` of them count.
    pub(super) blocks: Vec<(StoredBlock, BlockBuffer)>,
    pub(super) used: usize,
    pub(super) made: T,
    /// Where its records begin and end.
    pub(super) first_offset: Option<Offset>,
    pub(super) last_offset: Option<Offset>,
    /// Whether the last wanted offset was reached in it.
    pub(super) is_end: bool,
    /// What is wrong with it, after what was made.
    pub(super) error: Option<ReadError>,
}

/// A piece, and who is given it.
#[derive(Debug)]
pub(super) struct Task<T> {
    pub(super) piece: Piece<T>,
    pub(super) segment: Arc<Segment>,
    pub(super) done: Sender<Piece<T>>,
}

/// What all pieces of a segment share.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: SegmentName,
    pub(super) header: FileHeader,
}

/// What comes of a segment, in order.
#[derive(Debug)]
pub(super) enum Step<T> {
    /// It is what it should be, and is read.
    Begins(Arc<Segment>),
    /// Nothing in it is wanted.
    PassedOver(OffsetRange),
    /// The next piece, when it is done.
    Piece(Receiver<Piece<T>>),
    /// Takes the place of a part of a large piece.
    Part,
    /// The file ends cleanly, at this byte.
    Ends(u64),
    /// Something is wrong.
    Failed(ArchiveError),
}

impl<T> Piece<T> {
    /// The blocks.
    pub(super) fn blocks(&self) -> &[(StoredBlock, BlockBuffer)] {
        &self.blocks[..self.used]
    }

    /// Its last block, decompressed.
    pub(super) fn last_block(&self) -> Option<&[u8]> {
        self.blocks().last().map(|(_, buffer)| buffer.bytes())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The bytes of its blocks in the file.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.blocks().iter().map(|(place, _)| place.stored_bytes).sum()
    }

    pub(super) fn is_full(&self) -> bool {
        self.used == PIECE_BLOCKS || self.stored_bytes() >= PIECE_BYTES
    }

    /// Adds a block. `read` fills its buffer; if it gives none, nothing is added.
    pub(super) fn add<E>(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>) -> Result<Option<StoredBlock>, E>,
    ) -> Result<bool, E> {
        if self.blocks.len() == self.used {
            self.blocks.push(<(StoredBlock, BlockBuffer)>::default());
        }
        let (place, buffer) = &mut self.blocks[self.used];
        match read(&mut buffer.stored)? {
            Some(block) => {
                *place = block;
                self.used += 1;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// Pieces that are used again, with their buffers.
#[derive(Debug, Default)]
pub(super) struct Pool<T>(Mutex<Vec<Piece<T>>>);

impl<T: Default> Pool<T> {
    pub(super) fn take(&self) -> Piece<T> {
        self.0.lock().expect("a panic ends the process").pop().unwrap_or_default()
    }

    /// Gives a piece back; what was made stays in it for the next one.
    pub(super) fn give_back(&self, mut piece: Piece<T>) {
        for (_, buffer) in &mut piece.blocks {
            if !buffer.is_small() {
                *buffer = BlockBuffer::default();
            }
        }
        let Piece { blocks, made, .. } = piece;
        let piece = Piece { blocks, made, ..Piece::default() };
        self.0.lock().expect("a panic ends the process").push(piece);
    }
}
