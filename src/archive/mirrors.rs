//! The other stores: they are given the bytes that the arbiter has, under the same names.
//!
//! A mirror decides nothing. What it lacks of a chain is filled from the arbiter before a newer segment is added, so
//! that what it has is a chain without holes.

use crate::blocking::BlockingPool;
use crate::store::{ArchiveStore, CreateOutcome, LocalStore, ObjectStat, SegmentFile, SmallOutcome, StoreError};
use kafka_store_actors::ports::{
    Blocked, ChainLocator, CompletedSegment, Located, MirrorAnswer, MirrorStores, PortFuture, StoreFailure,
};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::TopicPartition;
use slog::{Logger, info, warn};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much is copied at a time.
const PIECE: usize = 1024 * 1024;
/// How often a long filling says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// A directory that mirrors the arbiter.
#[derive(Clone, Debug)]
pub struct Mirrors {
    shared: Arc<Shared>,
    pool: BlockingPool,
    filler: BlockingPool,
}

/// How far the mirror of a chain is.
#[derive(Debug, Default)]
struct State {
    /// Whether it lacks nothing before what this process adds.
    is_filled: bool,
}

#[derive(Debug)]
struct Shared {
    arbiter: Arc<dyn ArchiveStore>,
    mirror: Arc<LocalStore>,
    /// The chains of this process. Each is filled by one thread at a time.
    chains: Mutex<BTreeMap<ChainName, Arc<Mutex<State>>>>,
    log: Logger,
}

/// Why a mirror is not what it should be.
enum Trouble {
    /// It may be tried again.
    Failed(String),
    /// It has something else.
    Conflict(String),
}

impl Trouble {
    fn failed(error: impl Display) -> Trouble {
        Trouble::Failed(error.to_string())
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::failed(error)
    }
}

impl Mirrors {
    /// A mirror of an arbiter; its copies are made on the pool's threads.
    pub fn new(arbiter: Arc<dyn ArchiveStore>, mirror: Arc<LocalStore>, pool: BlockingPool, log: &Logger) -> Mirrors {
        let shared = Shared { arbiter, mirror, chains: Mutex::default(), log: log.clone() };
        // One thread fills at leisure: what is added waits for its own chain alone.
        Mirrors { shared: Arc::new(shared), pool, filler: BlockingPool::new("mirror-fill", 1) }
    }

    /// Gives the mirror what it lacks of a chain before this position: others may have added it.
    fn begin_to_fill(&self, chain: ChainName, position: Offset) {
        let shared = Arc::clone(&self.shared);
        lock(&shared.chains).entry(chain.clone()).or_default();
        drop(self.filler.run(move || {
            let state = shared.state_of(&chain);
            lock(&state).is_filled = false;
            if let Err(Trouble::Failed(reason) | Trouble::Conflict(reason)) = shared.fill(&chain, Some(position)) {
                warn!(shared.log, "the mirror lacks segments"; "chain" => %chain, "reason" => reason);
            }
        }));
    }

    /// Waits until the mirror lacks nothing of the chains that were located.
    ///
    /// # Errors
    /// The first thing that keeps a mirror from being whole.
    pub fn finish(&self) -> Result<(), String> {
        let chains: Vec<ChainName> = lock(&self.shared.chains).keys().cloned().collect();
        for chain in chains {
            match self.shared.fill(&chain, None) {
                Ok(()) => {}
                Err(Trouble::Failed(reason) | Trouble::Conflict(reason)) => return Err(reason),
            }
        }
        Ok(())
    }
}

impl MirrorStores for Mirrors {
    fn copy(
        &self,
        segment: &CompletedSegment,
        stored: &SegmentContent,
    ) -> PortFuture<Result<MirrorAnswer, StoreFailure>> {
        let (shared, segment, stored) = (Arc::clone(&self.shared), segment.clone(), *stored);
        self.pool.run(move || match shared.copy(&segment, &stored) {
            Ok(()) => Ok(MirrorAnswer::Stored),
            Err(Trouble::Conflict(reason)) => Ok(MirrorAnswer::Conflicts { reason }),
            Err(Trouble::Failed(reason)) => Err(StoreFailure { reason }),
        })
    }
}

