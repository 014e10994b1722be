//! A file that is written from front to back, in large pieces.

use crate::page_cache::PageCache;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

/// What is written ends at a multiple of this: the system then takes it in large pages, which costs half as much
/// as blocks written as they come, whose ends share pages.
pub(super) const PIECE_BYTES: usize = 128 * 1024;

/// The disk is asked for room in advance, an eighth of the file at a time, at most this, and only for files that are as
/// large as that. A file system that is asked for many pages at once, and not for each as it is written, takes a fifth
/// less time; for small files it would be two more questions.
const AHEAD_BYTES_MAX: u64 = 8 << 20;

/// After how many bytes what was written leaves the page cache. What was sent to the disk so long ago has mostly arrived.
const RELEASE_BYTES: u64 = 4 << 20;

/// The end of a file, and what is to be written there.
#[derive(Debug)]
pub(super) struct PiecesFile {
    file: File,
    /// Where `held` belongs.
    written_until: u64,
    /// What is to be written, and behind it room that has been used before. It reaches over no multiple of a piece.
    held: Vec<u8>,
    held_bytes: usize,
    /// CRC-32C of what was appended.
    crc32c: u32,
    /// What was appended last.
    last: LastAppended,
    /// How far the disk was asked for room, or used behind the end.
    disk_until: u64,
    /// Whether it can be asked.
    asks_for_room: bool,
    cache: PageCache,
}

/// The bytes that were appended by the last call: they can be read back, and checked, for their CRC-32C follows from
/// the one before them and the one behind them.
#[derive(Clone, Copy, Debug, Default)]
struct LastAppended {
    position: u64,
    crc32c_before: u32,
}

impl PiecesFile {
    /// Writes from `position` on.
    pub(super) fn new(file: File, position: u64, cache: PageCache) -> PiecesFile {
        PiecesFile {
            file,
            written_until: position,
            held: Vec::new(),
            held_bytes: 0,
            crc32c: 0,
            last: LastAppended { position, crc32c_before: 0 },
            disk_until: 0,
            asks_for_room: true,
            cache,
        }
    }

    /// Where the next bytes belong.
    pub(super) fn end(&self) -> u64 {
        self.written_until + self.held_bytes as u64
    }

