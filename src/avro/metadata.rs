//! The outer header of an Avro object container file: magic, metadata map, sync marker.

use super::error::ReadError;
use super::source::ByteSource;
use kafka_store_statecharts::record::{encode_bytes, encode_long};
use std::io::Read;

const MAGIC: [u8; 4] = *b"Obj\x01";

/// More than any writer needs, and little enough to hold.
const METADATA_BYTES_MAX: u64 = 1024 * 1024;

/// The header of any Avro object container file.
#[derive(Debug)]
pub(super) struct Metadata {
    entries: Vec<(String, Vec<u8>)>,
    /// What follows every block.
    pub(super) sync: [u8; 16],
}

impl Metadata {
    /// Reads the header at the front of a file.
    pub(super) fn read<R: Read>(source: &mut ByteSource<R>) -> Result<Metadata, ReadError> {
        const INSIDE: &str = "inside its header";
        let magic: [u8; 4] = source.array(INSIDE)?;
        if magic != MAGIC {
            return Err(ReadError::NotSegment { problem: "it does not begin as an Avro file".into() });
        }
        let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
        loop {
            let start = source.position();
            let mut count = source.long(INSIDE)?;
            if count == 0 {
                break;
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
                if entries.iter().any(|(known, _)| *known == key) {
                    return Err(ReadError::corrupt(start, format!("the header holds {key:?} twice")));
                }
                entries.push((key, value));
                if source.position() > METADATA_BYTES_MAX {
                    return Err(ReadError::corrupt(start, "the header has more than 1 MiB"));
                }
            }
        }
        Ok(Metadata { entries, sync: source.array(INSIDE)? })
    }

    fn run<R: Read>(source: &mut ByteSource<R>, out: &mut Vec<u8>) -> Result<(), ReadError> {
        const INSIDE: &str = "inside its header";
        let length = source.length(METADATA_BYTES_MAX, "the length of a header entry", INSIDE)?;
        source.bytes(length, out, INSIDE)
    }

    fn text<R: Read>(source: &mut ByteSource<R>) -> Result<String, ReadError> {
        let start = source.position();
        let mut bytes = Vec::new();
        Self::run(source, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| ReadError::corrupt(start, "the name of a header entry is not UTF-8"))
    }

    /// The value of an entry, if it is there and is text.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.entries.iter().find(|(known, _)| known == key)?;
        std::str::from_utf8(value).ok()
    }
}

/// Builds the header of a file, entry by entry, in the order of the calls.
#[derive(Debug, Default)]
pub(super) struct MetadataBuilder {
    entries: Vec<u8>,
    count: i64,
}

impl MetadataBuilder {
    /// Appends an entry.
    pub(super) fn entry(&mut self, key: &str, value: &str) {
        encode_bytes(key.as_bytes(), &mut self.entries);
        encode_bytes(value.as_bytes(), &mut self.entries);
        self.count += 1;
    }

    /// The header, brought to exactly `length` bytes by one more entry of spaces; otherwise how many bytes it has.
    ///
    /// That entry's value has at least 64 bytes, so that its own length always takes two: any
    /// total can then be met.
    pub(super) fn padded(mut self, padding_key: &str, sync: &[u8; 16], length: usize) -> Result<Vec<u8>, usize> {
        const PADDING_BYTES_MIN: usize = 64;
        self.count += 1;
        encode_bytes(padding_key.as_bytes(), &mut self.entries);
        let mut header = MAGIC.to_vec();
        encode_long(self.count, &mut header);
        header.append(&mut self.entries);
        let two_byte_length_and_tail = 2 + 1 + sync.len();
        let padding = match length.checked_sub(header.len() + two_byte_length_and_tail) {
            Some(padding @ PADDING_BYTES_MIN..=8191) => padding,
            _ => return Err(header.len() + two_byte_length_and_tail + PADDING_BYTES_MIN),
        };
        encode_bytes(&b" ".repeat(padding), &mut header);
        header.push(0); // The end of the map.
        header.extend_from_slice(sync);
        assert_eq!(header.len(), length, "the padding did not fill the header");
        Ok(header)
    }
}
