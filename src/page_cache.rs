//! What the system keeps in memory of files that were written.

use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::num::NonZeroU64;

/// Whether a file's bytes stay in the system's page cache once they are on the disk.
///
/// Those that nobody reads soon would stay until the system needs the memory. It then drops what other programs read as
/// well; and where a virtual machine's host takes back what is free, each page that is used for the first time costs
/// several times the copy into it (BENCHMARKS.md). What leaves at once is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageCache {
    /// They stay as long as the system likes: they are read soon.
    Kept,
    /// They leave.
    Released,
}

impl PageCache {
    /// Where they are to leave, does so with those of a file's first bytes that are on the disk; the others set out for it,
    /// and are not waited for.
    ///
    /// This is advice: a file system may take no notice.
    pub(crate) fn release(self, file: &File, bytes: u64) {
        if self == PageCache::Released {
            let _ = fadvise(file, 0, NonZeroU64::new(bytes), Advice::DontNeed);
        }
    }
}
