//! Segment files: Avro object container files of one fixed schema.
//!
//! `docs/format.md` is normative for everything here. The encoder and decoder of a single record are
//! the canonical bytes of `kafka_store_statecharts::record`; this module adds what lies around them:
//! blocks, codecs, the header that is written last, and a strict reader that also reads the
//! files of the original tool.

mod codec;
mod compressor;
mod content_hash;
mod decompressor;
mod error;
mod header;
mod header_entries;
mod header_fields;
mod memory;
mod metadata;
mod move_blocks;
mod pieces_file;
mod reader;
mod schema;
mod segment_check;
mod source;
mod stored;
mod summary;
mod verify;
mod writer;

pub use codec::{BlockCodec, Codec, DEFLATE_LEVEL_DEFAULT, InvalidCodec, ZSTANDARD_LEVEL_DEFAULT};
pub use compressor::Compressor;
pub use content_hash::ContentHash;
pub use error::ReadError;
pub use header::{FORMAT_VERSION, SealError, SegmentHeader, sync_marker};
pub use memory::{DECODE_MEMORY_DEFAULT, DecodeMemory, MemoryParts};
pub use reader::{Block, FileHeader, FileKind, Record, Records, SegmentReader};
pub use schema::{ORIGINAL_SCHEMA, SCHEMA};
pub use segment_check::SegmentCheck;
pub use stored::{BlockBuffer, BlockDecoder, LargeBlock, NoRoom, StoredBlock, StoredBlocks};
pub use summary::{Isolation, SegmentSummary, TimestampRange};
pub use verify::{Verified, verify, verify_with};
pub use writer::{SealedFile, SegmentWriter};

/// The record bytes that close a block: the record that brings a block to this many is its last.
///
/// Whoever feeds [`SegmentWriter::append_block`] keeps this rule; the same records then make the same blocks.
pub const BLOCK_RECORD_BYTES: usize = 64 * 1024;

/// The most bytes that a block may have, stored or decompressed: 2 GiB, beyond Kafka's largest record.
///
/// The writer keeps it and the reader refuses more, so that no file makes a reader ask for all memory.
pub const BLOCK_BYTES_MAX: u64 = 1 << 31;
