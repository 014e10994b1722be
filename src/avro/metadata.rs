//! The outer header of an Avro object container file: magic, metadata map, sync marker.

use super::error::ReadError;
use super::source::ByteSource;
use kafka_store_statecharts::record::{encode_bytes, encode_long};
use std::io::Read;

const MAGIC: [u8; 4] = *b"Obj\x01";

/// More than any writer needs, and little enough to hold.
pub(super) const METADATA_BYTES_MAX: u64 = 1024 * 1024;

const INSIDE: &str = "inside its header";

/// The header of any Avro object container file.
#[derive(Debug)]
pub(super) struct Metadata {
    entries: Vec<Entry>,
    /// Marker that follows every block.
    pub(super) sync: [u8; 16],
    /// The header as it is in the file.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    key: String,
    value: Vec<u8>,
    /// Position of the value in the file.
    value_at: usize,
}

impl Metadata {
    /// Reads the header at the front of a file.
    pub(super) fn read<R: Read>(source: &mut ByteSource<R>) -> Result<Metadata, ReadError> {
        source.start_recording();
        let magic: [u8; 4] = source.array(INSIDE)?;
        if magic != MAGIC {
            return Err(ReadError::NotSegment { problem: "it does not begin as an Avro file".into() });
        }
        let entries = Self::entries(source)?;
        Ok(Metadata { entries, sync: source.array(INSIDE)?, bytes: source.stop_recording() })
    }

    fn entries<R: Read>(source: &mut ByteSource<R>) -> Result<Vec<Entry>, ReadError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let start = source.position();
            let mut count = source.long(INSIDE)?;
            if count == 0 {
                return Ok(entries);
            }
            if count < 0 {
                // Avro lets a writer say how many bytes the map's block has; we never do, others may.
                source.long(INSIDE)?;
                count = count.saturating_neg();
            }
            for _ in 0..count {
                let key = Self::text(source)?;
                let mut value = Vec::new();
                Self::run(source, &mut value)?;
                if entries.iter().any(|known| known.key == key) {
                    return Err(ReadError::corrupt(start, format!("the header holds {key:?} twice")));
                }
                let value_at = source.position() as usize - value.len();
                entries.push(Entry { key, value, value_at });
                if source.position() > METADATA_BYTES_MAX {
                    return Err(ReadError::corrupt(start, "the header has more than 1 MiB"));
                }
            }
        }
    }

    fn run<R: Read>(source: &mut ByteSource<R>, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let length = source.length(METADATA_BYTES_MAX, "the length of a header entry", INSIDE)?;
        source.bytes(length, out, INSIDE)
    }

    fn text<R: Read>(source: &mut ByteSource<R>) -> Result<String, ReadError> {
        let start = source.position();
        let mut bytes = Vec::new();
        Self::run(source, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| ReadError::corrupt(start, "the name of a header entry is not UTF-8"))
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|known| known.key == key)
    }

    /// The value of an entry, if it is there and is text.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(&self.entry(key)?.value).ok()
    }

    /// Length of the header, which is the position of the first block.
    pub(super) fn header_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// BLAKE3 of the whole header with the digit 0 in place of each byte of this entry's value, where there is one.
    pub(super) fn hash_without(&self, key: &str) -> Option<blake3::Hash> {
        let Entry { value, value_at, .. } = self.entry(key)?;
        let mut bytes = self.bytes.clone();
        bytes[*value_at..value_at + value.len()].fill(b'0');
        Some(blake3::hash(&bytes))
    }
}

/// Builds the header of a file, entry by entry, in the order of the calls.
#[derive(Debug, Default)]
pub(super) struct MetadataBuilder {
    entries: Vec<u8>,
    count: i64,
}

/// Least number of spaces in the padding: its length then takes two bytes at least, and any total can be met.
const PADDING_BYTES_MIN: usize = 64;

/// Greatest total of a padding's length in two bytes and its spaces.
const TWO_BYTE_PADDING_MAX: usize = 2 + 8191;

const SYNC_BYTES: usize = 16;

impl MetadataBuilder {
    /// Appends an entry.
    pub(super) fn entry(&mut self, key: &str, value: &str) {
        encode_bytes(key.as_bytes(), &mut self.entries);
        encode_bytes(value.as_bytes(), &mut self.entries);
        self.count += 1;
    }

    /// Least length of a header with these entries and a padding under this key.
    pub(super) fn length_with_padding(&self, padding_key: &str) -> usize {
        let mut around = Vec::new();
        encode_long(self.count + 1, &mut around);
        encode_bytes(padding_key.as_bytes(), &mut around);
        MAGIC.len() + around.len() + self.entries.len() + 2 + PADDING_BYTES_MIN + 1 + SYNC_BYTES
    }

    /// The header, brought to exactly `length` bytes, at least [`MetadataBuilder::length_with_padding`], by one more
    /// entry of spaces.
    pub(super) fn padded(mut self, padding_key: &str, sync: &[u8; SYNC_BYTES], length: usize) -> Vec<u8> {
        assert!(self.length_with_padding(padding_key) <= length, "the entries do not fit into the header");
        self.count += 1;
        encode_bytes(padding_key.as_bytes(), &mut self.entries);
        let mut header = MAGIC.to_vec();
        encode_long(self.count, &mut header);
        header.append(&mut self.entries);
        let room = length - header.len() - 1 - SYNC_BYTES;
        // 8,191 spaces may get a length of three bytes, one more than they need: Avro allows it, and no total is
        // out of reach.
        let length_bytes = if room <= TWO_BYTE_PADDING_MAX { 2 } else { 3 };
        let spaces = room - length_bytes;
        for index in 0..length_bytes {
            let more = if index + 1 < length_bytes { 0x80 } else { 0 };
            header.push(((spaces << 1) >> (7 * index)) as u8 & 0x7f | more);
        }
        header.resize(header.len() + spaces, b' ');
        header.push(0); // The end of the map.
        header.extend_from_slice(sync);
        assert_eq!(header.len(), length, "the padding did not fill the header");
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_can_be_met_and_read_back() {
        let builder = || {
            let mut builder = MetadataBuilder::default();
            builder.entry("key", "value");
            builder
        };
        let least = builder().length_with_padding("padding");
        for length in (least..least + 300).chain(8_100..8_500).chain([16_384, METADATA_BYTES_MAX as usize]) {
            let bytes = builder().padded("padding", &[7; 16], length);
            assert_eq!(bytes.len(), length);
            let read = Metadata::read(&mut ByteSource::new(&bytes[..])).expect("a header");
            assert_eq!((read.header_bytes(), read.sync), (length as u64, [7; 16]));
            let padding = read.get("padding").expect("padding");
            assert!(padding.len() >= PADDING_BYTES_MIN && padding.bytes().all(|byte| byte == b' '), "{length}");
        }
    }

    #[test]
    fn the_hash_leaves_out_one_value_alone() {
        let of = |key: &str, other: &str| {
            let mut builder = MetadataBuilder::default();
            builder.entry("hash", key);
            builder.entry("other", other);
            let bytes = builder.padded("padding", &[7; 16], 512);
            let read = Metadata::read(&mut ByteSource::new(&bytes[..])).expect("a header");
            assert_eq!(read.hash_without("none"), None);
            read.hash_without("hash").expect("it is there")
        };
        assert_eq!(of("abc", "x"), of("def", "x"));
        assert_ne!(of("abc", "x"), of("abc", "y"));
    }
}
