//! The directories that flags name.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Why a directory cannot be used. The first part is the flag that names it.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is not there. It is not created: a mistyped path, or a disk that is not mounted, would
    /// start a second archive.
    #[error("{0} {1}: there is no such directory; create it first")]
    Missing(&'static str, PathBuf),
    /// It is something else.
    #[error("{0} {1} is not a directory")]
    NotADirectory(&'static str, PathBuf),
    /// This process may not write there.
    #[error("{0} {1} is not writable by this user: {2}")]
    NotWritable(&'static str, PathBuf, std::io::Error),
    /// Its state cannot be learned.
    #[error("{0} {1} cannot be used: {2}")]
    Unusable(&'static str, PathBuf, std::io::Error),
}

/// The directory, if it is one that can be written to.
pub fn check_directory(flag: &'static str, path: &Path) -> Result<PathBuf, DirectoryError> {
    let store = path.to_owned();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(DirectoryError::Missing(flag, store)),
        Err(error) => return Err(DirectoryError::Unusable(flag, store, error)),
    };
    if !metadata.is_dir() {
        return Err(DirectoryError::NotADirectory(flag, store));
    }
    match access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(store),
        Err(error) => Err(DirectoryError::NotWritable(flag, store, error.into())),
    }
}
