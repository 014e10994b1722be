//! The threads that decompress and decode: a piece each, in any order.

use super::piece::{Piece, Segment, Task};
use crate::archive::chain_reader::SegmentContext;
use crate::archive::window::Window;
use crate::avro::{BlockDecoder, ReadError, Record};
use crossbeam_channel::Receiver;

/// Makes what the caller wants of the records of one piece after the other.
pub(super) fn decode<T>(
    tasks: &Receiver<Task<T>>,
    window: Window,
    each: &(impl Fn(SegmentContext<'_>, &Record<'_>, &mut T) + Sync),
) {
    let mut decoder = BlockDecoder::default();
    for Task { mut piece, segment, done } in tasks {
        let decoded = decode_piece(&mut piece, &segment, window, &mut decoder, each);
        piece.error = decoded.err();
        // Whoever waits for it may have ended.
        let _ = done.send(piece);
    }
}

fn decode_piece<T>(
    piece: &mut Piece<T>,
    segment: &Segment,
    window: Window,
    decoder: &mut BlockDecoder,
    each: &(impl Fn(SegmentContext<'_>, &Record<'_>, &mut T) + Sync),
) -> Result<(), ReadError> {
    let context = SegmentContext { name: &segment.name, header: &segment.header };
    let Piece { blocks, used, made, first_offset, last_offset, is_end, .. } = piece;
    for (place, buffer) in &mut blocks[..*used] {
        decoder.decompress(&segment.header, *place, buffer)?;
        let mut records = buffer.block(&segment.header, *place, last_offset).records();
        while let Some(record) = records.next_record()? {
            let offset = record.fields.offset;
            if window.ends_before(offset) {
                *is_end = true;
                return Ok(());
            }
            first_offset.get_or_insert(offset);
            if window.has(offset, record.fields.timestamp) {
                each(context, &record, made);
            }
        }
    }
    Ok(())
}
