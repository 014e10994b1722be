//! An archive in a directory.

use super::checksum::copy_with_crc32c;
use super::directories::Directories;
use super::doubt::Confirmed;
use super::error::{StoreError, StoreErrorKind};
use super::instance_dir::{InstanceDir, TemporaryPath};
use super::publish::{Method, Published, publish};
use super::sync::sync_directory;
use super::{ArchiveStore, CreateOutcome, ObjectStat, SMALL_OBJECT_BYTES_MAX, Scope, SegmentFile, SmallOutcome};
use crate::page_cache::PageCache;
use kafka_store_statecharts::failure::Class;
use kafka_store_statecharts::name::{ChainName, RESERVED, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicName;
use std::fs::{self, DirEntry, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory that holds an archive, under the names that the original tool gives its files.
///
/// Any number of processes may write to the same directory.
#[derive(Debug)]
pub struct LocalStore {
    directories: Directories,
    /// For copies and small objects on their way; `None` if the store was opened for reading.
    instance: Option<Arc<InstanceDir>>,
    method: Method,
    cache: PageCache,
    pub(super) confirmed: Confirmed,
}

impl LocalStore {
    /// Opens the archive in `root`, an existing directory, for writing.
    ///
    /// # Errors
    /// If there is no such directory, or it cannot be written to.
    pub fn open(root: &Path) -> Result<LocalStore, StoreError> {
        let mut store = LocalStore::open_read_only(root)?;
        store.instance = Some(Arc::new(InstanceDir::create(store.directories.root())?));
        Ok(store)
    }

    /// Opens the archive in `root`, an existing directory, and leaves no trace in it.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn open_read_only(root: &Path) -> Result<LocalStore, StoreError> {
        let root = std::path::absolute(root).map_err(|error| StoreError::io("find", root, error))?;
        let metadata = fs::metadata(&root).map_err(|error| StoreError::io("open the archive", &root, error))?;
        if !metadata.is_dir() {
            let error = io::Error::from(ErrorKind::NotADirectory);
            return Err(StoreError::io("open the archive", &root, error));
        }
        let directories = Directories::new(root);
        Ok(LocalStore {
            directories,
            instance: None,
            method: Method::LinkOrRename,
            cache: PageCache::Kept,
            confirmed: Confirmed::default(),
        })
    }

    /// Says whether segments that were stored stay in the page cache. Otherwise they do.
    #[must_use]
    pub fn with_cache(self, cache: PageCache) -> LocalStore {
        LocalStore { cache, ..self }
    }

    /// This process's own directory for temporary files in the archive; `None` if it was opened for reading.
    ///
    /// Spool files made here are on the store's file system: creating a segment from one copies nothing.
    pub fn instance_dir(&self) -> Option<&Arc<InstanceDir>> {
        self.instance.as_ref()
    }

    /// The archive's directory.
    pub fn root(&self) -> &Path {
        self.directories.root()
    }

    pub(super) fn path_of(&self, name: &SegmentName) -> PathBuf {
        self.root().join(name.to_string())
    }

    fn writing(&self) -> Result<&InstanceDir, StoreError> {
        self.instance.as_deref().ok_or_else(|| {
            let error = io::Error::from(ErrorKind::ReadOnlyFilesystem);
            StoreError::new(
                StoreErrorKind::Invalid,
                "write to an archive opened for reading in",
                self.root(),
                Some(error),
            )
        })
    }

    /// Publishes `file` under `relative`.
    fn create(&self, relative: &Path, file: &Path) -> Result<Published, StoreError> {
        let Some(parent) = relative.parent() else {
            return Err(StoreError::new(StoreErrorKind::Invalid, "create", relative, None));
        };
        let path = self.root().join(relative);
        self.directories.ensure(parent)?;
        let published = match publish(file, &path, self.method) {
            // Somebody has removed a directory that we knew.
            Err(error) if error.kind() == StoreErrorKind::StoreNotFound => {
                self.directories.forget(parent);
                self.directories.ensure(parent)?;
                publish(file, &path, self.method)?
            }
            other => other?,
        };
        if published == Published::AlreadyExists {
            require_file(&path)?;
        }
        Ok(published)
    }

    /// Publishes a copy of `file`, which lies on another file system (or behind another mount of the same).
    fn create_from_copy(&self, relative: &Path, file: &SegmentFile) -> Result<Published, StoreError> {
        // Open until it is published: see there.
        let (copy, _open) = copy_into(self.writing()?, file)?;
        match self.create(relative, &copy)? {
            Published::OtherFileSystem => Err(StoreError::new(
                StoreErrorKind::Unsupported,
                "reach from the archive's own temporary directory, on another file system,",
                &self.root().join(relative),
                None,
            )),
            Published::Created => {
                let _ = fs::remove_file(&file.path);
                Ok(Published::Created)
            }
            Published::AlreadyExists => Ok(Published::AlreadyExists),
        }
    }

    /// The entries of a directory below the root; none if it does not exist. `None` is the root, which must.
    fn entries(&self, relative: Option<&Path>) -> Result<Vec<DirEntry>, StoreError> {
        let directory = relative.map_or_else(|| self.root().into(), |relative| self.root().join(relative));
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
            Err(error) if error.kind() == ErrorKind::NotFound && relative.is_some() && self.root().is_dir() => {
                return Ok(Vec::new());
            }
            Err(error) => Err(error),
        };
        entries.map_err(|error| StoreError::io("list", &directory, error))
    }

    fn strangers_in_topic(&self, topic: &TopicName, strangers: &mut Vec<String>) -> Result<(), StoreError> {
        let entries = self.entries(Some(Path::new(topic.as_str())))?;
        let chain_of = |entry: &DirEntry| {
            name_of(entry)
                .and_then(|folder| ChainName::parse(topic.as_str(), &folder))
                .filter(|_| entry.path().is_dir())
        };
        if !entries.is_empty() && entries.iter().all(|entry| chain_of(entry).is_none()) {
            strangers.push(topic.to_string());
            return Ok(());
        }
        for entry in entries {
            match chain_of(&entry) {
                Some(chain) => self.strangers_in_chain(&chain, strangers)?,
                None => strangers.push(format!("{topic}/{}", entry.file_name().display())),
            }
        }
        Ok(())
    }

    fn strangers_in_chain(&self, chain: &ChainName, strangers: &mut Vec<String>) -> Result<(), StoreError> {
        for entry in self.entries(Some(Path::new(&chain.to_string())))? {
            let is_segment = name_of(&entry).is_some_and(|name| SegmentName::parse_file_name(&name).is_some());
            if !is_segment || entry.path().is_dir() {
                strangers.push(format!("{chain}/{}", entry.file_name().display()));
            }
        }
        Ok(())
    }

    /// Has an object leave the page cache where that is wanted; all of it is on the disk.
    fn release_cached(&self, name: &SegmentName, bytes: u64) {
        if self.cache == PageCache::Released
            && let Ok(file) = File::open(self.path_of(name))
        {
            self.cache.release(&file, bytes);
        }
    }

    /// Names that this process has seen must not vanish in a power loss after it has acted on them.
    fn settle(&self, chain: &ChainName) -> Result<(), StoreError> {
        if self.instance.is_none() {
            return Ok(());
        }
        let directory = self.directories.ensure(Path::new(&chain.to_string()))?;
        sync_directory(&directory)
    }
}

