//! Segments in doubt: those that a process published last before it [ended uncleanly](UncleanEnd).

use super::local::LocalStore;
use super::sync::sync_file;
use super::unclean::UncleanEnd;
use super::{ArchiveStore, StoreError};
use crate::page_cache::PageCache;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A segment counts as one of the last of its chain if it was published this shortly before the last one: Linux starts
/// to write what waits for the disk after 30 s.
const LAST: Duration = Duration::from_secs(60);
/// The times of two files on one file system are compared, and some file systems count in seconds.
const TICK: Duration = Duration::from_secs(2);

/// The segments that were in doubt and have been read since.
#[derive(Debug, Default)]
pub(super) struct Confirmed(Mutex<BTreeSet<SegmentName>>);

impl Confirmed {
    pub(super) fn insert(&self, name: &SegmentName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
    }

    fn contains(&self, name: &SegmentName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

/// The processes that left segments of a directory in doubt.
#[derive(Debug)]
pub struct UncleanEnds(Vec<UncleanEnd>);

impl UncleanEnds {
    /// What happened to each of them.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|end| &*end.reason)
    }

    /// True if nothing is in doubt.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl LocalStore {
    /// The processes that left segments in doubt. Their segments are [in doubt](ArchiveStore::in_doubt) until these ends
    /// are [settled](LocalStore::settle_unclean_ends), by any process.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn unclean_ends(&self) -> Result<UncleanEnds, StoreError> {
        let ends = self.instance_dir().map(|instance| instance.unclean_ends()).transpose()?;
        Ok(UncleanEnds(ends.unwrap_or_default()))
    }

    /// Forgets these ends: every segment that they had left in doubt has been read.
    ///
    /// # Errors
    /// If what says so cannot be removed.
    pub fn settle_unclean_ends(&self, ends: &UncleanEnds) -> Result<(), StoreError> {
        let Some(instance) = self.instance_dir() else { return Ok(()) };
        ends.0.iter().try_for_each(|end| instance.forget(end))
    }

    /// The segments of a chain that are in doubt. Their bytes have left the page cache: what is read is on the disk.
    pub(super) fn find_in_doubt(&self, chain: &ChainName) -> Result<Vec<Offset>, StoreError> {
        let ends = self.unclean_ends()?;
        let Some(since) = ends.0.iter().map(|end| end.since).min() else { return Ok(Vec::new()) };
        let (mut in_doubt, mut last) = (Vec::new(), None);
        for start in self.segments_from(chain, None)?.into_iter().rev() {
            let name = chain.segment(start);
            let path = self.path_of(&name);
            let file = File::open(&path).map_err(|error| StoreError::io("open", &path, error))?;
            let metadata = file.metadata().map_err(|error| StoreError::io("look at", &path, error))?;
            // The time of its last link: a copied archive is as new as the copy.
            let published = time(metadata.ctime(), metadata.ctime_nsec());
            let last = *last.get_or_insert(published);
            if published + TICK < since || published + LAST < last {
                break;
            }
            if !self.confirmed.contains(&name) {
                // Only pages that are on the disk can leave.
                sync_file(&file, &path)?;
                PageCache::Released.release(&file, metadata.len());
                in_doubt.push(start);
            }
        }
        Ok(in_doubt)
    }
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let (seconds, nanoseconds) = (u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0));
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}
