//! Blocks of the codecs as others write them, and as nobody should: what the reader takes, and what it says.

use crate::support::segments::{
    CODECS, OwnedRecord, as_version_1, bytes_of, chain, offset, read_back, record, summary,
};
use kafka_store::avro::{BLOCK_BYTES_MAX, Codec, FileHeader, SegmentHeader, sync_marker, verify};
use std::io::Write as _;

const ZSTANDARD: Codec = Codec::Zstandard { level: 1 };

/// A file of a few records in one block, in parts.
struct Sample {
    records: Vec<OwnedRecord>,
    header: SegmentHeader,
    /// The block as it is stored.
    stored: Vec<u8>,
    /// The block's canonical bytes.
    canonical: Vec<u8>,
}

impl Sample {
    fn new(codec: Codec, records: Vec<OwnedRecord>) -> Sample {
        let of = |codec| bytes_of(&chain("t", "000000").segment(offset(0)), codec, &records, &summary(&records));
        let (file, canonical) = (of(codec), Self::only_block(&of(Codec::Null)));
        Sample {
            header: SegmentHeader::parse(&file).expect("a header"),
            stored: Self::only_block(&file),
            canonical,
            records,
        }
    }

    fn small(codec: Codec) -> Sample {
        Sample::new(codec, (0..50).map(|offset| record(offset, &"value ".repeat(20))).collect())
    }

    /// What lies between the two numbers before the only block and the marker after it.
    fn only_block(file: &[u8]) -> Vec<u8> {
        let header = FileHeader::parse(file, offset(0)).expect("a header");
        let after_header = &file[header.header_bytes as usize..file.len() - 16];
        let ends = after_header.iter().enumerate().filter(|(_, byte)| *byte & 0x80 == 0).map(|(index, _)| index + 1);
        after_header[ends.take(2).last().expect("two numbers")..].to_vec()
    }

    /// The file with this as its block, and the header that belongs to it.
    fn with_block(&self, stored: &[u8]) -> Vec<u8> {
        let mut blocks = Vec::new();
        for number in [self.records.len() as i64, stored.len() as i64] {
            kafka_store_statecharts::record::encode_long(number, &mut blocks);
        }
        blocks.extend_from_slice(stored);
        blocks.extend_from_slice(&sync_marker(&chain("t", "000000").segment(offset(0))));
        let header_bytes = self.header.encode().expect("a header").len() as u64;
        let header = SegmentHeader {
            file_bytes: Some(header_bytes + blocks.len() as u64),
            blocks_crc32c: Some(crc32c::crc32c(&blocks)),
            ..self.header.clone()
        };
        [header.encode().expect("a header"), blocks].concat()
    }

    #[track_caller]
    fn reads(&self, stored: &[u8]) {
        let file = self.with_block(stored);
        verify(&file[..], offset(0)).expect("verifies");
        assert!(read_back(&file, 0).expect("reads") == self.records);
    }

    /// What is said of the file with this as its block.
    #[track_caller]
    fn said(&self, stored: &[u8]) -> String {
        let error = verify(&self.with_block(stored)[..], offset(0)).expect_err("wrong").to_string();
        let at = format!("the file is corrupt at byte {}: ", self.header.encode().expect("a header").len());
        error.strip_prefix(&at).unwrap_or_else(|| panic!("{error}")).to_owned()
    }
}

/// A frame without content size and checksum, as a streaming writer makes it.
fn streamed(data: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).expect("a context");
    encoder.include_checksum(false).expect("a flag");
    encoder.include_contentsize(false).expect("a flag");
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

#[test]
fn a_zstandard_block_has_its_size_and_its_checksum() {
    let sample = Sample::small(ZSTANDARD);
    let size = zstd::zstd_safe::get_frame_content_size(&sample.stored);
    assert!(matches!(size, Ok(Some(size)) if size == sample.canonical.len() as u64), "{size:?}");
    let flags = sample.stored[4];
    assert_eq!(flags & 0b10_0111, 0b10_0100, "one segment, a checksum, no dictionary: {flags:08b}");
    sample.reads(&sample.stored);
    let mut changed = sample.stored.clone();
    *changed.last_mut().expect("not empty") ^= 1;
    assert_eq!(sample.said(&changed), "the block is not what zstandard writes: Restored data doesn't match checksum");
}

#[test]
fn zstandard_of_other_writers_is_read() {
    let sample = Sample::small(ZSTANDARD);
    let data = &sample.canonical[..];
    let (front, back) = data.split_at(1000);
    let sized = |data: &[u8]| zstd::bulk::compress(data, 19).expect("in memory");
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"any"].concat();
    sample.reads(&streamed(data));
    sample.reads(&sized(data));
    sample.reads(&[streamed(front), streamed(back)].concat());
    sample.reads(&[sized(front), sized(back)].concat());
    sample.reads(&[skippable.clone(), sized(front), sized(&[]), skippable, streamed(back)].concat());
}

