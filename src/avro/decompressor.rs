//! Decompressing blocks, whoever wrote them.
//!
//! No file decides how much memory it takes: room is asked for before it is made ([`Room`]), a length that a block says
//! is checked before, and where none is said (or need not be believed) the room grows with what is there, up to
//! [`BLOCK_BYTES_MAX`]. Zstandard itself refuses frames that need a window of more than 128 MiB; its own levels never
//! do.

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
    /// Room for a deflate block as large as the one before it.
    guess: usize,
    /// [`BLOCK_BYTES_MAX`], but in tests.
    most: usize,
}

/// Says how much memory a block may have decompressed, beside its stored bytes: given the wanted bytes, returns how
/// many are granted. What was granted before is part of both.
pub(super) type Room<'a> = &'a mut dyn FnMut(u64) -> u64;

/// Room for blocks that this process has written itself.
pub(super) fn any_room(wanted: u64) -> u64 {
    wanted
}

/// Why a block is not decompressed.
#[derive(Debug)]
pub(super) enum Undecompressed {
    /// It is not what its codec writes.
    Corrupt(ReadError),
    /// The room that was granted is not enough. Its stored bytes are as they were.
    NoRoom {
        /// Its size, where it says it.
        decompressed_bytes: Option<u64>,
    },
}

/// As [`Undecompressed`], for a block without a position.
enum Failure {
    Corrupt(String),
    NoRoom(Option<u64>),
}

impl From<String> for Failure {
    fn from(problem: String) -> Failure {
        Failure::Corrupt(problem)
    }
}

impl From<&str> for Failure {
    fn from(problem: &str) -> Failure {
        Failure::Corrupt(problem.to_owned())
    }
}

/// Room for a block whose length is not known: blocks are alike, and mostly shorter.
const FIRST_GUESS_BYTES: usize = 128 * 1024;

/// A buffer that a large record has grown beyond this is given back after it: nobody counts what is kept.
pub(super) const KEPT_BUFFER_BYTES: usize = 512 * 1024;

const TOO_LARGE: &str = "the block is larger than any block can be";

impl Decompressor {
    pub(super) fn new() -> Decompressor {
        Decompressor {
            deflate: libdeflater::Decompressor::new(),
            zstandard: None,
            out: Vec::new(),
            length: 0,
            guess: 0,
            most: BLOCK_BYTES_MAX as usize,
        }
    }

    /// The block that was last decompressed.
    pub(super) fn block(&self) -> &[u8] {
        &self.out[..self.length]
    }

    /// Forgets that block. Its buffer is kept if it is small.
    pub(super) fn forget_block(&mut self) {
        self.length = 0;
        if self.out.capacity() > KEPT_BUFFER_BYTES {
            self.out = Vec::new();
        }
    }

    /// Gives the block away, in exchange for a buffer; says how long it is. Behind that the buffer means nothing.
    pub(super) fn take_block(&mut self, buffer: &mut Vec<u8>) -> usize {
        std::mem::swap(&mut self.out, buffer);
        std::mem::take(&mut self.length)
    }

    /// Decompresses the block `stored`, which lies at `position` in the file with this header. What is left in `stored`
    /// means nothing, unless there was no room.
    pub(super) fn decompress_of(
        &mut self,
        header: &FileHeader,
        stored: &mut Vec<u8>,
        position: u64,
        room: Room<'_>,
    ) -> Result<(), Undecompressed> {
        // In files of version 2 a checksum covers them.
        let has_checksum = header.ours().is_none_or(|ours| ours.blocks_crc32c.is_some());
        self.decompress(header.codec, stored, position, room)?;
        if !has_checksum && header.codec == BlockCodec::Deflate && self.has_bytes_behind(stored) {
            let problem = "bytes follow the end of the block's deflate stream";
            return Err(Undecompressed::Corrupt(ReadError::corrupt(position, problem)));
        }
        Ok(())
    }

    /// True if a deflate stream that was decompressed ends before these bytes do. libdeflate does not say where it
    /// ends; but one without its last byte is cut.
    fn has_bytes_behind(&mut self, stored: &[u8]) -> bool {
        let Some((_, front)) = stored.split_last() else { return false };
        if self.length <= KEPT_BUFFER_BYTES {
            let mut room = vec![0; self.length];
            return self.deflate.deflate_decompress(front, &mut room).is_ok();
        }
        // Time instead of memory: in the same buffer, and then once more as it was.
        let length = self.length;
        let has_some = self.deflate.deflate_decompress(front, &mut self.out[..length]).is_ok();
        let again = self.deflate.deflate_decompress(stored, &mut self.out);
        has_some || again != Ok(length)
    }

