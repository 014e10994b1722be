//! A few blocks on their way from their file to the caller.

use super::ahead::{Ahead, Charge, Place};
use crate::archive::error::ArchiveError;
use crate::avro::{BlockBuffer, FileHeader, ReadError, Record, StoredBlock};
use crossbeam_channel::{Receiver, Sender};
use kafka_store_statecharts::last_record::RecordHash;
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use std::sync::{Arc, Mutex};

/// Blocks of a piece. Blocks have 64 KiB of records: a piece is worth waking a thread for.
pub(super) const PIECE_BLOCKS: usize = 4;

/// Stored bytes that end a piece earlier.
pub(super) const PIECE_BYTES: u64 = 256 * 1024;

/// Pieces of one segment that are on their way; a large one counts as several.
pub(super) const PIECES_AHEAD: usize = 16;

/// What is made of records. It may take memory, too.
pub trait Made: Default + Send {
    /// The memory that it takes, beside its own size.
    fn memory_bytes(&self) -> u64 {
        0
    }

    /// The most that one more record adds to that.
    fn most_bytes(&self, _: &Record<'_>) -> u64 {
        0
    }
}

impl Made for () {}

/// A count.
impl Made for u64 {}

/// Lines of text. A byte becomes at most six (`\u0001`), and one more line is not long without its record.
impl Made for Vec<u8> {
    fn memory_bytes(&self) -> u64 {
        self.capacity() as u64
    }

    fn most_bytes(&self, record: &Record<'_>) -> u64 {
        6 * record.encoded_bytes as u64
    }
}

/// A few blocks, and what was made of their records.
#[derive(Debug)]
pub(super) struct Piece<T> {
    /// With their buffers; only the first `used` of them count.
    pub(super) blocks: Vec<(StoredBlock, BlockBuffer)>,
    pub(super) used: usize,
    /// Its place in the order of all pieces.
    pub(super) place: Place,
    /// For its memory, as long as it is on its way.
    pub(super) charge: Charge,
    /// How many of its blocks were decoded.
    pub(super) decoded: usize,
    /// True if the block after them is decompressed.
    pub(super) is_decompressed: bool,
    /// How many of the records of that block were taken in.
    pub(super) taken_records: u64,
    pub(super) made: T,
    /// The hash of the segment's last record, if it is in this piece and was decoded.
    pub(super) final_record: Option<RecordHash>,
    /// Where its records begin and end.
    pub(super) first_offset: Option<Offset>,
    pub(super) last_offset: Option<Offset>,
    /// Whether the last wanted offset was reached in it.
    pub(super) is_end: bool,
    /// What is wrong with it, after what was made.
    pub(super) error: Option<ReadError>,
}

/// A piece to decode: by a decoder, or by the thread that takes it, if that is first.
#[derive(Debug)]
pub(super) struct Work<T>(Arc<Mutex<Option<Piece<T>>>>);

impl<T> Work<T> {
    pub(super) fn new(piece: Piece<T>) -> Work<T> {
        Work(Arc::new(Mutex::new(Some(piece))))
    }

    /// The piece, unless another thread has taken it.
    pub(super) fn take(&self) -> Option<Piece<T>> {
        self.0.lock().expect("a panic ends the process").take()
    }
}

impl<T> Clone for Work<T> {
    fn clone(&self) -> Work<T> {
        Work(Arc::clone(&self.0))
    }
}

/// A piece, and who is given it.
#[derive(Debug)]
pub(super) struct Task<T> {
    pub(super) work: Work<T>,
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
    /// The next piece: as it is, or when it is done.
    Piece(Work<T>, Receiver<Piece<T>>),
    /// Takes the place of a part of a large piece.
    Part,
    /// The file ends cleanly, at this byte.
    Ends(u64),
    /// Something is wrong.
    Failed(ArchiveError),
}

impl Segment {
    /// The offset of the record whose hash its header says.
    pub(super) fn final_offset(&self) -> Option<Offset> {
        let summary = &self.header.ours()?.summary;
        summary.last_record.map(|_| summary.final_offset)
    }
}

impl<T: Made> Piece<T> {
    fn new(place: Place, charge: Charge, (blocks, made): Buffers<T>) -> Piece<T> {
        Piece {
            blocks,
            used: 0,
            place,
            charge,
            decoded: 0,
            is_decompressed: false,
            taken_records: 0,
            made,
            final_record: None,
            first_offset: None,
            last_offset: None,
            is_end: false,
            error: None,
        }
    }

    /// The memory that it takes, with what was made.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.blocks.iter().map(|(_, buffer)| buffer.memory_bytes()).sum::<u64>() + self.made.memory_bytes()
    }

    /// Charges what it takes now, which is less than what was charged before.
    pub(super) fn settle(&mut self) {
        let bytes = self.memory_bytes();
        self.charge.try_set(self.place, bytes);
    }
}

impl<T> Piece<T> {
    /// The blocks.
    pub(super) fn blocks(&self) -> &[(StoredBlock, BlockBuffer)] {
        &self.blocks[..self.used]
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

    /// A buffer for the next block, behind the others.
    pub(super) fn next_buffer(&mut self) -> &mut (StoredBlock, BlockBuffer) {
        if self.blocks.len() == self.used {
            self.blocks.push(<(StoredBlock, BlockBuffer)>::default());
        }
        &mut self.blocks[self.used]
    }
}

/// The buffers of a piece.
type Buffers<T> = (Vec<(StoredBlock, BlockBuffer)>, T);

/// Makes pieces, with buffers that are used again.
#[derive(Debug)]
pub(super) struct Pool<T> {
    kept: Mutex<Vec<Buffers<T>>>,
    ahead: Arc<Ahead>,
}

/// What was made of the records of a piece is kept as a buffer if it is no larger.
const KEPT_MADE_BYTES: u64 = 1024 * 1024;

/// Pieces whose buffers are kept. They are few, because they are not charged.
const PIECES_KEPT: usize = 4;

impl<T: Made> Pool<T> {
    pub(super) fn new(ahead: Arc<Ahead>) -> Pool<T> {
        Pool { kept: Mutex::default(), ahead }
    }

    /// An empty piece for this place.
    pub(super) fn take(&self, place: Place) -> Piece<T> {
        let kept = self.kept.lock().expect("a panic ends the process").pop();
        Piece::new(place, self.ahead.charge(), kept.unwrap_or_default())
    }

    /// Keeps a piece's buffers for the next one, with what `take` has left behind.
    pub(super) fn give_back(&self, piece: Piece<T>) {
        let Piece { mut blocks, mut made, charge, .. } = piece;
        for (_, buffer) in &mut blocks {
            if !buffer.is_small() {
                *buffer = BlockBuffer::default();
            }
        }
        if made.memory_bytes() > KEPT_MADE_BYTES {
            made = T::default();
        }
        let mut kept = self.kept.lock().expect("a panic ends the process");
        if kept.len() < PIECES_KEPT {
            kept.push((blocks, made));
        }
        drop(kept);
        drop(charge);
    }
}