/// Beyond the first guess of the room, and beyond what is kept.
#[test]
fn large_blocks_are_read() {
    let name = chain("t", "000000").segment(offset(0));
    let noise = |offset: i64| format!("{:x}", (offset as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(400_000);
    let records: Vec<OwnedRecord> = (0..2).map(|offset| record(offset, &noise(offset))).collect();
    for (codec_name, codec) in CODECS {
        let bytes = bytes_of(&name, codec, &records, &summary(&records));
        assert!(read_back(&bytes, 0).expect("reads") == records, "{codec_name}");
    }
    let sample = Sample::new(ZSTANDARD, records[..1].to_vec());
    sample.reads(&streamed(&sample.canonical));
}

#[test]
fn what_is_no_zstandard_block_is_refused() {
    let sample = Sample::small(ZSTANDARD);
    let whole = streamed(&sample.canonical);
    for wrong in [&b""[..], &whole[..1], &whole[..whole.len() - 1]] {
        assert_eq!(sample.said(wrong), "the block is not what zstandard writes: it ends inside of a frame");
    }
    for wrong in [&b"no frame"[..], &[&whole[..], b"no frame"].concat()] {
        assert_eq!(sample.said(wrong), "the block is not what zstandard writes: Unknown frame descriptor");
    }
    // One segment that says in eight bytes that it is longer than any block can be.
    let frame = |said: u64| [&0xfd2f_b528_u32.to_le_bytes()[..], &[0b1110_0000], &said.to_le_bytes()].concat();
    assert_eq!(sample.said(&frame(BLOCK_BYTES_MAX + 1)), "the block is larger than any block can be");
    assert!(sample.said(&frame(BLOCK_BYTES_MAX)).starts_with("the block is not what zstandard writes: "));
}

/// CRC-32 as in gzip, bit by bit.
fn crc32(data: &[u8]) -> u32 {
    let shift = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}

/// A Snappy block of these raw bytes with the right CRC-32 of `data`.
fn snappy(raw: &[u8], data: &[u8]) -> Vec<u8> {
    [raw, &crc32(data).to_be_bytes()].concat()
}

#[test]
fn a_snappy_block_is_raw_snappy_and_a_big_endian_crc() {
    let sample = Sample::small(Codec::Snappy);
    let raw = snap::raw::Encoder::new().compress_vec(&sample.canonical).expect("in memory");
    assert_eq!(sample.stored, snappy(&raw, &sample.canonical));
    sample.reads(&sample.stored);
}

#[test]
fn what_is_no_snappy_block_is_refused() {
    let sample = Sample::small(Codec::Snappy);
    let (raw, crc) = sample.stored.split_at(sample.stored.len() - 4);
    let cut = [&raw[..raw.len() - 1], crc].concat();
    let long_number = snappy(b"\xff\xff\xff\xff\xff\x7f", b"");
    for wrong in [b"", &b"123"[..], b"1234", &cut, &long_number] {
        assert_eq!(sample.said(wrong), "the block is not what snappy writes");
    }
    let little_endian = [raw, &crc32(&sample.canonical).to_le_bytes()].concat();
    assert_eq!(sample.said(&little_endian), "the block's records are not those that its checksum is of");
    // 4 GiB - 1, and 2 GiB: refused before there is room for them.
    assert_eq!(sample.said(&snappy(b"\xff\xff\xff\xff\x0f", b"")), "the block is larger than any block can be");
    let lie = sample.said(&snappy(b"\x80\x80\x80\x80\x08", b""));
    assert_eq!(lie, "the block says that it has 2147483648 bytes, more than can be in it");
}

/// Copies of 64 bytes in three: that length is no lie.
#[test]
fn the_densest_snappy_is_read() {
    let sample = Sample::new(Codec::Snappy, vec![record(0, &"a".repeat(2_000_000))]);
    assert!(sample.stored.len() < sample.canonical.len() / 20, "{}", sample.stored.len());
    sample.reads(&sample.stored);
}

/// Files of version 1 have no checksum of their blocks. The original tool leaves three bytes there; ours never did.
#[test]
fn bytes_behind_the_end_of_a_deflate_stream_are_found_in_files_of_version_1() {
    let sample = Sample::small(Codec::Deflate { level: 1 });
    let read = |stored: &[u8]| {
        let file = as_version_1(&sample.with_block(stored));
        assert_eq!(FileHeader::parse(&file, offset(0)).expect("a header").ours().expect("ours").format, 1);
        verify(&file[..], offset(0)).map(|_| read_back(&file, 0))
    };
    let records = read(&sample.stored).expect("verifies").expect("reads");
    assert_eq!(records, sample.records);
    for behind in [&[0][..], b"abc", &[0xff; 40], &sample.stored] {
        let error = read(&[&sample.stored, behind].concat()).expect_err("bytes behind").to_string();
        assert_eq!(error, "the file is corrupt at byte 4096: bytes follow the end of the block's deflate stream");
    }
    // Those of version 2 have one, and it is of what is stored.
    sample.reads(&[&sample.stored, &b"abc"[..]].concat());
}
