//! The canonical bytes of a record.
//!
//! They are the Avro encoding of one fixed schema (`docs/format.md`), whatever codec the file has.
//! Boundaries count them, the content hash covers them, blocks are made of them: a record is encoded
//! once and these bytes are what the rest of the program passes on.

mod headers;

pub use headers::{DecodedHeader, Headers, HeadersIter};

use crate::TimestampMs;
use crate::offset::Offset;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// A block of a segment file closes after the record that brings it to this many canonical bytes.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// What a record's timestamp means, in the order of the schema's enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The record has none (message format 0).
    NotAvailable = 0,
    /// The producer's word.
    CreateTime = 1,
    /// The broker's clock at the append.
    LogAppendTime = 2,
}

impl TimestampType {
    /// The symbol in the schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            TimestampType::NotAvailable => "NOT_AVAILABLE",
            TimestampType::CreateTime => "CREATE_TIME",
            TimestampType::LogAppendTime => "LOG_APPEND_TIME",
        }
    }

    /// The type of an index into the schema's enum.
    pub const fn from_index(index: i64) -> Option<TimestampType> {
        match index {
            0 => Some(TimestampType::NotAvailable),
            1 => Some(TimestampType::CreateTime),
            2 => Some(TimestampType::LogAppendTime),
            _ => None,
        }
    }
}

/// A record without its headers, borrowed from wherever it lies. `None` is null, which is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFields<'a> {
    /// As in the log, verbatim.
    pub timestamp: TimestampMs,
    /// What `timestamp` means.
    pub timestamp_type: TimestampType,
    /// The place in the log.
    pub offset: Offset,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; null is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Appends the canonical bytes of a record to `out`.
///
/// `headers` are in the log's order, duplicates kept; a name is any bytes, since Kafka does not check
/// that it is UTF-8. The length of the iterator must be exact.
pub fn encode_record<'h>(
    record: &RecordFields<'_>,
    headers: impl ExactSizeIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    out: &mut Vec<u8>,
) {
    encode_fields(record, out);
    encode_headers(headers, out);
}

/// Appends what comes before the headers.
pub fn encode_fields(record: &RecordFields<'_>, out: &mut Vec<u8>) {
    encode_long(record.timestamp, out);
    encode_nullable_bytes(record.key, out);
    encode_nullable_bytes(record.value, out);
    encode_long(record.offset.get(), out);
    encode_long(record.timestamp_type as i64, out);
}

/// Appends the headers, which end a record; see [`encode_record`].
pub fn encode_headers<'h>(headers: impl ExactSizeIterator<Item = (&'h [u8], Option<&'h [u8]>)>, out: &mut Vec<u8>) {
    let header_count = headers.len();
    if header_count > 0 {
        encode_long(header_count as i64, out);
        let mut encoded = 0;
        for (name, value) in headers {
            encode_header(name, value, out);
            encoded += 1;
        }
        assert_eq!(encoded, header_count, "the header iterator's length was not exact");
    }
    out.push(0); // The end of the array.
}

fn encode_header(name: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    match core::str::from_utf8(name) {
        Ok(_) => {
            encode_bytes(name, out);
            encode_nullable_bytes(value, out);
            out.push(0); // raw_key: null
        }
        Err(_) => {
            encode_bytes(String::from_utf8_lossy(name).as_bytes(), out);
            encode_nullable_bytes(value, out);
            encode_nullable_bytes(Some(name), out);
        }
    }
}

/// Appends Avro's zigzag variable-length integer.
pub fn encode_long(value: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// Appends Avro's `bytes` (or `string`): the length, then the bytes.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    encode_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

fn encode_nullable_bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            out.push(2); // The zigzag of union branch 1.
            encode_bytes(bytes, out);
        }
    }
}

/// Why bytes are not a record's canonical bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a record.
    #[error("the block ends inside a record")]
    Truncated,
    /// A number is longer than 64 bits, or a length, branch or symbol is out of its range.
    #[error("the record holds a number that is out of range")]
    OutOfRange,
    /// A header's name is not UTF-8 where the schema says string.
    #[error("a header's name is not UTF-8 although the schema says string")]
    NotUtf8,
}

