//! Making room for a header of another length than was reserved.

use super::pieces_file::other_bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const CHUNK_BYTES: usize = 1 << 20;

/// Moves the `length` bytes at `from` to `to`, where they end the file. They are compared with their CRC-32C on the way.
///
/// # Errors
/// What the system says, or if other bytes come back than were written.
pub(super) fn move_blocks(file: &File, from: u64, to: u64, length: u64, crc32c: u32) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut moved_crc32c = 0;
    let mut moved = 0;
    while moved < length {
        let count = (length - moved).min(CHUNK_BYTES as u64);
        let chunk = &mut buffer[..count as usize];
        // From the end that nothing is written over before it is read.
        let is_backwards = to > from;
        let at = if is_backwards { length - moved - count } else { moved };
        file.read_exact_at(chunk, from + at)?;
        file.write_all_at(chunk, to + at)?;
        moved_crc32c = if is_backwards {
            crc32c::crc32c_combine(crc32c::crc32c(chunk), moved_crc32c, moved as usize)
        } else {
            crc32c::crc32c_append(moved_crc32c, chunk)
        };
        moved += count;
    }
    file.set_len(to + length)?;
    if moved_crc32c == crc32c { Ok(()) } else { Err(other_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_move_either_way_whatever_their_length() {
        for length in [1, 511, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 77] {
            let blocks: Vec<u8> = (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let crc32c = crc32c::crc32c(&blocks);
            for (from, to) in [(2048, 512), (512, 2048), (512, 5 << 20), (5 << 20, 512), (1024, 1024)] {
                let file = tempfile::tempfile().expect("a file");
                file.write_all_at(&blocks, from).expect("written");
                move_blocks(&file, from, to, length as u64, crc32c).expect("moved");
                let mut moved = vec![0; length];
                file.read_exact_at(&mut moved, to).expect("read");
                assert!(moved == blocks, "{length}, {from}, {to}");
                assert_eq!(file.metadata().expect("known").len(), to + length as u64);
                file.write_all_at(&[!blocks[length / 2]], to + length as u64 / 2).expect("written");
                let error = move_blocks(&file, to, from, length as u64, crc32c).expect_err("another byte");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            }
        }
    }
}