impl ArchiveStore for LocalStore {
    fn create_segment(&self, file: &SegmentFile) -> Result<CreateOutcome, StoreError> {
        let SegmentFile { name, path: spool_file, .. } = file;
        self.writing()?;
        let bytes = fs::metadata(spool_file).map_err(|error| missing_spool_file(spool_file, error))?.len();
        let relative = name.to_string();
        let published = match self.create(Path::new(&relative), spool_file)? {
            Published::OtherFileSystem => self.create_from_copy(Path::new(&relative), file)?,
            published => published,
        };
        if published == Published::Created {
            self.release_cached(name, bytes);
            Ok(CreateOutcome::Created(ObjectStat { bytes, ..ObjectStat::default() }))
        } else {
            Ok(CreateOutcome::AlreadyExists)
        }
    }

    fn create_small(&self, name: &str, bytes: &[u8]) -> Result<SmallOutcome, StoreError> {
        let relative = small_path(name)?;
        if bytes.len() > SMALL_OBJECT_BYTES_MAX {
            return Err(StoreError::too_large(self.root().join(relative).display().to_string(), bytes.len()));
        }
        let (path, mut file) = self.writing()?.create_file("small")?;
        let written = file.write_all(bytes).map_err(|error| StoreError::io("write", &path, error));
        match written.and_then(|()| self.create(relative, &path))? {
            Published::Created => Ok(SmallOutcome::Created),
            _ => match self.read_small(name)? {
                Some(stored) => Ok(SmallOutcome::AlreadyExists(stored)),
                None => Err(StoreError::new(StoreErrorKind::Invalid, "read back", &self.root().join(relative), None)),
            },
        }
    }

