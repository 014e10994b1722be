//! The directory that `--local-store` names.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Why a directory cannot be a store.
#[derive(Debug, thiserror::Error)]
pub enum LocalStoreError {
    /// It is not there. It is not created: a mistyped path, or a disk that is not mounted, would
    /// start a second archive.
    #[error("--local-store {0}: there is no such directory; create it first")]
    Missing(PathBuf),
    /// It is something else.
    #[error("--local-store {0} is not a directory")]
    NotADirectory(PathBuf),
    /// This process may not write there.
    #[error("--local-store {0} is not writable by this user: {1}")]
    NotWritable(PathBuf, std::io::Error),
    /// Its state cannot be learned.
    #[error("--local-store {0} cannot be used: {1}")]
    Unusable(PathBuf, std::io::Error),
}

/// The directory, if it is one that can be written to.
pub fn check_local_store(path: &Path) -> Result<PathBuf, LocalStoreError> {
    let store = path.to_owned();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(LocalStoreError::Missing(store)),
        Err(error) => return Err(LocalStoreError::Unusable(store, error)),
    };
    if !metadata.is_dir() {
        return Err(LocalStoreError::NotADirectory(store));
    }
    match access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(store),
        Err(error) => Err(LocalStoreError::NotWritable(store, error.into())),
    }
}
