//! The create-only write of a local file system.

use super::error::{StoreError, StoreErrorKind};
use super::sync::{sync_directory, sync_file};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How a file gets its final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// link(2), and where the file system has no hard links, renameat2(2) that replaces nothing.
    LinkOrRename,
    /// Only renameat2(2): what [`Method::LinkOrRename`] falls back to.
    #[cfg(test)]
    Rename,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// The file has its final name, and no other any more.
    Created,
    /// The name was taken; the file is untouched.
    AlreadyExists,
    /// The file lies on another file system, and is untouched.
    OtherFileSystem,
}

/// Gives the file `from` the name `to`, unless that is taken; durable when it returns.
///
/// The caller has had `from` open since its first byte was written, so that no failed write is forgotten.
///
/// The order is what makes it safe: the bytes are durable before the name exists, so whoever sees the
/// name, also after a power loss, sees all the bytes. The directory of `to` exists and is durable.
pub(super) fn publish(from: &Path, to: &Path, method: Method) -> Result<Published, StoreError> {
    sync_file(&open(from)?, from)?;
    let published = match method {
        Method::LinkOrRename => link(from, to)?,
        #[cfg(test)]
        Method::Rename => rename(from, to)?,
    };
    if published == Published::OtherFileSystem {
        return Ok(published);
    }
    // Also if the name was taken: its writer may not have come this far, and we go on as if it had.
    sync_directory(to.parent().unwrap_or(Path::new("/")))?;
    if published == Published::Created {
        // A spool name that stays behind is only a name: the next clean-up removes it.
        let _ = fs::remove_file(from);
    }
    Ok(published)
}

fn open(from: &Path) -> Result<File, StoreError> {
    File::open(from).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::new(StoreErrorKind::SpoolFileMissing, "find", from, Some(error)),
        _ => StoreError::io("open", from, error),
    })
}

fn link(from: &Path, to: &Path) -> Result<Published, StoreError> {
    let error = match fs::hard_link(from, to) {
        Ok(()) => return Ok(Published::Created),
        Err(error) => error,
    };
    match error.kind() {
        // An earlier call of ours may have linked it and failed later; NFS can also lose the answer of a link
        // that was made.
        ErrorKind::AlreadyExists if is_same_file(from, to) => Ok(Published::Created),
        ErrorKind::AlreadyExists => Ok(Published::AlreadyExists),
        ErrorKind::CrossesDevices => Ok(Published::OtherFileSystem),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::TooManyLinks => rename(from, to),
        _ => Err(StoreError::io("create", to, error)),
    }
}

fn rename(from: &Path, to: &Path) -> Result<Published, StoreError> {
    let error = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(Published::Created),
        Err(error) => io::Error::from(error),
    };
    match error.kind() {
        ErrorKind::AlreadyExists => Ok(Published::AlreadyExists),
        ErrorKind::CrossesDevices => Ok(Published::OtherFileSystem),
        // EINVAL is how a file system says that it does not know the flag.
        ErrorKind::InvalidInput | ErrorKind::Unsupported => {
            Err(StoreError::new(StoreErrorKind::Unsupported, "create", to, Some(error)))
        }
        _ => Err(StoreError::io("create", to, error)),
    }
}

fn is_same_file(from: &Path, to: &Path) -> bool {
    match (fs::symlink_metadata(from), fs::symlink_metadata(to)) {
        (Ok(from), Ok(to)) => (from.dev(), from.ino()) == (to.dev(), to.ino()),
        _ => false,
    }
}