    fn read_small(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.root().join(small_path(name)?);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound && self.root().is_dir() => Ok(None),
            Err(error) => Err(StoreError::io("read", &path, error)),
        }
    }

    fn list_small(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let (mut names, mut folders) = (Vec::new(), vec![small_path(folder)?.to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in self.entries(Some(&folder))? {
                let below = folder.join(entry.file_name());
                if entry.path().is_dir() {
                    folders.push(below);
                } else if let Some(name) = below.to_str() {
                    names.push(name.to_owned());
                }
            }
        }
        names.sort();
        Ok(names)
    }

    fn chains(&self) -> Result<Vec<ChainName>, StoreError> {
        let mut chains = Vec::new();
        for entry in self.entries(None)? {
            let Some(topic) = entry.file_name().to_str().and_then(|name| TopicName::new(name).ok()) else {
                continue;
            };
            if entry.path().is_dir() {
                chains.append(&mut self.chains_of(&topic)?);
            }
        }
        chains.sort();
        Ok(chains)
    }

    fn chains_of(&self, topic: &TopicName) -> Result<Vec<ChainName>, StoreError> {
        let mut chains = Vec::new();
        for entry in self.entries(Some(Path::new(topic.as_str())))? {
            let chain = entry.file_name().to_str().and_then(|folder| ChainName::parse(topic.as_str(), folder));
            if let Some(chain) = chain
                && entry.path().is_dir()
            {
                chains.push(chain);
            }
        }
        chains.sort();
        Ok(chains)
    }

    fn segments_from(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<Offset>, StoreError> {
        let mut starts = Vec::new();
        for entry in self.entries(Some(Path::new(&chain.to_string())))? {
            let start = entry.file_name().to_str().and_then(SegmentName::parse_file_name);
            let is_directory = entry.file_type().is_ok_and(|file_type| file_type.is_dir());
            starts.extend(start.filter(|start| from.is_none_or(|from| from <= *start) && !is_directory));
        }
        starts.sort();
        if !starts.is_empty() {
            self.settle(chain)?;
        }
        Ok(starts)
    }

    fn objects_from(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<(Offset, ObjectStat)>, StoreError> {
        let starts = self.segments_from(chain, from)?;
        starts.into_iter().map(|start| Ok((start, require_file(&self.path_of(&chain.segment(start)))?))).collect()
    }

    fn head(&self, name: &SegmentName) -> Result<Option<ObjectStat>, StoreError> {
        let path = self.path_of(name);
        match fs::metadata(&path) {
            Ok(_) => {
                let stat = require_file(&path)?;
                self.settle(&name.chain)?;
                Ok(Some(stat))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && self.root().is_dir() => Ok(None),
            Err(error) => Err(StoreError::io("look at", &path, error)),
        }
    }

    fn open(&self, name: &SegmentName) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let path = self.path_of(name);
        match File::open(&path) {
            Ok(file) => {
                require_file(&path)?;
                Ok(Some(Box::new(file)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && self.root().is_dir() => Ok(None),
            Err(error) => Err(StoreError::io("open", &path, error)),
        }
    }

    fn read_front(&self, name: &SegmentName, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(object) = self.open(name)? else { return Ok(None) };
        let mut front = Vec::new();
        let path = self.path_of(name);
        object.take(length).read_to_end(&mut front).map_err(|error| StoreError::io("read", &path, error))?;
        Ok(Some(front))
    }

    fn read_end(&self, name: &SegmentName, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path_of(name);
        let read = |mut file: File| {
            let whole = file.metadata()?.len();
            file.seek(SeekFrom::Start(whole.saturating_sub(length)))?;
            let mut end = Vec::new();
            file.read_to_end(&mut end)?;
            Ok(end)
        };
        match File::open(&path).and_then(read) {
            Ok(end) => Ok(Some(end)),
            Err(error) if error.kind() == ErrorKind::NotFound && self.root().is_dir() => Ok(None),
            Err(error) => Err(StoreError::io("read", &path, error)),
        }
    }

    fn in_doubt(&self, chain: &ChainName) -> Result<Vec<Offset>, StoreError> {
        self.find_in_doubt(chain)
    }

    fn confirm(&self, name: &SegmentName) {
        self.confirmed.insert(name);
    }

    fn empty_topics(&self) -> Result<Vec<TopicName>, StoreError> {
        let mut topics = Vec::new();
        for entry in self.entries(None)? {
            let topic = name_of(&entry).and_then(|name| TopicName::new(&name).ok());
            if let Some(topic) = topic.filter(|_| entry.path().is_dir())
                && self.entries(Some(Path::new(topic.as_str())))?.is_empty()
            {
                topics.push(topic);
            }
        }
        topics.sort();
        Ok(topics)
    }

    fn strangers(&self, scope: &Scope) -> Result<Vec<String>, StoreError> {
        let mut strangers = Vec::new();
        match scope {
            Scope::Archive => {
                for entry in self.entries(None)? {
                    match name_of(&entry).and_then(|name| TopicName::new(&name).ok()) {
                        Some(topic) if entry.path().is_dir() => self.strangers_in_topic(&topic, &mut strangers)?,
                        _ if entry.file_name() == RESERVED => {}
                        _ => strangers.push(entry.file_name().display().to_string()),
                    }
                }
            }
            Scope::Topic(topic) => self.strangers_in_topic(topic, &mut strangers)?,
            Scope::Chain(chain) => self.strangers_in_chain(chain, &mut strangers)?,
        }
        strangers.sort();
        Ok(strangers)
    }

    fn location(&self, name: &SegmentName) -> String {
        self.path_of(name).display().to_string()
    }

    fn describe(&self) -> String {
        self.root().display().to_string()
    }
}

/// What is under an object's name must be a file, or somebody else has put it there.
fn require_file(path: &Path) -> Result<ObjectStat, StoreError> {
    let metadata = fs::metadata(path).map_err(|error| StoreError::io("look at", path, error))?;
    if metadata.is_file() {
        let seconds_ns = metadata.mtime().checked_mul(1_000_000_000);
        let modified_ns = seconds_ns.and_then(|ns| ns.checked_add(metadata.mtime_nsec()));
        Ok(ObjectStat { bytes: metadata.len(), modified_ns, ..ObjectStat::default() })
    } else {
        Err(StoreError::new(StoreErrorKind::Invalid, "use as a file", path, None))
    }
}

fn name_of(entry: &DirEntry) -> Option<String> {
    entry.file_name().into_string().ok()
}

fn missing_spool_file(file: &Path, error: io::Error) -> StoreError {
    if error.kind() == ErrorKind::NotFound {
        StoreError::new(StoreErrorKind::SpoolFileMissing, "find", file, Some(error))
    } else {
        StoreError::io("look at", file, error)
    }
}

/// A copy of a spool file on the store's own file system, of the bytes that were sealed.
fn copy_into(instance: &InstanceDir, file: &SegmentFile) -> Result<(TemporaryPath, File), StoreError> {
    let (path, mut copy) = instance.create_file("copy")?;
    let copied = File::open(&file.path).and_then(|original| copy_with_crc32c(original, &mut copy));
    match copied {
        Ok(copied) if copied == (file.bytes, file.crc32c) => Ok((path, copy)),
        Ok((bytes, crc32c)) => {
            let advice = format!(
                "it has {bytes} bytes and the CRC-32C {crc32c:08x}, and was sealed with {} and {:08x}: check its disk; its \
                 records are fetched again",
                file.bytes, file.crc32c
            );
            let error = StoreError::new(StoreErrorKind::Refused, "store the spool file", &file.path, None);
            Err(error.with_advice(advice).with_class(Class::Lost))
        }
        Err(error) => Err(StoreError::io("copy to", &path, error)),
    }
}

/// The path of a small object: below [`RESERVED`], and in nobody's temporary directory.
fn small_path(name: &str) -> Result<&Path, StoreError> {
    let mut components = name.split('/');
    let legal = components.next() == Some(RESERVED)
        && components.clone().next().is_some_and(|first| first != "tmp")
        && components.all(|component| !matches!(component, "" | "." | "..") && !component.contains('\0'));
    if legal {
        Ok(Path::new(name))
    } else {
        Err(StoreError::new(StoreErrorKind::Invalid, "use as the name of a small object", Path::new(name), None))
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
