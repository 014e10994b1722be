//! Bytes of objects, and their checksums.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use md5::{Digest as _, Md5};
use std::ops::Range;

/// Bytes in the pieces in which they came: nothing is copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pieces: Vec<Bytes>,
    length: u64,
}

impl Content {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len() as u64;
            self.pieces.push(piece);
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// A part of it, in pieces. The range must lie within.
    pub(crate) fn slice(&self, range: Range<u64>) -> Content {
        assert!(range.end <= self.length, "{range:?} of {} bytes", self.length);
        let mut part = Content::default();
        let mut start = 0;
        for piece in &self.pieces {
            let end = start + piece.len() as u64;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                part.push(piece.slice((from - start) as usize..(to - start) as usize));
            }
            start = end;
        }
        part
    }

    /// Whether these bytes are the ones at this offset, as far as there are some.
    pub(crate) fn agrees_at(&self, offset: u64, bytes: &[u8]) -> bool {
        let end = self.length.min(offset + bytes.len() as u64);
        if offset >= end {
            return true;
        }
        let mut rest = bytes;
        self.slice(offset..end).pieces.iter().all(|piece| {
            let (here, after) = rest.split_at(piece.len());
            rest = after;
            here == piece
        })
    }

    pub(crate) fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// The checksums of all of it.
    pub(crate) fn checksums(&self) -> Checksums {
        let mut digests = Digests::default();
        self.pieces.iter().for_each(|piece| digests.update(piece));
        digests.finish()
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        let mut content = Content::default();
        content.push(Bytes::from(bytes));
        content
    }
}

/// The checksums of bytes that are still coming.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests {
    crc32c: u32,
    md5: Md5,
}

impl Digests {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.md5.update(bytes);
    }

    pub(crate) fn finish(self) -> Checksums {
        Checksums { crc32c: self.crc32c, md5: self.md5.finalize().into() }
    }
}

/// The checksums of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksums {
    pub(crate) crc32c: u32,
    pub(crate) md5: [u8; 16],
}

impl Checksums {
    /// As in JSON: base64 of four big-endian bytes.
    pub(crate) fn crc32c_text(&self) -> String {
        STANDARD.encode(self.crc32c.to_be_bytes())
    }

    /// As in JSON: base64 of sixteen bytes.
    pub(crate) fn md5_text(&self) -> String {
        STANDARD.encode(self.md5)
    }
}

/// Checksums that a client has declared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    pub(crate) crc32c: Option<[u8; 4]>,
    pub(crate) md5: Option<[u8; 16]>,
}

impl Declared {
    /// Takes one over; the answer is false if the text is no such checksum, or another than the one before.
    pub(crate) fn take_crc32c(&mut self, text: &str) -> bool {
        take(&mut self.crc32c, text)
    }

    /// As [`Declared::take_crc32c`].
    pub(crate) fn take_md5(&mut self, text: &str) -> bool {
        take(&mut self.md5, text)
    }

    /// The name of one that differs from what was stored.
    pub(crate) fn mismatch(&self, stored: &Checksums) -> Option<&'static str> {
        if self.crc32c.is_some_and(|declared| declared != stored.crc32c.to_be_bytes()) {
            return Some("CRC32C");
        }
        if self.md5.is_some_and(|declared| declared != stored.md5) {
            return Some("MD5");
        }
        None
    }
}

fn take<const N: usize>(place: &mut Option<[u8; N]>, text: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(text) else { return false };
    let Ok(bytes) = <[u8; N]>::try_from(bytes) else { return false };
    if place.is_some_and(|before| before != bytes) {
        return false;
    }
    *place = Some(bytes);
    true
}
