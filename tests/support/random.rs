//! Randomness that no two test programs share, for names and ports; what a test decides by chance comes from `seed`.

use std::fs::File;
use std::io::Read;

/// Returns random bytes.
pub(crate) fn bytes<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("random bytes");
    bytes
}