    /// How far it takes the disk, or will.
    pub(super) fn disk_end(&self) -> u64 {
        self.end().max(self.disk_until)
    }

    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Appends parts, one after the other, and says how many bytes they have. On an error it has appended nothing.
    ///
    /// What fills a piece is written from where it is.
    pub(super) fn append(&mut self, parts: [&[u8]; 3]) -> io::Result<u64> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let last = LastAppended { position: self.end(), crc32c_before: self.crc32c };
        let over = self.over(length).unwrap_or(length);
        let (ready, rest) = divided(parts, length - over);
        if over < length {
            self.write(self.held_bytes, ready)?;
            self.held_bytes = 0;
        }
        let mut room = self.room(over);
        for part in rest {
            let (front, behind) = room.split_at_mut(part.len());
            front.copy_from_slice(part);
            room = behind;
        }
        self.held_bytes += over;
        self.last = last;
        self.crc32c = parts.into_iter().fold(self.crc32c, crc32c::crc32c_append);
        Ok(length as u64)
    }

    /// Appends what `make` writes to the front of a room of `bound` bytes, at most a piece; it says how many bytes that
    /// is, and so does the answer. On an error it has appended nothing.
    pub(super) fn append_made(&mut self, bound: usize, make: impl FnOnce(&mut [u8]) -> usize) -> io::Result<u64> {
        let last = LastAppended { position: self.end(), crc32c_before: self.crc32c };
        let length = make(self.room(bound));
        let end = self.held_bytes + length;
        let crc32c = crc32c::crc32c_append(self.crc32c, &self.held[self.held_bytes..end]);
        match self.over(length) {
            None => self.held_bytes = end,
            Some(over) => {
                self.write(end - over, [&[]; 3])?;
                self.held.copy_within(end - over..end, 0);
                self.held_bytes = over;
            }
        }
        (self.last, self.crc32c) = (last, crc32c);
        Ok(length as u64)
    }

    /// What is over after the last multiple of a piece once so many bytes are appended; `None` if they reach none.
    fn over(&self, length: usize) -> Option<usize> {
        let over = ((self.end() + length as u64) % PIECE_BYTES as u64) as usize;
        (over < length).then_some(over)
    }

    /// So many bytes behind what is held.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        if bytes > 0 && self.held.capacity() == 0 {
            self.held.reserve_exact(2 * PIECE_BYTES);
        }
        let needed = self.held_bytes + bytes;
        if self.held.len() < needed {
            self.held.resize(needed, 0);
        }
        &mut self.held[self.held_bytes..needed]
    }

    /// Writes the first bytes of what is held, and parts behind them, mostly by one call.
    fn write(&mut self, from_held: usize, parts: [&[u8]; 3]) -> io::Result<()> {
        let length = from_held + parts.iter().map(|part| part.len()).sum::<usize>();
        self.ask_for_room(self.written_until + length as u64);
        let all = [&self.held[..from_held], parts[0], parts[1], parts[2]];
        write_all_at(&self.file, &mut all.map(IoSlice::new), self.written_until)?;
        let before = self.written_until;
        self.written_until += length as u64;
        if before / RELEASE_BYTES < self.written_until / RELEASE_BYTES {
            self.cache.release(&self.file, self.written_until);
        }
        Ok(())
    }

    /// Has the disk make room up to `end` and some way on, if it has not. Where it cannot, the write will say what is wrong.
    fn ask_for_room(&mut self, end: u64) {
        if !self.asks_for_room || end <= self.disk_until || end < AHEAD_BYTES_MAX {
            return;
        }
        let until = end + (end / 8).min(AHEAD_BYTES_MAX);
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.disk_until, until - self.disk_until) {
            Ok(()) => self.disk_until = until,
            Err(_) => self.asks_for_room = false,
        }
    }

    /// Writes what is held, and gives its memory back.
    pub(super) fn write_held(&mut self) -> io::Result<()> {
        if self.held_bytes > 0 {
            self.write(self.held_bytes, [&[]; 3])?;
        }
        (self.held, self.held_bytes) = (Vec::new(), 0);
        Ok(())
    }

    /// Writes so far behind the end, where what is appended later goes over it.
    pub(super) fn write_behind(&mut self, behind: u64, bytes: &[u8]) -> io::Result<()> {
        let position = self.end() + behind;
        self.file.write_all_at(bytes, position)?;
        self.disk_until = self.disk_until.max(position + bytes.len() as u64);
        Ok(())
    }

    /// Reads what was written right behind the end.
    pub(super) fn read_behind(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, self.end())
    }

    /// Reads back what was appended last.
    ///
    /// # Errors
    /// What the system says, or if other bytes come back than were appended.
    pub(super) fn read_last(&self) -> io::Result<Vec<u8>> {
        let LastAppended { position, crc32c_before } = self.last;
        let mut bytes = vec![0; usize::try_from(self.end() - position).expect("it came from memory")];
        let written = usize::try_from(self.written_until.saturating_sub(position)).expect("it came from memory");
        let (from_file, from_held) = bytes.split_at_mut(written);
        self.file.read_exact_at(from_file, position)?;
        from_held.copy_from_slice(&self.held[self.held_bytes - from_held.len()..self.held_bytes]);
        if crc32c::crc32c_append(crc32c_before, &bytes) == self.crc32c { Ok(bytes) } else { Err(other_bytes()) }
    }

    /// CRC-32C of what was appended.
    pub(super) fn crc32c(&self) -> u32 {
        self.crc32c
    }

    /// Writes what is held, and reads from `position` to the end.
    pub(super) fn read_from(&mut self, position: u64) -> io::Result<impl io::Read> {
        self.write_held()?;
        Ok(Written { file: self.file.try_clone()?, position, end: self.written_until })
    }

    /// Writes what is held and gives the file back, which takes no more of the disk than it is long.
    pub(super) fn into_file(mut self) -> io::Result<File> {
        self.write_held()?;
        if self.disk_end() > self.end() {
            self.file.set_len(self.end())?;
        }
        Ok(self.file)
    }
}

/// The error of a disk that returns other bytes than were written.
pub(super) fn other_bytes() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "other bytes were read than had been written: the disk or its memory fails",
    )
}

/// The part of a file that was written.
struct Written {
    file: File,
    position: u64,
    end: u64,
}

impl io::Read for Written {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..length], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// The first bytes of parts that lie one after the other, and the rest.
fn divided(parts: [&[u8]; 3], mut at: usize) -> ([&[u8]; 3], [&[u8]; 3]) {
    let divided = parts.map(|part| {
        let (front, rest) = part.split_at(at.min(part.len()));
        at -= front.len();
        (front, rest)
    });
    (divided.map(|(front, _)| front), divided.map(|(_, rest)| rest))
}