impl Shared {
    fn copy(&self, segment: &CompletedSegment, stored: &SegmentContent) -> Result<(), Trouble> {
        let SegmentName { chain, start } = &segment.name;
        self.fill(chain, Some(*start))?;
        if *stored == segment.content {
            return self.create(&segment.name, segment.file.path(), stored.file_bytes, stored.crc32c);
        }
        // Another's object was adopted.
        let stat = ObjectStat { bytes: stored.file_bytes, crc32c: Some(stored.crc32c), ..ObjectStat::default() };
        self.copy_from_arbiter(&segment.name, &stat)
    }

    /// Gives the mirror what it lacks of a chain before a segment, or all of it. Once for each chain.
    fn fill(&self, chain: &ChainName, before: Option<Offset>) -> Result<(), Trouble> {
        let state = self.state_of(chain);
        let mut state = lock(&state);
        if state.is_filled {
            return Ok(());
        }
        self.copy_origin(chain)?;
        let mut wanted = self.arbiter.objects_from(chain, None)?;
        wanted.retain(|(start, _)| before.is_none_or(|before| *start < before));
        let held: BTreeMap<Offset, ObjectStat> = self.mirror.objects_from(chain, None)?.into_iter().collect();
        self.refuse_strays(chain, &wanted, &held, before)?;
        let missing: Vec<&(Offset, ObjectStat)> =
            wanted.iter().filter(|(start, _)| !held.contains_key(start)).collect();
        let (all, mut told) = (missing.len(), Instant::now());
        if all > 0 {
            info!(self.log, "filling the mirror"; "chain" => %chain, "segments" => all);
        }
        for (done, (start, stat)) in missing.into_iter().enumerate() {
            self.copy_from_arbiter(&chain.segment(*start), stat)?;
            if told.elapsed() >= TOLD_EVERY {
                info!(self.log, "filling the mirror"; "chain" => %chain, "segments" => all, "done" => done + 1);
                told = Instant::now();
            }
        }
        state.is_filled = true;
        Ok(())
    }

    fn state_of(&self, chain: &ChainName) -> Arc<Mutex<State>> {
        Arc::clone(lock(&self.chains).entry(chain.clone()).or_default())
    }

    /// What both hold under a name has one length; what the mirror alone holds behind the arbiter's first segment is of
    /// another chain. (In front of it, the arbiter's may have been removed.)
    fn refuse_strays(
        &self,
        chain: &ChainName,
        wanted: &[(Offset, ObjectStat)],
        held: &BTreeMap<Offset, ObjectStat>,
        before: Option<Offset>,
    ) -> Result<(), Trouble> {
        let Some((first, _)) = wanted.first() else { return Ok(()) };
        let names: BTreeMap<Offset, u64> = wanted.iter().map(|(start, stat)| (*start, stat.bytes)).collect();
        for (start, stat) in held.range(*first..) {
            let name = chain.segment(*start);
            match names.get(start) {
                Some(bytes) if *bytes == stat.bytes => {}
                Some(bytes) => {
                    return Err(self.conflict(&name, &format!("{} bytes there, and {bytes} here", stat.bytes)));
                }
                None if before.is_some_and(|before| *start >= before) => {}
                None => return Err(self.conflict(&name, "which is not in the arbiter at all")),
            }
        }
        Ok(())
    }

    /// The origin makes a chain whole for whoever has the mirror alone.
    fn copy_origin(&self, chain: &ChainName) -> Result<(), Trouble> {
        let name = chain.origin_object();
        let Some(bytes) = self.arbiter.read_small(&name)? else { return Ok(()) };
        match self.mirror.create_small(&name, &bytes)? {
            SmallOutcome::AlreadyExists(other) if other != bytes => Err(Trouble::Conflict(format!(
                "{name} is another in {} than in {}: the mirror is of another archive; give an empty directory",
                self.mirror.describe(),
                self.arbiter.describe()
            ))),
            _ => Ok(()),
        }
    }