/// The number that a zigzag one stands for.
const fn unzigzag(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

/// The lower seven bits of each of eight bytes, next to each other: pairs of bytes, then of pairs, then of those.
const fn joined(bytes: u64) -> u64 {
    let pairs = (bytes & 0x007f_007f_007f_007f) | ((bytes & 0x7f00_7f00_7f00_7f00) >> 1);
    let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
    (fours & 0x0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4)
}

/// Reads Avro data from a slice, front to back.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One zigzag variable-length integer.
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        /// The bit that says that another byte follows, in each of eight bytes.
        const MORE: u64 = 0x8080_8080_8080_8080;
        // Eight bytes at once, where there are as many and the number is no longer: nearly all are.
        if let Some(eight) = self.rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*eight);
            let ends = !word & MORE;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                self.rest = &self.rest[bits as usize / 8..];
                return Ok(unzigzag(joined(word & (u64::MAX >> (64 - bits)))));
            }
        }
        self.long_by_bytes()
    }

    fn long_by_bytes(&mut self) -> Result<i64, DecodeError> {
        let mut zigzag = 0_u64;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                return Err(DecodeError::OutOfRange);
            }
            zigzag |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(unzigzag(zigzag));
            }
        }
        Err(if self.rest.len() < 10 { DecodeError::Truncated } else { DecodeError::OutOfRange })
    }

    /// One length-prefixed run of bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.long()?).map_err(|_| DecodeError::OutOfRange)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.long()? {
            0 => Ok(None),
            1 => self.bytes().map(Some),
            _ => Err(DecodeError::OutOfRange),
        }
    }

    /// One record of our schema. Its headers are checked here, and decoded when they are asked for.
    pub fn record(&mut self) -> Result<(RecordFields<'a>, Headers<'a>), DecodeError> {
        let timestamp = self.long()?;
        let key = self.nullable_bytes()?;
        let value = self.nullable_bytes()?;
        let offset = Offset::new(self.long()?).ok_or(DecodeError::OutOfRange)?;
        let timestamp_type = TimestampType::from_index(self.long()?).ok_or(DecodeError::OutOfRange)?;
        let fields = RecordFields { timestamp, timestamp_type, offset, key, value };
        let encoded = self.rest;
        let mut header_count = 0;
        loop {
            match self.array_block()? {
                0 => return Ok((fields, Headers::new(encoded, header_count))),
                count => {
                    for _ in 0..count {
                        self.header()?;
                    }
                    // Each has three bytes at least, so that there are no more than can be counted.
                    header_count += count as usize;
                }
            }
        }
    }

    /// The number of items in an array's next block; zero is its end.
    fn array_block(&mut self) -> Result<u64, DecodeError> {
        let count = self.long()?;
        if count < 0 {
            // Avro lets a writer say how many bytes the array's block has; we never do, others may.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }

    fn header(&mut self) -> Result<DecodedHeader<'a>, DecodeError> {
        let name = self.bytes()?;
        core::str::from_utf8(name).map_err(|_| DecodeError::NotUtf8)?;
        let value = self.nullable_bytes()?;
        let raw_name = self.nullable_bytes()?;
        Ok(DecodedHeader { name: Cow::Borrowed(raw_name.unwrap_or(name)), value })
    }

    /// One record of the original tool's schema, which holds neither offset nor headers.
    pub fn original_record(&mut self, offset: Offset) -> Result<RecordFields<'a>, DecodeError> {
        let timestamp = self.long()?;
        let key = self.nullable_bytes()?;
        let value = self.nullable_bytes()?;
        Ok(RecordFields { timestamp, timestamp_type: TimestampType::NotAvailable, offset, key, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

    proptest! {
        #[test]
        fn records_survive_the_round_trip(
            timestamp: i64,
            type_index in 0_i64..3,
            offset in 0..i64::MAX,
            key: Option<Vec<u8>>,
            value: Option<Vec<u8>>,
            headers: Vec<OwnedHeader>,
        ) {
            let record = RecordFields {
                timestamp,
                timestamp_type: TimestampType::from_index(type_index).expect("in range"),
                offset: Offset::new(offset).expect("in range"),
                key: key.as_deref(),
                value: value.as_deref(),
            };
            let mut bytes = Vec::new();
            encode_record(&record, headers.iter().map(|(name, value)| (&name[..], value.as_deref())), &mut bytes);
            let mut decoder = Decoder::new(&bytes);
            let (fields, decoded) = decoder.record().expect("a record");
            prop_assert_eq!(fields, record);
            prop_assert!(decoder.rest().is_empty());
            prop_assert_eq!(decoded.len(), headers.len());
            let decoded: Vec<OwnedHeader> =
                decoded.into_iter().map(|header| (header.name.into_owned(), header.value.map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(decoded, headers);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let mut decoder = Decoder::new(&bytes);
            while let Ok((_, headers)) = decoder.record() {
                prop_assert_eq!(headers.iter().count(), headers.len());
            }
        }

        #[test]
        fn every_cut_is_noticed(value: Vec<u8>, cut in 1_usize..8) {
            let record = RecordFields {
                timestamp: 1, timestamp_type: TimestampType::CreateTime, offset: Offset::default(),
                key: None, value: Some(&value),
            };
            let mut bytes = Vec::new();
            encode_record(&record, core::iter::empty(), &mut bytes);
            bytes.truncate(bytes.len().saturating_sub(cut));
            prop_assert!(Decoder::new(&bytes).record().is_err());
        }
    }

    #[test]
    fn long_is_avros_zigzag() {
        for (value, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i64::MIN, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            encode_long(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(Decoder::new(bytes).long(), Ok(value));
        }
        assert_eq!(Decoder::new(&[255; 10]).long(), Err(DecodeError::OutOfRange));
        assert_eq!(Decoder::new(&[255; 9]).long(), Err(DecodeError::Truncated));
    }

    #[test]
    fn numbers_of_every_length_are_read_alike_at_once_and_byte_by_byte() {
        for shift in 0..64 {
            for value in [1_i64 << shift, (1_i64 << shift).wrapping_sub(1), -(1_i64 << (shift % 63)), i64::MIN >> shift]
            {
                let mut bytes = Vec::new();
                encode_long(value, &mut bytes);
                let length = bytes.len();
                for behind in [0, 1, 9] {
                    bytes.resize(length + behind, 0xff);
                    let mut decoder = Decoder::new(&bytes);
                    assert_eq!(decoder.long(), Ok(value));
                    assert_eq!(decoder.rest().len(), behind);
                    assert_eq!(Decoder::new(&bytes).long_by_bytes(), Ok(value));
                }
            }
        }
        // Numbers that are longer than they need be are numbers, too.
        assert_eq!(Decoder::new(&[0x82, 0x80, 0x00, 7, 7, 7, 7, 7]).long(), Ok(1));
        assert_eq!(Decoder::new(&[0xff; 12]).long(), Err(DecodeError::OutOfRange));
        assert_eq!(Decoder::new(&[0xff; 8]).long(), Err(DecodeError::Truncated));
    }
}
