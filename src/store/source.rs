//! Where segments are read from: a store, or files that lie anywhere.

use super::error::{StoreError, StoreErrorKind};
use super::{ArchiveStore, ObjectStat};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What reading needs of a store.
pub trait SegmentSource: Send + Sync + Debug {
    /// A chain's segments from `from` on, in order, with what is known of each.
    ///
    /// # Errors
    /// If the store cannot say.
    fn segments(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<(Offset, ObjectStat)>, StoreError>;

    /// A segment's bytes from the front, if it exists.
    ///
    /// # Errors
    /// If the store cannot say, or the segment cannot be opened.
    fn open(&self, name: &SegmentName) -> Result<Option<Box<dyn Read + Send>>, StoreError>;

    /// Where a segment is, for messages.
    fn location(&self, name: &SegmentName) -> String;

    /// Whether a segment that says that it belongs to another chain is in the wrong place.
    fn keeps_chains_apart(&self) -> bool;
}

impl SegmentSource for Arc<dyn ArchiveStore> {
    fn segments(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<(Offset, ObjectStat)>, StoreError> {
        self.objects_from(chain, from)
    }

    fn open(&self, name: &SegmentName) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        self.as_ref().open(name)
    }

    fn location(&self, name: &SegmentName) -> String {
        self.as_ref().location(name)
    }

    fn keeps_chains_apart(&self) -> bool {
        true
    }
}

/// One segment of a store.
#[derive(Debug)]
pub struct OnlySegment {
    /// The store.
    pub store: Arc<dyn ArchiveStore>,
    /// Its name.
    pub name: SegmentName,
}

impl SegmentSource for OnlySegment {
    fn segments(&self, _: &ChainName, _: Option<Offset>) -> Result<Vec<(Offset, ObjectStat)>, StoreError> {
        Ok(self.store.head(&self.name)?.into_iter().map(|stat| (self.name.start, stat)).collect())
    }

    fn open(&self, name: &SegmentName) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        self.store.open(name)
    }

    fn location(&self, name: &SegmentName) -> String {
        self.store.location(name)
    }

    fn keeps_chains_apart(&self) -> bool {
        true
    }
}

/// The segments in one directory, wherever that is and whatever it is called: chains' names mean nothing here.
#[derive(Debug)]
pub struct LooseFiles {
    directory: PathBuf,
    only: Option<Offset>,
}

impl LooseFiles {
    /// All files of a directory that have the names of segments.
    pub fn in_directory(directory: &Path) -> LooseFiles {
        LooseFiles { directory: directory.to_owned(), only: None }
    }

    /// One file of a directory.
    pub fn only(directory: &Path, start: Offset) -> LooseFiles {
        LooseFiles { directory: directory.to_owned(), only: Some(start) }
    }

    /// What their chain is called, where a name is needed.
    pub fn chain() -> ChainName {
        ChainName::parse("loose-files", "000000").expect("a legal name")
    }

    fn path(&self, start: Offset) -> PathBuf {
        self.directory.join(format!("{:020}", start.get()))
    }

    fn stat(&self, start: Offset) -> Result<(Offset, ObjectStat), StoreError> {
        let path = self.path(start);
        let metadata = fs::metadata(&path).map_err(|error| StoreError::io("look at", &path, error))?;
        Ok((start, ObjectStat { bytes: metadata.len(), ..ObjectStat::default() }))
    }

    fn starts(&self) -> Result<Vec<Offset>, StoreError> {
        if let Some(only) = self.only {
            return Ok(vec![only]);
        }
        // A path without a directory names a file of the current one.
        let directory = if self.directory.as_os_str().is_empty() { Path::new(".") } else { &self.directory };
        let failed = |error| StoreError::io("list", directory, error);
        let mut starts = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            starts.extend(name.to_str().and_then(SegmentName::parse_file_name));
        }
        starts.sort_unstable();
        Ok(starts)
    }
}

impl SegmentSource for LooseFiles {
    fn segments(&self, _: &ChainName, from: Option<Offset>) -> Result<Vec<(Offset, ObjectStat)>, StoreError> {
        let starts = self.starts()?.into_iter().filter(|start| from.is_none_or(|from| from <= *start));
        starts.map(|start| self.stat(start)).collect()
    }

    fn open(&self, name: &SegmentName) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let path = self.path(name.start);
        match File::open(&path) {
            Ok(file) if file.metadata().is_ok_and(|metadata| metadata.is_dir()) => {
                Err(StoreError::new(StoreErrorKind::Invalid, "use as a file", &path, None))
            }
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("open", &path, error)),
        }
    }

    fn location(&self, name: &SegmentName) -> String {
        self.path(name.start).display().to_string()
    }

    fn keeps_chains_apart(&self) -> bool {
        false
    }
}