    /// Decompresses the block `stored`, which lies at `position` in its file. What is left in `stored` means nothing,
    /// unless there was no room.
    pub(super) fn decompress(
        &mut self,
        codec: BlockCodec,
        stored: &mut Vec<u8>,
        position: u64,
        room: Room<'_>,
    ) -> Result<(), Undecompressed> {
        self.forget_block();
        let decompressed = match codec {
            BlockCodec::Null => {
                std::mem::swap(stored, &mut self.out);
                Ok(self.out.len())
            }
            BlockCodec::Deflate => self.deflate(stored, room),
            BlockCodec::Snappy => self.snappy(stored, room),
            BlockCodec::Zstandard => self.zstandard(stored, room),
        };
        match decompressed {
            Ok(length) => {
                self.length = length;
                Ok(())
            }
            Err(failure) => {
                self.forget_block();
                Err(match failure {
                    Failure::Corrupt(problem) => Undecompressed::Corrupt(ReadError::corrupt(position, problem)),
                    Failure::NoRoom(decompressed_bytes) => Undecompressed::NoRoom { decompressed_bytes },
                })
            }
        }
    }

    /// Empties the buffer and makes it so long. Nothing is moved, and what is not written to takes no memory.
    fn make_room(&mut self, bytes: usize) {
        if self.out.len() < bytes {
            self.out = Vec::new();
            self.out = vec![0; bytes];
        }
    }

    /// Deflate does not say how much there is.
    fn deflate(&mut self, stored: &[u8], room: Room<'_>) -> Result<usize, Failure> {
        use libdeflater::DecompressionError::{BadData, InsufficientSpace};
        /// No deflate stream expands further than this.
        const RATIO_MAX: usize = 1032;
        let most = stored.len().saturating_mul(RATIO_MAX).saturating_add(64).min(self.most);
        let first = self.out.len().max(FIRST_GUESS_BYTES).min(most);
        let mut granted = room(self.guess.clamp(first, most.max(first)) as u64) as usize;
        if granted == 0 {
            granted = room(first as u64) as usize;
        }
        let mut had = 0;
        loop {
            if granted <= had {
                return Err(Failure::NoRoom(None));
            }
            had = granted;
            self.make_room(granted);
            // Bytes after the end of the deflate stream are ignored: the original tool leaves three there.
            match self.deflate.deflate_decompress(stored, &mut self.out[..granted]) {
                Ok(length) => {
                    self.guess = length.next_power_of_two();
                    return Ok(length);
                }
                Err(InsufficientSpace) if granted < most => {
                    granted = room(granted.saturating_mul(2).min(most) as u64) as usize;
                }
                Err(InsufficientSpace) => return Err(TOO_LARGE.into()),
                Err(BadData) => return Err("the block is not what deflate writes".into()),
            }
        }
    }

    /// Snappy says how much there is, and a CRC-32 of it follows.
    fn snappy(&mut self, stored: &[u8], room: Room<'_>) -> Result<usize, Failure> {
        /// Its densest element: three bytes stand for 64.
        const RATIO_MAX: (u64, u64) = (64, 3);
        const NOT_SNAPPY: &str = "the block is not what snappy writes";
        let (body, crc) = stored.split_last_chunk::<4>().ok_or(NOT_SNAPPY)?;
        let length = snap::raw::decompress_len(body).map_err(|_| NOT_SNAPPY)?;
        if length > self.most {
            return Err(TOO_LARGE.into());
        }
        if length as u64 * RATIO_MAX.1 > body.len() as u64 * RATIO_MAX.0 {
            return Err(format!("the block says that it has {length} bytes, more than can be in it").into());
        }
        if room(length.max(self.out.len()) as u64) < length as u64 {
            return Err(Failure::NoRoom(Some(length as u64)));
        }
        self.make_room(length);
        let out = &mut self.out[..length];
        let found = snap::raw::Decoder::new().decompress(body, out).map_err(|_| NOT_SNAPPY)?;
        if crc32fast::hash(&out[..found]) != u32::from_be_bytes(*crc) {
            return Err("the block's records are not those that its checksum is of".into());
        }
        Ok(found)
    }

