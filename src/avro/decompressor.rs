//! Decompressing blocks, whoever wrote them.
//!
//! No file decides how much memory it takes: a length that a block says is checked before room is made for it, and
//! where none is said (or need not be believed) the room grows with what is there, up to [`BLOCK_BYTES_MAX`].
//! Zstandard itself refuses frames that need a window of more than 128 MiB; its own levels never do.

use super::BLOCK_BYTES_MAX;
use super::codec::BlockCodec;
use super::error::ReadError;
use super::reader::FileHeader;
use std::fmt;
use zstd::stream::raw::{InBuffer, Operation, OutBuffer};

/// The contexts and the buffer that decompressing needs.
pub(super) struct Decompressor {
    deflate: libdeflater::Decompressor,
    zstandard: Option<zstd::stream::raw::Decoder<'static>>,
    /// Its front, `length` long, is the block; it is kept longer so that it is not zeroed for every block.
    out: Vec<u8>,
    length: usize,
    /// [`BLOCK_BYTES_MAX`], but in tests.
    most: usize,
}

/// Room for a block whose length is not known: blocks are alike, and mostly shorter.
const FIRST_GUESS_BYTES: usize = 128 * 1024;

/// A buffer that one huge record has blown up is given back after it.
const KEPT_BUFFER_BYTES: usize = 4 * 1024 * 1024;

const TOO_LARGE: &str = "the block is larger than any block can be";

impl Decompressor {
    pub(super) fn new() -> Decompressor {
        Decompressor {
            deflate: libdeflater::Decompressor::new(),
            zstandard: None,
            out: Vec::new(),
            length: 0,
            most: BLOCK_BYTES_MAX as usize,
        }
    }

    /// The block that was last decompressed.
    pub(super) fn block(&self) -> &[u8] {
        &self.out[..self.length]
    }

    /// Gives the block away, in exchange for a buffer; says how long it is. Behind that the buffer means nothing.
    pub(super) fn take_block(&mut self, buffer: &mut Vec<u8>) -> usize {
        std::mem::swap(&mut self.out, buffer);
        std::mem::take(&mut self.length)
    }

    /// Decompresses the block `stored`, which lies at `position` in the file with this header. What is left in `stored`
    /// means nothing.
    pub(super) fn decompress_of(
        &mut self,
        header: &FileHeader,
        stored: &mut Vec<u8>,
        position: u64,
    ) -> Result<(), ReadError> {
        // In files of version 2 a checksum covers them.
        let has_checksum = header.ours().is_none_or(|ours| ours.blocks_crc32c.is_some());
        self.decompress(header.codec, stored, position)?;
        if !has_checksum && header.codec == BlockCodec::Deflate && self.has_bytes_behind(stored) {
            return Err(ReadError::corrupt(position, "bytes follow the end of the block's deflate stream"));
        }
        Ok(())
    }

    /// True if a deflate stream that was decompressed ends before these bytes do. libdeflate does not say where it ends;
    /// but one without its last byte is cut.
    fn has_bytes_behind(&mut self, stored: &[u8]) -> bool {
        let Some((_, front)) = stored.split_last() else { return false };
        let mut room = vec![0; self.length];
        self.deflate.deflate_decompress(front, &mut room).is_ok()
    }

    /// Decompresses the block `stored`, which lies at `position` in its file. What is left in `stored` means nothing.
    pub(super) fn decompress(
        &mut self,
        codec: BlockCodec,
        stored: &mut Vec<u8>,
        position: u64,
    ) -> Result<(), ReadError> {
        if self.out.len() > KEPT_BUFFER_BYTES {
            self.out = Vec::new();
        }
        let decompressed = match codec {
            BlockCodec::Null => {
                std::mem::swap(stored, &mut self.out);
                Ok(self.out.len())
            }
            BlockCodec::Deflate => self.deflate(stored),
            BlockCodec::Snappy => self.snappy(stored),
            BlockCodec::Zstandard => self.zstandard(stored),
        };
        self.length = decompressed.map_err(|problem| ReadError::corrupt(position, problem))?;
        Ok(())
    }

    /// Deflate does not say how much there is.
    fn deflate(&mut self, stored: &[u8]) -> Result<usize, String> {
        use libdeflater::DecompressionError::{BadData, InsufficientSpace};
        /// No deflate stream expands further than this.
        const RATIO_MAX: usize = 1032;
        let most = stored.len().saturating_mul(RATIO_MAX).saturating_add(64).min(self.most);
        let mut room = self.out.len().max(FIRST_GUESS_BYTES);
        loop {
            self.out.resize(room, 0);
            // Bytes after the end of the deflate stream are ignored: the original tool leaves three there.
            match self.deflate.deflate_decompress(stored, &mut self.out) {
                Ok(length) => return Ok(length),
                Err(InsufficientSpace) if room < most => room = room.saturating_mul(2).min(most),
                Err(InsufficientSpace) => return Err(TOO_LARGE.into()),
                Err(BadData) => return Err("the block is not what deflate writes".into()),
            }
        }
    }

