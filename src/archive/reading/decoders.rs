//! The threads that decompress and decode: a piece each, in any order.

use super::ahead::Answer;
use super::piece::{Made, Piece, Segment, Task};
use crate::archive::chain_reader::SegmentContext;
use crate::archive::window::Window;
use crate::avro::{BlockDecoder, ReadError, Record};
use crossbeam_channel::Receiver;
use kafka_store_statecharts::last_record::RecordHash;

/// Makes what the caller wants of the records of one piece after the other.
pub(super) fn decode<T: Made>(
    tasks: &Receiver<Task<T>>,
    window: Window,
    each: &(impl Fn(SegmentContext<'_>, &Record<'_>, &mut T) + Sync),
) {
    let mut decoder = BlockDecoder::default();
    for Task { work, segment, done } in tasks {
        // The thread that takes pieces may have taken it already, or ended.
        let Some(mut piece) = work.take() else { continue };
        let decoded = decode_piece(&mut piece, &segment, window, &mut decoder, each);
        piece.error = decoded.err();
        let _ = done.send(piece);
    }
}

/// Decodes a piece as far as there is memory for it ahead of its time.
fn decode_piece<T: Made>(
    piece: &mut Piece<T>,
    segment: &Segment,
    window: Window,
    decoder: &mut BlockDecoder,
    each: &(impl Fn(SegmentContext<'_>, &Record<'_>, &mut T) + Sync),
) -> Result<(), ReadError> {
    let context = SegmentContext { name: &segment.name, header: &segment.header };
    let final_offset = segment.final_offset();
    while piece.decoded < piece.used {
        let (place, others) = (piece.place, piece.memory_bytes());
        let (block, buffer) = &mut piece.blocks[piece.decoded];
        let charge = &mut piece.charge;
        let mut room = |wanted: u64| match charge.set(place, others + wanted) {
            Answer::Granted => wanted,
            Answer::IsNext | Answer::NotWanted => 0,
        };
        if decoder.decompress(&segment.header, *block, buffer, &mut room)?.is_err() {
            return Ok(());
        }
        piece.is_decompressed = true;
        let beside = piece.memory_bytes() - piece.made.memory_bytes();
        // What is made of the records is charged before it is made, in steps: nearly all records are small.
        let mut charged = 0;
        let before_block = piece.last_offset;
        let Piece { blocks, taken_records, made, charge, last_offset, .. } = piece;
        let (block, buffer) = &blocks[piece.decoded];
        let bytes = buffer.bytes();
        let mut records = buffer.block(&segment.header, *block, last_offset).records();
        let mut start = 0;
        while let Some(record) = records.next_record()? {
            let offset = record.fields.offset;
            let end = start + record.encoded_bytes;
            if window.ends_before(offset) {
                piece.is_end = true;
                return Ok(());
            }
            if window.has(offset, record.fields.timestamp) {
                let most = made.memory_bytes() + made.most_bytes(&record);
                if most > charged {
                    charged = most + STEP_BYTES;
                    if charge.set(place, beside + charged) != Answer::Granted {
                        *last_offset = before_block;
                        return Ok(());
                    }
                }
                each(context, &record, made);
            }
            piece.first_offset.get_or_insert(offset);
            if final_offset == Some(offset) {
                piece.final_record = Some(RecordHash::of(&bytes[start..end]));
            }
            *taken_records += 1;
            start = end;
        }
        piece.decoded += 1;
        (piece.is_decompressed, piece.taken_records) = (false, 0);
    }
    piece.settle();
    Ok(())
}

/// What is made of records is charged in steps of this many bytes.
const STEP_BYTES: u64 = 128 * 1024;
