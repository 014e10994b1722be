//! Why a store did not do what it was asked for.

use crate::system_error;
use kafka_store_statecharts::failure::{Class, Failure, Lasts, Port};
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// A failed call: what was tried, where, and what to do. The system's own words are the source.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    /// Instead of the kind's own.
    class: Option<Class>,
    action: &'static str,
    location: String,
    /// Instead of the kind's own.
    advice: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a failure means for whoever called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The store itself is not there: a wrong path, or a file system that is not mounted.
    StoreNotFound,
    /// Permissions, or a read-only file system. It stays so until somebody acts.
    Permission,
    /// No space or quota left. It may pass.
    NoSpace,
    /// It may pass by itself: too many open files, a network file system that stutters.
    Transient,
    /// The file system lacks what a create-only write or a lock needs.
    Unsupported,
    /// The spool file is not there.
    SpoolFileMissing,
    /// Something that is no object of ours is in the way, or a name is impossible.
    Invalid,
    /// A service refuses, and goes on refusing until somebody acts: no right, no bucket, no such key.
    Refused,
}

impl StoreError {
    /// An error from what the system said.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError {
            kind: classify(&source),
            class: class_of(&source),
            action,
            location: path.display().to_string(),
            advice: None,
            source: Some(source.into()),
        }
    }

    /// An error whose kind follows from more than what the system said.
    pub(super) fn new(
        kind: StoreErrorKind,
        action: &'static str,
        path: &Path,
        source: Option<io::Error>,
    ) -> StoreError {
        StoreError::at(kind, action, path.display().to_string(), source)
    }

    /// An error of a store that is no file system.
    pub(super) fn at<E: Into<Box<dyn Error + Send + Sync>>>(
        kind: StoreErrorKind,
        action: &'static str,
        location: String,
        source: Option<E>,
    ) -> StoreError {
        StoreError { kind, class: None, action, location, advice: None, source: source.map(Into::into) }
    }

    /// A small object that is none.
    pub(super) fn too_large(location: String, bytes: usize) -> StoreError {
        let advice = format!("it has {bytes} bytes, and at most {} are allowed", super::SMALL_OBJECT_BYTES_MAX);
        StoreError::at(StoreErrorKind::Invalid, "create the small object", location, None::<io::Error>)
            .with_advice(advice)
    }

    /// The same, with what there is to say about it instead of what its kind always says.
    pub(super) fn with_advice(mut self, advice: String) -> StoreError {
        self.advice = Some(advice);
        self
    }

    /// An error of a store that is made of files, from what the system said.
    pub fn from_io(action: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError::io(action, path, source)
    }

    /// An object that was opened cannot be read on.
    pub fn reading(location: String, source: io::Error) -> StoreError {
        let (kind, class) = (classify(&source), class_of(&source));
        StoreError { class, ..StoreError::at(kind, "read", location, Some(source)) }
    }

    /// The same, of a class that is not its kind's.
    pub(super) fn with_class(mut self, class: Class) -> StoreError {
        self.class = Some(class);
        self
    }

    /// What it means.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        self.class.unwrap_or(match self.kind {
            StoreErrorKind::StoreNotFound => Class::Absent,
            StoreErrorKind::Permission => Class::Forbidden,
            StoreErrorKind::NoSpace => Class::NoSpace,
            StoreErrorKind::Transient => Class::Other,
            StoreErrorKind::Unsupported => Class::Unsupported,
            StoreErrorKind::SpoolFileMissing => Class::Lost,
            StoreErrorKind::Invalid | StoreErrorKind::Refused => Class::Refused,
        })
    }

    /// The same, as a failure of a port.
    pub fn failure(&self, port: Port) -> Failure {
        Failure::new(port, self.class(), self.in_full())
    }

    /// What was tried, what the system said, and what to do.
    fn in_full(&self) -> String {
        match &self.source {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        Port::Store.lasts(self.class()) == Lasts::ForNow
    }
}

impl StoreErrorKind {
    /// What to do about it.
    const fn advice(self) -> &'static str {
        match self {
            StoreErrorKind::StoreNotFound => "create the directory, mount its file system, or correct the path",
            StoreErrorKind::Permission => "give the user that runs kafka-store the right to do so",
            StoreErrorKind::NoSpace => "make space, or raise the quota",
            StoreErrorKind::Transient => "it may pass by itself",
            StoreErrorKind::Unsupported => "use a file system that has hard links (or renameat2) and file locks",
            StoreErrorKind::SpoolFileMissing => "its records are fetched again",
            StoreErrorKind::Refused => "the service says why",
            StoreErrorKind::Invalid => "look at what is there, and move away what kafka-store has not made",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = self.advice.as_deref().unwrap_or(self.kind.advice());
        write!(f, "cannot {} {} ({advice})", self.action, self.location)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The class of a system error that the table knows.
fn class_of(error: &io::Error) -> Option<Class> {
    Some(Class::of_signs(Port::Store, [system_error::sign(error)])).filter(|class| *class != Class::Other)
}

/// The one place that decides what a system error means to whoever called.
fn classify(error: &io::Error) -> StoreErrorKind {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Permission,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreErrorKind::NoSpace,
        ErrorKind::Unsupported => StoreErrorKind::Unsupported,
        ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput
        | ErrorKind::FileTooLarge => StoreErrorKind::Invalid,
        ErrorKind::NotFound => StoreErrorKind::StoreNotFound,
        // What is left passes more often than not (EIO and ESTALE of network file systems, EMFILE, ENOMEM, EBUSY):
        // retrying loses nothing, giving up stops the archive.
        _ => StoreErrorKind::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_where_and_what_to_do() {
        let error = StoreError::io("create", Path::new("/archive/x"), io::Error::from(ErrorKind::StorageFull));
        assert_eq!(error.to_string(), "cannot create /archive/x (make space, or raise the quota)");
        assert!(error.is_transient() && std::error::Error::source(&error).is_some());
        let error = StoreError::io("create", Path::new("/archive/x"), io::Error::from(ErrorKind::PermissionDenied));
        assert!(!error.is_transient());
    }
}
