//! Chains without segments: nothing was archived yet, the front was pruned up to the end, or everything is gone.
//!
//! An origin alone proves nothing. That there were segments is proved by an empty directory, which only a segment makes,
//! and by a state file that names them. The index and the group's commits prove it, too; they are compared elsewhere.

use super::problem::{Problem, ProblemKind};
use super::{VerifyReport, VerifyState};
use crate::store::{ArchiveStore, Scope, StoreError};
use kafka_store_statecharts::name::{ChainName, RESERVED, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// The chains of a part of an archive whose origin is written down.
pub(super) fn chains_with_origins(store: &dyn ArchiveStore, scope: &Scope) -> Result<Vec<ChainName>, StoreError> {
    let folder = match scope {
        Scope::Archive => format!("{RESERVED}/origins"),
        Scope::Topic(topic) => format!("{RESERVED}/origins/{topic}"),
        // Its own is looked for anyway.
        Scope::Chain(_) => return Ok(Vec::new()),
    };
    let names = store.list_small(&folder)?;
    let below = format!("{RESERVED}/origins/");
    let chain = |name: &String| {
        let (topic, partition) = name.strip_prefix(&below)?.split_once('/')?;
        ChainName::parse(topic, partition)
    };
    Ok(names.iter().filter_map(chain).collect())
}

/// Looks for chains whose segments are missing at the end, or altogether.
pub(super) struct MissingSegments<'a> {
    pub(super) store: &'a dyn ArchiveStore,
    pub(super) scope: &'a Scope,
    pub(super) state: Option<&'a VerifyState>,
    /// The listed start offsets of each chain, those without any too.
    pub(super) listed: &'a BTreeMap<ChainName, BTreeSet<Offset>>,
    /// Names that are no part of the archive.
    pub(super) strangers: &'a [String],
}

impl MissingSegments<'_> {
    /// Adds what is missing to the report.
    pub(super) fn find(&self, report: &mut VerifyReport) -> Result<(), StoreError> {
        let remembered = self.remembered();
        for (chain, starts) in self.listed {
            let known = remembered.get(chain);
            match starts.last() {
                Some(last) => report.problems.extend(self.missing_end(chain, *last, known)),
                None => self.without_segments(chain, known, report)?,
            }
        }
        for (chain, known) in &remembered {
            if !self.listed.contains_key(chain) {
                report.problems.extend(self.forgotten(chain, known));
            }
        }
        for topic in self.store.empty_topics()? {
            if matches!(self.scope, Scope::Archive) || *self.scope == Scope::Topic(topic.clone()) {
                report.problems.push(Problem {
                    kind: ProblemKind::Missing,
                    chain: None,
                    location: self.folder(&topic),
                    message: format!(
                        "the directory is empty, and only a segment makes it: all segments of {topic} are gone; {BRING_BACK}"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Segments in this part of the archive that earlier runs have read.
    fn remembered(&self) -> BTreeMap<ChainName, BTreeSet<Offset>> {
        let mut remembered: BTreeMap<ChainName, BTreeSet<Offset>> = BTreeMap::new();
        for SegmentName { chain, start } in self.state.map(VerifyState::segments).unwrap_or_default() {
            let TopicPartition { topic, .. } = &chain.topic_partition;
            let is_in_scope = match self.scope {
                Scope::Archive => true,
                Scope::Topic(scope) => topic == scope,
                Scope::Chain(scope) => chain == *scope,
            };
            if is_in_scope {
                remembered.entry(chain).or_default().insert(start);
            }
        }
        remembered
    }

    /// The problem of remembered segments after the last one. Earlier ones are a hole or a pruned front.
    fn missing_end(&self, chain: &ChainName, last: Offset, known: Option<&BTreeSet<Offset>>) -> Option<Problem> {
        let missing: BTreeSet<Offset> = known?.iter().filter(|start| **start > last).copied().collect();
        let first = missing.first()?;
        let message = format!(
            "{} segments after offset {last} are missing that an earlier run with --state has read, {first} to {}; \
             {BRING_BACK}",
            missing.len(),
            missing.last()?
        );
        Some(self.problem(chain, *first, message))
    }

    fn without_segments(
        &self,
        chain: &ChainName,
        known: Option<&BTreeSet<Offset>>,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        // A daemon may have stored the first one since the listing.
        if !self.store.segments_from(chain, None)?.is_empty() {
            return Ok(());
        }
        if let Some(problem) = known.and_then(|known| self.forgotten(chain, known)) {
            report.problems.push(problem);
            return Ok(());
        }
        let has_folder = self.store.chains_of(&chain.topic_partition.topic)?.contains(chain);
        let below = format!("{chain}/");
        let has_strangers = self.strangers.iter().any(|stranger| stranger.starts_with(&below));
        if has_folder && !has_strangers {
            report.problems.push(Problem {
                kind: ProblemKind::Missing,
                chain: Some(chain.clone()),
                location: self.folder(chain),
                message: format!(
                    "the directory is empty, and only a segment makes it: all segments of {chain} are gone; {BRING_BACK} \
                     (if a daemon was killed just as it stored the first one, remove the directory)"
                ),
            });
            return Ok(());
        }
        let origin = report.chains.iter().find(|summary| summary.chain == *chain).and_then(|summary| summary.origin);
        report.notes.push(match origin {
            Some(origin) => format!(
                "{chain} has an origin, {}, and no segment: nothing was archived yet, or everything was removed",
                origin.offset
            ),
            None => format!("{chain} has no segment"),
        });
        Ok(())
    }

    /// A chain without segments of which an earlier run has read some.
    fn forgotten(&self, chain: &ChainName, known: &BTreeSet<Offset>) -> Option<Problem> {
        let (first, last) = (known.first()?, known.last()?);
        let message = format!(
            "an earlier run with --state has read {} segments of {chain}, {first} to {last}, and none is there; \
             {BRING_BACK}; if they were removed on purpose, give another name to --state",
            known.len()
        );
        Some(self.problem(chain, *first, message))
    }

    fn folder(&self, name: &dyn Display) -> String {
        format!("{}/{name}", self.store.describe().trim_end_matches('/'))
    }

    fn problem(&self, chain: &ChainName, start: Offset, message: String) -> Problem {
        let location = self.store.location(&chain.segment(start));
        Problem { kind: ProblemKind::Missing, chain: Some(chain.clone()), location, message }
    }
}

const BRING_BACK: &str = "bring them back from a copy of the archive";
