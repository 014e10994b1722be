//! `kafka-store verify`: is an archive whole, and is everything accounted for?
//!
//! First each segment alone, several at a time: quickly (its header, its end, what the store keeps beside it) or deeply
//! (every byte). Then each chain: it begins at its origin, each segment starts where the one before it ends, all are
//! of one cluster, topic and isolation, and each ends where its settings and records say. Records, invisible offsets
//! and gaps of a segment make up the offsets that it covers, or its header is refused. What is wrong with one thing
//! does not hide what is wrong with another.

mod boundary;
mod chain;
mod content;
mod index;
mod kafka;
mod mirror;
mod missing;
mod problem;
mod segment;
mod state;

pub use index::AgainstIndex;
pub use kafka::{AgainstKafka, AgainstKafkaError, KafkaTail, OtherEpoch, RecordComparison};
pub(super) use kafka::{ArchivedRecord, Digest, Unvisited, Visit, visit_segment};
pub use problem::{Problem, ProblemKind};
pub use state::{StateError, VerifyState};

use super::error::ArchiveError;
use super::origin_object::OriginObject;
use super::parallel_map;
use super::survey::{ChainSurvey, SegmentFacts, SurveyedSegment};
use crate::store::{ArchiveStore, ObjectStat, Scope, StoreError};
use chain::check_chain;
use content::ChainContent;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::origin::Origin;
use mirror::Mirror;
use missing::{MissingSegments, chains_with_origins};
use segment::{Checked, check_deeply, check_quickly};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Amount of each segment that is read.
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

/// A verification to run.
#[derive(Debug)]
pub struct VerifyJob<'a> {
    /// The archive.
    pub store: &'a dyn ArchiveStore,
    /// The part of it that is verified.
    pub scope: Scope,
    /// The chains of that part.
    pub chains: Vec<ChainName>,
    /// Amount that is read.
    pub depth: Depth,
    /// Segments checked concurrently.
    pub threads: usize,
    /// A store that must hold the same.
    pub mirror: Option<&'a dyn ArchiveStore>,
    /// Segments that earlier runs have read whole.
    pub state: Option<&'a VerifyState>,
    /// Set to interrupt the verification.
    pub stop: &'a AtomicBool,
}

/// Progress of a verification; called from several threads.
pub trait Watch: Sync + std::fmt::Debug {
    /// Announces the amount of work.
    fn begin(&self, work: Work);
    /// Adds to the work that is done.
    fn advance(&self, done: u64);
}

/// An amount of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Bytes to read.
    Bytes(u64),
    /// Segments to look at.
    Segments(u64),
    /// Partitions to compare with Kafka's log.
    Partitions(u64),
}

/// Findings of a verification.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Each chain, in order.
    pub chains: Vec<ChainReport>,
    /// Remarks that are no problems.
    pub notes: Vec<String>,
    /// Problems.
    pub problems: Vec<Problem>,
    /// True if it was interrupted before its end.
    pub is_stopped: bool,
}

/// Findings about one chain.
#[derive(Clone, Debug)]
pub struct ChainReport {
    /// Its name.
    pub chain: ChainName,
    /// Its recorded origin.
    pub origin: Option<Origin>,
    /// Offsets at its front whose segments have been removed.
    pub pruned: Option<OffsetRange>,
    /// The first offset that is still there.
    pub first_offset: Option<Offset>,
    /// The next offset to archive, if that is known.
    pub next_offset: Option<Offset>,
    /// Number of segments.
    pub segments: u64,
    /// Segments that were read whole, now or in an earlier run.
    pub read_whole: u64,
    /// Segments of the original tool that were not read: they have no header that says what they hold.
    pub unknown: u64,
    /// Records, as far as they are known.
    pub records: u64,
    /// Offsets that the log did not show.
    pub invisible: u64,
    /// Offsets whose records were removed before they were archived.
    pub deleted: u64,
    /// Bytes of its segments.
    pub bytes: u64,
    /// The parts that are compared with Kafka's log.
    content: ChainContent,
}