    /// Any number of frames, with or without their lengths. A length is a hint for the first room and no more.
    fn zstandard(&mut self, stored: &[u8], room: Room<'_>) -> Result<usize, Failure> {
        let not_zstandard = |problem: &dyn fmt::Display| format!("the block is not what zstandard writes: {problem}");
        let said = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten();
        if said.is_some_and(|said| said > self.most as u64) {
            return Err(TOO_LARGE.into());
        }
        let no_room = || Failure::NoRoom(said);
        // A frame for whose end there is room is decompressed without a window.
        let first = (said.unwrap_or(0) as usize).max(FIRST_GUESS_BYTES).max(self.out.len());
        let granted = room(first as u64) as usize;
        let first = if granted < first { room(FIRST_GUESS_BYTES as u64) as usize } else { granted };
        if first < FIRST_GUESS_BYTES {
            return Err(no_room());
        }
        self.make_room(first);
        // Taken, and put back only after a block that came out well and made no large window.
        let mut context = match self.zstandard.take() {
            Some(context) => context,
            None => zstd::stream::raw::Decoder::new().map_err(|error| not_zstandard(&error))?,
        };
        context.reinit().map_err(|error| not_zstandard(&error))?;
        let mut input = InBuffer::around(stored);
        let mut length = 0;
        let mut window = window_bytes(stored);
        loop {
            if length == self.out.len() {
                if length >= self.most {
                    return Err(TOO_LARGE.into());
                }
                self.lengthen(window, room).ok_or_else(no_room)?;
            }
            let mut output = OutBuffer::around_pos(&mut self.out[..], length);
            // Zero at the end of a frame.
            let more = context.run(&mut input, &mut output).map_err(|error| not_zstandard(&error))?;
            length = output.pos();
            if more == 0 {
                window = window.max(window_bytes(&stored[input.pos()..]));
            }
            if input.pos() < stored.len() {
                continue;
            }
            if more == 0 {
                break;
            }
            if length < self.out.len() {
                return Err(not_zstandard(&"it ends inside of a frame").into());
            }
        }
        if length <= KEPT_BUFFER_BYTES {
            self.zstandard = Some(context);
        }
        Ok(length)
    }

    /// Makes the buffer longer, to twice its length if there is room: for that, for what it was while it is moved, and
    /// for the context's window, which holds no more than was decompressed.
    fn lengthen(&mut self, window: u64, room: Room<'_>) -> Option<()> {
        let length = self.out.len();
        let beside = length as u64 + window.min(2 * length as u64);
        let wanted = length.saturating_mul(2).min(self.most);
        let granted = room(wanted as u64 + beside).saturating_sub(beside) as usize;
        // The last of it, where little is left, is not worth moving all.
        if granted < length + length / 8 {
            return None;
        }
        self.out.reserve_exact(granted - length);
        self.out.resize(granted, 0);
        Some(())
    }
}

