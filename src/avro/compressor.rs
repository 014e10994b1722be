//! Compressing blocks.

use super::codec::Codec;
use kafka_store_statecharts::record::encode_long;
use std::fmt;

/// The contexts and the buffer that compressing needs. It belongs to a thread, not to a partition.
///
/// What a context made of earlier blocks shows in no later one: the same block makes the same bytes.
#[derive(Default)]
pub struct Compressor {
    deflate: Option<(u8, libdeflater::Compressor)>,
    snappy: Option<snap::raw::Encoder>,
    zstandard: Option<(u8, zstd::bulk::Compressor<'static>)>,
    /// Only its front is ever in use; it is kept at its longest so that it is not zeroed for every block.
    out: Vec<u8>,
    /// The two numbers before the block that was framed last.
    prefix: Vec<u8>,
}

/// A block of a file, before it is compressed.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) codec: Codec,
    pub(super) record_count: u64,
    /// Their canonical bytes.
    pub(super) records: &'a [u8],
    /// The file's marker, which follows each block.
    pub(super) sync: &'a [u8; 16],
}

/// Two numbers of at most ten bytes.
const PREFIX_BYTES_MAX: usize = 20;

impl Block<'_> {
    /// What comes before a compressed body of so many bytes.
    fn prefix(&self, body_bytes: usize) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(PREFIX_BYTES_MAX);
        encode_long(self.record_count as i64, &mut prefix);
        encode_long(body_bytes as i64, &mut prefix);
        prefix
    }
}

const SNAPPY_CRC_BYTES: usize = 4;

/// A buffer that one huge record has blown up is given back after the next block.
const KEPT_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A zstandard context that a longer block has been through is given back at once: its tables grow with the block,
/// to 80 MiB at level 19.
const KEPT_CONTEXT_BLOCK_BYTES: usize = 256 * 1024;

impl Compressor {
    /// A compressor without contexts: each is made when it is first used.
    pub fn new() -> Compressor {
        Compressor::default()
    }

    /// Compresses `data` alone.
    pub fn compress<'a>(&'a mut self, codec: Codec, data: &'a [u8]) -> &'a [u8] {
        if codec == Codec::Null {
            return data;
        }
        let bound = self.bound(codec, data.len());
        let mut out = std::mem::take(&mut self.out);
        if out.len() > KEPT_BUFFER_BYTES && bound <= KEPT_BUFFER_BYTES {
            out = Vec::new();
        }
        if out.len() < bound {
            out.resize(bound, 0);
        }
        let length = self.compress_into(codec, data, &mut out);
        self.out = out;
        &self.out[..length]
    }

    /// How long compressed data may become.
    fn bound(&mut self, codec: Codec, length: usize) -> usize {
        match codec {
            Codec::Null => length,
            Codec::Deflate { level } => self.deflate_context(level).deflate_compress_bound(length),
            Codec::Snappy => snap::raw::max_compress_len(length) + SNAPPY_CRC_BYTES,
            Codec::Zstandard { .. } => zstd::zstd_safe::compress_bound(length),
        }
    }

    /// Compresses to the front of `out`, which has the room that [`Compressor::bound`] asks for; says how long it is.
    fn compress_into(&mut self, codec: Codec, data: &[u8], out: &mut [u8]) -> usize {
        match codec {
            Codec::Null => {
                out[..data.len()].copy_from_slice(data);
                data.len()
            }
            Codec::Deflate { level } => self
                .deflate_context(level)
                .deflate_compress(data, out)
                .expect("libdeflate's own bound leaves room for any data"),
            Codec::Snappy => self.snappy(data, out),
            Codec::Zstandard { level } => self.zstandard(level, data, out),
        }
    }

