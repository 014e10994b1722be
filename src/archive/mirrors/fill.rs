//! The mirror of a chain: what it lacks is copied, what it has is compared.

use super::compared::{Compared, remember};
use crate::store::{
    ArchiveStore, CreateOutcome, LocalStore, ObjectStat, SegmentFile, SmallOutcome, StoreError, copy_with_crc32c,
    crc32c_of_file,
};
use kafka_store_actors::ports::CompletedSegment;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::segment::SegmentContent;
use slog::{Logger, info, warn};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a long filling says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How far the mirror of a chain is.
#[derive(Debug, Default)]
struct State {
    /// True if it lacks nothing before what this process adds.
    is_filled: bool,
}

/// The arbiter, and a directory that is to hold the same.
#[derive(Debug)]
pub(super) struct Pair {
    arbiter: Arc<dyn ArchiveStore>,
    mirror: Arc<LocalStore>,
    /// The chains of this process. Each is filled by one thread at a time.
    chains: Mutex<BTreeMap<ChainName, Arc<Mutex<State>>>>,
    pub(super) log: Logger,
}

/// Why a mirror is not what it should be.
#[derive(Debug)]
pub(super) enum MirrorError {
    /// It may be tried again.
    Failed(Failure),
    /// It has something else.
    Conflict(String),
}

impl MirrorError {
    fn failed(class: Class, reason: impl Into<String>) -> MirrorError {
        MirrorError::Failed(Failure::new(Port::Mirrors, class, reason))
    }
}

impl From<StoreError> for MirrorError {
    fn from(error: StoreError) -> MirrorError {
        MirrorError::Failed(error.failure(Port::Mirrors))
    }
}

impl Display for MirrorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MirrorError::Failed(failure) => f.write_str(&failure.advice()),
            MirrorError::Conflict(reason) => f.write_str(reason),
        }
    }
}

/// What is to be done for a chain.
struct Work {
    missing: Vec<(Offset, ObjectStat)>,
    /// There are two, which may differ.
    unknown: Vec<(Offset, ObjectStat)>,
}

impl Pair {
    pub(super) fn new(arbiter: Arc<dyn ArchiveStore>, mirror: Arc<LocalStore>, log: Logger) -> Pair {
        Pair { arbiter, mirror, chains: Mutex::default(), log }
    }

    /// The chains of this process.
    pub(super) fn chains(&self) -> Vec<ChainName> {
        lock(&self.chains).keys().cloned().collect()
    }

    /// Adds a chain to those of this process.
    pub(super) fn add_chain(&self, chain: &ChainName) {
        drop(self.state_of(chain));
    }

    /// Has a chain looked at again: others may have added to it.
    pub(super) fn mark_unfilled(&self, chain: &ChainName) {
        lock(&self.state_of(chain)).is_filled = false;
    }

    /// Gives the mirror a segment that the arbiter holds as `stored`.
    pub(super) fn copy(&self, segment: &CompletedSegment, stored: &SegmentContent) -> Result<(), MirrorError> {
        let name = &segment.name;
        self.fill(&name.chain, Some(name.start), usize::MAX)?;
        let path = segment.file.path();
        if *stored == segment.content && self.is_as_stored(path, stored) {
            self.create(name, path, stored.file_bytes, stored.crc32c)?;
        } else {
            // Another's object was adopted, or ours is in the arbiter alone.
            let stat = ObjectStat { bytes: stored.file_bytes, crc32c: Some(stored.crc32c), ..ObjectStat::default() };
            self.copy_from_arbiter(name, &stat)?;
        }
        remember(&self.mirror, name, stored.crc32c);
        Ok(())
    }

    /// The spool file was stored a moment ago, which says nothing of what is there now.
    fn is_as_stored(&self, path: &Path, stored: &SegmentContent) -> bool {
        let read = crc32c_of_file(path);
        let is_as_stored = read.as_ref().is_ok_and(|read| *read == (stored.file_bytes, stored.crc32c));
        if !is_as_stored {
            let found =
                read.map_or_else(|error| error.to_string(), |(bytes, crc)| format!("{bytes} bytes, CRC-32C {crc:08x}"));
            warn!(self.log, "the spool file is not what was stored, copying the object from the arbiter instead";
                "found" => found, "path" => %path.display(),
                "stored" => format!("{} bytes, CRC-32C {:08x}", stored.file_bytes, stored.crc32c));
        }
        is_as_stored
    }

