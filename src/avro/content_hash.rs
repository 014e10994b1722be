//! The hash of a segment's records.

use std::fmt;

/// BLAKE3 of the canonical bytes of a segment's records, one after the other.
///
/// It does not depend on the codec or on where blocks end, so it says whether two files hold the same records.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// A hash from its bytes.
    pub const fn new(bytes: [u8; 32]) -> ContentHash {
        ContentHash(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the 64 lower-case hexadecimal digits back that [`ContentHash`] displays as.
    pub fn parse(text: &str) -> Option<ContentHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(ContentHash(bytes))
    }
}

/// Makes a [`ContentHash`] of bytes that come in pieces.
///
/// BLAKE3 takes sixteen chunks of 1 KiB at a time, if they begin where its tree does: fed with blocks as they come,
/// of 64 KiB and a bit, it takes a third more time. So what is over waits for the next piece.
#[derive(Clone, Default)]
pub(super) struct ContentHasher {
    hasher: blake3::Hasher,
    /// Shorter than a whole piece.
    waiting: Vec<u8>,
}

/// What the hash function is fed with is a multiple of this.
const PIECE_BYTES: usize = 16 * 1024;

impl ContentHasher {
    /// Takes the next bytes in.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        if !self.waiting.is_empty() {
            let (front, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.waiting.len()));
            self.waiting.extend_from_slice(front);
            if self.waiting.len() < PIECE_BYTES {
                return;
            }
            self.hasher.update(&self.waiting);
            self.waiting.clear();
            bytes = rest;
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % PIECE_BYTES);
        self.hasher.update(whole);
        self.waiting.extend_from_slice(rest);
    }

    /// The hash of all bytes so far.
    pub(super) fn finish(&self) -> ContentHash {
        ContentHash(*self.hasher.clone().update(&self.waiting).finalize().as_bytes())
    }
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHasher({})", self.finish())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_matter() {
        let bytes: Vec<u8> = (0..5 * PIECE_BYTES as u32 + 77).map(|n| n.wrapping_mul(2_654_435_761) as u8).collect();
        let whole = ContentHash(*blake3::hash(&bytes).as_bytes());
        for length in [1, 1_000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 5, bytes.len()] {
            let mut hasher = ContentHasher::default();
            for (index, piece) in bytes.chunks(length).enumerate() {
                // Asking changes nothing.
                if index % 7 == 0 {
                    hasher.finish();
                }
                hasher.update(piece);
            }
            assert_eq!(hasher.finish(), whole, "{length}");
        }
        assert_eq!(ContentHasher::default().finish(), ContentHash(*blake3::hash(b"").as_bytes()));
    }
}
