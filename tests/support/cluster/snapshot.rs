//! Disks as they were.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of a node's data directory, or of one partition's in it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    copy: tempfile::TempDir,
    /// Where it belongs below the data directory.
    place: PathBuf,
}

impl Snapshot {
    pub(super) fn of(data: &Path, place: &str) -> Snapshot {
        let snapshot = Snapshot { copy: tempfile::tempdir().expect("a temporary directory"), place: place.into() };
        copy(&data.join(place), &snapshot.content());
        snapshot
    }

    fn content(&self) -> PathBuf {
        self.copy.path().join("content")
    }

    pub(super) fn restore(&self, data: &Path) {
        let path = data.join(&self.place);
        if path.exists() {
            fs::remove_dir_all(&path).expect("removed");
        }
        copy(&self.content(), &path);
    }
}

/// Copies a directory. Kafka's indexes are mostly holes.
fn copy(from: &Path, to: &Path) {
    let output = Command::new("cp").args(["-a", "--sparse=always", "-T"]).arg(from).arg(to).output().expect("cp runs");
    assert!(output.status.success(), "cp: {}", String::from_utf8_lossy(&output.stderr));
}
