//! Directories that are there to stay.

use super::error::StoreError;
use super::sync::sync_directory;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Creates the directories below a root, and knows which of them this process has seen become durable.
///
/// A directory that somebody else created is not trusted to be durable either: the other process may
/// not have come to its fsync, and our commit must not depend on it.
#[derive(Debug)]
pub(super) struct Directories {
    root: PathBuf,
    durable: Mutex<BTreeSet<PathBuf>>,
}

impl Directories {
    pub(super) fn new(root: PathBuf) -> Directories {
        Directories { root, durable: Mutex::new(BTreeSet::new()) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes sure that `relative` exists below the root and survives a power loss; returns its path.
    pub(super) fn ensure(&self, relative: &Path) -> Result<PathBuf, StoreError> {
        let mut directory = self.root.clone();
        for component in relative.components() {
            let parent = directory.clone();
            directory.push(component);
            if self.is_known(&directory) {
                continue;
            }
            match fs::create_dir(&directory) {
                Ok(()) => {}
                // Also the answer if another process has just created it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => {}
                Err(error) => return Err(StoreError::io("create the directory", &directory, error)),
            }
            sync_directory(&parent)?;
            self.known().insert(directory.clone());
        }
        Ok(directory)
    }

    /// Forgets what was known of `relative`: somebody has removed it.
    pub(super) fn forget(&self, relative: &Path) {
        let mut directory = self.root.clone();
        for component in relative.components() {
            directory.push(component);
            self.known().remove(&directory);
        }
    }

    fn is_known(&self, directory: &Path) -> bool {
        self.known().contains(directory)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        // A set of paths is whole after every call on it, whoever panicked.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
