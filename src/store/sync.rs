//! fsync, and the end of the process where it fails.
//!
//! The kernel reports a write that failed once, and may count the pages that it could not write as clean afterwards: the
//! next fsync of the same file succeeds and proves nothing. So nothing is tried again. The process ends, and its
//! successor fetches from Kafka what was not committed. (PostgreSQL does the same since it lost data this way, 2018.)

use super::error::{StoreError, StoreErrorKind};
use super::unclean;
use crate::exit::{self, ExitCode};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the first fsync that fails. The process takes a moment to end.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// Makes the bytes of a file durable.
///
/// This process must have had the file open since its first byte was written: the kernel may forget a failed write of a
/// file that nobody has open.
pub(super) fn sync_file(file: &File, path: &Path) -> Result<(), StoreError> {
    match settle(file.sync_all(), path) {
        Ok(()) => Ok(()),
        Err(error) => Err(StoreError::new(StoreErrorKind::Unsupported, "make durable", path, Some(error))),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let file = File::open(directory).map_err(|error| StoreError::io("open the directory", directory, error))?;
    // Where the file system has no such call, names are as durable as they ever get.
    settle(file.sync_all(), directory).or(Ok(()))
}

/// True if this process is about to end because a sync failed.
pub(super) fn has_failed() -> bool {
    HAS_FAILED.load(Ordering::SeqCst)
}

/// Returns if all that was written is durable, or if the file system has no fsync for this file (`Err`).
fn settle(result: io::Result<()>, path: &Path) -> io::Result<()> {
    match result {
        // Another thread may have been given the error that belongs to this file as well.
        Ok(()) if has_failed() => loop {
            std::thread::park();
        },
        Ok(()) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Err(error),
        Err(error) => end(path, &error),
    }
}

fn end(path: &Path, error: &io::Error) -> ! {
    if HAS_FAILED.swap(true, Ordering::SeqCst) {
        loop {
            std::thread::park();
        }
    }
    let reason = format!("cannot make {} durable: {error}", path.display());
    unclean::mark_failed_sync(&reason);
    exit::end_now(
        ExitCode::NotDurable,
        &format_args!(
            "{reason}. What was written may be lost, and is not trusted again: check the disk and the kernel's log, \
             then restart; the records are fetched from Kafka again"
        ),
    )
}