    /// A whole block in pieces, to be written by one call: count and size, compressed records, sync marker.
    pub(super) fn frame<'a>(&'a mut self, block: &Block<'a>) -> [&'a [u8]; 3] {
        let body = self.compress(block.codec, block.records).len();
        self.prefix = block.prefix(body);
        // Records that are not compressed go into the file from where they are.
        let body = if block.codec == Codec::Null { block.records } else { &self.out[..body] };
        [&self.prefix, body, block.sync]
    }

    /// A whole block, to the front of `out`, which has the room that [`Compressor::frame_bound`] asks for; says how long
    /// it is.
    pub(super) fn frame_into(&mut self, block: &Block<'_>, out: &mut [u8]) -> usize {
        // How long the prefix is, is known for sure only when the body is there.
        let start = block.prefix(block.records.len()).len();
        let body = self.compress_into(block.codec, block.records, &mut out[start..]);
        let prefix = block.prefix(body);
        if prefix.len() != start {
            out.copy_within(start..start + body, prefix.len());
        }
        out[..prefix.len()].copy_from_slice(&prefix);
        let end = prefix.len() + body;
        out[end..end + block.sync.len()].copy_from_slice(block.sync);
        end + block.sync.len()
    }

    /// How long a block may become.
    pub(super) fn frame_bound(&mut self, block: &Block<'_>) -> usize {
        self.bound(block.codec, block.records.len()) + PREFIX_BYTES_MAX + block.sync.len()
    }

    fn deflate_context(&mut self, level: u8) -> &mut libdeflater::Compressor {
        let kept = self.deflate.take().filter(|(same_level, _)| *same_level == level);
        let (_, context) = self.deflate.insert(kept.unwrap_or_else(|| {
            let legal = libdeflater::CompressionLvl::new(i32::from(level)).expect("Codec's levels are libdeflate's");
            (level, libdeflater::Compressor::new(legal))
        }));
        context
    }

    /// Raw Snappy, then the CRC-32 of the data, big-endian.
    fn snappy(&mut self, data: &[u8], out: &mut [u8]) -> usize {
        let context = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
        let length = context.compress(data, out).expect("a block is shorter than the 4 GiB that Snappy takes");
        out[length..length + SNAPPY_CRC_BYTES].copy_from_slice(&crc32fast::hash(data).to_be_bytes());
        length + SNAPPY_CRC_BYTES
    }

    /// One frame, with the length of the data and its checksum.
    fn zstandard(&mut self, level: u8, data: &[u8], out: &mut [u8]) -> usize {
        let mut context = match self.zstandard.take() {
            Some((same_level, context)) if same_level == level => context,
            _ => zstandard_context(level).expect("Codec's levels are Zstandard's"),
        };
        let length = context.compress_to_buffer(data, out).expect("Zstandard's own bound leaves room for any data");
        if data.len() <= KEPT_CONTEXT_BLOCK_BYTES {
            self.zstandard = Some((level, context));
        }
        length
    }
}

/// Everything that the bytes depend on is set, also where it is Zstandard's default.
fn zstandard_context(level: u8) -> std::io::Result<zstd::bulk::Compressor<'static>> {
    let mut context = zstd::bulk::Compressor::new(i32::from(level))?;
    // Readers then make room once.
    context.include_contentsize(true)?;
    // Four bytes: a damaged block is found before a record of it is handed out.
    context.include_checksum(true)?;
    context.include_dictid(false)?;
    context.long_distance_matching(false)?;
    Ok(context)
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("deflate_level", &self.deflate.as_ref().map(|(level, _)| level))
            .field("zstandard_level", &self.zstandard.as_ref().map(|(level, _)| level))
            .field("buffer_bytes", &self.out.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressor_changes_levels_and_survives_a_huge_block() {
        let mut compressor = Compressor::new();
        let data = b"again and again and again and again";
        let huge = vec![7; 3 * KEPT_BUFFER_BYTES];
        for (small, large) in [
            (Codec::Deflate { level: 12 }, Codec::Deflate { level: 1 }),
            (Codec::Zstandard { level: 19 }, Codec::Zstandard { level: 1 }),
            (Codec::Snappy, Codec::Snappy),
        ] {
            let smallest = compressor.compress(small, data).to_vec();
            assert!(compressor.compress(large, &huge).len() < huge.len());
            assert_eq!(compressor.compress(small, data), smallest);
            assert!(compressor.out.len() <= KEPT_BUFFER_BYTES);
        }
        assert_eq!(compressor.compress(Codec::Null, data), data);
    }

    /// Bytes with some order in them, the same in every run.
    fn mixed(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = Vec::with_capacity(length + 64);
        while bytes.len() < length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (back, run) = ((state >> 40) as usize % 5000 + 1, (state >> 58) as usize);
            match bytes.len().checked_sub(back) {
                Some(start) => bytes.extend_from_within(start..(start + run).min(bytes.len())),
                None => bytes.push((state >> 33) as u8),
            }
            bytes.push((state >> 50) as u8);
        }
        bytes.truncate(length);
        bytes
    }

    /// Zstandard does not clear all of its tables between blocks: what it finds must not depend on what is left there.
    #[test]
    fn a_used_context_makes_the_same_bytes_as_a_new_one() {
        let lengths = [100, 20_000, 66_000];
        let blocks: Vec<Vec<u8>> = (0..).zip(lengths).map(|(seed, length)| mixed(seed, length)).collect();
        let deflate = [1, 6, 12].map(|level| Codec::Deflate { level });
        for codec in (1..=19).map(|level| Codec::Zstandard { level }).chain(deflate).chain([Codec::Snappy]) {
            let fresh = |block: &Vec<u8>| Compressor::new().compress(codec, block).to_vec();
            let expected: Vec<Vec<u8>> = blocks.iter().map(fresh).collect();
            let mut used = Compressor::new();
            for (block, expected) in blocks.iter().zip(&expected).cycle().take(2 * blocks.len()) {
                assert!(used.compress(codec, block) == *expected, "{codec}: {} bytes", block.len());
            }
        }
    }
}
