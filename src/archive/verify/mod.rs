//! `kafka-store verify`: is an archive whole, and is everything accounted for?
//!
//! First each segment alone, several at a time: quickly (its header, its end, what the store keeps beside it) or deeply
//! (every byte). Then each chain: it begins at its origin, each segment starts where the one before it ends, all are
//! of one cluster, topic and isolation, and each ends where its settings and records say. Records, invisible offsets
//! and gaps of a segment make up the offsets that it covers, or its header is refused. What is wrong with one thing
//! does not hide what is wrong with another.

mod boundary;
mod chain;
mod index;
mod kafka;
mod mirror;
mod problem;
mod segment;
mod state;

pub use index::AgainstIndex;
pub use kafka::{AgainstKafka, KafkaTail};
pub use problem::{Problem, ProblemKind};
pub use state::{StateError, VerifyState};

use super::error::ArchiveError;
use super::parallel_map;
use super::survey::{ChainSurvey, SegmentFacts, SurveyedSegment, origin_of};
use crate::store::{ArchiveStore, ObjectStat, Scope};
use chain::check_chain;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::origin::Origin;
use mirror::Mirror;
use segment::{Checked, check_deeply, check_quickly};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much of each segment is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Depth {
    /// Its header and its end.
    Quick,
    /// Every byte of a part of them, drawn by name; the others quickly.
    Sample {
        /// The part, from 0 to 1.
        share: f64,
        /// The same seed draws the same segments.
        seed: u64,
    },
    /// Every byte.
    Deep,
}

/// What is verified, and how.
#[derive(Debug)]
pub struct VerifyJob<'a> {
    /// The archive.
    pub store: &'a dyn ArchiveStore,
    /// The part of it that is verified.
    pub scope: Scope,
    /// The chains of that part.
    pub chains: Vec<ChainName>,
    /// How much is read.
    pub depth: Depth,
    /// How many segments at a time.
    pub threads: usize,
    /// A store that must hold the same.
    pub mirror: Option<&'a dyn ArchiveStore>,
    /// What earlier runs have read whole.
    pub state: Option<&'a VerifyState>,
    /// Set by somebody who wants no more.
    pub stop: &'a AtomicBool,
}

/// How a verification goes on; called from several threads.
pub trait Watch: Sync + std::fmt::Debug {
    /// There are so many bytes to read, or so many segments to look at.
    fn begin(&self, work: Work);
    /// So many more are done.
    fn advance(&self, done: u64);
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// So many bytes are read.
    Bytes(u64),
    /// So many segments are looked at.
    Segments(u64),
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Each chain, in order.
    pub chains: Vec<ChainReport>,
    /// What is no problem, but should be known.
    pub notes: Vec<String>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
}

/// What was found of a chain.
#[derive(Clone, Debug)]
pub struct ChainReport {
    /// Its name.
    pub chain: ChainName,
    /// Where it begins, if that is written down.
    pub origin: Option<Origin>,
    /// The offsets that it began with and that are not there any more.
    pub pruned: Option<OffsetRange>,
    /// The first offset that is there.
    pub first_offset: Option<Offset>,
    /// Where it goes on, if that is known.
    pub next_offset: Option<Offset>,
    /// Its segments.
    pub segments: u64,
    /// How many of them were read whole, now or in an earlier run.
    pub read_whole: u64,
    /// How many are the original tool's and say nothing of themselves, and were not read.
    pub unknown: u64,
    /// Records, as far as they are known.
    pub records: u64,
    /// Offsets that the log did not show.
    pub invisible: u64,
    /// Offsets whose records were removed before they were archived.
    pub deleted: u64,
    /// What its segments take.
    pub bytes: u64,
    /// The id of its topic, as its last segment has it.
    pub topic_id: Option<String>,
}

/// One segment that is to be checked.
struct Item {
    name: SegmentName,
    stat: ObjectStat,
    is_deep: bool,
}

/// A segment that was checked.
struct Done {
    checked: Checked,
    is_read_whole: bool,
}

impl Done {
    /// Whether it was read in this run, and all of it is right.
    fn is_news(&self) -> bool {
        self.checked.crc32c.is_some() && self.checked.is_settled && self.checked.problems.is_empty()
    }
}