fn write_all_at(file: &File, mut slices: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
    // Empty ones at the front would end it too early.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match rustix::io::pwritev(file, slices, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
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
        let mut file = PiecesFile::new(tempfile::tempfile().expect("a file"), START, PageCache::Released);
        let lengths = [1, 70_000, 65_600, 0, 66_000, PIECE_BYTES - 3, PIECE_BYTES, PIECE_BYTES + 1, 3, 300_000, 20_000];
        for (index, length) in lengths.into_iter().cycle().take(150).enumerate() {
            let from = file.end();
            let parts = bytes(from, length + 5);
            let appended = if index % 3 == 0 && length <= PIECE_BYTES {
                let make = |room: &mut [u8]| {
                    assert_eq!(room.len(), length + 50);
                    room.fill(7);
                    room[..length + 5].copy_from_slice(&parts);
                    length + 5
                };
                file.append_made(length + 50, make)
            } else {
                file.append([&parts[..3], &parts[3..length + 3], &parts[length + 3..]])
            };
            assert_eq!((appended.expect("written"), file.end()), (length as u64 + 5, from + length as u64 + 5));
            assert!(file.read_last().expect("readable") == parts);
            assert!(file.memory_bytes() <= 2 * PIECE_BYTES);
            if index % 9 == 8 {
                file.write_held().expect("written");
                assert_eq!(file.memory_bytes(), 0);
                assert!(file.read_last().expect("readable") == parts);
            }
        }
        let end = file.end();
        assert!(end > 8 << 20, "it has asked for room in advance");
        let crc32c = file.crc32c();
        let file = file.into_file().expect("written");
        assert_eq!(file.metadata().expect("known").len(), end);
        let mut read = vec![0; (end - START) as usize];
        file.read_exact_at(&mut read, START).expect("readable");
        assert!(read == bytes(START, read.len()));
        assert_eq!(crc32c, crc32c::crc32c(&read));
    }

    #[test]
    fn other_bytes_are_not_read_back() {
        let file = tempfile::tempfile().expect("a file");
        let mut pieces = PiecesFile::new(file.try_clone().expect("a handle"), 512, PageCache::Kept);
        for part in [&b"front"[..], b"middle", b"last"] {
            pieces.append([part, &[], &[]]).expect("held");
        }
        pieces.write_held().expect("written");
        assert_eq!(pieces.read_last().expect("readable"), b"last");
        file.write_all_at(b"k", 512 + 11).expect("written");
        assert_eq!(pieces.read_last().expect_err("other bytes").kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn room_on_the_disk_is_asked_for_in_advance_and_given_back() {
        use std::os::unix::fs::MetadataExt;
        let mut file = PiecesFile::new(tempfile::tempfile().expect("a file"), 0, PageCache::Kept);
        let disk_bytes = |file: &File| file.metadata().expect("known").blocks() * 512;
        let part = vec![7; PIECE_BYTES];
        while file.end() < 16 << 20 {
            file.append([&part, &[], &[]]).expect("written");
            assert!(disk_bytes(&file.file) <= file.disk_end() + (1 << 16), "it takes what it says");
            assert!(file.disk_end() <= file.end() + file.end() / 8);
        }
        assert!(file.disk_end() > file.end() || !file.asks_for_room, "some file systems cannot do it");
        let end = file.end();
        let file = file.into_file().expect("written");
        assert_eq!(file.metadata().expect("known").len(), end);
        assert!(disk_bytes(&file) <= end + (1 << 16));
    }

    #[test]
    fn what_cannot_be_written_is_not_appended() {
        let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let mut file = PiecesFile::new(full(), 0, PageCache::Kept);
        let part = vec![7; PIECE_BYTES / 2];
        assert_eq!(file.append([&part, &[], &[]]).expect("held"), part.len() as u64);
        for length in [PIECE_BYTES / 2, PIECE_BYTES + 1] {
            file.append([&vec![7; length], &[], &[]]).expect_err("there is no room");
            assert_eq!(file.end(), part.len() as u64);
        }
        file.append_made(PIECE_BYTES, |room| room.len()).expect_err("there is no room");
        assert_eq!(file.end(), part.len() as u64);
        file.write_held().expect_err("there is no room");
        assert_eq!(file.end(), part.len() as u64);
        file.into_file().expect_err("there is no room");
    }
}