    fn copy_from_arbiter(&self, name: &SegmentName, stat: &ObjectStat) -> Result<(), Trouble> {
        let gone = || Trouble::Failed(format!("{} has vanished", self.arbiter.location(name)));
        let object = self.arbiter.open(name)?.ok_or_else(gone)?;
        let instance = self.mirror.instance_dir().expect("a mirror is opened for writing");
        let (path, mut file) = instance.create_file("mirrored")?;
        let path = Removed(path);
        let (bytes, crc32c) = copy_bytes(object, &mut file).map_err(|error| {
            let location = self.arbiter.location(name);
            match error.kind() {
                ErrorKind::InvalidData => {
                    Trouble::Conflict(format!("{location} cannot be copied to the mirror: {error}"))
                }
                _ => Trouble::Failed(format!("{location} was not copied to the mirror: {error}")),
            }
        })?;
        if bytes != stat.bytes || stat.crc32c.is_some_and(|known| known != crc32c) {
            return Err(Trouble::Failed(format!(
                "the copy of {} has {bytes} bytes and the CRC-32C {crc32c:08x}, which is not what the store says",
                self.arbiter.location(name)
            )));
        }
        self.create(name, &path.0, bytes, crc32c)
    }

    fn create(&self, name: &SegmentName, path: &Path, bytes: u64, crc32c: u32) -> Result<(), Trouble> {
        let file =
            SegmentFile { name: name.clone(), path: path.to_owned(), bytes, crc32c, attributes: BTreeMap::new() };
        match self.mirror.create_segment(&file)? {
            CreateOutcome::Created(_) => Ok(()),
            CreateOutcome::AlreadyExists => self.compare(name, bytes, crc32c),
        }
    }

    fn compare(&self, name: &SegmentName, bytes: u64, crc32c: u32) -> Result<(), Trouble> {
        let held = self.mirror.open(name)?.ok_or_else(|| Trouble::Failed(format!("{name} has vanished")))?;
        let held = copy_bytes(held, &mut io::sink()).map_err(Trouble::failed)?;
        if held == (bytes, crc32c) { Ok(()) } else { Err(self.conflict(name, "and holds other bytes")) }
    }

    fn conflict(&self, name: &SegmentName, what: &str) -> Trouble {
        Trouble::Conflict(format!(
            "{} is in the mirror, {what}: move it out of there, and it is copied from {} again",
            self.mirror.location(name),
            self.arbiter.location(name)
        ))
    }
}

/// Copies all bytes; the answer is how many, and their CRC-32C.
fn copy_bytes(mut from: impl Read, to: &mut impl Write) -> io::Result<(u64, u32)> {
    let (mut bytes, mut crc32c, mut piece) = (0, 0, vec![0; PIECE]);
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return Ok((bytes, crc32c)),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&piece[..count])?;
        bytes += count as u64;
        crc32c = crc32c::crc32c_append(crc32c, &piece[..count]);
    }
}

/// A file that is removed, unless a store has taken it.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds where chains go on, and has the mirror filled with what lies before: also where nothing is added any more.
#[derive(Debug)]
pub struct MirroredLocator<L> {
    locator: L,
    mirrors: Mirrors,
}

impl<L: ChainLocator> MirroredLocator<L> {
    /// Over a locator of the arbiter's chains.
    pub fn new(locator: L, mirrors: Mirrors) -> MirroredLocator<L> {
        MirroredLocator { locator, mirrors }
    }
}

impl<L: ChainLocator> ChainLocator for MirroredLocator<L> {
    fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> PortFuture<Result<Located, Blocked>> {
        let (located, mirrors) = (self.locator.locate(partition, from), self.mirrors.clone());
        Box::pin(async move {
            let located = located.await;
            if let Ok(located) = &located {
                mirrors.begin_to_fill(located.chain.clone(), located.position);
            }
            located
        })
    }

    fn is_covered(&self, partition: &TopicPartition, target: Offset) -> PortFuture<Result<bool, Blocked>> {
        self.locator.is_covered(partition, target)
    }
}
