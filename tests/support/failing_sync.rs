//! A disk whose syncs fail, under a daemon: `failing_sync.c`, compiled and preloaded.

use super::daemon::Daemon;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An input/output error, as the kernel reports it for a write that did not reach the disk.
pub(crate) const EIO: i32 = 5;
/// No space left, which some file systems find out only when they write.
pub(crate) const ENOSPC: i32 = 28;

/// The preloaded library, and what it did.
pub(crate) struct FailingSync {
    directory: tempfile::TempDir,
}

impl FailingSync {
    /// Compiles it.
    pub(crate) fn new() -> FailingSync {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/failing_sync.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(directory.path().join("failing_sync.so"))
            .arg(source)
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("there is a C compiler");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        FailingSync { directory }
    }

    /// The daemon on a disk where the `nth` sync of a file or directory whose path contains `pattern` fails, once.
    pub(crate) fn under(&self, daemon: Daemon, pattern: &str, nth: u32, errno: i32) -> Daemon {
        let path = |path: PathBuf| path.into_os_string().into_string().expect("UTF-8");
        daemon
            .env("LD_PRELOAD", &path(self.directory.path().join("failing_sync.so")))
            .env("FAILING_SYNC", &format!("{pattern}:{nth}:{errno}"))
            .env("FAILING_SYNC_LOG", &path(self.log()))
    }

    /// The files and directories of which a sync failed, in order.
    pub(crate) fn failed(&self) -> Vec<PathBuf> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().map(PathBuf::from).collect()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("failed")
    }
}
