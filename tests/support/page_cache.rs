//! The system's page cache, by fincore (of util-linux).

use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A directory below `target`, which must be on a disk: a file system in memory keeps everything.
pub(crate) fn on_disk() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// How many bytes of a file are in the page cache.
pub(crate) fn cached_bytes(path: &Path) -> u64 {
    let output = Command::new("fincore").args(["--bytes", "--noheadings", "--output", "RES"]).arg(path).output();
    let output = output.expect("fincore runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").trim().parse().expect("a number")
}
