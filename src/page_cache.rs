//! What the system keeps in memory of files that were written.

use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::num::NonZeroU64;

/// Whether a file's bytes stay in the system's page cache once they are on the disk.
///
/// Those that nobody reads soon would stay until the system needs the memory. It then drops what other programs read as
/// well; and where memory is limited by a control group, or a virtual machine's host takes back what is free, each page
/// that is used for the first time costs several times the copy into it. What leaves at once is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageCache {
    /// They stay: they are read soon, to be sent somewhere.
    Kept,
    /// They leave.
    Released,
}

impl PageCache {
    /// Of the first bytes of a file, all that is on the disk leaves; the rest sets out for it, and nobody waits.
    ///
    /// This is advice: a file system may take no notice.
    pub(crate) fn settle(self, file: &File, bytes: u64) {
        // Zero would mean all of the file.
        if let (PageCache::Released, Some(bytes)) = (self, NonZeroU64::new(bytes)) {
            let _ = fadvise(file, 0, Some(bytes), Advice::DontNeed);
        }
    }
}
