//! How blocks are compressed.

use kafka_store_statecharts::record::encode_long;
use std::fmt;

/// libdeflate's level when none is given.
///
/// The fastest one, because its files are not larger than the original tool's (zlib level 6, blocks of 16,000
/// bytes) on records of 1 KiB: 0.88 to 0.95 of them, and 0.88 and 1.00 on the golden data. Very short records pay
/// about two bytes each for their offset, which the original did not store: there no level up to 9 makes up
/// for it (1.05 at level 1, 1.06 at 6). `examples/deflate_levels.rs` measures it.
pub const DEFLATE_LEVEL_DEFAULT: u8 = 1;

/// How the blocks of a new file are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Null,
    /// Raw deflate, which every Avro reader has.
    Deflate {
        /// libdeflate's level, 1 (fastest) to 12 (smallest).
        level: u8,
    },
}

/// The codecs that files of ours can have, as readers see them: without the writer's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockCodec {
    /// Blocks are stored as they are.
    Null,
    /// Blocks are raw deflate.
    Deflate,
}

/// Why a string is not a codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no codec: write deflate, deflate:LEVEL with a level from 1 (fastest) to 12 (smallest), or null")]
pub struct InvalidCodec {
    /// What was given.
    pub text: String,
}

impl Default for Codec {
    fn default() -> Codec {
        Codec::Deflate { level: DEFLATE_LEVEL_DEFAULT }
    }
}

impl Codec {
    /// Reads `deflate`, `deflate:LEVEL` or `null`.
    ///
    /// # Errors
    /// [`InvalidCodec`], whose text lists what is accepted.
    pub fn parse(text: &str) -> Result<Codec, InvalidCodec> {
        let invalid = || InvalidCodec { text: text.into() };
        match text.split_once(':') {
            None if text == "null" => Ok(Codec::Null),
            None if text == "deflate" => Ok(Codec::default()),
            Some(("deflate", digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
                Ok(level @ 1..=12) => Ok(Codec::Deflate { level }),
                _ => Err(invalid()),
            },
            _ => Err(invalid()),
        }
    }

    /// What a reader needs to know of it.
    pub const fn block_codec(self) -> BlockCodec {
        match self {
            Codec::Null => BlockCodec::Null,
            Codec::Deflate { .. } => BlockCodec::Deflate,
        }
    }

    /// The value of `avro.codec`.
    pub const fn avro_name(self) -> &'static str {
        self.block_codec().avro_name()
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Codec::Null => f.write_str("null"),
            Codec::Deflate { level } => write!(f, "deflate:{level}"),
        }
    }
}

impl BlockCodec {
    /// The value of `avro.codec`.
    pub const fn avro_name(self) -> &'static str {
        match self {
            BlockCodec::Null => "null",
            BlockCodec::Deflate => "deflate",
        }
    }

    /// Reads the value of `avro.codec` back.
    pub fn from_avro_name(name: &str) -> Option<BlockCodec> {
        [BlockCodec::Null, BlockCodec::Deflate].into_iter().find(|codec| codec.avro_name() == name)
    }
}

impl fmt::Display for BlockCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.avro_name())
    }
}

/// The contexts and the buffer that compressing needs. It belongs to a thread, not to a partition.
#[derive(Default)]
pub struct Compressor {
    deflate: Option<(u8, libdeflater::Compressor)>,
    /// Only its front is ever in use; it is kept at its longest so that it is not zeroed for every block.
    out: Vec<u8>,
}

/// The most bytes that the two numbers before a block take.
const PREFIX_BYTES_MAX: usize = 20;

/// A buffer that one huge record has blown up is given back after the next block.
const KEPT_BUFFER_BYTES: usize = 4 * 1024 * 1024;

impl Compressor {
    /// A compressor without contexts: each is made when it is first used.
    pub fn new() -> Compressor {
        Compressor::default()
    }