    /// Gives the mirror what it lacks of a chain before a segment, or all of it, and compares what it has and nobody has
    /// compared. Once for each chain. False if that is more than `limit` files, of which none is touched then.
    pub(super) fn fill(&self, chain: &ChainName, before: Option<Offset>, limit: usize) -> Result<bool, MirrorError> {
        let state = self.state_of(chain);
        let mut state = lock(&state);
        if state.is_filled {
            return Ok(true);
        }
        self.copy_origin(chain)?;
        let Work { missing, unknown } = self.find_work(chain, before)?;
        let all = missing.len() + unknown.len();
        if all > limit {
            return Ok(false);
        }
        if all > 0 {
            info!(self.log, "filling the mirror"; "chain" => %chain, "segments" => missing.len(),
                "to_compare" => unknown.len());
        }
        let mut told = Instant::now();
        let unknown = unknown.iter().map(|(start, stat)| (start, stat, true));
        let missing = missing.iter().map(|(start, stat)| (start, stat, false));
        for (done, (start, stat, is_there)) in unknown.chain(missing).enumerate() {
            let name = chain.segment(*start);
            let crc32c =
                if is_there { self.compare_with_arbiter(&name, stat)? } else { self.copy_from_arbiter(&name, stat)? };
            remember(&self.mirror, &name, crc32c);
            self.mirror.confirm(&name);
            if told.elapsed() >= TOLD_EVERY {
                info!(self.log, "filling the mirror"; "chain" => %chain, "files" => all, "done" => done + 1);
                told = Instant::now();
            }
        }
        state.is_filled = true;
        Ok(true)
    }

    fn state_of(&self, chain: &ChainName) -> Arc<Mutex<State>> {
        Arc::clone(lock(&self.chains).entry(chain.clone()).or_default())
    }

    /// What the mirror alone holds behind the arbiter's first segment is of another chain. (In front of it, the arbiter's
    /// may have been removed.)
    fn find_work(&self, chain: &ChainName, before: Option<Offset>) -> Result<Work, MirrorError> {
        let mut wanted = self.arbiter.objects_from(chain, None)?;
        wanted.retain(|(start, _)| before.is_none_or(|before| *start < before));
        let held: BTreeMap<Offset, ObjectStat> = self.mirror.objects_from(chain, None)?.into_iter().collect();
        let in_doubt: BTreeSet<Offset> = self.mirror.in_doubt(chain)?.into_iter().collect();
        let compared = Compared::read(&self.mirror, chain);
        let names: BTreeSet<Offset> = wanted.iter().map(|(start, _)| *start).collect();
        let first = names.first();
        let strays = held.keys().filter(|start| first.is_some_and(|first| first < *start) && !names.contains(start));
        if let Some(stray) = strays.into_iter().find(|start| before.is_none_or(|before| **start < before)) {
            return Err(self.conflict(&chain.segment(*stray), "which is not in the arbiter at all"));
        }
        let mut work = Work { missing: Vec::new(), unknown: Vec::new() };
        for (start, stat) in wanted {
            let name = chain.segment(start);
            match held.get(&start) {
                None => work.missing.push((start, stat)),
                Some(here) if here.bytes != stat.bytes => {
                    return Err(self.conflict(&name, &format!("{} bytes there, and {} here", here.bytes, stat.bytes)));
                }
                Some(_) => {
                    let knows = |crc32c| compared.knows(&self.mirror, &name, crc32c);
                    if in_doubt.contains(&start) || !stat.crc32c.is_some_and(knows) {
                        work.unknown.push((start, stat));
                    }
                }
            }
        }
        Ok(work)
    }

