//! Bytes that are read front to back, with their position in the file.

use super::error::ReadError;
use std::io::{self, BufRead, BufReader, Read};

/// The Avro primitives of a file's outer structure, over any reader.
#[derive(Debug)]
pub(super) struct ByteSource<R> {
    reader: BufReader<R>,
    position: u64,
    /// CRC-32C of the bytes taken since the start or the last [`ByteSource::restart_crc32c`].
    crc32c: u32,
    /// Copy of the bytes taken, while they are recorded.
    recorded: Option<Vec<u8>>,
}

impl<R: Read> ByteSource<R> {
    pub(super) fn new(reader: R) -> ByteSource<R> {
        ByteSource { reader: BufReader::with_capacity(64 * 1024, reader), position: 0, crc32c: 0, recorded: None }
    }

    /// CRC-32C of the bytes taken since the start or the last restart.
    pub(super) fn crc32c(&self) -> u32 {
        self.crc32c
    }

    /// Returns the CRC-32C so far and begins another one.
    pub(super) fn restart_crc32c(&mut self) -> u32 {
        std::mem::take(&mut self.crc32c)
    }

    /// Begins to keep a copy of the bytes taken.
    pub(super) fn start_recording(&mut self) {
        self.recorded = Some(Vec::new());
    }

    /// Returns the copy and ends it.
    pub(super) fn stop_recording(&mut self) -> Vec<u8> {
        self.recorded.take().unwrap_or_default()
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.position += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        if let Some(recorded) = &mut self.recorded {
            recorded.extend_from_slice(bytes);
        }
    }

    /// How many bytes have been taken.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the file ends here.
    pub(super) fn at_end(&mut self) -> Result<bool, ReadError> {
        loop {
            match self.reader.fill_buf() {
                Ok(bytes) => return Ok(bytes.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { position: self.position, source }),
            }
        }
    }

    /// Replaces what is in `out` by the next `length` bytes. `inside` says what they belong to.
    ///
    /// The length comes from the file: the caller has checked that there may be room for as much.
    pub(super) fn bytes(&mut self, length: u64, out: &mut Vec<u8>, inside: &str) -> Result<(), ReadError> {
        out.clear();
        // What grows by itself is twice in memory while it is moved. Room that is not written to takes none.
        out.reserve_exact(usize::try_from(length).unwrap_or(usize::MAX));
        let taken = self
            .reader
            .by_ref()
            .take(length)
            .read_to_end(out)
            .map_err(|source| ReadError::Io { position: self.position + out.len() as u64, source })?;
        self.take_in(out);
        if (taken as u64) < length { Err(ReadError::truncated(self.position, inside)) } else { Ok(()) }
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, inside: &str) -> Result<[u8; N], ReadError> {
        let mut array = [0; N];
        let mut filled = 0;
        while filled < N {
            match self.reader.read(&mut array[filled..]) {
                Ok(0) => return Err(ReadError::truncated(self.position + filled as u64, inside)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { position: self.position + filled as u64, source }),
            }
        }
        self.take_in(&array);
        Ok(array)
    }

    /// One zigzag variable-length integer.
    pub(super) fn long(&mut self, inside: &str) -> Result<i64, ReadError> {
        let start = self.position;
        let mut zigzag = 0_u64;
        for index in 0..10 {
            let [byte] = self.array(inside)?;
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                break;
            }
            zigzag |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
            }
        }
        Err(ReadError::corrupt(start, "a number has more than 64 bits"))
    }

    /// A count or a length: not negative and at most `most`.
    pub(super) fn length(&mut self, most: u64, what: &str, inside: &str) -> Result<u64, ReadError> {
        let start = self.position;
        let length = self.long(inside)?;
        match u64::try_from(length) {
            Ok(length) if length <= most => Ok(length),
            _ => Err(ReadError::corrupt(start, format!("{what} is {length}, and 0 to {most} are possible"))),
        }
    }
}
