//! The header of a segment that lies in a store, read from its front: by one small read, unless it is long.

use crate::avro::{FileHeader, ReadError, SegmentHeader};
use crate::store::{ArchiveStore, StoreError};
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::Offset;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The front of an object, with all of its header.
#[derive(Debug)]
pub(super) struct Front {
    /// The bytes that were read. Some of them may lie behind the header.
    pub(super) bytes: Vec<u8>,
    /// The header, or why it is none.
    pub(super) header: Result<FileHeader, ReadError>,
}

/// Longer than nearly every header: those of 0.1.4 and of files without gaps have less than 2 KiB.
const FIRST_READ_BYTES: u64 = 4096;

/// Longer than any header that readers accept.
const READ_BYTES_MAX: u64 = 2 << 20;

impl Front {
    /// Reads the front of an object; `None` if there is no such object.
    ///
    /// # Errors
    /// If the store cannot say.
    pub(super) fn of_object(store: &dyn ArchiveStore, name: &SegmentName) -> Result<Option<Front>, StoreError> {
        Front::read(name.start, |length| store.read_front(name, length))
    }

    /// Reads the front of a file, and no more: what lies behind it may have left the page cache.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn of_file(path: &Path, start: Offset) -> io::Result<Option<Front>> {
        Front::read(start, |length| {
            let mut bytes = Vec::new();
            File::open(path)?.take(length).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        })
    }

    fn read<E>(start: Offset, mut read: impl FnMut(u64) -> Result<Option<Vec<u8>>, E>) -> Result<Option<Front>, E> {
        let mut length = FIRST_READ_BYTES;
        loop {
            let Some(bytes) = read(length)? else { return Ok(None) };
            let header = FileHeader::parse(&bytes, start);
            let goes_on = matches!(&header, Err(error) if error.is_truncated()) && bytes.len() as u64 == length;
            if !goes_on || length == READ_BYTES_MAX {
                return Ok(Some(Front { bytes, header }));
            }
            length = (16 * length).min(READ_BYTES_MAX);
        }
    }

    /// The header of ours, if it is one.
    pub(super) fn ours(&self) -> Option<&SegmentHeader> {
        self.header.as_ref().ok().and_then(FileHeader::ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with an entry of so many bytes, of the original tool.
    fn file(long_entry: usize) -> Vec<u8> {
        let mut bytes = b"Obj\x01".to_vec();
        kafka_store_statecharts::record::encode_long(2, &mut bytes);
        for (key, value) in [("avro.schema", crate::avro::ORIGINAL_SCHEMA.to_owned()), ("long", "x".repeat(long_entry))]
        {
            kafka_store_statecharts::record::encode_bytes(key.as_bytes(), &mut bytes);
            kafka_store_statecharts::record::encode_bytes(value.as_bytes(), &mut bytes);
        }
        bytes.push(0);
        bytes.extend_from_slice(&[7; 16]);
        bytes.resize(bytes.len() + 1_000_000, 9);
        bytes
    }

    #[test]
    fn more_is_read_only_where_the_header_is_longer() {
        for (long_entry, reads) in [(10, 1), (3_000, 1), (5_000, 2), (60_000, 2), (70_000, 3), (1_000_000, 3)] {
            let (whole, mut lengths) = (file(long_entry), Vec::new());
            let front = Front::read(Offset::default(), |length| {
                lengths.push(length);
                Ok::<_, ()>(Some(whole[..whole.len().min(length as usize)].to_vec()))
            });
            let front = front.expect("read").expect("there");
            assert_eq!(front.header.expect("a header").sync, [7; 16], "{long_entry}");
            assert_eq!(lengths.len(), reads, "{long_entry}: {lengths:?}");
        }
    }

    #[test]
    fn a_header_that_is_cut_or_none_is_read_once() {
        for bytes in [&file(5_000)[..300], b"", b"PAR1"] {
            let mut reads = 0;
            let front = Front::read(Offset::default(), |_| {
                reads += 1;
                Ok::<_, ()>(Some(bytes.to_vec()))
            });
            assert!(front.expect("read").expect("there").header.is_err());
            assert_eq!(reads, 1);
        }
        assert!(Front::read(Offset::default(), |_| Ok::<_, ()>(None)).expect("read").is_none());
    }
}
