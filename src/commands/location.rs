//! What a location on the command line stands for: a file, or the place of a partition, a topic or an archive.

use super::error::CommandError;
use crate::cli::GcsArgs;
use crate::store::{ArchiveStore, LocalStore, Scope, StoreError};
use kafka_store_statecharts::name::{ChainName, RESERVED, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicName;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) mod bucket;

/// What a location stands for.
pub(super) enum Location {
    /// One file, which need not lie in an archive.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its name.
        start: Offset,
        /// The chain whose directory it is in, by that directory's name.
        chain: Option<ChainName>,
    },
    /// One segment in a bucket.
    Object {
        /// The archive that it is in.
        store: Arc<dyn ArchiveStore>,
        /// Its name.
        name: SegmentName,
    },
    /// An archive, or a part of it.
    Place(Place),
}

/// An archive, or a part of it.
pub(super) struct Place {
    pub(super) store: Arc<dyn ArchiveStore>,
    pub(super) scope: Scope,
    /// Whether each look at it is a request over a network.
    pub(super) is_remote: bool,
}

impl Place {
    /// How long whoever follows it waits at most before looking again.
    pub(super) fn poll_interval(&self) -> Duration {
        Duration::from_secs(if self.is_remote { 4 } else { 1 })
    }

    /// How many segments are looked at at a time, where nothing is said and little is computed.
    pub(super) fn lookers(&self) -> usize {
        if self.is_remote { 32 } else { 4 * super::cores() }
    }

    /// The chains that there are now, in order.
    pub(super) fn chains(&self) -> Result<Vec<ChainName>, StoreError> {
        match &self.scope {
            Scope::Archive => self.store.chains(),
            Scope::Topic(topic) => self.store.chains_of(topic),
            Scope::Chain(chain) => Ok(vec![chain.clone()]),
        }
    }
}

/// How many directories below a path its first segment lies: that is what tells a partition from a topic from an
/// archive, since a topic may have the name of a partition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Partition,
    Topic,
    Archive,
}

/// Whether a place without any segment is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Segments {
    Required,
    /// Folders with the names of an archive's, or its origins, are enough.
    Optional,
}

impl Location {
    /// Looks at what is there.
    pub(super) fn find(given: &Path, gcs: &GcsArgs) -> Result<Location, CommandError> {
        Location::find_with(given, gcs, Segments::Required)
    }

    fn find_with(given: &Path, gcs: &GcsArgs, segments: Segments) -> Result<Location, CommandError> {
        match given.to_str().filter(|text| text.starts_with(bucket::SCHEME)) {
            Some(url) => bucket::find(url, gcs, segments),
            None => Location::find_local(given, segments),
        }
    }

    fn find_local(given: &Path, segments: Segments) -> Result<Location, CommandError> {
        let path = fs::canonicalize(given)
            .map_err(|error| CommandError::new(format!("cannot find {}: {error}", given.display())))?;
        if !path.is_dir() {
            return Location::file(given, path);
        }
        let no_segments = || {
            CommandError::new(format!(
                "{} holds no segments: give a file, or the directory of a partition, a topic or an archive \
                 (ARCHIVE/TOPIC/PARTITION/OFFSET)",
                given.display()
            ))
        };
        let level = level_of(&path, Segments::Required);
        let level = level.or_else(|| level_of(&path, segments)).ok_or_else(no_segments)?;
        let misnamed = || {
            CommandError::new(format!(
                "the segments in {} are not in a directory TOPIC/PARTITION (six digits): \
                 rename it, or give one of the files",
                given.display()
            ))
        };
        let topic = || name_of(&path).and_then(|name| TopicName::new(name).ok()).ok_or_else(misnamed);
        let (root, scope) = match level {
            Level::Archive => (Some(&*path), Scope::Archive),
            Level::Topic => (path.parent(), Scope::Topic(topic()?)),
            Level::Partition => {
                (path.parent().and_then(Path::parent), Scope::Chain(chain_at(&path).ok_or_else(misnamed)?))
            }
        };
        let store = LocalStore::open_read_only(root.ok_or_else(misnamed)?);
        let store = Arc::new(store.map_err(|error| CommandError::from_error(&error))?);
        Ok(Location::Place(Place { store, scope, is_remote: false }))
    }

    /// As [`Location::find`], where a file alone makes no sense.
    pub(super) fn find_place(given: &Path, gcs: &GcsArgs) -> Result<Place, CommandError> {
        Location::find_place_with(given, gcs, Segments::Required)
    }

    /// As [`Location::find_place`], also where all segments are gone.
    pub(super) fn find_remains(given: &Path, gcs: &GcsArgs) -> Result<Place, CommandError> {
        Location::find_place_with(given, gcs, Segments::Optional)
    }

    fn find_place_with(given: &Path, gcs: &GcsArgs, segments: Segments) -> Result<Place, CommandError> {
        match Location::find_with(given, gcs, segments)? {
            Location::Place(place) => Ok(place),
            Location::File { .. } | Location::Object { .. } => Err(CommandError::new(format!(
                "{} is a file: give the place of a partition, a topic or an archive",
                given.display()
            ))),
        }
    }

    /// The store that is to hold the same as a place: its own root, or the same part of it.
    pub(super) fn find_mirror(given: &Path, place: &Place, gcs: &GcsArgs) -> Result<Place, CommandError> {
        let mirror = Location::find_place(given, gcs)?;
        if mirror.scope == Scope::Archive || mirror.scope == place.scope {
            return Ok(mirror);
        }
        Err(CommandError::new(format!(
            "{} is another part of an archive: give the mirror's root, or the same topic or partition in it",
            given.display()
        )))
    }

    fn file(given: &Path, path: PathBuf) -> Result<Location, CommandError> {
        let start = name_of(&path).and_then(SegmentName::parse_file_name).ok_or_else(|| {
            CommandError::new(format!(
                "{} is not the name of a segment, which is its first offset in 20 digits: \
                 give a file as the archive names it",
                given.display()
            ))
        })?;
        let chain = path.parent().and_then(chain_at);
        Ok(Location::File { path, start, chain })
    }
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The chain whose directory this is, by its name.
fn chain_at(directory: &Path) -> Option<ChainName> {
    ChainName::parse(name_of(directory.parent()?)?, name_of(directory)?)
}

fn level_of(directory: &Path, segments: Segments) -> Option<Level> {
    let subdirectories = |directory: &Path| -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let has_segments = |directory: &Path| {
        let is_segment =
            |entry: fs::DirEntry| entry.file_name().to_str().and_then(SegmentName::parse_file_name).is_some();
        fs::read_dir(directory).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()) && is_segment(entry))
        })
    };
    let is_enough = |chain: &Path| segments == Segments::Optional || has_segments(chain);
    let has_chains =
        |topic: &Path| subdirectories(topic).iter().any(|child| chain_at(child).is_some() && is_enough(child));
    // What is left of an archive that lacks all segments.
    let is_left = |is_left: bool| segments == Segments::Optional && is_left;
    let is_archive = |directory: &Path| directory.join(RESERVED).is_dir();
    if has_segments(directory) {
        Some(Level::Partition)
    } else if has_chains(directory) {
        Some(Level::Topic)
    } else if subdirectories(directory).iter().any(|topic| has_chains(topic)) || is_left(is_archive(directory)) {
        Some(Level::Archive)
    } else if is_left(chain_at(directory).is_some()) {
        Some(Level::Partition)
    } else {
        is_left(directory.parent().is_some_and(is_archive)).then_some(Level::Topic)
    }
}