    /// Snappy says how much there is, and a CRC-32 of it follows.
    fn snappy(&mut self, stored: &[u8]) -> Result<usize, String> {
        /// Its densest element: three bytes stand for 64.
        const RATIO_MAX: (u64, u64) = (64, 3);
        const NOT_SNAPPY: &str = "the block is not what snappy writes";
        let (body, crc) = stored.split_last_chunk::<4>().ok_or(NOT_SNAPPY)?;
        let length = snap::raw::decompress_len(body).map_err(|_| NOT_SNAPPY)?;
        if length > self.most {
            return Err(TOO_LARGE.into());
        }
        if length as u64 * RATIO_MAX.1 > body.len() as u64 * RATIO_MAX.0 {
            return Err(format!("the block says that it has {length} bytes, more than can be in it"));
        }
        if self.out.len() < length {
            self.out.resize(length, 0);
        }
        let out = &mut self.out[..length];
        let found = snap::raw::Decoder::new().decompress(body, out).map_err(|_| NOT_SNAPPY)?;
        if crc32fast::hash(&out[..found]) != u32::from_be_bytes(*crc) {
            return Err("the block's records are not those that its checksum is of".into());
        }
        Ok(found)
    }

    /// Any number of frames, with or without their lengths. A length is a hint for the first room and no more.
    fn zstandard(&mut self, stored: &[u8]) -> Result<usize, String> {
        let not_zstandard = |problem: &dyn fmt::Display| format!("the block is not what zstandard writes: {problem}");
        let said = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten().unwrap_or(0);
        if said > self.most as u64 {
            return Err(TOO_LARGE.into());
        }
        let room = (said as usize).clamp(FIRST_GUESS_BYTES, KEPT_BUFFER_BYTES);
        if self.out.len() < room {
            self.out.resize(room, 0);
        }
        // Taken, and put back only after a block that came out well and made no large window.
        let mut context = match self.zstandard.take() {
            Some(context) => context,
            None => zstd::stream::raw::Decoder::new().map_err(|error| not_zstandard(&error))?,
        };
        context.reinit().map_err(|error| not_zstandard(&error))?;
        let mut input = InBuffer::around(stored);
        let mut length = 0;
        loop {
            if length == self.out.len() {
                if length >= self.most {
                    return Err(TOO_LARGE.into());
                }
                self.out.resize(length.saturating_mul(2).min(self.most), 0);
            }
            let mut output = OutBuffer::around_pos(&mut self.out[..], length);
            // Zero at the end of a frame.
            let more = context.run(&mut input, &mut output).map_err(|error| not_zstandard(&error))?;
            length = output.pos();
            if input.pos() < stored.len() {
                continue;
            }
            if more == 0 {
                break;
            }
            if length < self.out.len() {
                return Err(not_zstandard(&"it ends inside of a frame"));
            }
        }
        if length <= KEPT_BUFFER_BYTES {
            self.zstandard = Some(context);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, Compressor};
    use super::*;

    const MOST: usize = 1 << 20;

    fn bounded() -> Decompressor {
        Decompressor { most: MOST, ..Decompressor::new() }
    }

    /// A frame without its size.
    fn streamed(data: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(data, 1).expect("in memory")
    }

    #[test]
    fn a_block_may_have_the_most_bytes_and_not_one_more() {
        let compressed = |length: usize| {
            let data = vec![0; length];
            let mut compressor = Compressor::new();
            let mut by = |codec: Codec| (codec.block_codec(), compressor.compress(codec, &data).to_vec());
            let [zstandard, deflate] = [by(Codec::Zstandard { level: 1 }), by(Codec::Deflate { level: 1 })];
            [zstandard, deflate, by(Codec::Snappy), (BlockCodec::Zstandard, streamed(&data))]
        };
        for (codec, mut stored) in compressed(MOST) {
            let mut decompressor = bounded();
            decompressor.decompress(codec, &mut stored, 0).expect("the most there can be");
            assert!(decompressor.block() == vec![0; MOST], "{codec}");
        }
        for (codec, mut stored) in compressed(MOST + 1).into_iter().chain(compressed(100 * MOST)) {
            let mut decompressor = bounded();
            let error = decompressor.decompress(codec, &mut stored, 7).expect_err("more").to_string();
            assert_eq!(error, format!("the file is corrupt at byte 7: {TOO_LARGE}"), "{codec}");
            assert!(decompressor.out.len() <= MOST, "{codec}");
        }
    }

    #[test]
    fn a_length_that_lies_gets_no_room() {
        let mut snappy = b"\x80\x80\x80\x80\x08\0\0\0\0\0".to_vec();
        let mut zstandard = b"\x28\xb5\x2f\xfd\xe0\0\0\0\x80\0\0\0\0".to_vec();
        for (codec, stored) in [(BlockCodec::Snappy, &mut snappy), (BlockCodec::Zstandard, &mut zstandard)] {
            let mut decompressor = Decompressor::new();
            decompressor.decompress(codec, stored, 0).expect_err("a lie");
            assert!(decompressor.out.capacity() <= KEPT_BUFFER_BYTES, "{codec}");
        }
    }

    #[test]
    fn a_damaged_block_does_no_harm_to_the_next_one() {
        let whole = streamed(b"whole");
        let mut decompressor = Decompressor::new();
        for _ in 0..2 {
            decompressor.decompress(BlockCodec::Zstandard, &mut whole[..7].to_vec(), 0).expect_err("cut");
            decompressor.decompress(BlockCodec::Zstandard, &mut whole.clone(), 0).expect("whole");
            assert_eq!(decompressor.block(), b"whole");
        }
    }
}
