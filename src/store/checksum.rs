//! CRC-32C of whole files, and of what is copied.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

/// How much is copied at a time.
const PIECE_BYTES: usize = 1024 * 1024;

/// Copies all bytes, and returns how many they are and their CRC-32C.
///
/// # Errors
/// What reading or writing says.
pub fn copy_with_crc32c(mut from: impl Read, to: &mut impl Write) -> io::Result<(u64, u32)> {
    let (mut bytes, mut crc32c, mut piece) = (0, 0, vec![0; PIECE_BYTES]);
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return Ok((bytes, crc32c)),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&piece[..count])?;
        bytes += count as u64;
        crc32c = crc32c::crc32c_append(crc32c, &piece[..count]);
    }
}

/// Returns the length of a file and the CRC-32C of its bytes.
///
/// # Errors
/// What the system says.
pub fn crc32c_of_file(path: &Path) -> io::Result<(u64, u32)> {
    copy_with_crc32c(File::open(path)?, &mut io::sink())
}