    /// The origin makes a chain whole for whoever has the mirror alone.
    fn copy_origin(&self, chain: &ChainName) -> Result<(), MirrorError> {
        let name = chain.origin_object();
        let Some(bytes) = self.arbiter.read_small(&name)? else { return Ok(()) };
        match self.mirror.create_small(&name, &bytes)? {
            SmallOutcome::AlreadyExists(other) if other != bytes => Err(MirrorError::Conflict(format!(
                "{name} is another in {} than in {}: the mirror is of another archive; give an empty directory",
                self.mirror.describe(),
                self.arbiter.describe()
            ))),
            _ => Ok(()),
        }
    }

    /// Copies an object, and returns its CRC-32C.
    fn copy_from_arbiter(&self, name: &SegmentName, stat: &ObjectStat) -> Result<u32, MirrorError> {
        let instance = self.mirror.instance_dir().expect("a mirror is opened for writing");
        let (path, mut file) = instance.create_file("mirrored")?;
        let crc32c = self.read_arbiter(name, stat, &mut file)?;
        self.create(name, &path, stat.bytes, crc32c)?;
        Ok(crc32c)
    }

    fn read_arbiter(&self, name: &SegmentName, stat: &ObjectStat, to: &mut impl io::Write) -> Result<u32, MirrorError> {
        let gone = || MirrorError::failed(Class::Other, format!("{} has vanished", self.arbiter.location(name)));
        let object = self.arbiter.open(name)?.ok_or_else(gone)?;
        let (bytes, crc32c) = copy_with_crc32c(object, to).map_err(|error| {
            let location = self.arbiter.location(name);
            match error.kind() {
                ErrorKind::InvalidData => {
                    MirrorError::Conflict(format!("{location} cannot be copied to the mirror: {error}"))
                }
                _ => MirrorError::failed(Class::Other, format!("{location} was not copied to the mirror: {error}")),
            }
        })?;
        if bytes != stat.bytes || stat.crc32c.is_some_and(|known| known != crc32c) {
            return Err(MirrorError::failed(
                Class::Other,
                format!(
                    "the copy of {} has {bytes} bytes and the CRC-32C {crc32c:08x}, which is not what the store says",
                    self.arbiter.location(name)
                ),
            ));
        }
        Ok(crc32c)
    }

    fn create(&self, name: &SegmentName, path: &Path, bytes: u64, crc32c: u32) -> Result<(), MirrorError> {
        let file =
            SegmentFile { name: name.clone(), path: path.to_owned(), bytes, crc32c, attributes: BTreeMap::new() };
        match self.mirror.create_segment(&file)? {
            CreateOutcome::Created(_) => Ok(()),
            CreateOutcome::AlreadyExists => self.compare(name, bytes, crc32c),
        }
    }

    /// Reads what both hold under a name, and returns the CRC-32C.
    fn compare_with_arbiter(&self, name: &SegmentName, stat: &ObjectStat) -> Result<u32, MirrorError> {
        let crc32c = match stat.crc32c {
            Some(crc32c) => crc32c,
            None => self.read_arbiter(name, stat, &mut io::sink())?,
        };
        self.compare(name, stat.bytes, crc32c)?;
        Ok(crc32c)
    }

    fn compare(&self, name: &SegmentName, bytes: u64, crc32c: u32) -> Result<(), MirrorError> {
        let held =
            self.mirror.open(name)?.ok_or_else(|| MirrorError::failed(Class::Other, format!("{name} has vanished")))?;
        let held = copy_with_crc32c(held, &mut io::sink());
        let held = held.map_err(|error| {
            MirrorError::Failed(StoreError::reading(name.to_string(), error).failure(Port::Mirrors))
        })?;
        if held == (bytes, crc32c) { Ok(()) } else { Err(self.conflict(name, "and holds other bytes")) }
    }

    fn conflict(&self, name: &SegmentName, what: &str) -> MirrorError {
        MirrorError::Conflict(format!(
            "{} is in the mirror, {what}: move it out of there, and it is copied from {} again",
            self.mirror.location(name),
            self.arbiter.location(name)
        ))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
