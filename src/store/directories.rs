//! Directories that are there to stay.

use super::error::{StoreError, StoreErrorKind};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
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

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let file = File::open(directory).map_err(|error| StoreError::io("open the directory", directory, error))?;
    match file.sync_all() {
        Ok(()) => Ok(()),
        // The file system has no such call: names are as durable there as they ever get.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        Err(error) => Err(not_durable("make durable the directory", directory, error)),
    }
}

/// Makes the bytes of a file durable.
pub(super) fn sync_file(path: &Path) -> Result<(), StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::new(StoreErrorKind::SpoolFileMissing, "find", path, Some(error)));
        }
        Err(error) => return Err(StoreError::io("open", path, error)),
    };
    file.sync_all().map_err(|error| not_durable("make durable", path, error))
}

/// Whatever fsync says, the pages that it could not write may count as clean afterwards: a second fsync proves nothing.
fn not_durable(action: &'static str, path: &Path, error: io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::NotDurable, action, path, Some(error))
}
