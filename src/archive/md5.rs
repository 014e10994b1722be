//! MD5 of whole files: the column of the index that the original tool has. Stores that know it are not read for it.

use super::identity::Unfit;
use crate::store::{ArchiveStore, StoreError};
use kafka_store_statecharts::name::SegmentName;
use md5::{Digest, Md5};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How much is read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Counts the MD5 of what is read through it.
pub(super) struct Md5Reader<R> {
    reader: R,
    md5: Md5,
}

impl<R: Read> Md5Reader<R> {
    pub(super) fn new(reader: R) -> Md5Reader<R> {
        Md5Reader { reader, md5: Md5::new() }
    }

    /// Of all that was read.
    pub(super) fn finish(self) -> [u8; 16] {
        self.md5.finalize().into()
    }
}

impl<R: Read> Read for Md5Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.md5.update(&buffer[..count]);
        Ok(count)
    }
}

/// MD5 of an object that is there.
pub(super) fn of_object(store: &dyn ArchiveStore, name: &SegmentName) -> Result<[u8; 16], Unfit> {
    let location = store.location(name);
    let object = store.open(name)?.ok_or_else(|| Unfit::blocked(format!("{location} has vanished")))?;
    of(object).map_err(|error| StoreError::reading(location, error).into())
}

/// MD5 of a spool file.
pub(super) fn of_file(path: &Path) -> io::Result<[u8; 16]> {
    of(File::open(path)?)
}

fn of(bytes: impl Read) -> io::Result<[u8; 16]> {
    let (mut reader, mut piece) = (Md5Reader::new(bytes), vec![0; PIECE_BYTES]);
    while reader.read(&mut piece)? > 0 {}
    Ok(reader.finish())
}