impl VerifyJob<'_> {
    /// Verifies.
    ///
    /// # Errors
    /// If the store, or the mirror, cannot be listed, or the state cannot be kept. What is wrong with the archive is in
    /// the report.
    pub fn run(&self, watch: &dyn Watch) -> Result<VerifyReport, VerifyError> {
        let mut chains = Vec::new();
        for chain in &self.chains {
            chains.push((chain, origin_of(self.store, chain)?, self.store.objects_from(chain, None)?));
        }
        let own = || {
            let starts = |objects: &[(Offset, ObjectStat)]| objects.iter().map(|(start, _)| *start).collect();
            chains.iter().map(|(chain, _, objects)| ((*chain).clone(), starts(objects))).collect()
        };
        let mirror = self.mirror.map(|mirror| Mirror::list(mirror, &self.scope, own())).transpose()?;
        let items: Vec<Item> = chains
            .iter()
            .flat_map(|(chain, _, objects)| objects.iter().map(|(start, stat)| self.item(chain, *start, stat)))
            .collect();
        watch.begin(self.work(&items));
        let failure = Mutex::new(None);
        let done = parallel_map(&items, self.threads, |item| {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let done = self.check(item, mirror.as_ref(), watch);
            done.map_err(|error| {
                self.stop.store(true, Ordering::Relaxed);
                *failure.lock().expect("a panic ends the process") = Some(error);
            })
            .ok()
        });
        if let Some(state) = self.state {
            state.save()?;
        }
        if let Some(error) = failure.into_inner().expect("a panic ends the process") {
            return Err(error.into());
        }
        let mut report = VerifyReport { is_stopped: done.iter().any(Option::is_none), ..VerifyReport::default() };
        if report.is_stopped {
            return Ok(report);
        }
        let mut done = items.into_iter().zip(done.into_iter().flatten());
        for (chain, origin, objects) in chains {
            let (segments, checks) = done.by_ref().take(objects.len()).map(split).unzip();
            let survey = ChainSurvey { chain: chain.clone(), origin, segments };
            check_chain(self.store, &survey, checks, &mut report);
        }
        let unknown: u64 = report.chains.iter().map(|chain| chain.unknown).sum();
        if unknown > 0 {
            report.notes.push(format!(
                "{unknown} files of the original tool do not say where they end: only --deep finds out whether something \
                 is missing between them"
            ));
        }
        if let Some(mirror) = mirror {
            mirror.compare_names(&mut report);
        }
        for stranger in self.store.strangers(&self.scope)? {
            report.notes.push(format!("{stranger} is no part of an archive"));
        }
        Ok(report)
    }

    fn item(&self, chain: &ChainName, start: Offset, stat: &ObjectStat) -> Item {
        let name = chain.segment(start);
        let is_deep = match self.depth {
            Depth::Quick => false,
            Depth::Deep => true,
            Depth::Sample { share, seed } => is_drawn(&name, share, seed),
        };
        Item { name, stat: stat.clone(), is_deep }
    }

    fn work(&self, items: &[Item]) -> Work {
        match self.depth {
            Depth::Quick => Work::Segments(items.len() as u64),
            _ => Work::Bytes(items.iter().filter(|item| item.is_deep).map(|item| item.stat.bytes).sum()),
        }
    }

    fn check(&self, item: &Item, mirror: Option<&Mirror<'_>>, watch: &dyn Watch) -> Result<Done, StateError> {
        let Item { name, stat, is_deep } = item;
        if self.depth == Depth::Quick {
            watch.advance(1);
        }
        let mut done = if !is_deep {
            Done { checked: check_quickly(self.store, name, stat), is_read_whole: false }
        } else if let Some(known) = self.known(name, stat) {
            watch.advance(stat.bytes);
            known
        } else {
            let checked = check_deeply(self.store, name, stat, &|bytes| watch.advance(bytes));
            Done { checked, is_read_whole: true }
        };
        if let Some(mirror) = mirror {
            let crc32c = done.checked.crc32c;
            done.checked.problems.extend(mirror.compare(self.store, name, stat, crc32c, *is_deep));
        }
        if let (Some(state), Ok(facts), true) = (self.state, &done.checked.facts, done.is_news()) {
            state.remember(name, stat, facts)?;
        }
        Ok(done)
    }

    /// What is known of a segment that an earlier run has read; its front is looked at again all the same.
    fn known(&self, name: &SegmentName, stat: &ObjectStat) -> Option<Done> {
        let mut checked = check_quickly(self.store, name, stat);
        let facts = self.state?.facts(name, stat, checked.facts.as_ref().ok()?)?;
        checked.facts = Ok(facts);
        Some(Done { checked, is_read_whole: true })
    }
}

/// Why an archive cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The archive cannot be listed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The state cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<crate::store::StoreError> for VerifyError {
    fn from(error: crate::store::StoreError) -> VerifyError {
        VerifyError::Archive(error.into())
    }
}

/// What was checked, apart from what is known.
struct ChainCheck {
    problems: Vec<(ProblemKind, String)>,
    is_read_whole: bool,
}

fn split((item, done): (Item, Done)) -> (SurveyedSegment, ChainCheck) {
    let Done { checked: Checked { facts, problems, .. }, is_read_whole } = done;
    (SurveyedSegment { start: item.name.start, stat: item.stat, facts }, ChainCheck { problems, is_read_whole })
}

/// Whether a segment belongs to the sample.
fn is_drawn(name: &SegmentName, share: f64, seed: u64) -> bool {
    let hash = blake3::hash(format!("{seed} {name}").as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) < share * f64::from(u32::MAX)
}

/// The facts of a segment, if they are known.
fn known_facts(segment: &SurveyedSegment) -> Option<&SegmentFacts> {
    segment.facts.as_ref().ok()
}