/// The window that a zstandard frame at the front of `stored` asks for; zero where there is none, or no window.
fn window_bytes(stored: &[u8]) -> u64 {
    const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
    /// Set where the frame's content is its window.
    const SINGLE_SEGMENT: u8 = 0x20;
    match stored.strip_prefix(&MAGIC) {
        Some([descriptor, ..]) if descriptor & SINGLE_SEGMENT != 0 => {
            zstd::zstd_safe::get_frame_content_size(stored).ok().flatten().unwrap_or(0)
        }
        Some([_, window, ..]) => {
            let base = 1_u64 << (10 + (window >> 3));
            base + base / 8 * u64::from(window & 7)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, Compressor};
    use super::*;
    use proptest::prelude::*;

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
            decompressor.decompress(codec, &mut stored, 0, &mut any_room).expect("the most there can be");
            assert!(decompressor.block() == vec![0; MOST], "{codec}");
        }
        for (codec, mut stored) in compressed(MOST + 1).into_iter().chain(compressed(100 * MOST)) {
            let mut decompressor = bounded();
            let error = decompressor.decompress(codec, &mut stored, 7, &mut any_room).expect_err("more");
            let Undecompressed::Corrupt(error) = error else { panic!("{codec}: {error:?}") };
            assert_eq!(error.to_string(), format!("the file is corrupt at byte 7: {TOO_LARGE}"), "{codec}");
        }
    }

    #[test]
    fn a_length_that_lies_gets_no_room() {
        let mut snappy = b"\x80\x80\x80\x80\x08\0\0\0\0\0".to_vec();
        let mut zstandard = b"\x28\xb5\x2f\xfd\xe0\0\0\0\x80\0\0\0\0".to_vec();
        for (codec, stored) in [(BlockCodec::Snappy, &mut snappy), (BlockCodec::Zstandard, &mut zstandard)] {
            let mut decompressor = Decompressor::new();
            let mut granted = 0;
            let mut room = |wanted: u64| {
                granted = if wanted <= MOST as u64 { granted.max(wanted) } else { granted };
                if wanted <= MOST as u64 { wanted } else { 0 }
            };
            let error = decompressor.decompress(codec, stored, 0, &mut room).expect_err("a lie");
            assert!(matches!(error, Undecompressed::Corrupt(_)), "{codec}: {error:?}");
            assert!(granted <= KEPT_BUFFER_BYTES as u64, "{codec}: {granted}");
        }
    }

    /// Decompresses with at most `most` bytes; checks that no more were taken.
    fn within(most: u64, codec: BlockCodec, stored: &[u8]) -> Result<usize, Undecompressed> {
        let mut decompressor = Decompressor::new();
        let decompressed = decompressor.decompress(codec, &mut stored.to_vec(), 0, &mut |wanted| wanted.min(most));
        let capacity = decompressor.out.capacity() as u64;
        assert!(capacity <= most || codec == BlockCodec::Null, "{codec}: {capacity} of {most}");
        decompressed.map(|()| decompressor.block().len())
    }

    proptest! {
        #[test]
        fn no_bytes_take_more_than_is_granted(
            front in 0_usize..4,
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
            most in 0_u64..400_000,
        ) {
            for codec in [BlockCodec::Deflate, BlockCodec::Snappy, BlockCodec::Zstandard] {
                let _ = within(most, codec, &bytes);
            }
            // With the magic number of zstandard, its own length, or both as often as not.
            let fronts = [&b""[..], b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\xe0", b"\xff\xff\xff\x7f"];
            bytes.splice(0..0, fronts[front].to_vec());
            for codec in [BlockCodec::Snappy, BlockCodec::Zstandard] {
                let _ = within(most, codec, &bytes);
            }
        }

        #[test]
        fn a_block_comes_out_whole_or_is_refused(length in 0_usize..700_000, most in 0_u64..1_500_000, flip: usize) {
            let data = vec![7; length];
            let mut compressor = Compressor::new();
            for codec in [Codec::Deflate { level: 1 }, Codec::Snappy, Codec::Zstandard { level: 1 }] {
                let mut stored = compressor.compress(codec, &data).to_vec();
                let codec = codec.block_codec();
                match within(most, codec, &stored) {
                    Ok(found) => prop_assert_eq!(found, length),
                    Err(Undecompressed::NoRoom { decompressed_bytes }) => {
                        prop_assert!(most < length.max(FIRST_GUESS_BYTES) as u64, "{} in {}", length, most);
                        prop_assert!(decompressed_bytes.is_none_or(|said| said == length as u64));
                    }
                    Err(Undecompressed::Corrupt(error)) => panic!("{codec}: {error}"),
                }
                let at = flip % stored.len();
                stored[at] ^= 1 << (flip % 8);
                let _ = within(most, codec, &stored);
            }
            // Frames without their sizes, one after the other.
            let stored = [streamed(&data), streamed(b"x"), streamed(&data)].concat();
            if let Ok(found) = within(most, BlockCodec::Zstandard, &stored) {
                prop_assert_eq!(found, 2 * length + 1);
            }
        }
    }

    #[test]
    fn the_window_of_a_frame_is_read_from_its_front() {
        // Level 1 and 19 of zstandard: 512 KiB and 8 MiB, unless the frame is known to be smaller.
        for (level, window) in [(1, 512 * 1024), (19, 8 << 20)] {
            let mut encoder = zstd::stream::Encoder::new(Vec::new(), level).expect("a context");
            std::io::Write::write_all(&mut encoder, b"any").expect("in memory");
            assert_eq!(window_bytes(&encoder.finish().expect("in memory")), window);
        }
        let whole = zstd::bulk::compress(&vec![7; 300_000], 1).expect("compressed");
        assert_eq!(window_bytes(&whole), 300_000);
        assert_eq!((window_bytes(b""), window_bytes(b"\x28\xb5\x2f\xfd")), (0, 0));
    }

    #[test]
    fn a_damaged_block_does_no_harm_to_the_next_one() {
        let whole = streamed(b"whole");
        let mut decompressor = Decompressor::new();
        for _ in 0..2 {
            decompressor
                .decompress(BlockCodec::Zstandard, &mut whole[..7].to_vec(), 0, &mut any_room)
                .expect_err("cut");
            decompressor.decompress(BlockCodec::Zstandard, &mut whole.clone(), 0, &mut any_room).expect("whole");
            assert_eq!(decompressor.block(), b"whole");
        }
    }
}