    /// Compresses `data` alone.
    pub fn compress<'a>(&'a mut self, codec: Codec, data: &'a [u8]) -> &'a [u8] {
        match codec {
            Codec::Null => data,
            Codec::Deflate { level } => {
                let length = self.deflate_into(level, data, 0, 0);
                &self.out[..length]
            }
        }
    }

    /// A whole block, ready to be written by one call: count, size, compressed records, sync marker.
    pub(super) fn frame(&mut self, codec: Codec, record_count: u64, records: &[u8], sync: &[u8; 16]) -> &[u8] {
        let length = match codec {
            Codec::Null => {
                self.reserve(PREFIX_BYTES_MAX + records.len() + sync.len());
                self.out[PREFIX_BYTES_MAX..PREFIX_BYTES_MAX + records.len()].copy_from_slice(records);
                records.len()
            }
            Codec::Deflate { level } => self.deflate_into(level, records, PREFIX_BYTES_MAX, sync.len()),
        };
        let mut prefix = Vec::with_capacity(PREFIX_BYTES_MAX);
        encode_long(record_count as i64, &mut prefix);
        encode_long(length as i64, &mut prefix);
        let (start, end) = (PREFIX_BYTES_MAX - prefix.len(), PREFIX_BYTES_MAX + length);
        self.out[start..PREFIX_BYTES_MAX].copy_from_slice(&prefix);
        self.out[end..end + sync.len()].copy_from_slice(sync);
        &self.out[start..end + sync.len()]
    }

    /// Compresses into `out` from `front` on, leaves room for `back` bytes after it, and returns the length.
    fn deflate_into(&mut self, level: u8, data: &[u8], front: usize, back: usize) -> usize {
        let mut context = match self.deflate.take() {
            Some((same_level, context)) if same_level == level => context,
            _ => {
                let level =
                    libdeflater::CompressionLvl::new(i32::from(level)).expect("Codec's levels are libdeflate's");
                libdeflater::Compressor::new(level)
            }
        };
        let bound = context.deflate_compress_bound(data.len());
        self.reserve(front + bound + back);
        let length = context
            .deflate_compress(data, &mut self.out[front..front + bound])
            .expect("libdeflate's own bound leaves room for any data");
        self.deflate = Some((level, context));
        length
    }

    fn reserve(&mut self, length: usize) {
        if self.out.len() > KEPT_BUFFER_BYTES && length <= KEPT_BUFFER_BYTES {
            self.out = Vec::new();
        }
        if self.out.len() < length {
            self.out.resize(length, 0);
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.deflate.as_ref().map(|(level, _)| level);
        f.debug_struct("Compressor").field("deflate_level", &level).field("buffer_bytes", &self.out.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_read_back_as_they_display() {
        for codec in [Codec::Null, Codec::Deflate { level: 1 }, Codec::Deflate { level: 12 }, Codec::default()] {
            assert_eq!(Codec::parse(&codec.to_string()), Ok(codec));
        }
        assert_eq!(Codec::parse("deflate"), Ok(Codec::default()));
        for text in ["", "zip", "deflate:", "deflate:0", "deflate:13", "deflate:+6", "null:1", "Deflate", "deflate:6:6"]
        {
            let error = Codec::parse(text).expect_err(text).to_string();
            assert!(error.contains("deflate:LEVEL") && error.contains("null"), "{error}");
        }
    }

    #[test]
    fn a_compressor_changes_levels_and_survives_a_huge_block() {
        let mut compressor = Compressor::new();
        let data = b"again and again and again and again";
        let smallest = compressor.compress(Codec::Deflate { level: 12 }, data).to_vec();
        let huge = vec![7; 3 * KEPT_BUFFER_BYTES];
        assert!(compressor.compress(Codec::Deflate { level: 1 }, &huge).len() < huge.len());
        assert_eq!(compressor.compress(Codec::Deflate { level: 12 }, data), smallest);
        assert!(compressor.out.len() <= KEPT_BUFFER_BYTES);
        assert_eq!(compressor.compress(Codec::Null, data), data);
    }
}
