//! A file that is written from front to back, in large pieces.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

/// What is written ends at a multiple of this: the system then takes it in large pages, which costs half as much
/// as blocks written as they come, whose ends share pages.
const PIECE_BYTES: usize = 128 * 1024;

/// The end of a file, and what is to be written there.
#[derive(Debug)]
pub(super) struct PiecesFile {
    file: File,
    /// Where `held` belongs.
    written_until: u64,
    held: Vec<u8>,
}

impl PiecesFile {
    /// Writes from `position` on.
    pub(super) fn new(file: File, position: u64) -> PiecesFile {
        PiecesFile { file, written_until: position, held: Vec::new() }
    }

    /// Where the next bytes belong.
    pub(super) fn end(&self) -> u64 {
        self.written_until + self.held.len() as u64
    }

    /// The memory that it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Appends parts, one after the other, and says how many bytes they have. On an error it has appended nothing.
    pub(super) fn append(&mut self, parts: [&[u8]; 3]) -> io::Result<u64> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > PIECE_BYTES {
            // It need not be copied to be written in one piece.
            self.write_held()?;
            write_parts_at(&self.file, parts, self.written_until)?;
            self.written_until += length as u64;
            return Ok(length as u64);
        }
        if self.held.capacity() == 0 {
            // Room for what is over when a piece becomes full.
            self.held.reserve_exact(2 * PIECE_BYTES);
        }
        let before = self.held.len();
        parts.iter().for_each(|part| self.held.extend_from_slice(part));
        if self.held.len() >= PIECE_BYTES
            && let Err(error) = self.write_pieces()
        {
            self.held.truncate(before);
            return Err(error);
        }
        Ok(length as u64)
    }

    /// Writes as far as the last multiple of a piece.
    fn write_pieces(&mut self) -> io::Result<()> {
        let over = (self.end() % PIECE_BYTES as u64) as usize;
        let Some(ready) = self.held.len().checked_sub(over) else { return Ok(()) };
        self.file.write_all_at(&self.held[..ready], self.written_until)?;
        self.written_until += ready as u64;
        self.held.copy_within(ready.., 0);
        self.held.truncate(over);
        Ok(())
    }

    /// Writes what is held, and gives its memory back.
    pub(super) fn write_held(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.held, self.written_until)?;
        self.written_until += self.held.len() as u64;
        self.held = Vec::new();
        Ok(())
    }

    /// The file, as far as it is written.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes what is held and gives the file back.
    pub(super) fn into_file(mut self) -> io::Result<File> {
        self.write_held()?;
        Ok(self.file)
    }
}

/// Writes parts one after the other, mostly by one call.
fn write_parts_at(file: &File, parts: [&[u8]; 3], position: u64) -> io::Result<()> {
    let slices = parts.map(IoSlice::new);
    let mut written = match rustix::io::pwritev(file, &slices, position) {
        Ok(written) => written,
        Err(rustix::io::Errno::INTR) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut at = position;
    for part in parts {
        let skipped = written.min(part.len());
        file.write_all_at(&part[skipped..], at + skipped as u64)?;
        written -= skipped;
        at += part.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that differ from place to place.
    fn bytes(from: u64, length: usize) -> Vec<u8> {
        (from..from + length as u64).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
    }

    #[test]
    fn parts_lie_one_after_the_other_whatever_their_size() {
        const START: u64 = 4096;
        let mut file = PiecesFile::new(tempfile::tempfile().expect("a file"), START);
        let lengths = [1, 70_000, 65_600, 0, 66_000, PIECE_BYTES - 3, PIECE_BYTES, PIECE_BYTES + 1, 3, 300_000, 20_000];
        for (index, length) in lengths.into_iter().cycle().take(50).enumerate() {
            let from = file.end();
            let parts = bytes(from, length + 5);
            let appended = file.append([&parts[..3], &parts[3..length + 3], &parts[length + 3..]]).expect("written");
            assert_eq!((appended, file.end()), (length as u64 + 5, from + appended));
            assert!(file.held_bytes() <= 2 * PIECE_BYTES);
            if index % 9 == 8 {
                file.write_held().expect("written");
                assert_eq!(file.held_bytes(), 0);
            }
        }
        let end = file.end();
        let file = file.into_file().expect("written");
        assert_eq!(file.metadata().expect("known").len(), end);
        let mut read = vec![0; (end - START) as usize];
        file.read_exact_at(&mut read, START).expect("readable");
        assert_eq!(read, bytes(START, read.len()));
    }

    #[test]
    fn what_cannot_be_written_is_not_appended() {
        let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let mut file = PiecesFile::new(full(), 0);
        let part = vec![7; PIECE_BYTES / 2];
        assert_eq!(file.append([&part, &[], &[]]).expect("held"), part.len() as u64);
        for length in [PIECE_BYTES / 2, PIECE_BYTES + 1] {
            file.append([&vec![7; length], &[], &[]]).expect_err("there is no room");
            assert_eq!(file.end(), part.len() as u64);
        }
        file.write_held().expect_err("there is no room");
        assert_eq!(file.end(), part.len() as u64);
        file.into_file().expect_err("there is no room");
    }
}