impl VerifyReport {
    /// Adds problems, but those of segments of which one is known already.
    fn add_new(&mut self, problems: Vec<Problem>) {
        let known: BTreeSet<String> = self.problems.iter().map(|problem| problem.location.clone()).collect();
        let is_new = |problem: &Problem| problem.is_of_chain() || !known.contains(&problem.location);
        self.problems.extend(problems.into_iter().filter(is_new));
    }
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
    /// True if it was read in this run, and all of it is right.
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
        let mut report = VerifyReport::default();
        let mut chains = Vec::new();
        for chain in self.all_chains()? {
            let origin = self.origin_of(&chain, &mut report)?;
            let objects = self.store.objects_from(&chain, None)?;
            chains.push((chain, origin, objects));
        }
        let starts = |objects: &[(Offset, ObjectStat)]| objects.iter().map(|(start, _)| *start).collect();
        let listed: BTreeMap<ChainName, BTreeSet<Offset>> =
            chains.iter().map(|(chain, _, objects)| (chain.clone(), starts(objects))).collect();
        let mirror = self.mirror.map(|mirror| Mirror::list(mirror, &self.scope, listed.clone())).transpose()?;
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
        report.is_stopped = done.iter().any(Option::is_none);
        if report.is_stopped {
            return Ok(report);
        }
        let mut done = items.into_iter().zip(done.into_iter().flatten());
        for (chain, origin, objects) in chains {
            let (segments, checks) = done.by_ref().take(objects.len()).map(split).unzip();
            let survey = ChainSurvey { chain, origin, segments };
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
        let strangers = self.store.strangers(&self.scope)?;
        let missing = MissingSegments {
            store: self.store,
            scope: &self.scope,
            state: self.state,
            listed: &listed,
            strangers: &strangers,
        };
        missing.find(&mut report)?;
        report.notes.extend(strangers.iter().map(|stranger| format!("{stranger} is no part of an archive")));
        Ok(report)
    }

    /// The chains that have a place in the archive, and those of which only the origin is left.
    fn all_chains(&self) -> Result<BTreeSet<ChainName>, StoreError> {
        let mut chains: BTreeSet<ChainName> = self.chains.iter().cloned().collect();
        chains.extend(chains_with_origins(self.store, &self.scope)?);
        Ok(chains)
    }

    /// The origin of a chain. What is not one is a problem, and hides no other.
    fn origin_of(&self, chain: &ChainName, report: &mut VerifyReport) -> Result<Option<OriginObject>, ArchiveError> {
        match OriginObject::read_exactly(self.store, chain).map_err(ArchiveError::from) {
            Err(ArchiveError::UnreadableOrigin { name, store }) => {
                report.problems.push(Problem {
                    kind: ProblemKind::Damaged,
                    chain: Some(chain.clone()),
                    location: format!("{}/{name}", store.trim_end_matches('/')),
                    message: "it is not an origin that this version writes; bring it back from a copy of the archive"
                        .to_owned(),
                });
                Ok(None)
            }
            origin => origin,
        }
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

    /// Checks a segment that an earlier run has read: only its front is looked at again.
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

impl From<StoreError> for VerifyError {
    fn from(error: StoreError) -> VerifyError {
        VerifyError::Archive(error.into())
    }
}

/// Problems of one segment.
struct ChainCheck {
    problems: Vec<(ProblemKind, String)>,
    is_read_whole: bool,
}

impl ChainCheck {
    /// True if nothing is known against the segment's bytes.
    fn is_readable(&self) -> bool {
        use ProblemKind::{Checksum, Damaged, Truncated, Unreadable};
        !self.problems.iter().any(|(kind, _)| matches!(kind, Unreadable | Truncated | Damaged | Checksum))
    }
}

fn split((item, done): (Item, Done)) -> (SurveyedSegment, ChainCheck) {
    let Done { checked: Checked { facts, problems, .. }, is_read_whole } = done;
    (SurveyedSegment { start: item.name.start, stat: item.stat, facts }, ChainCheck { problems, is_read_whole })
}

/// True if a segment belongs to the sample.
fn is_drawn(name: &SegmentName, share: f64, seed: u64) -> bool {
    let hash = blake3::hash(format!("{seed} {name}").as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) < share * f64::from(u32::MAX)
}

/// The facts of a segment, if they are known.
fn known_facts(segment: &SurveyedSegment) -> Option<&SegmentFacts> {
    segment.facts.as_ref().ok()
}
